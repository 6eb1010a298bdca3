"""What every block must do, whatever it does: one suite, run over all of them.

A block that is exported and has no entry in `SAMPLES` fails the registry test.
"""

from __future__ import annotations

import asyncio
import importlib
import inspect
import json
import pkgutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import conduit_nb
from conduit_nb import blocks
from conduit_nb.blocks.base import Block, Call
from conduit_nb.blocks.files import FileSystemReadBlock, FileSystemWriteBlock
from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.http import HttpGetBlock, HttpPostBlock
from conduit_nb.blocks.llm import LMLiteBlock
from conduit_nb.blocks.pipeline import Pipeline
from conduit_nb.blocks.shell import SystemCommandBlock
from conduit_nb.blocks.sqlite import Sqlite3Block
from conduit_nb.blocks.tasks import LlmTask
from conduit_nb.errors import ConduitError, UntrustedBlockError, ValidationError
from conduit_nb.events import BlockFailed, BlockFinished, BlockStarted
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.schemas import decode, encode
from tests.loop_host import LoopHost, loop_host
from tests.openai_server import openai_server

# Exported names that end in Block: the base, and what makes blocks (`task`) but is none.
NO_BLOCKS = {"Block", "CustomBlock", "LMLiteBlock", "TensorRtBlock", "VllmBlock"}


@dataclass
class Request:
    """Has a field for every block."""

    shell_command: str = "echo hello"
    sql_command: str = "SELECT 1 AS one"
    file_content: str = "hello"


@dataclass
class Reply:
    text: str


@dataclass
class Place:
    """Where the samples of one test may do their work."""

    folder: Path
    web: str


class Passing(Block[Request, Request]):
    """Gives what it gets."""

    def __init__(self) -> None:
        super().__init__(Request, Request)

    async def _run(self, record: Request, call: Call) -> Request:
        return record


def task(place: Place) -> LlmTask[Request, Reply]:
    model = LMLiteBlock([LmLiteModelConfig("m")], endpoint=place.web)
    return model.task(Request, Reply)


# For each class of blocks: whether it has effects, and how to make one that works.
SAMPLES: dict[type[Block[Any, Any]], tuple[bool, Any]] = {
    FileSystemReadBlock: (False, lambda place: FileSystemReadBlock(place.folder / "in.txt")),
    FileSystemWriteBlock: (
        True,
        lambda place, **options: FileSystemWriteBlock(Request, place.folder / "out", **options),
    ),
    HttpGetBlock: (False, lambda place: HttpGetBlock(place.web)),
    HttpPostBlock: (
        True,
        lambda place, **options: HttpPostBlock(Request, place.web, **options),
    ),
    LlmTask: (False, task),
    Pipeline: (False, lambda place: Passing() >> task(place)),
    Sqlite3Block: (True, lambda _, **options: Sqlite3Block(Request, **options)),
    SystemCommandBlock: (True, lambda _, **options: SystemCommandBlock(Request, **options)),
}
WITHOUT_INPUT = (FileSystemReadBlock, HttpGetBlock)
EVERY = pytest.mark.parametrize("kind", SAMPLES, ids=lambda kind: kind.__name__)
WITH_INPUT = pytest.mark.parametrize(
    "kind",
    [kind for kind in SAMPLES if kind not in WITHOUT_INPUT],
    ids=lambda kind: kind.__name__,
)
WITH_EFFECTS = pytest.mark.parametrize(
    "kind",
    [kind for kind, (has_effects, _) in SAMPLES.items() if has_effects],
    ids=lambda kind: kind.__name__,
)


@pytest.fixture
def host() -> Iterator[LoopHost]:
    with loop_host() as host:
        yield host


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    (tmp_path / "in.txt").write_text("hello")
    with openai_server(answer=lambda _: json.dumps({"text": "hello"})) as server:
        yield Place(folder=tmp_path, web=server.url)


def made(kind: type[Block[Any, Any]], place: Place, **options: Any) -> tuple[Block[Any, Any], Any]:
    """Return a block of that class that works, and a record for it."""
    block = SAMPLES[kind][1](place, **options)
    return block, None if kind in WITHOUT_INPUT else Request()


def test_every_block_is_covered():
    for module in pkgutil.iter_modules(blocks.__path__):
        importlib.import_module(f"conduit_nb.blocks.{module.name}")
    classes: set[type] = set()
    below = [Block]
    while below:
        below = [child for cls in below for child in cls.__subclasses__()]
        classes |= {cls for cls in below if cls.__module__.startswith("conduit_nb.")}
    exported = {
        name
        for name in conduit_nb.__all__
        if name.endswith("Block") or name in ("LlmTask", "Pipeline")
    } - NO_BLOCKS

    assert {cls.__name__ for cls in SAMPLES} >= exported
    assert set(SAMPLES) >= classes


@EVERY
def test_a_call_answers_with_the_type_that_was_promised(
    kind: type[Block[Any, Any]], host: LoopHost, place: Place
):
    block, record = made(kind, place)

    answer = block() if record is None else block(record)

    assert type(answer) is block.output_type
    assert decode(encode(answer), type(answer)) == answer


@EVERY
async def test_run_can_be_awaited(kind: type[Block[Any, Any]], host: LoopHost, place: Place):
    block, record = made(kind, place)

    with use_host(host):
        assert type(await block.run(record)) is block.output_type


@EVERY
def test_a_batch_keeps_length_and_order(kind: type[Block[Any, Any]], host: LoopHost, place: Place):
    block, record = made(kind, place)

    answers = block.batch([record] * 5)

    assert len(answers) == 5
    assert not [answer for answer in answers if isinstance(answer, ConduitError)]


@EVERY
def test_start_and_end_are_told_with_one_number(
    kind: type[Block[Any, Any]], host: LoopHost, place: Place
):
    block, record = made(kind, place)

    block(record)

    own = [event for event in host.seen if getattr(event, "block", "") == block.name]
    assert isinstance(own[0], BlockStarted)
    assert isinstance(own[-1], BlockFinished)
    assert len({getattr(event, "call", None) for event in own}) == 1


@WITH_INPUT
def test_a_record_changed_into_nonsense_is_refused_and_told(
    kind: type[Block[Any, Any]], host: LoopHost, place: Place
):
    block, _ = made(kind, place)
    record = Request()
    for name in vars(record):
        setattr(record, name, 5)

    with pytest.raises(ValidationError, match=r"\bstr\b.*\bint 5\b") as caught:
        block(record)

    assert {problem.path for problem in caught.value.problems} == {
        f"$.{one}" for one in vars(record)
    }
    assert isinstance(host.seen[-1], BlockFailed)


@EVERY
def test_a_record_of_another_class_is_refused(
    kind: type[Block[Any, Any]], host: LoopHost, place: Place
):
    block, _ = made(kind, place)

    with pytest.raises(ValidationError, match=r"\bReply\b"):
        block(Reply(text="no"))


@EVERY
def test_what_it_is_made_with_is_public_and_written_out(kind: type[Block[Any, Any]]):
    parameters = inspect.signature(kind.__init__).parameters.values()

    assert not [one for one in parameters if one.kind in (one.VAR_KEYWORD, one.VAR_POSITIONAL)]
    assert inspect.getdoc(kind)


@WITH_EFFECTS
def test_effects_are_refused_in_a_pipeline_until_they_are_trusted(
    kind: type[Block[Any, Any]], host: LoopHost, place: Place
):
    block, record = made(kind, place)
    trusted, _ = made(kind, place, trusted=True)
    assert block.has_effects

    with pytest.raises(UntrustedBlockError, match=kind.__name__) as caught:
        _ = Passing() >> block

    assert "trusted=True" in caught.value.hint
    assert type((Passing() >> trusted)(record)) is block.output_type


@pytest.mark.parametrize(
    "kind",
    [kind for kind, (has_effects, _) in SAMPLES.items() if not has_effects],
    ids=lambda kind: kind.__name__,
)
def test_what_changes_nothing_needs_no_trust(kind: type[Block[Any, Any]], place: Place):
    block, _ = made(kind, place)

    assert not block.has_effects
    assert isinstance(block >> Taking(block.output_type), Pipeline)


class Taking(Block[Any, Reply]):
    """Takes what it is told to take."""

    def __init__(self, input_type: type[Any]) -> None:
        super().__init__(input_type, Reply)

    async def _run(self, record: Any, call: Call) -> Reply:
        return Reply(text=str(record))


@EVERY
def test_a_cancelled_call_ends_and_is_told(
    kind: type[Block[Any, Any]], host: LoopHost, place: Place
):
    block, record = made(kind, place)

    async def cancelled() -> None:
        task = asyncio.create_task(block.run(record))
        await asyncio.sleep(0)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert task.cancelled()

    host.submit(cancelled()).result(timeout=20)

    own = [event for event in host.seen if getattr(event, "block", "") == block.name]
    assert [type(event) for event in own] == [BlockStarted, BlockFailed]
