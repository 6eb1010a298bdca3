"""The live table of offerings: what they are told as, asking again, and deploying on one.

Layer 7.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, cast

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.request import DeploymentRequest, deployment_options
from conduit_nb.compute.selection import Explanation
from conduit_nb.desk.wire import Document, form_document
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import QUANTIZATIONS
from conduit_nb.notebook.display import Shown, bounded, html_of
from conduit_nb.notebook.offerings_display import OfferingsView
from conduit_nb.notebook.panels.widget import Message, Panel, problem_of
from conduit_nb.notebook.shell import new_display
from conduit_nb.options import options_of, parse_options, read_options
from conduit_nb.plain_text import plain
from conduit_nb.plans.choice import Choice
from conduit_nb.plans.options import DTYPE_ALIASES, PlanOptions
from conduit_nb.session import Session

REFRESH_S = 30.0
TOKENS = 1e6
LONGEST_KEY = 300
LONGEST_CELL = 2_000
S_PER_HOUR = 3600
SETTLED = (
    "runtime",
    "provider",
    "providers",
    "gpu",
    "gpu_count",
    "regions",
    "max_usd_per_hour",
    "interruptible",
)
"""The options of a deployment that a plan and an offering have settled: no form asks for them."""
COLUMNS = (
    "key",
    "fits",
    "why",
    "gpu",
    "count",
    "gib",
    "usd_per_hour",
    "usd_per_gib",
    "usd_per_mtok",
    "tokens_per_s",
    "speed_range",
    "availability",
    "as_of",
    "region",
    "provider",
    "launchable",
)

_PLAN_KEYS = {key for one in options_of(PlanOptions) for key in (one.name, *one.aliases)}


class OfferingTable(Panel):
    """Every offering against a plan, asked for again every half minute while it is looked at.

    `ask` asks the providers; `asked` are the options of the line, as what is deployed on an
    offering has them too.
    """

    script: ClassVar[str] = "offering_table.js"

    def __init__(
        self,
        session: Session,
        view: OfferingsView,
        *,
        ask: Callable[[bool], OfferingsView],
        asked: Mapping[str, Any],
        refresh_s: float = REFRESH_S,
    ) -> None:
        self._view = view
        self._at = datetime.now(UTC)
        self._ask = ask
        self._asked = asked
        self._refresh_s = refresh_s
        self._asking = asyncio.Lock()
        self._is_asked_anew = False  # also while that waits for an answer that may be an old one
        super().__init__(session)

    async def answer(self, message: Mapping[str, Any]) -> None:
        """Answer a view that is `here`, wants a `refresh`, or wants to `deploy`."""
        match message.get("kind"):
            case "here":
                await self._tell_table()
                self.tell("choices", options=open_options(self._asked))
            case "refresh":
                await self._refresh(is_fresh=True)
            case "deploy":
                await self.deploy(message, lambda: self._request(message))
            case _:
                raise ArgumentError("The table does not know that.", hint="Run the cell again.")

    async def every_beat(self) -> None:
        """Ask again when the answer is old."""
        if (datetime.now(UTC) - self._at).total_seconds() >= self._refresh_s:
            await self._refresh(is_fresh=False)

    async def _refresh(self, *, is_fresh: bool) -> None:
        if self._asking.locked() and (self._is_asked_anew or not is_fresh):
            return
        self._is_asked_anew = is_fresh
        async with self._asking:
            try:
                self._view = await asyncio.to_thread(self._ask, is_fresh)
            finally:
                self._is_asked_anew = self._is_asked_anew and not is_fresh
            self._at = datetime.now(UTC)
        await self._tell_table()

    async def _tell_table(self) -> None:
        message = await asyncio.to_thread(
            table_message, self._view, at=self._at, models=self._asked.get("models") or ()
        )
        self.tell("table", **message)

    def _request(self, message: Mapping[str, Any]) -> DeploymentRequest:
        offering = offering_of(self._view.choice, str(message.get("key")))
        return request_on(offering, self._asked, message.get("request"))


class LiveOfferings(OfferingsView):
    """What is offered, as a table that is alive, and as it was when it was asked for."""

    def __init__(self, view: OfferingsView, table: OfferingTable) -> None:
        super().__init__(view.choice, limit=view.limit, show_why=view.show_why)
        self.table = table

    def _ipython_display_(self) -> None:
        self.table.show(plain(self.title))
        new_display().display(Snapshot(self))


class Snapshot(Shown):
    """A display as it was, folded: for readers without a kernel."""

    def __init__(self, shown: Shown, *, at: datetime | None = None) -> None:
        self._shown = shown
        self._at = at or datetime.now(UTC)

    def _text(self) -> str:
        return repr(self._shown)

    def _html(self) -> str:
        head = f"As of {self._at:%Y-%m-%d %H:%M} UTC, without a kernel"
        return f"<details><summary>{head}</summary>{html_of(self._shown)}</details>"


def table_message(view: OfferingsView, *, at: datetime, models: Sequence[str]) -> Message:
    """Return all offerings, those that are left out as well, as rows of `COLUMNS`.

    `models` are what can be deployed on them. All text in it is plain: it comes from providers.
    """
    choice = view.choice
    return {
        "title": _plain(view.title),
        "at": at.isoformat(),
        "has_plan": choice.plan is not None,
        "can_deploy": bool(models),
        "models": [_plain(model) for model in models],
        "columns": COLUMNS,
        "rows": [_row(one, choice) for one in _all(choice)],
        "failures": [
            {"provider": _plain(one.provider), **problem_of(one.error)} for one in choice.failures
        ],
    }


def offering_of(choice: Choice, key: str) -> ComputeOffering:
    """Return the offering that a row's key names. Raises ArgumentError."""
    for one in _all(choice):
        if key_of(one.offering) == key:
            return one.offering
    raise ArgumentError(
        "That is not offered any more.", param="key", hint="Refresh, and take another."
    )


def open_options(asked: Mapping[str, Any]) -> list[Document]:
    """Return the options that are still open once an offering is picked, for a form.

    What the plan was asked for is the default of what is left out.
    """
    planned = _planned(asked)
    return [
        {**one, "default": planned.get(one["name"], one["default"])}
        for one in form_document()
        if one["name"] not in SETTLED
    ]


def request_on(
    offering: ComputeOffering, asked: Mapping[str, Any], given: object = None
) -> DeploymentRequest:
    """Return the deployment that is meant: the models as planned, on just this offering.

    `given` is what a form sends: the models that it is about, and the options that were filled in.
    Raises ArgumentError, with `param`, where an option is not valid or settled by the plan or the
    offering already, and where the plan rests on what no deployment can be told: what is started
    must be what was planned.
    """
    options = _options_in(given, asked["models"])
    of_plan = {name: value for name, value in asked.items() if name in _PLAN_KEYS}
    planned = parse_options(PlanOptions, of_plan)
    _refuse_untold(planned)
    return DeploymentRequest.parse(
        {
            **_planned(asked),
            "models": asked["models"],
            "runtime": planned.runtime,
            **options,
            "provider": offering.provider,
            "gpu": offering.accelerator,
            "gpu_count": offering.count if offering.accelerator else None,
            "constraint": _just(offering),
        }
    )


def _planned(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a plan was asked for, of what a deployment can be told."""
    of_plan = {name: value for name, value in asked.items() if name in _PLAN_KEYS}
    given = read_options(options_of(PlanOptions), of_plan)
    names = {one.name for one in deployment_options()}
    planned = {name: value for name, value in given.items() if name in names}
    if "dtype" in planned:
        planned["dtype"] = DTYPE_ALIASES.get(planned["dtype"], planned["dtype"])
    return planned


def _options_in(given: object, models: Sequence[str]) -> dict[str, object]:
    """Return the options that a form has sent. Raises ArgumentError where it is about others."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise ArgumentError("The options are no object.", param="request", hint="Fill in the form.")
    sent = cast("Mapping[str, object]", given)
    options = {str(name): value for name, value in sent.items() if value is not None}
    meant = options.pop("models", None)
    if meant is not None and meant != [_plain(model) for model in models]:
        raise ArgumentError(
            f"The plan is for {', '.join(models):.200}; the form is for {meant!r:.200}.",
            param="models",
            hint="Plan again, then pick an offering.",
        )
    for name in (*SETTLED, "constraint"):
        if name in options:
            raise ArgumentError(
                f"{name} is settled by the plan and the offering.",
                param=name,
                hint=f"Leave {name} out, or pick another offering.",
            )
    return options


def _refuse_untold(planned: PlanOptions) -> None:
    dtype, quantization = _dtype(planned), planned.quantization
    untold = {
        "quantization": quantization if quantization not in (None, *QUANTIZATIONS) else None,
        "kv_dtype": planned.kv_dtype if planned.kv_dtype != "auto" else None,
        "dtype": "fp8" if dtype == "fp8" else None,
    }
    for name, value in untold.items():
        if value is not None:
            flag = f"--{name.replace('_', '-')}"
            raise ArgumentError(
                f"The plan has {flag} {value}, which a deployment cannot be told.",
                param=name,
                hint=f"Plan without {flag}, or deploy a model that is stored that way.",
            )


def _dtype(planned: PlanOptions) -> str:
    return DTYPE_ALIASES.get(planned.dtype, planned.dtype)


def key_of(offering: ComputeOffering) -> str:
    """Return what tells an offering from every other, the same at every look."""
    spot = "spot" if offering.interruptible else ""
    parts = (offering.provider, offering.id, offering.region or "", str(offering.count), spot)
    whole = "|".join(parts)
    if len(whole) > LONGEST_KEY:  # cut, and still no other's
        digest = hashlib.sha256(whole.encode("utf-8", "backslashreplace")).hexdigest()
        whole = f"{whole[:LONGEST_KEY]}|{digest}"
    return plain(whole)


def _just(offering: ComputeOffering) -> DeploymentConstraint:
    if not offering.usd_per_hour:
        return DeploymentConstraint()  # a machine of one's own: there is only one
    return DeploymentConstraint(
        max_usd_per_hour=offering.usd_per_hour,
        regions=(offering.region,) if offering.region else None,
        interruptible=offering.interruptible,
    )


def _all(choice: Choice) -> Iterator[Explanation]:
    yield from choice.ranked
    yield from choice.excluded


def _row(one: Explanation, choice: Choice) -> list[object]:
    offering, speed = one.offering, one.tokens_per_s
    tokens_per_s = speed.expected if speed and speed.expected else None
    as_of = offering.availability_as_of or offering.price_as_of
    per_token = (
        one.usd_per_hour / (tokens_per_s * S_PER_HOUR) * TOKENS
        if tokens_per_s and one.fits
        else None
    )
    return [
        key_of(offering),
        one.fits if choice.plan or one.reasons else None,
        _plain("; ".join(reason.text for reason in one.reasons)),
        _plain(offering.hardware.name),
        offering.count,
        round(offering.total_gib, 2),
        offering.usd_per_hour,
        round(offering.usd_per_gib_hour, 6),
        per_token,
        tokens_per_s,
        str(speed) if tokens_per_s else "",
        offering.availability,
        as_of.isoformat() if as_of else None,
        _plain(offering.region or ""),
        _plain(offering.provider + (", spot" if offering.interruptible else "")),
        choice.is_launchable(offering),
    ]


@lru_cache(maxsize=4096)  # ten thousand rows say few different things
def _plain(text: str) -> str:
    return bounded(text, LONGEST_CELL)
