from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from conduit_nb.blocks.answers import DetailedAnswer
from conduit_nb.blocks.runtime_blocks import LMLiteBlock
from conduit_nb.errors import ValidationError
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
