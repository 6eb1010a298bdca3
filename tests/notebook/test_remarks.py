from dataclasses import dataclass
from typing import Literal

from conduit_nb.blocks.tasks import DetailedAnswer
from conduit_nb.errors import BlockError, ConduitError
from conduit_nb.notebook.remarks import remarks
from conduit_nb.schemas import schema_of


@dataclass
class Ticket:
    text: str | None


@dataclass
class Verdict:
    mood: Literal["good", "bad"]
    words: int


def said(texts: list[str | None], moods: list[Literal["good", "bad"] | None]) -> list[str]:
    outcomes: list[DetailedAnswer[Verdict] | ConduitError] = [
        BlockError("failed")
        if mood is None
        else DetailedAnswer(record=Verdict(mood, 3), is_truncated=False, confidence={})
        for mood in moods
    ]
    records = [Ticket(text) for text in texts]
    return remarks(records, schema_of(Ticket), schema_of(Verdict), outcomes)


def test_one_label_for_every_row_is_worth_a_look():
    (line,) = said(["a"] * 10, ["good"] * 10)

    assert line.startswith("Every row has mood 'good'")
    assert "--examples" in line


def test_fields_that_are_alike_are_told_in_one_line():
    @dataclass
    class Two:
        mood: Literal["good", "bad"]
        is_urgent: bool

    outcomes: list[DetailedAnswer[Two] | ConduitError] = [
        DetailedAnswer(record=Two("bad", is_urgent=True))
    ] * 10
    (line,) = remarks([Ticket("a")] * 10, schema_of(Ticket), schema_of(Two), outcomes)

    assert line.startswith("Every row has mood 'bad' and is_urgent True: ")


def test_nothing_is_said_of_few_rows_or_of_different_labels():
    assert said(["a"] * 9, ["good"] * 9) == []
    assert said(["a"] * 10, ["good"] * 9 + ["bad"]) == []


def test_rows_that_failed_have_no_label():
    assert said(["a"] * 10, ["good"] * 9 + [None]) == []


def test_an_answer_to_nothing_is_made_up_and_is_counted():
    assert said(["a", None, " "], ["good", "bad", "good"]) == [
        "2 rows have nothing in text: their answers are made up. "
        "Leave such rows out with dropna() before the map"
    ]
    assert said(["a", None], ["good", "bad"])[0].startswith("1 row has nothing in text: its")


def test_a_row_without_text_that_failed_has_no_answer_to_speak_of():
    assert said(["a", None], ["good", None]) == []
