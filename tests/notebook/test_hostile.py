"""Every display against hostile text: it stays text, and a notebook file stays small.

What is left of each display after an allow-list (GitHub's tags, no styles) still says everything.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, make_dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Any, Literal, cast

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell
from IPython.utils.capture import capture_output

from conduit_nb import Block, Length, LMLiteBlock
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.desk.wire import (
    Action,
    action_document,
    deployment_document,
    log_document,
    plain_document,
)
from conduit_nb.errors import Problem, ProviderAuthError, ValidationError
from conduit_nb.notebook.background import BackgroundMap
from conduit_nb.notebook.debug_line import FailedRows, failures
from conduit_nb.notebook.display import Line, Listings, Table, Text
from conduit_nb.notebook.error_display import ErrorView
from conduit_nb.notebook.image_line import ImageLine
from conduit_nb.notebook.mdl_display import SchemaListings, SchemaView
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.panels.offering_table import (
    LiveOfferings,
    OfferingTable,
    table_message,
)
from conduit_nb.notebook.panels.offering_table import Snapshot as Folded
from conduit_nb.notebook.panels.widget import problem_of
from conduit_nb.notebook.pipeline_display import PipelineView
from conduit_nb.notebook.plan_display import PlanView
from conduit_nb.notebook.preflight import Preflight
from conduit_nb.notebook.progress import ProgressLine
from conduit_nb.notebook.serving import ReceiptView, Witness
from conduit_nb.plans.answer import PlanAnswer
from conduit_nb.plans.choice import choose
from conduit_nb.plans.documents import error_document, offerings_document
from conduit_nb.providers.sources import Market, SourceFailure
from conduit_nb.runs import Run
from conduit_nb.runs.receipts import Receipt
from conduit_nb.runs.run import Snapshot
from conduit_nb.schemas import Schema, schema_of
from conduit_nb.session import process_session
from tests.compute.made_plans import made_plan
from tests.hostile import HOSTILE
from tests.plans.described_market import offered

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MOST_BYTES = 1_000_000
OBEYED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202e\u2066\u2069]")
PROTOCOL = re.compile(r"_repr_\w+_|_ipython_display_|_render_traceback_")
"""How a class says to Jupyter or IPython what it looks like."""
# What github.com lets through of a notebook's HTML, and the attributes that it leaves on it.
TAGS = (
    "a b blockquote br code dd del details div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p "
    "pre q s samp span strong sub summary sup table tbody td tfoot th thead tr ul var"
)
ALLOWED = set(TAGS.split())
KEPT_ATTRIBUTES = {"scope", "colspan", "rowspan", "open", "align"}
HARMLESS = {*KEPT_ATTRIBUTES, "style", "class", "title", "aria-label", "max", "value", "role"}


class Page(HTMLParser):
    """Reads HTML as a browser does, and what an allow-list would leave of it."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.attributes: set[str] = set()
        self.values: list[str] = []
        self.text = ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.values += [value or "" for _, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


@dataclass
class Given:
    text: str


class Odd(Block[Given, Given]):
    async def _run(self, record: Given, call: object) -> Given:
        return record


def schema(text: str) -> Schema[Any]:
    short = text[:200].replace("\ud800", "?")
    described = Annotated[str, Length(1, 3), short]
    made = make_dataclass("Made", [("a", described), ("b", Literal[short])])
    return schema_of(made)


def error(text: str) -> ValidationError:
    problem = Problem(path="$.a", message=f"expected int, got {text}")
    return ValidationError((problem,), subject=text, text=text)


def a_receipt(text: str) -> Receipt:
    return Receipt(
        title=text,
        model=text,
        rows=2,
        done=2,
        failed=0,
        prompt_tokens=1,
        completion_tokens=1,
        seconds=1.0,
        started_at=text,
        schema_hash=text,
        runtime=text,
        provider=text,
        device=text,
    )


def a_deployment(text: str) -> DeploymentInfo:
    return DeploymentInfo(
        name=text,
        provider=text,
        runtime=text,
        status=text,
        url=text,
        device=text,
        models={text: text},
        detail=text,
    )


def offerings(text: str) -> OfferingsView:
    failure = SourceFailure(provider=text, error=ProviderAuthError(text, hint=text))
    one = replace(offered("x", "L4", 22, 0.5), region=text, provider=text, id=text)
    market = Market(offerings=(one,), failures=(failure,))
    return OfferingsView(choose(market, constraint=DeploymentConstraint()), now=NOW)


def live_offerings(text: str) -> LiveOfferings:
    view = offerings(text)
    table = OfferingTable(
        process_session(), view, ask=lambda _: view, asked={"models": [text], "runtime": text}
    )
    return LiveOfferings(view, table)


def named_block(text: str) -> Odd:
    block = Odd(Given, Given)
    block.name = text
    return block


def plan_answer(text: str) -> PlanAnswer:
    made = made_plan()
    named = replace(made, models=(replace(made.models[0], model_id=text),), runtime_version=text)
    return PlanAnswer(plan=named, why_unknown=text)


def background_map(text: str) -> BackgroundMap:
    """Return a map that nobody has started."""
    session = process_session()
    task = LMLiteBlock(["m/one"]).task(Given, Given)
    run = Run(session, task, [Given("x")])
    witness = Witness(session, task, schema_of(Given), text)
    shell = InteractiveShell.instance()
    return BackgroundMap(
        run,
        lambda: frame_of(run),
        ending=lambda: text,
        witness=witness,
        title=text,
        out=lambda: text,
        shell=shell,
    )


def frame_of(run: Run[Any, Any]) -> pd.DataFrame:
    return pd.DataFrame({"done": [run.progress.snapshot().done]})


SNAPSHOT = Snapshot(
    total=2,
    done=1,
    failed=0,
    prompt_tokens=1,
    completion_tokens=1,
    elapsed_s=1.0,
    rows_per_s=1.0,
    eta_s=1.0,
)
DISPLAYS: dict[str, Callable[[str], Any]] = {
    "line": Line,
    "image line": lambda text: ImageLine(text, "Built"),
    "text": Text,
    "listings": lambda text: Listings({text: text}, head=text),
    "schema listings": lambda text: SchemaListings({text: text}, head=text),
    "table": lambda text: Table([Given(text)], empty=""),
    "empty table": lambda text: Table([], empty=text),
    "deployments": lambda text: Table([a_deployment(text)], empty=""),
    "deployment": a_deployment,
    "schema": schema,
    "schema view": lambda text: SchemaView(schema(text)),
    "error": lambda text: ErrorView(error(text)),
    "whole error": lambda text: ErrorView(error(text), whole=True),
    "foreign error": lambda text: ErrorView(RuntimeError(text), whole=True),
    "failed rows": lambda text: FailedRows(failures(pd.Series([error(text)], dtype=object), "out")),
    "offerings": offerings,
    "choice": lambda text: offerings(text).choice,
    "plan": lambda text: PlanView(plan_answer(text)),
    "plan answer": plan_answer,
    "background map": background_map,
    "block": named_block,
    "pipeline": lambda text: PipelineView(named_block(text), name=text),
    "progress": lambda text: ProgressLine(SNAPSHOT, text),
    "preflight": lambda text: Preflight(
        rows=1,
        prompt_tokens=1,
        completion_tokens=1,
        seconds=1.0,
        usd=0.0,
        place=text,
        basis=text,
    ),
    "receipt view": lambda text: ReceiptView(a_receipt(text), Line(text)),
    "receipt": a_receipt,
    "raised error": error,
    "live offerings": live_offerings,
    "folded": lambda text: Folded(offerings(text), at=NOW),
}


MESSAGES: dict[str, Callable[[str], Any]] = {
    "table": lambda text: table_message(offerings(text), at=NOW, models=[text]),
    "problem": lambda text: problem_of(error(text)),
    "deployment": lambda text: deployment_document(a_deployment(text)),
    "log": lambda text: log_document([text]),
    "offerings": lambda text: plain_document(offerings_document(offerings(text).choice)),
    "error": lambda text: plain_document(error_document(error(text))),
    "action": lambda text: action_document(
        Action(
            id="1",
            word="deploy",
            target=text,
            state="failed",
            began_at=NOW,
            error={"message": text, "hint": text},
        )
    ),
}
"""What panels are told; what they make of it is tested where they are written."""


def texts(bundle: Any) -> tuple[str, str]:
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return data.get("text/plain", ""), data.get("text/html", "")


def strings(told: Any) -> Iterator[str]:
    """Yield every text in a document, its names as well."""
    if isinstance(told, str):
        yield told
    elif isinstance(told, dict):
        yield from strings([*cast("dict[Any, Any]", told).items()])
    elif isinstance(told, list | tuple):
        for one in cast("list[Any]", told):
            yield from strings(one)


def stays_text(whole: Any) -> None:
    """Assert that nothing in these forms is more than text, or too much of it."""
    page = Page(texts(whole)[1])
    assert page.tags <= {*ALLOWED, "progress"}, page.tags - ALLOWED
    assert page.attributes <= HARMLESS, page.attributes - HARMLESS
    assert not [value for value in page.values if re.search(r"javascript:|data:|url\(", value)]
    for form in (*strings(whole), page.text):
        assert not OBEYED.search(form), form[:200]
    assert len(json.dumps(whole)) < MOST_BYTES


@pytest.fixture
def made(display: str) -> Iterator[Callable[[str], Any]]:
    """Yield what makes the display of a text; what is alive in it ends."""
    alive: list[LiveOfferings] = []

    def make(text: str) -> Any:
        shown = DISPLAYS[display](text)
        if isinstance(shown, LiveOfferings):
            alive.append(shown)
        return shown

    yield make
    for one in alive:
        one.table.close()


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("display", DISPLAYS)
def test_hostile_text_stays_text(made: Callable[[str], Any], what: str):
    stays_text(made(HOSTILE[what])._repr_mimebundle_())


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("display", ["live offerings", "background map"])
def test_what_shows_itself_shows_text(made: Callable[[str], Any], what: str):
    shown = made(HOSTILE[what])
    InteractiveShell.instance()

    with capture_output() as captured:
        shown._ipython_display_()

    assert captured.outputs
    for output in captured.outputs:
        stays_text((output.data, output.metadata))


@pytest.mark.parametrize("what", HOSTILE)
def test_an_error_that_ends_a_cell_is_two_lines_of_text(what: str):
    lines = error(HOSTILE[what])._render_traceback_()

    assert len(lines) <= 2
    for line in lines:
        assert not OBEYED.search(line)
        assert len(line) < 10_000


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("message", MESSAGES)
def test_what_panels_are_told_is_plain_and_short(message: str, what: str):
    told = MESSAGES[message](HOSTILE[what])

    for text in strings(told):
        assert not OBEYED.search(text), text[:200]
    assert len(json.dumps(told)) < MOST_BYTES


@pytest.mark.parametrize("display", DISPLAYS)
def test_it_says_the_same_where_only_an_allow_list_is_left_of_it(made: Callable[[str], Any]):
    plain, html = texts(made("so says the text")._repr_mimebundle_())
    page = Page(html)

    kept = page.tags & ALLOWED
    assert page.tags - kept <= {"progress"}, "a bar alone may be lost: its figures stand beside it"
    assert "so says the text" in page.text
    for word in set(re.findall(r"[A-Za-z]{4,}", plain)):
        assert word in page.text, f"{word} stands in the text only"


ELSEWHERE = {
    "Displayed": "only what derives from it is shown",
    "Shown": "only what derives from it is shown",
    "Bundle": "what a widget is shown with, as live offerings are",
}
ALIKE = {"Block", "ConduitError"}
"""What derives from one of these looks like it, unless it says otherwise."""


def displays_of(sources: Iterable[str]) -> set[str]:
    """Return the classes that say to Jupyter what they look like, and those that derive from one.

    A class that only inherits its looks from one of ALIKE is left out.
    """
    bases: dict[str, set[str]] = {}
    found: set[str] = set()
    for one in (one for source in sources for one in ast.walk(ast.parse(source))):
        if isinstance(one, ast.ClassDef):
            names = {ast.unparse(base).partition("[")[0].rpartition(".")[2] for base in one.bases}
            bases[one.name] = names
            if any(PROTOCOL.fullmatch(name) for name in names_in(one)):
                found.add(one.name)
    while more := {name for name in bases.keys() - found if bases[name] & (found - ALIKE)}:
        found |= more
    return found


def names_in(made: ast.ClassDef) -> Iterator[str]:
    """Yield the names of a class's methods and of what is assigned in it."""
    for one in made.body:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef):
            yield one.name
        elif isinstance(one, ast.Assign | ast.AnnAssign):
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            yield from (ast.unparse(target) for target in targets)


def test_every_display_is_here():
    package = Path(__file__).parents[2] / "conduit_nb"
    found = displays_of(path.read_text() for path in package.rglob("*.py"))
    here = {
        kind.__name__ if kind not in (Odd, ValidationError) else kind.__mro__[1].__name__
        for kind in (type(make("x")) for make in DISPLAYS.values())
    }

    assert found - here == ELSEWHERE.keys(), "Add what is new to DISPLAYS."
    assert not re.search(
        r"\.for_type(_by_name)?\(", "".join(path.read_text() for path in package.rglob("*.py"))
    ), "What IPython's formatters are told is not found here."


@pytest.mark.parametrize(
    "source",
    [
        "class New:\n    def _repr_html_(self): ...",
        "class New:\n    _repr_html_ = Old._repr_html_",
        "class New:\n    async def _ipython_display_(self): ...",
        "class New(display.Shown): ...",
        "class Between(Table[int]): ...\nclass New(Between): ...",
        "class New(Block[A, B]):\n    def _repr_svg_(self): ...",
    ],
)
def test_a_new_display_is_found(source: str):
    old = (
        "class Shown:\n    def _repr_mimebundle_(self): ...\n"
        "class Table(list[T]):\n    def _repr_mimebundle_(self): ...\n"
        "class Displayed:\n    def _repr_mimebundle_(self): ...\nclass Block(Displayed): ..."
    )

    assert "New" in displays_of([old, source])
    assert "New" not in displays_of([old, "class New(Block[A, B]): ..."])
