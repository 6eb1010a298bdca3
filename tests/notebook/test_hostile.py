"""Every display against hostile text: it stays text, and a notebook file stays small.

What is left of each display after an allow-list (GitHub's tags, no styles) still says everything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, make_dataclass, replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas as pd
import pytest
from IPython.core.interactiveshell import InteractiveShell

from conduit_nb import Block, Length, LMLiteBlock
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import Problem, ProviderAuthError, ValidationError
from conduit_nb.notebook.background import BackgroundMap
from conduit_nb.notebook.debug_line import FailedRows, failures
from conduit_nb.notebook.display import Line, Listings, Table, Text
from conduit_nb.notebook.error_display import ErrorView
from conduit_nb.notebook.mdl_display import SchemaListings, SchemaView
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.pipeline_display import PipelineView
from conduit_nb.notebook.plan_display import PlanView
from conduit_nb.notebook.preflight import Preflight
from conduit_nb.notebook.progress import ProgressLine
from conduit_nb.notebook.receipt_display import ReceiptView
from conduit_nb.notebook.serving import Witness
from conduit_nb.plans.answer import PlanAnswer
from conduit_nb.plans.choice import choose
from conduit_nb.providers.sources import Market, SourceFailure
from conduit_nb.runs import Run
from conduit_nb.runs.progress import Snapshot
from conduit_nb.runs.receipts import Receipt
from conduit_nb.schemas import schema_of
from conduit_nb.session import process_session
from tests.compute.made_plans import made_plan
from tests.hostile import HOSTILE
from tests.plans.described_market import offered

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)
MOST_BYTES = 1_000_000
OBEYED = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202e\u2066]")
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


def schema(text: str) -> SchemaView:
    short = text[:200].replace("\ud800", "?")
    described = Annotated[str, Length(1, 3), short]
    made = make_dataclass("Made", [("a", described), ("b", Literal[short])])
    return SchemaView(schema_of(made))


def error(text: str) -> ValidationError:
    problem = Problem(path="$.a", message=f"expected int, got {text}")
    return ValidationError((problem,), subject=text, text=text)


def receipt(text: str) -> ReceiptView:
    made = Receipt(
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
    return ReceiptView(made, Line(text))


def offerings(text: str) -> OfferingsView:
    failure = SourceFailure(provider=text, error=ProviderAuthError(text, hint=text))
    one = replace(offered("x", "L4", 22, 0.5), region=text, provider=text, id=text)
    market = Market(offerings=(one,), failures=(failure,))
    return OfferingsView(choose(market, constraint=DeploymentConstraint()), now=NOW)


def named_block(text: str) -> PipelineView:
    block = Odd(Given, Given)
    block.name = text
    return PipelineView(block, name=text)


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
    return BackgroundMap(run, frame_of, witness=witness, title=text, out=text, shell=shell)


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
    "text": Text,
    "listings": lambda text: Listings({text: text}, head=text),
    "schema listings": lambda text: SchemaListings({text: text}, head=text),
    "table": lambda text: Table([Given(text)], empty=""),
    "empty table": lambda text: Table([], empty=text),
    "deployments": lambda text: Table(
        [
            DeploymentInfo(
                name=text,
                provider=text,
                runtime=text,
                status=text,
                url=text,
                device=text,
                models={text: text},
                detail=text,
            )
        ],
        empty="",
    ),
    "schema": schema,
    "error": lambda text: ErrorView(error(text)),
    "whole error": lambda text: ErrorView(error(text), whole=True),
    "foreign error": lambda text: ErrorView(RuntimeError(text), whole=True),
    "failed rows": lambda text: FailedRows(
        failures(pd.DataFrame({"text": [text], "error": [error(text)]}), "out")
    ),
    "offerings": offerings,
    "choice": lambda text: offerings(text).choice,
    "plan": lambda text: PlanView(plan_answer(text)),
    "plan answer": plan_answer,
    "background map": background_map,
    "pipeline": named_block,
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
    "receipt": receipt,
}


def texts(bundle: Any) -> tuple[str, str]:
    data = bundle[0] if isinstance(bundle, tuple) else bundle
    return data["text/plain"], data["text/html"]


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("display", DISPLAYS)
def test_hostile_text_stays_text(display: str, what: str):
    whole = DISPLAYS[display](HOSTILE[what])._repr_mimebundle_()
    plain, html = texts(whole)

    page = Page(html)
    assert page.tags <= {*ALLOWED, "progress"}, page.tags - ALLOWED
    assert page.attributes <= HARMLESS, page.attributes - HARMLESS
    assert not [value for value in page.values if re.search(r"javascript:|data:|url\(", value)]
    for form in (plain, html, page.text):
        assert not OBEYED.search(form)
    assert len(json.dumps(whole)) < MOST_BYTES


@pytest.mark.parametrize("display", DISPLAYS)
def test_it_says_the_same_where_only_an_allow_list_is_left_of_it(display: str):
    plain, html = texts(DISPLAYS[display]("so says the text")._repr_mimebundle_())
    page = Page(html)

    kept = page.tags & ALLOWED
    assert page.tags - kept <= {"progress"}, "a bar alone may be lost: its figures stand beside it"
    assert "so says the text" in page.text
    for word in set(re.findall(r"[A-Za-z]{4,}", plain)):
        assert word in page.text, f"{word} stands in the text only"


def test_every_display_is_here():
    shown = re.compile(r"^class (\w+)\((?:Shown|Listings|OfferingsView)\)", re.MULTILINE)
    folder = Path(__file__).parents[2] / "conduit_nb/notebook"
    found = {name for path in folder.rglob("*.py") for name in shown.findall(path.read_text())}
    here = {type(make("x")).__name__ for make in DISPLAYS.values()}

    elsewhere = {
        "LiveOfferings": "OfferingsView beside a widget",
        "Snapshot": "another display, folded",
    }
    assert found - here == elsewhere.keys()
