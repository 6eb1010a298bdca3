"""Classes that a notebook defines again, in cells and in modules that it reloads."""

from __future__ import annotations

import itertools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from conduit_nb.errors import ConduitError, PipelineError, ValidationError
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

REVIEW = "class Review:\n    text: str\n"
VERDICT = "class Verdict:\n    '''What it is.'''\n    mood: Literal['good', 'bad']\n"
IMPORTS = (
    "from dataclasses import dataclass, field\nfrom enum import Enum\n"
    "from typing import Generic, List, Literal, Optional, TypeVar, Union\n"
)
MTIMES = itertools.count(2_000_000_000)


def schema(text: str, *, is_plain: bool = False) -> str:
    """Return a cell that defines classes, by the magic or with decorators of their own."""
    if not is_plain:
        return f"%%conduit schema\n{text}"
    lines = text.splitlines()
    made = [f"@dataclass\n{x}" if x.startswith("class ") and "(Enum" not in x else x for x in lines]
    return IMPORTS + "\n".join(made)


def block(server: OpenAIServer, name: str = "judge", types: str = "Review Verdict") -> str:
    given, wanted = types.split()
    return f"%%conduit block {name} --input {given} --output {wanted} --endpoint {server.url}\nSay."


@pytest.fixture(params=["magic", "plain"])
def is_plain(request: pytest.FixtureRequest) -> bool:
    return request.param == "plain"


@pytest.fixture
def judge(cells: Cells, server: OpenAIServer, is_plain: bool) -> Cells:
    """A shell with Review, Verdict, and a block between them."""
    cells.run(schema(REVIEW + VERDICT, is_plain=is_plain))
    cells.run(block(server))
    return cells


@pytest.fixture
def rows(cells: Cells) -> pd.DataFrame:
    frame = pd.DataFrame({"text": ["good one", "bad one", "other"]})
    cells.names["rows"] = frame
    return frame


def properties(server: OpenAIServer) -> dict[str, Any]:
    """Return the fields that the last answer was held to."""
    return server.requests[-1]["response_format"]["json_schema"]["schema"]["properties"]


def assert_names(error: ConduitError, redefined: str, user: str = "") -> None:
    """See that `redefined` is told to be another class now, which `user` was made without."""
    for name in (redefined, user):
        assert re.search(rf"\b{name}\b", f"{error} {error.hint}")
    if isinstance(error, ValidationError):
        assert [problem.kind for problem in error.problems] == ["redefined"]


def test_the_same_cell_again_changes_nothing_for_a_block(judge: Cells, is_plain: bool):
    judge.run("first = Review(text='good')\nearly = judge(first)")
    for _ in range(2):
        judge.run(schema(REVIEW + VERDICT, is_plain=is_plain))

    judge.run("late = judge(Review(text='bad'))")
    assert judge.run("late == Verdict('bad') and isinstance(late, Verdict)")
    assert judge.run("[one.mood for one in judge.batch([first, Review('bad')])]") == ["good", "bad"]
    assert judge.run("judge.detailed(first).record == Verdict('good')")


@pytest.mark.parametrize(
    ("call", "changed", "named"),
    [
        ("judge(old)", "class Review:\n    text: str\n    stars: int = 1\n", "Review"),
        ("judge.batch([old])", "class Review:\n    words: str\n", "Review"),
        ("judge(old)", VERDICT.replace("'bad'", "'bad', 'mixed'"), "Verdict"),
        ("judge.detailed(old)", VERDICT.replace("What it is", "How it is meant"), "Verdict"),
    ],
)
def test_a_changed_class_says_which_cell_to_run_again(
    judge: Cells, server: OpenAIServer, is_plain: bool, call: str, changed: str, named: str
):
    judge.run("old = Review(text='good')")
    judge.run(schema(changed, is_plain=is_plain))

    error = judge.fail(call, ValidationError)

    assert_names(error, named, "judge")
    assert server.requests == []
    judge.run(block(server))
    if named == "Verdict":
        assert judge.run("judge(old).mood") == "good"
    else:
        error = judge.fail("judge(old)", ValidationError)
        assert_names(error, "Review")
        assert "Review(...)" in error.hint, "the record is what has to be made again"


def test_the_cells_of_a_pipeline_run_again_in_any_order(
    judge: Cells, server: OpenAIServer, is_plain: bool
):
    judge.run(schema(VERDICT, is_plain=is_plain))
    judge.run(block(server, "again", "Verdict Review"))
    judge.run(schema(REVIEW, is_plain=is_plain))
    judge.run("chain = judge >> again")
    judge.run(schema(REVIEW + VERDICT, is_plain=is_plain))

    assert judge.run("chain(Review('bad')) == Review('text')")
    asked = len(server.requests)
    judge.run(schema(VERDICT.replace("'bad'", "'bad', 'mixed'"), is_plain=is_plain))
    assert_names(judge.fail("chain(Review('bad'))", ValidationError), "Verdict", "judge")
    assert_names(judge.fail("judge >> again", PipelineError), "Verdict", "judge")
    assert len(server.requests) == asked


@pytest.mark.parametrize("hint", ["Inner", "'Inner'", "List[Optional[Inner]]"])
def test_a_part_that_was_defined_again_is_asked_for_as_it_is_now(
    cells: Cells, server: OpenAIServer, rows: pd.DataFrame, is_plain: bool, hint: str
):
    cells.run(schema("class Inner:\n    a: str\n", is_plain=is_plain))
    cells.run(schema(f"class Outer:\n    inner: {hint}\n", is_plain=is_plain))
    cells.run(schema("class Inner:\n    a: str\n    added: int\n", is_plain=is_plain))

    cells.run(f"%%conduit map rows -o out --output Outer --endpoint {server.url}")

    assert cells.names["out"]["error"].isna().all()
    assert "added" in str(properties(server))


@pytest.mark.parametrize("default", ["", " = Kind.none"])
def test_members_added_to_an_enum_of_another_cell_are_asked_for(
    cells: Cells, server: OpenAIServer, rows: pd.DataFrame, is_plain: bool, default: str
):
    kind = "class Kind(Enum):\n    none = 'none'\n    good = 'good'\n"
    cells.run(schema(f"{kind}class Outer:\n    kind: Kind{default}\n", is_plain=is_plain))
    cells.run(f"%%conduit map rows -o out --output Outer --endpoint {server.url}")

    cells.run(f"from enum import Enum\n{kind}    bad = 'bad'\n")
    cells.run(f"%%conduit map rows -o out --output Outer --endpoint {server.url}")

    out = cells.names["out"]
    assert out["error"].isna().all()
    assert [getattr(kind, "value", kind) for kind in out["kind"]] == ["good", "bad", "none"]


def test_a_base_of_another_cell_that_changed_stops_the_map_before_a_row_is_paid(
    cells: Cells, server: OpenAIServer, rows: pd.DataFrame, is_plain: bool
):
    cells.run(schema("class Base:\n    a: str\n", is_plain=is_plain))
    cells.run(schema("class Whole(Base):\n    b: str\n", is_plain=is_plain))
    cells.run(schema("class Base:\n    a: str\n    added: int\n", is_plain=is_plain))

    error = cells.fail(f"%%conduit map rows -o out --output Whole --endpoint {server.url}")

    assert_names(error, "Base", "Whole")
    assert server.requests == []


def test_examples_made_of_the_earlier_classes_are_still_examples(
    judge: Cells, server: OpenAIServer, rows: pd.DataFrame, is_plain: bool
):
    judge.run("few = [(Review('fine'), Verdict('good'))]")
    judge.run(schema(REVIEW + VERDICT, is_plain=is_plain))

    judge.run(block(server).replace("--endpoint", "--examples few --endpoint"))
    judge.run(f"%%conduit map rows -o o --output Verdict --examples few --endpoint {server.url}")

    assert judge.run("judge(Review('bad')).mood") == "bad"
    assert judge.names["o"]["error"].isna().all()


def test_records_of_the_earlier_class_are_rows_of_a_map(
    judge: Cells, server: OpenAIServer, is_plain: bool
):
    judge.run("reviews = [Review('good'), Review('bad')]")
    judge.run(schema(REVIEW + VERDICT, is_plain=is_plain))

    judge.run(f"%%conduit map reviews -o o --input Review --output Verdict --endpoint {server.url}")

    assert list(judge.names["o"]["mood"]) == ["good", "bad"]


Write = Callable[[str, str], None]


@pytest.fixture
def write(cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write a module that cells can import; each time with a time of change of its own."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    names: set[str] = set()

    def write_module(name: str, text: str) -> None:
        names.add(name)
        path = tmp_path / f"{name}.py"
        path.write_text(text)
        os.utime(path, (moment := next(MTIMES), moment))

    yield write_module
    for name in names:
        sys.modules.pop(name, None)


FUTURE = "from __future__ import annotations\n"
CATS = "class Cat(Enum):\n    none = 'none'\n    good = 'good'\n"
RECORD = "@dataclass\nclass Labelled:\n    cat: Cat\n"


@pytest.mark.parametrize(
    ("future", "imported", "change"),
    [
        ("", "from labels import Labelled", "member"),
        (FUTURE, "from labels import Labelled", "member"),
        ("", "from labels import Labelled", "both"),
        (FUTURE, "import labels", "both"),
        ("", "import labels", "field"),
        (FUTURE, "from labels import Labelled", "field"),
    ],
)
def test_a_module_that_reloads_itself_is_asked_for_as_it_is_now(
    cells: Cells,
    server: OpenAIServer,
    rows: pd.DataFrame,
    write: Write,
    future: str,
    imported: str,
    change: str,
):
    write("labels", future + IMPORTS + CATS + RECORD)
    cells.run("%load_ext autoreload")
    cells.run("%autoreload 2")
    cells.run(imported)
    name = "Labelled" if "from" in imported else "labels.Labelled"
    asked = f"%%conduit map rows -o out --output {name} --endpoint {server.url}"
    cells.run(asked)

    member = "    bad = 'bad'\n" if change in ("member", "both") else ""
    added = "    added: int\n" if change in ("field", "both") else ""
    write("labels", future + IMPORTS + CATS + member + RECORD + added)
    cells.run(asked)

    out = cells.names["out"]
    assert out["error"].isna().all(), list(out["error"])
    second = "bad" if member else "none"
    assert [getattr(cat, "value", cat) for cat in out["cat"]] == ["good", second, "none"]
    assert ("added" in properties(server)) == bool(added)


@pytest.mark.parametrize("future", ["", FUTURE])
def test_an_enum_of_a_module_of_its_own_reloads_too(
    cells: Cells, server: OpenAIServer, rows: pd.DataFrame, write: Write, future: str
):
    write("cats", IMPORTS + CATS)
    write("labels", future + IMPORTS + "from cats import Cat\n" + RECORD)
    cells.run("%load_ext autoreload")
    cells.run("%autoreload 2")
    cells.run("from labels import Labelled")
    cells.run("%%conduit schema\nclass Text:\n    text: str\n")
    cells.run(block(server, "label", "Text Labelled"))
    assert cells.run("label(Text('good')).cat.value") == "good"

    write("cats", IMPORTS + CATS + "    bad = 'bad'\n")

    cells.run(f"%%conduit map rows -o out --output Labelled --endpoint {server.url}")
    assert cells.names["out"]["error"].isna().all()
    cats = [getattr(cat, "value", cat) for cat in cells.names["out"]["cat"]]
    assert cats == ["good", "bad", "none"]
    assert cells.run("label(Text('bad')).cat.value") == "bad"


def test_a_module_reloaded_by_hand_is_asked_for_as_it_is_now(
    cells: Cells, server: OpenAIServer, rows: pd.DataFrame, write: Write
):
    write("cats", IMPORTS + CATS)
    cells.run("import importlib, cats\nfrom cats import Cat")
    cells.run("%%conduit schema\nclass Labelled:\n    cat: Cat\n")
    write("cats", IMPORTS + CATS + "    bad = 'bad'\n")
    cells.run("importlib.reload(cats)")

    cells.run(f"%%conduit map rows -o out --output Labelled --endpoint {server.url}")

    assert cells.names["out"]["error"].isna().all()
    assert properties(server)["cat"]["enum"] == ["none", "good", "bad"]


def test_a_block_of_a_module_that_was_reloaded_with_another_record_says_so(
    cells: Cells, server: OpenAIServer, write: Write
):
    write("labels", IMPORTS + CATS + RECORD)
    cells.run("import importlib, labels")
    cells.run("%%conduit schema\nclass Text:\n    text: str\n")
    cells.run(block(server, "label", "Text labels.Labelled"))
    write("labels", IMPORTS + CATS + RECORD + "    added: int\n")
    cells.run("importlib.reload(labels)")

    error = cells.fail("label(Text('good'))", ConduitError)

    assert_names(error, "Labelled", "label")
    assert server.requests == []
