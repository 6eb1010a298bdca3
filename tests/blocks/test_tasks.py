from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from conduit_nb.blocks.llm import LMLiteBlock
from conduit_nb.blocks.tasks import DetailedAnswer, path_of, require_on_length
from conduit_nb.errors import ArgumentError, ValidationError
from tests.loop_host import LoopHost
from tests.openai_server import openai_server


@dataclass
class Note:
    text: str


@dataclass
class Label:
    kind: Literal["a", "b"]


def test_a_detailed_task_answers_with_the_record_and_tells_its_end(host: LoopHost):
    with openai_server(answer=lambda _: '{"kind":"a"}') as server:
        task = LMLiteBlock(["m"], endpoint=server.url).task(Note, Label)
        answer = task.detailed(Note(text="x"))

    assert answer == DetailedAnswer(record=Label(kind="a"))
    assert host.kinds()[0] == "BlockStarted"
    assert host.kinds()[-1] == "BlockFinished"
    assert "detailed" in repr(task.detailed)


def test_what_goes_wrong_for_one_record_of_a_detailed_batch_is_in_its_place(host: LoopHost):
    with openai_server(answer=lambda _: '{"kind":"c"}') as server:
        task = LMLiteBlock(["m"], endpoint=server.url).task(Note, Label)
        answers = task.detailed.batch([Note(text="x"), Note(text="y")])

    assert [type(answer) for answer in answers] == [ValidationError] * 2


def test_a_detailed_task_takes_no_other_records(host: LoopHost):
    with openai_server() as server:
        task = LMLiteBlock(["m"], endpoint=server.url).task(Note, Label)
        with pytest.raises(ValidationError, match=r"Note.*Label"):
            task.detailed(Label(kind="a"))  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize(
    ("pointer", "path"),
    [
        ("/mood", "mood"),
        ("/order/kind", "order.kind"),
        ("/items/0/color", "items[0].color"),
        ("/grid/1/2", "grid[1][2]"),
        ("/by_name/a~1b c", "by_name['a/b c']"),
        ("/a~01", "['a~1']"),
    ],
)
def test_a_pointer_is_shown_as_a_path(pointer: str, path: str):
    assert path_of(pointer) == path


def test_an_answer_is_whole_and_says_nothing_of_itself_by_default():
    answer = DetailedAnswer(record=1)

    assert (answer.is_truncated, answer.confidence) == (False, {})


def test_on_length_is_one_of_two_words():
    assert require_on_length("keep") == "keep"
    with pytest.raises(ArgumentError, match=r"'drop'.*'error'.*'keep'") as caught:
        require_on_length("drop")
    assert caught.value.param == "on_length"
