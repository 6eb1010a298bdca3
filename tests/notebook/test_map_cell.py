"""notebook/map_cell.py: rows in, typed columns out, whatever goes wrong."""

from __future__ import annotations

import os
import re
import signal
import sys
from dataclasses import dataclass
from typing import Any

import pandas as pd
import pytest

import conduit_nb
from conduit_nb.errors import (
    ArgumentError,
    Interrupted,
    RequestRefusedError,
    RunError,
    SchemaError,
    TruncatedError,
    ValidationError,
)
from conduit_nb.events import BlockFinished, Event
from conduit_nb.session import process_session
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

VERDICT = "class Verdict:\n    '''Say how it feels.'''\n    mood: Literal['good', 'bad']\n"


@dataclass
class Review:
    text: str


@pytest.fixture
def reviews(cells: Cells) -> pd.DataFrame:
    frame = pd.DataFrame({"text": ["good one", "bad one", "good two"], "stars": [5, 1, 4]})
    cells.names["reviews"] = frame
    return frame


def test_a_map_fills_a_dataclass_for_every_row(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    shown = cells.run(f"%%conduit map reviews -o out --endpoint {server.url}\n{VERDICT}")

    out = cells.names["out"]
    assert shown is out
    assert list(out.columns) == ["text", "stars", "mood", "error", "error_code"]
    assert list(out["mood"]) == ["good", "bad", "good"]
    assert out["error"].isna().all()
    assert "reviews -> Verdict: 3 of 3 rows in" in cells.stderr
    assert "no errors" in cells.stderr


def test_the_docstring_is_the_instruction_and_the_columns_are_the_input(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(f"%%conduit map reviews -o out --endpoint {server.url} --model some/model\n{VERDICT}")

    request = server.requests[0]
    system = request["messages"][0]["content"]
    assert system.startswith("Say how it feels.")
    assert "text: string" in system
    assert "stars: int" in system
    assert max(server.questions) == '{"text":"good two","stars":4}'
    assert (request["model"], request["temperature"]) == ("some/model", 0.0)


def test_two_dataclasses_are_the_input_and_then_the_output(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(
        f"%%conduit map reviews -o out --endpoint {server.url}\n"
        f"class Review:\n    text: str\n\n{VERDICT}"
    )

    assert sorted(server.questions) == [
        '{"text":"bad one"}',
        '{"text":"good one"}',
        '{"text":"good two"}',
    ]


def test_dataclasses_that_others_use_are_parts_of_them(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(
        f"%%conduit map reviews -o out --endpoint {server.url} --columns text\n"
        "class Base:\n    n: int\n"
        "class Part:\n    name: str\n"
        "class Whole(Base):\n    parts: List[Part]\n"
    )

    out = cells.names["out"]
    assert list(out.columns) == ["text", "stars", "n", "parts", "error", "error_code"]
    assert out["parts"][0] == [{"name": "text"}]


def test_input_and_output_may_be_named_from_cells_above(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.names["Review"] = Review
    cells.run(f"%%conduit schema\n{VERDICT}")

    cells.run(f"%%conduit map reviews -o a --endpoint {server.url} --output Verdict")
    cells.run(f"%%conduit map reviews -o b --endpoint {server.url} --input Review\n{VERDICT}")
    cells.run(f"%%conduit map reviews -o c --endpoint {server.url} --input Review --output Verdict")

    assert all(list(cells.names[name]["mood"]) == ["good", "bad", "good"] for name in "abc")
    assert server.questions[3].startswith('{"text":')
    assert "stars" not in server.questions[3]


@pytest.mark.parametrize(
    ("cell", "param", "fact"),
    [
        ("x = 1\n", "output", ""),
        ("class A:\n    b: Optional['B']\nclass B:\n    a: Optional[A]\n", "output", ""),
        ("class A:\n    x: int\nclass B:\n    x: int\nclass C:\n    y: int\n", None, "A, B, C"),
    ],
)
def test_a_cell_that_does_not_say_what_is_what_is_refused(
    cells: Cells, reviews: pd.DataFrame, cell: str, param: str | None, fact: str
):
    error = cells.fail(f"%%conduit map reviews -o out\n{cell}", ArgumentError)

    assert error.param == param
    assert fact in str(error)
    assert "--output" in error.hint
    assert "out" not in cells.names


def test_the_result_is_called_after_the_rows_when_it_gets_no_name(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(f"%%conduit map reviews --endpoint {server.url}\n{VERDICT}")
    cells.run(f"%%conduit map reviews[reviews.stars > 3] --endpoint {server.url}\n{VERDICT}")

    assert len(cells.names["reviews_out"]) == 3
    assert list(cells.names["rows_out"].index) == [0, 2]


def test_a_row_that_fails_has_its_error_and_the_others_their_values(
    cells: Cells, server: OpenAIServer
):
    cells.names["rows"] = pd.DataFrame(
        {"text": ["good", "BROKEN", "CUT", "REFUSED", None, "bad"]}, index=[9, 9, 8, 8, 7, 7]
    )

    cells.run(
        f"%%conduit map rows -o out --endpoint {server.url}\nclass R:\n    text: str\n\n{VERDICT}"
    )

    out = cells.names["out"]
    assert list(out.index) == [9, 9, 8, 8, 7, 7]
    assert [type(error) for error in conduit_nb.errors(out)] == [
        ValidationError,
        TruncatedError,
        RequestRefusedError,
        ValidationError,
    ]
    assert out["error_code"].tolist() == [
        pd.NA,
        "validation",
        "truncated",
        "request_refused",
        "validation",
        pd.NA,
    ]
    assert list(out["mood"].isna()) == [False, True, True, True, True, False]
    assert "4 errors" in cells.stderr
    assert len(server.requests) == 5, "a row that does not fit is not sent"


def test_a_map_in_which_every_row_fails_binds_out_and_fails_the_cell(
    cells: Cells, server: OpenAIServer
):
    cells.names["rows"] = [{"text": "REFUSED 1"}, {"text": "REFUSED 2"}]

    error = cells.fail(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}", RunError)

    assert re.search(r"\b2\b.*\b2\b.*\bRequestRefusedError", str(error))
    assert "%conduit debug out" in error.hint
    assert len(cells.names["out"]) == 2


def test_a_truncated_row_is_kept_where_that_is_wanted_and_says_so(
    cells: Cells, server: OpenAIServer
):
    cells.names["rows"] = [{"text": text} for text in ("good", "bad CUT", "REFUSED")]

    cells.run(f"%%conduit map rows -o out --endpoint {server.url} --on-length keep\n{VERDICT}")

    out = cells.names["out"]
    assert list(out.columns) == ["text", "mood", "truncated", "error", "error_code"]
    assert out["mood"].tolist()[:2] == ["good", "bad"]
    assert out["truncated"].tolist() == [False, True, pd.NA]


def test_the_error_of_a_truncated_row_has_what_there_is_of_it(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = [{"text": "bad CUT"}, {"text": "good"}]

    cells.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")

    error = conduit_nb.errors(cells.names["out"])[0]
    assert isinstance(error, TruncatedError)
    assert error.partial.mood == "bad"


def test_a_server_that_cannot_tell_how_sure_it_is_says_so_in_each_row(
    cells: Cells, server: OpenAIServer
):
    cells.names["rows"] = [{"text": "good"}]

    error = cells.fail(
        f"%%conduit map rows --endpoint {server.url} --confidence\n{VERDICT}", RunError
    )

    assert getattr(error.__cause__, "param", None) == "confidence"


@pytest.mark.parametrize(("limit", "fails"), [(0, True), (1, True), (2, False), (3, False)])
def test_more_errors_than_allowed_bind_out_and_fail_the_cell(
    cells: Cells, server: OpenAIServer, limit: int, fails: bool
):
    cells.names["rows"] = [{"text": text} for text in ("REFUSED", "good", "CUT")]
    cell = f"%%conduit map rows -o out --endpoint {server.url} --max-errors {limit}\n{VERDICT}"

    if fails:
        error = cells.fail(cell, RunError)
        assert re.search(rf"\b2\b.*\b3\b.*--max-errors {limit}\b", str(error))
    else:
        cells.run(cell)

    assert list(cells.names["out"]["mood"].notna()) == [False, True, False]


def test_no_error_fails_no_cell_even_if_none_is_allowed(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(f"%%conduit map reviews --max-errors 0 --endpoint {server.url}\n{VERDICT}")


def test_a_map_of_a_map_needs_a_prefix_and_does_not_see_its_errors(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(f"%%conduit map reviews -o one --endpoint {server.url}\n{VERDICT}")

    error = cells.fail(
        f"%%conduit map one -o two --endpoint {server.url}\n{VERDICT}", ArgumentError
    )
    assert "'mood', 'error', 'error_code'" in str(error)
    assert "--prefix" in error.hint

    cells.run(f"%%conduit map one -o two --prefix p_ --endpoint {server.url}\n{VERDICT}")
    assert list(cells.names["two"].columns) == [
        "text",
        "stars",
        "mood",
        "error",
        "error_code",
        "p_mood",
        "p_error",
        "p_error_code",
    ]
    assert "error" not in server.questions[-1]


def test_records_go_in_as_they_are(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = [Review("good"), Review("bad")]

    cells.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")

    out = cells.names["out"]
    assert list(out.columns) == ["text", "mood", "error", "error_code"]
    assert list(out["mood"]) == ["good", "bad"]
    assert "Review -> Verdict" in cells.stderr


@pytest.mark.parametrize(
    ("rows", "options", "param", "fact"),
    [
        ("text", "", "rows", "str"),
        (pd.DataFrame({"a": [1]}), "--columns text", "columns", "'text'"),
        (pd.DataFrame({"a b": [1]}), "", "columns", "'a b'"),
        (pd.DataFrame({"a": [1]}), "-o 1x", "out", "'1x'"),
        (pd.DataFrame({"a": [1]}), "-o class", "out", "'class'"),
        (pd.DataFrame({"a": [1]}), "--provider moon", "compute_provider", "'moon'"),
        (pd.DataFrame({"a": [1]}), "--api-key-env NOPE", "api_key_env", "api_key_env"),
        (pd.DataFrame({"a": [1]}), "--endpoint ftp://x", "endpoint", "ftp://x"),
        (pd.DataFrame({"a": [1]}), "--max-tokens 0", "max_tokens", "0"),
        (pd.DataFrame({"a": [1]}), "--model ''", "model", ""),
    ],
)
def test_bad_input_is_an_error_before_anything_is_asked(
    cells: Cells, server: OpenAIServer, rows: Any, options: str, param: str, fact: str
):
    cells.names["rows"] = rows
    has_place = any(option in options for option in ("--endpoint", "--api-key", "--provider"))
    place = "" if has_place else f"--endpoint {server.url}"

    error = cells.fail(f"%%conduit map rows {place} {options}\n{VERDICT}", ArgumentError)

    assert error.param == param
    assert fact in str(error)
    assert error.hint
    assert "rows_out" not in cells.names
    assert not server.requests


def test_a_declared_input_without_its_column_is_an_error_that_names_it(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    error = cells.fail(
        f"%%conduit map reviews --endpoint {server.url}\nclass R:\n    body: str\n\n{VERDICT}",
        ArgumentError,
    )

    assert error.param == "columns"
    assert re.search(r"'body'.*\bR\.body\b", str(error))
    assert "text, stars" in error.hint


def test_a_syntax_error_in_the_cell_is_an_error_with_its_line(cells: Cells, reviews: pd.DataFrame):
    error = cells.fail("%%conduit map reviews\nclass Verdict:\n    mood Literal\n", SchemaError)

    assert error.line == 3
    assert isinstance(error.__cause__, SyntaxError)


def test_an_output_that_no_model_can_write_is_refused(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    error = cells.fail(
        f"%%conduit map reviews --endpoint {server.url}\nclass V:\n    raw: bytes\n", SchemaError
    )

    assert "$.raw" in str(error)


def test_a_text_of_ten_megabytes_is_sent_whole_and_a_row_like_any_other(
    cells: Cells, server: OpenAIServer
):
    cells.names["rows"] = [{"text": "x" * 10_000_000}, {"text": "bad"}]

    cells.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")

    assert max(map(len, server.questions)) > 10_000_000
    assert list(cells.names["out"]["mood"]) == ["good", "bad"]


def test_no_more_requests_are_in_flight_than_asked_for(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = [{"text": f"good {n}"} for n in range(30)]

    cells.run(f"%%conduit map rows -o out --endpoint {server.url} --max-concurrency 2\n{VERDICT}")

    assert server.most_at_once <= 2
    assert list(cells.names["out"]["text"]) == [f"good {n}" for n in range(30)]


def test_five_hundred_rows_come_back_in_order(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = pd.DataFrame({"text": [str(n) for n in range(500)]})

    cells.run(f"%%conduit map rows -o out --endpoint {server.url}\nclass V:\n    n: int\n")

    out = cells.names["out"]
    assert list(out["n"]) == list(range(500))
    assert server.most_at_once <= 64


@pytest.mark.usefixtures("interruptible")
def test_an_interrupt_binds_what_is_finished_and_says_so(cells: Cells, server: OpenAIServer):
    cells.names["rows"] = [{"text": "good 1"}, {"text": "WAIT bad"}, {"text": "bad 3"}]
    finished: list[Event] = []

    def interrupt_after_two(event: Event) -> None:
        if isinstance(event, BlockFinished):
            finished.append(event)
            if len(finished) == 2:
                os.kill(os.getpid(), signal.SIGINT)

    unsubscribe = process_session().events.subscribe(interrupt_after_two)

    error = cells.fail(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}", Interrupted)

    unsubscribe()
    assert re.search(r"\b2\b.*\b3\b", str(error))
    assert re.search(r"\bout\b.*'error'", error.hint)
    out = cells.names["out"]
    assert list(out["mood"].notna()) == [True, False, True]
    assert isinstance(conduit_nb.errors(out)[1], Interrupted)


@pytest.mark.parametrize(
    "rows",
    [
        pd.DataFrame({"text": pd.Series([], dtype="str"), "stars": pd.Series([], dtype="int64")}),
        pd.DataFrame({"text": ["a"], "stars": [1]}).query("stars > 5"),
        pd.DataFrame({"text": []}),
        pd.Series([], dtype="str", name="text"),
        [],
        (),
    ],
    ids=["typed", "filtered", "untyped", "series", "list", "tuple"],
)
@pytest.mark.parametrize("options", ["", "--columns text", "--limit 3"])
def test_no_rows_are_an_empty_result_with_its_columns_and_a_remark(
    cells: Cells, rows: Any, options: str
):
    cells.names["rows"] = rows

    out = cells.run(
        f"%%conduit map rows -o out {options}\n{VERDICT}    n: int\n    parts: List[str]\n"
    )

    assert len(out) == 0
    assert list(out.columns)[-5:] == ["mood", "n", "parts", "error", "error_code"]
    assert (str(out["mood"].dtype), str(out["n"].dtype)) == ("category", "Int64")
    if isinstance(rows, pd.DataFrame):
        pd.testing.assert_frame_equal(out[list(rows.columns)], rows)
    assert "The rows are empty, and so is out" in cells.stderr


def test_no_rows_in_the_background_end_at_once(cells: Cells):
    cells.run("rows = []")

    handle: Any = cells.run(f"%%conduit map rows -o out --background\n{VERDICT}")

    assert len(handle.result(timeout_s=20)) == 0
    assert len(cells.names["out"]) == 0


def test_a_limit_takes_the_first_rows(cells: Cells, reviews: pd.DataFrame, server: OpenAIServer):
    cells.run(f"%%conduit map reviews -o out --limit 2 --endpoint {server.url}\n{VERDICT}")

    assert cells.names["out"]["text"].tolist() == ["good one", "bad one"]
    assert len(server.requests) == 2
    error = cells.fail(f"%%conduit map reviews --limit 0\n{VERDICT}", ArgumentError)
    assert error.param == "limit"


@pytest.mark.parametrize(
    "line",
    ["out.head()", "print(out)", "out", "x = out.mood", "out['mood'].value_counts()", "1 + 1"],
)
def test_a_statement_for_after_the_map_is_refused_with_its_line_on_every_run(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer, line: str
):
    cell = f"%%conduit map reviews -o out --endpoint {server.url}\n{VERDICT}"

    first = cells.fail(f"{cell}\n{line}\n", ArgumentError)
    cells.run(cell)
    second = cells.fail(f"{cell}\n{line}\n", ArgumentError)

    assert str(first) == str(second)
    assert first.line == 6
    assert f"`{line}`" in first.hint
    assert len(server.requests) == 3


@pytest.mark.parametrize(
    ("before", "out", "cell", "replaced"),
    [
        ("import json as it", "it", VERDICT, "the result replaces it, which was a module"),
        ("def it(): pass", "it", VERDICT, "the result replaces it, which was a function"),
        ("class it: pass", "it", VERDICT, "the result replaces it, which was a class"),
        ("it = 3", "out", VERDICT.replace("Verdict", "reviews"), "class reviews replaces reviews"),
        ("import json", "out", VERDICT.replace("Verdict", "json"), "class json replaces json"),
    ],
)
def test_a_name_that_hides_something_else_is_warned_of(
    cells: Cells,
    reviews: pd.DataFrame,
    server: OpenAIServer,
    before: str,
    out: str,
    cell: str,
    replaced: str,
):
    cells.run(before)

    cells.run(f"%%conduit map reviews -o {out} --endpoint {server.url}\n{cell}")

    assert f"Warning: {replaced}" in cells.stderr
    assert len(cells.names[out]) == 3


def test_data_and_classes_are_bound_again_without_a_warning(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    for _ in range(2):
        cells.run(f"%%conduit map reviews -o out --endpoint {server.url}\n{VERDICT}")

    assert "Warning" not in cells.stderr


@pytest.mark.parametrize(
    "few",
    [
        "few = pd.DataFrame({'text': ['x', 'y'], 'stars': [1, 5], 'mood': ['bad', 'good']})",
        "few = reviews.assign(mood=['good', 'bad', 'good']).head(2).iloc[::-1]",
        "few = [(reviews.iloc[1], {'mood': 'bad'}), (reviews.iloc[0], 'good')]",
        "few = [(reviews.iloc[1], pd.Series({'mood': 'bad'}))] * 2",
        "few = reviews.assign(mood='bad').iloc[0]",
        "few = [reviews.assign(mood='bad').iloc[0], {'text': 'x', 'stars': 1, 'mood': 'good'}]",
        "few = {'text': 'x', 'stars': 1, 'mood': 'bad'}",
        "few = ({'text': 'x', 'stars': 1}, {'mood': 'bad'})",
        "few = (({'text': 'x', 'stars': 1}, {'mood': 'bad'}),)",
    ],
)
def test_examples_are_rows_frames_dicts_and_tuples(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer, few: str
):
    cells.run(f"import pandas as pd\n{few}")
    verdict = "class Verdict:\n    mood: Literal['good', 'bad']\n"

    cells.run(f"%%conduit map reviews --examples few --endpoint {server.url}\n{verdict}")

    turns = server.requests[0]["messages"][1:-1]
    assert len(turns) in (2, 4)
    assert turns[1]["content"] == '{"mood":"bad"}'
    assert turns[0]["content"].startswith('{"text":')


def test_the_result_of_a_map_shows_the_next_one_what_is_meant(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer
):
    cells.run(f"%%conduit map reviews -o out --prefix p_ --endpoint {server.url}\n{VERDICT}")
    cells.run("few = out.head(2)")

    cells.run(
        "%%conduit map reviews -o two --prefix p_ --columns body=text --examples few "
        f"--endpoint {server.url}\n{VERDICT}"
    )

    assert [turn["content"] for turn in server.requests[-1]["messages"][1:-1]] == [
        '{"body":"good one"}',
        '{"mood":"good"}',
        '{"body":"bad one"}',
        '{"mood":"bad"}',
    ]


STAGES = {  # the function at whose call the button is pressed
    "the rows are read": "read_rows",
    "the task is made": "task_of",
    "the estimate is made": "preflight",
    "its line is shown": "show_line",
    "the run starts": "start",
    "rows are in flight": "wait",
    "the frame is made": "result_frame",
}


@pytest.mark.parametrize("stage", STAGES)
@pytest.mark.parametrize("options", ["", "--background"])
def test_an_interrupt_at_any_stage_is_interrupted_and_binds_out_once_the_rows_are_known(
    cells: Cells, reviews: pd.DataFrame, server: OpenAIServer, stage: str, options: str
):
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pressed: list[str] = []

    def press(frame: Any, event: str, argument: Any) -> None:  # a profiler's
        is_ours = frame.f_globals.get("__name__", "").startswith("conduit_nb")
        if event == "call" and not pressed and is_ours and frame.f_code.co_name == STAGES[stage]:
            pressed.append(stage)
            os.kill(os.getpid(), signal.SIGINT)

    cells.run(f"%%conduit map reviews -o first --endpoint {server.url}\n{VERDICT}")  # all is loaded
    sys.setprofile(press)
    try:
        result = cells._run(
            f"%%conduit map reviews -o out {options} --endpoint {server.url}\n{VERDICT}"
        )
    finally:
        sys.setprofile(None)
        signal.signal(signal.SIGINT, before)

    error = result.error_in_exec
    assert error is None or isinstance(error, Interrupted), error
    assert pressed or options  # in the background the frame is made by a thread
    if error is not None and stage in ("the rows are read", "the task is made"):
        assert "out" not in cells.names
    elif error is not None:
        assert len(cells.names["out"]) == 3
    elif error is None:
        handle = result.result
        assert len(handle if isinstance(handle, pd.DataFrame) else handle.result(20)) == 3
