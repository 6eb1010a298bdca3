"""notebook/examples.py: pairs as a user writes them become records."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pandas as pd
import pytest

from conduit_nb.errors import ArgumentError, ConduitError, ValidationError
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
    ("pairs", "kind", "message"),
    [
        ("text", ArgumentError, "pairs is str"),
        ([("a",)], ArgumentError, "pairs[0] is no pair"),
        (["ab"], ArgumentError, "pairs[0] is no pair"),
        ([("a", {"mood": "good"}), ("b", 3)], ArgumentError, "pairs[1][1] is int"),
        ([("a", "good")], ArgumentError, "pairs[0][1] is str, where Verdict is wanted"),
        ([("a", {"mood": "glad"})], ValidationError, "pairs[0][1] does not fit: $.mood"),
        ([({"txt": "a"}, {"mood": "good"})], ValidationError, "$.text"),
    ],
)
def test_what_is_no_example_is_an_error_that_says_where(
    pairs: object, kind: type[ConduitError], message: str
):
    with pytest.raises(kind) as caught:
        read(pairs)

    assert message in str(caught.value)


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
