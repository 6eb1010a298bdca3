"""notebook/examples.py: pairs as a user writes them become records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pytest

from conduit_nb.errors import ArgumentError, ValidationError
from conduit_nb.notebook.examples import read_examples
from conduit_nb.notebook.frames import derived_input, read_rows
from conduit_nb.schemas import schema_of
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    mood: Literal["good", "bad"]
    stars: int = 3


@dataclass
class Other:
    text: str


def read(pairs: Any) -> list[tuple[Review, Verdict]]:
    return read_examples("pairs", {"pairs": pairs}, schema_of(Review), schema_of(Verdict))


@pytest.mark.parametrize("given", [Review("a"), {"text": "a"}, "a", Other("a")])
@pytest.mark.parametrize("wanted", [Verdict("good"), {"mood": "good", "stars": 3}])
def test_each_side_is_a_record_a_dict_or_the_one_text(given: object, wanted: object):
    assert read([(given, wanted), [given, wanted]]) == [(Review("a"), Verdict("good"))] * 2


def test_without_the_option_there_are_none():
    assert read_examples(None, {}, schema_of(Review), schema_of(Verdict)) == []


@pytest.mark.parametrize(
    ("pairs", "facts"),
    [
        ("text", r"\bpairs\b.*\bstr\b"),
        ([("a",)], r"pairs\[0\][^\[].*\('a',\)"),
        (["ab"], r"pairs\[0\][^\[].*'ab'"),
        ([("a", {"mood": "good"}), ("b", 3)], r"pairs\[1\]\[1\].*\bint\b.*\bVerdict\b"),
        ([("a", "good")], r"pairs\[0\]\[1\].*\bstr\b.*\bVerdict\b"),
    ],
)
def test_what_is_no_example_is_an_error_that_says_where(pairs: object, facts: str):
    with pytest.raises(ArgumentError, match=facts) as caught:
        read(pairs)

    assert caught.value.param == "examples"


@pytest.mark.parametrize(
    ("pairs", "subject", "path"),
    [
        ([("a", {"mood": "glad"})], "pairs[0][1]", "$.mood"),
        ([({"txt": "a"}, {"mood": "good"})], "pairs[0][0]", "$.text"),
    ],
)
def test_an_example_that_does_not_fit_is_an_error_that_says_where(
    pairs: object, subject: str, path: str
):
    with pytest.raises(ValidationError) as caught:
        read(pairs)

    assert caught.value.subject == subject
    assert path in [problem.path for problem in caught.value.problems]


def test_a_map_shows_its_examples_to_the_model(cells: Cells, server: OpenAIServer):
    cells.names["few"] = [("It broke.", {"mood": "bad"})]
    cells.names["rows"] = ["Lovely."]

    cells.run(
        f"%%conduit map rows --examples few --endpoint {server.url} --model m\n"
        'class Verdict:\n    mood: Literal["good", "bad"]'
    )

    roles = [message["role"] for message in server.requests[0]["messages"]]
    told = [message["content"] for message in server.requests[0]["messages"]]
    assert roles == ["system", "user", "assistant", "user"]
    assert told[1:] == ['{"text":"It broke."}', '{"mood":"bad"}', '{"text":"Lovely."}']


def test_a_text_is_an_example_too_where_a_column_has_empty_cells():
    rows = read_rows(pd.DataFrame({"ticket": ["a", None]}), what="df")
    takes, gives = schema_of(derived_input(rows, None)), schema_of(Verdict)
    names = {"few": [("It broke.", {"mood": "bad"})]}

    ((given, _),) = read_examples("few", names, takes, gives)

    assert given.ticket == "It broke."
