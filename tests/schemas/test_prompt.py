"""The prompt that is made from schemas."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from typing import Any

import pytest

from conduit_nb.errors import ArgumentError, SchemaError
from conduit_nb.schemas import prompt_messages, schema_of
from tests.schemas.records import check_problems, problems_of


class Mood(Enum):
    GOOD = "good"
    BAD = "bad"


@dataclass
class Review:
    """What a customer wrote."""

    text: str


@dataclass
class Verdict:
    """Judge the review."""

    mood: Mood
    sure: bool


@dataclass
class Raw:
    data: bytes


def messages(**changes: Any) -> list[dict[str, Any]]:
    given: dict[str, Any] = {
        "instruction": "Judge the review.",
        "input": schema_of(Review),
        "output": schema_of(Verdict),
        "record": Review('Very "nice".'),
    }
    return prompt_messages(**{**given, **changes})


def test_the_prompt_has_instruction_types_and_the_record_as_json():
    assert messages() == [
        {
            "role": "system",
            "content": (
                "Judge the review.\n\n"
                "Input: What a customer wrote.\n{\n  text: string\n}\n\n"
                'Output (JSON):\n{\n  mood: "good" | "bad"\n  sure: bool\n}'
            ),
        },
        {"role": "user", "content": '{"text":"Very \\"nice\\"."}'},
    ]


def test_examples_are_turns_before_the_record():
    shown = messages(examples=[(Review("Bad."), Verdict(Mood.BAD, True))])

    assert [one["role"] for one in shown] == ["system", "user", "assistant", "user"]
    assert shown[1]["content"] == '{"text":"Bad."}'
    assert shown[2]["content"] == '{"mood":"bad","sure":true}'


def test_a_prompt_holds_no_python_repr():
    shown = messages(examples=[(Review("Bad."), Verdict(Mood.BAD, True))])

    text = "\n".join(one["content"] for one in shown)
    assert not any(part in text for part in ("Mood.", "Review(", "True", "{'", "None"))


def test_without_an_instruction_the_prompt_begins_with_the_types():
    assert messages(instruction="  ")[0]["content"].startswith("Input:")


def test_without_an_input_schema_the_record_is_text():
    shown = messages(input=None, record="Very nice.")

    assert shown[0]["content"].startswith("Judge the review.\n\nOutput (JSON):")
    assert shown[1] == {"role": "user", "content": "Very nice."}
    with pytest.raises(ArgumentError, match=r"\bstr\b.*\bReview\b"):
        messages(input=None)


def test_records_and_examples_that_do_not_fit_are_refused():
    review = Review(3)  # type: ignore[arg-type]  # the point of the test
    verdict = Verdict("good", True)  # type: ignore[arg-type]  # the same

    check_problems(
        problems_of(lambda: messages(record=review)),
        ("$.text", "mismatch", ("str", "int 3")),
    )
    check_problems(
        problems_of(lambda: messages(examples=[(Review("x"), verdict)])),
        ("$.mood", "mismatch", ("Mood", 'str "good"')),
    )


def test_an_output_with_bytes_is_refused():
    with pytest.raises(SchemaError, match=r"\bbytes\b") as caught:
        messages(output=schema_of(Raw))

    assert caught.value.path == "$.data"
