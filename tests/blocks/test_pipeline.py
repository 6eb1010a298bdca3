from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest

from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.files import FileSystemReadBlock
from conduit_nb.blocks.http import HttpGetBlock
from conduit_nb.blocks.llm import LMLiteBlock
from conduit_nb.blocks.pipeline import Pipeline
from conduit_nb.blocks.records import CommandResult, FileReadResult
from conduit_nb.blocks.shell import SystemCommandBlock
from conduit_nb.errors import BlockError, PipelineError, UntrustedBlockError, ValidationError
from conduit_nb.events import BlockStarted
from conduit_nb.models.config import LmLiteModelConfig
from tests.loop_host import LoopHost

In = TypeVar("In")
Out = TypeVar("Out")


@dataclass
class Word:
    text: str


@dataclass
class Count:
    letters: int


@dataclass
class Verdict:
    is_long: bool


@dataclass
class Command:
    shell_command: str


class Step(Block[In, Out]):
    def __init__(self, input_type: type[In], output_type: type[Out], answer: Any, **options: Any):
        super().__init__(input_type, output_type, **options)
        self.answer = answer

    async def _run(self, record: In, call: Call) -> Out:
        return self.answer(record)


counting = Step(Word, Count, lambda word: Count(letters=len(word.text)), name="counting")
judging = Step(Count, Verdict, lambda count: Verdict(is_long=count.letters > 4), name="judging")
naming = Step(Verdict, Word, lambda verdict: Word(text=str(verdict.is_long)), name="naming")


def test_each_block_gets_what_the_one_before_it_gives(host: LoopHost):
    pipeline = counting >> judging

    assert pipeline(Word(text="pipeline")) == Verdict(is_long=True)


def test_a_pipeline_is_the_same_however_it_was_put_together(host: LoopHost):
    left = (counting >> judging) >> naming
    right = counting >> (judging >> naming)

    assert left.blocks == right.blocks == (counting, judging, naming)
    assert left(Word(text="abc")) == right(Word(text="abc")) == Word(text="False")
    assert left.name == right.name == "counting >> judging >> naming"
    assert (left.input_type, left.output_type) == (Word, Word)


def test_blocks_that_do_not_fit_are_refused_with_both_names_and_types():
    with pytest.raises(PipelineError) as caught:
        _ = counting >> naming  # type: ignore[operator]  # the mistake under test

    for part in ("counting", "Count", "naming", "Verdict"):
        assert part in str(caught.value)
    assert caught.value.hint


def test_pipelines_that_do_not_fit_name_the_blocks_that_meet():
    with pytest.raises(PipelineError, match=r"judging.*Verdict.*counting.*Word"):
        _ = (counting >> judging) >> (counting >> judging)  # type: ignore[operator]  # under test


def test_what_does_not_fit_after_all_is_refused_at_run_time(host: LoopHost):
    lying = Step(Word, Count, lambda word: word, name="lying")

    with pytest.raises(ValidationError, match=r"lying.*Count.*Word") as caught:
        (lying >> judging)(Word(text="abc"))

    assert [problem.path for problem in caught.value.problems] == ["$"]


def test_every_block_of_a_pipeline_is_heard_of(host: LoopHost):
    (counting >> judging)(Word(text="abc"))

    started = [event.block for event in host.seen if isinstance(event, BlockStarted)]
    assert started == ["counting >> judging", "counting", "judging"]


def test_a_language_model_is_chained_by_its_task():
    model = LMLiteBlock([LmLiteModelConfig("some/model")])

    with pytest.raises(PipelineError, match="LMLiteBlock") as caught:
        _ = counting >> model  # type: ignore[operator]  # the mistake under test

    assert ".task(" in caught.value.hint
    assert isinstance(counting >> model.task(Count, Verdict), Pipeline)


def test_only_blocks_can_be_chained():
    with pytest.raises(PipelineError, match="function"):
        _ = counting >> (lambda count: count)  # type: ignore[operator]  # the mistake under test


def test_a_block_with_effects_is_refused_wherever_it_stands():
    source = Step(Word, Command, lambda word: Command(shell_command=word.text), name="source")
    runs = SystemCommandBlock(Command)
    reads = Step(CommandResult, Word, lambda result: Word(text=result.stdout), name="reads")

    for chain in (
        lambda: source >> runs,
        lambda: runs >> reads,
        lambda: source >> (runs >> reads),
        lambda: (source >> SystemCommandBlock(Command, trusted=True)) >> reads >> source >> runs,
    ):
        with pytest.raises(UntrustedBlockError, match="SystemCommandBlock") as caught:
            chain()
        assert "trusted=True" in caught.value.hint


def test_a_block_with_effects_runs_in_a_pipeline_whose_author_trusts_it(host: LoopHost):
    source = Step(Word, Command, lambda word: Command(shell_command=f"echo {word.text}"))

    pipeline = source >> SystemCommandBlock(Command, trusted=True)

    assert pipeline(Word(text="hello")).stdout == "hello\n"
    assert pipeline.has_effects


def test_a_block_with_effects_runs_when_the_user_calls_it(host: LoopHost):
    assert SystemCommandBlock(Command)(Command(shell_command="echo direct")).success


def test_a_block_that_takes_nothing_can_only_come_first():
    get = HttpGetBlock("http://127.0.0.1:9/")

    with pytest.raises(PipelineError, match=r"counting.*Count.*HttpGetBlock.*None"):
        _ = counting >> get  # type: ignore[operator]  # the mistake under test


def test_a_step_without_success_ends_the_pipeline_and_is_named(host: LoopHost, tmp_path: Path):
    asked: list[FileReadResult] = []
    next_one = Step(FileReadResult, Word, lambda read: asked.append(read) or Word(text=""))

    with pytest.raises(BlockError, match=r"FileSystemReadBlock.*nowhere\.txt"):
        (FileSystemReadBlock(str(tmp_path / "nowhere.txt")) >> next_one)()

    assert not asked


def test_a_block_that_takes_failures_gets_them(host: LoopHost, tmp_path: Path):
    class Explaining(Step[FileReadResult, Word]):
        takes_failures = True

    explaining = Explaining(FileReadResult, Word, lambda read: Word(text=str(read.error_code)))

    assert (FileSystemReadBlock(str(tmp_path / "nowhere.txt")) >> explaining)().text == "ENOENT"


def test_the_last_steps_result_is_given_back_whatever_it_says(host: LoopHost):
    naming_a_command = Step(Word, Command, lambda word: Command(shell_command=word.text))
    pipeline = naming_a_command >> SystemCommandBlock(Command, trusted=True)

    assert not pipeline(Word(text="exit 3")).success
