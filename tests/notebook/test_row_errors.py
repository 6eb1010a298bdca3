"""notebook/row_errors.py: the error objects of a result, whatever was done with its rows."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pandas as pd
import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError, ConduitError, Problem, ReplyError, ValidationError
from conduit_nb.notebook.results import with_errors


def failed(number: int) -> ConduitError:
    """Return the error of a row: the same words for all, another text for each."""
    return ValidationError((Problem(path="$.n", message="expected int"),), text=f"said {number}")


def result_of(*outcomes: ConduitError | None, prefix: str = "", start: int = 0) -> pd.DataFrame:
    frame = pd.DataFrame({"n": range(start, start + len(outcomes))})
    return with_errors(frame, outcomes, prefix)


CHANGES: dict[str, Callable[[pd.DataFrame], pd.DataFrame]] = {
    "copied": lambda out: out.copy(),
    "filtered": lambda out: out[out["error"].notna()],
    "sorted": lambda out: out.sort_values("n", ascending=False),
    "renumbered": lambda out: out[out["n"] > 1].reset_index(drop=True),
    "indexed": lambda out: out.set_index("n", drop=False),
    "joined": lambda out: pd.concat([out.tail(2), out.head(3)]),
    "merged": lambda out: out.merge(pd.DataFrame({"n": [3, 4], "x": [1, 2]}), on="n"),
    "with another column": lambda out: out.assign(y=1),
}


@pytest.mark.parametrize("change", CHANGES)
def test_rows_keep_their_errors_whatever_is_done_with_them(change: str):
    out = result_of(failed(0), failed(1), None, failed(3), failed(4))

    changed = CHANGES[change](out)

    found = conduit_nb.errors(changed)
    rows = changed[changed["error"].notna()]
    assert [error.text for error in found] == [f"said {n}" for n in rows["n"]]
    assert found.index.tolist() == rows.index.tolist()


def test_an_error_is_found_by_the_label_of_its_row():
    out = result_of(None, failed(1))

    assert conduit_nb.errors(out)[1].problems[0].path == "$.n"
    assert conduit_nb.errors(out["error"])[1].text == "said 1"
    assert conduit_nb.errors(result_of(None)).empty


def test_one_error_may_be_that_of_many_rows():
    error = ReplyError("no server")

    assert conduit_nb.errors(result_of(error, None, error)).tolist() == [error, error]


def test_columns_with_a_prefix_are_found_and_those_of_both_maps():
    first, second = failed(0), ReplyError("no")
    out = with_errors(result_of(first), [second], "p_")

    assert conduit_nb.errors(out).tolist() == [first, second]


def test_a_text_that_only_one_error_has_is_enough():
    error = ReplyError("nobody else says this")
    out = result_of(error)
    stored = pd.DataFrame({"error": ["".join(out["error"])], "error_code": ["reply"]})

    assert conduit_nb.errors(stored).tolist() == [error]


def test_rows_that_failed_alike_and_lost_their_identity_are_not_mixed_up():
    result_of(failed(0), failed(1))
    text = str(failed(0))
    stored = pd.DataFrame({"error": [text], "error_code": ["validation"]})

    with pytest.raises(ArgumentError, match=re.escape(repr(text)[:100])) as caught:
        conduit_nb.errors(stored)
    assert "error_code" in caught.value.hint


@pytest.mark.parametrize("what", [pd.DataFrame({"a": [1]}), pd.Series([1]), 3, "text", None])
def test_what_is_no_result_is_refused(what: Any):
    with pytest.raises(ArgumentError, match=type(what).__name__) as caught:
        conduit_nb.errors(what)
    assert caught.value.param == "result"


def test_the_module_of_the_errors_is_what_is_called():
    assert conduit_nb.errors.ConduitError is ConduitError  # pyright: ignore[reportFunctionMemberAccess]  # a module that can be called
