"""errors.py: what every error promises to notebooks, DataFrames and callers."""

from __future__ import annotations

import inspect
import pickle
import re

import pytest

from conduit_nb import errors
from conduit_nb.errors import (
    ConduitError,
    EndpointBusyError,
    ModelNotFoundError,
    Problem,
    SchemaError,
    TruncatedError,
    ValidationError,
)

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, ConduitError)
]
EXAMPLES = [
    errors.ArgumentError("gpu='L40SS' is not known.", param="gpu", hint="Did you mean L40S?"),
    ModelNotFoundError("Nothing is called that.", hint="Take another."),
    SchemaError("is a set", path="$.tags", hint="Use list[str]."),
    ValidationError((Problem(path="$.n", message="expected int, got str"),), text='{"n":"1"}'),
    EndpointBusyError("Come back later.", retry_after_s=2.5),
    TruncatedError("Cut at 16 tokens.", text='{"n":'),
]


@pytest.mark.parametrize("error", EXAMPLES, ids=lambda error: type(error).__name__)
def test_an_error_survives_pickling_with_all_it_knows(error: ConduitError):
    again = pickle.loads(pickle.dumps(error))

    assert type(again) is type(error)
    assert str(again) == str(error)
    assert again.__dict__ == error.__dict__


def test_a_notebook_shows_two_lines_what_happened_and_what_to_do():
    error = ModelNotFoundError("Nothing is called that.", hint="Take another.")

    assert error._render_traceback_() == [
        "ModelNotFoundError: Nothing is called that.",
        "  Take another.",
    ]


def test_a_notebook_shows_one_line_where_there_is_no_hint():
    assert ConduitError("Broken.")._render_traceback_() == ["ConduitError: Broken."]


def test_every_code_is_used_once_because_it_travels_over_the_wire():
    codes = [kind.code for kind in ALL]

    assert len(set(codes)) == len(codes)


def test_the_tree_in_the_docstring_is_the_tree_of_classes():
    drawn: dict[int, str] = {}
    pairs: set[tuple[str, str]] = set()
    for line in (errors.__doc__ or "").splitlines():
        found = re.match(r"    ((?:│   |    )*)(?:[├└]── )?(\w+)(?:  |$)", line)
        if not found:
            continue
        depth = len(found[1]) // 4 + ("──" in line)
        drawn[depth] = found[2]
        if depth:
            pairs.add((found[2], drawn[depth - 1]))

    assert pairs == {(kind.__name__, kind.__bases__[0].__name__) for kind in ALL} - {
        ("ConduitError", "Exception")
    }


def test_what_is_retryable_is_drawn_so():
    drawn = set(re.findall(r"── (\w+) .*\(retryable\)$", errors.__doc__ or "", re.MULTILINE))

    assert {kind.__name__ for kind in ALL if kind.retryable} == drawn


def test_a_schema_error_names_the_field_first():
    assert str(SchemaError("is a set", path="$.files[].tags")) == "$.files[].tags: is a set"


def test_a_validation_error_shows_five_problems_and_counts_the_rest():
    problems = tuple(Problem(path=f"$.f{n}", message="missing") for n in range(7))

    error = ValidationError(problems, subject="reply")

    assert str(error).startswith("reply ")
    assert "$.f0: missing; $.f1: missing" in str(error)
    assert "$.f5" not in str(error)
    assert "2" in str(error).partition("$.f4: missing")[2]
    assert error.problems == problems


def test_what_a_model_said_cannot_steer_a_terminal_from_a_message():
    error = errors.ReplyError("It said \x1b[31mred\u202e\x07.", hint="Ask again\r.")

    assert error._render_traceback_() == [
        "ReplyError: It said \ufffd[31mred\ufffd\ufffd.",
        "  Ask again\ufffd.",
    ]
