"""notebook/reloaded.py: classes that a reload has left as they were."""

from __future__ import annotations

import importlib
import itertools
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import IPython.extensions.autoreload  # noqa: F401  # as the user's %load_ext does
import pytest

from conduit_nb.errors import SchemaError
from conduit_nb.notebook.reloaded import require_reloaded
from conduit_nb.schemas import schema_of
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

HEAD = (
    "from dataclasses import dataclass, field\nfrom enum import Enum, StrEnum\n"
    "from typing import Annotated, ClassVar, Literal\nfrom conduit_nb.schemas import Range\n"
)
LABELS = (
    "class Kind(StrEnum):\n    A = 'a'\n    _ignored = 'x'\n\n"
    "@dataclass\nclass Label:\n    '''What it is.'''\n    kind: Kind\n"
    "    mood: Literal['good', 'bad'] = 'good'\n    stars: Annotated[int, Range(ge=1)] = 1\n"
    "    many: list[int] = field(default_factory=list)\n    MOST: ClassVar[int] = 3\n\n"
    "    def shown(self):\n        return self.kind\n"
)
MOMENTS = itertools.count(1_900_000_000)

Write = Callable[[str], Any]


@pytest.fixture
def write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """Write the module `labels`, import it the first time, and return it."""
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)

    def write_labels(text: str) -> Any:
        path = tmp_path / "labels.py"
        path.write_text(text)
        os.utime(path, (moment := next(MOMENTS), moment))
        return importlib.import_module("labels")

    yield write_labels
    sys.modules.pop("labels", None)


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"])
@pytest.mark.parametrize(
    ("before", "after", "at_fault"),
    [
        ("    kind: Kind\n", "    kind: Kind\n    added: int = 1\n", "Label"),
        ("    kind: Kind\n", "    kind: Kind\n    added: int\n", "Label"),
        ("'good', 'bad'] =", "'good', 'bad', 'mixed'] =", "Label"),
        ("ge=1", "ge=0", "Label"),
        ("list[int]", "list[str]", "Label"),
        ("    A = 'a'\n", "    A = 'a'\n    B = 'b'\n", "Kind"),
    ],
)
def test_a_class_that_its_source_says_otherwise_is_refused(
    write: Write, future: str, before: str, after: str, at_fault: str
):
    labels = write(future + HEAD + LABELS)
    schema = schema_of(labels.Label)
    require_reloaded(schema)

    write(future + HEAD + LABELS.replace(before, after))
    with pytest.raises(SchemaError, match=rf"\blabels\b.*\b{at_fault}\b"):
        require_reloaded(schema)

    labels = importlib.reload(labels)
    require_reloaded(schema_of(labels.Label))


def test_other_changes_of_a_module_are_nothing_to_a_class(write: Write):
    labels = write(HEAD + LABELS)
    write("# A remark.\n" + HEAD + LABELS.replace("self.kind", "self.mood") + "LIMIT = 3\n")

    require_reloaded(schema_of(labels.Label))


def test_a_default_that_was_only_patched_in_is_refused(write: Write):
    labels = write(HEAD + LABELS)
    labels.Label.stars = 2  # as autoreload does it

    with pytest.raises(SchemaError, match=r"\blabels\b.*\bLabel\b") as caught:
        require_reloaded(schema_of(labels.Label))
    assert "importlib.reload(labels)" in caught.value.hint


@pytest.mark.parametrize("text", ["", "class Label:\n  (", "class Other: pass\n"])
def test_where_the_source_does_not_tell_nothing_is_refused(write: Write, text: str):
    labels = write(HEAD + LABELS)
    write(text)

    require_reloaded(schema_of(labels.Label))


def test_a_map_and_a_block_stop_before_anything_is_asked(cells: Cells, write: Write):
    write(HEAD + LABELS)
    cells.run("import labels\nrows = ['a']")
    write(HEAD + LABELS.replace("kind: Kind", "kind: Kind\n    added: int = 1"))

    for cell in (
        "%%conduit map rows -o out --output labels.Label --endpoint http://127.0.0.1:9/v1",
        "%%conduit block b --input labels.Label --output labels.Label\nSay.",
    ):
        assert "importlib.reload(labels)" in cells.fail(cell, SchemaError).hint


def test_an_alias_that_was_redefined_is_remarked_with_the_cell_to_run_again(
    cells: Cells, server: OpenAIServer
):
    asked = f"%%conduit map rows -o out --output Verdict --endpoint {server.url}"
    verdict = (
        "%%conduit schema\nclass Verdict:\n    mood: Mood\n    many: List[Optional[Mood]]\n"
        "    stars: Annotated[int, Range(le=MOST)]\n    name: str\n    kinds: 'Optional[str]'\n"
    )
    cells.run("from typing import Literal\nMood = Literal['good', 'bad']\nMOST = 5\nrows = ['a']")
    cells.run(verdict)
    cells.run(asked)
    assert "cell again" not in cells.stderr

    cells.run("Mood = Literal['good', 'bad', 'mixed']")
    cells.run(asked)
    assert "Verdict.mood, Verdict.many is from before" in cells.stderr
    assert "run Verdict's cell again" in cells.stderr
    cells.run(verdict)
    cells.run(asked)

    assert "cell again" not in cells.stderr


def test_a_map_takes_a_generic_input_with_its_arguments(cells: Cells, server: OpenAIServer):
    cells.run("from typing import TypeVar\nT = TypeVar('T')\nrows = [{'items': ['a']}]")
    cells.run("%%conduit schema\nclass Page(Generic[T]):\n    items: List[T]\n")

    cells.run(
        f"%%conduit map rows -o out --input Page[str] --output Page[int] --prefix n_ "
        f"--endpoint {server.url}"
    )

    assert list(cells.names["out"]["n_items"]) == [[1]]
    assert server.questions == ['{"items":["a"]}']
