"""How offerings look: a table with prices, speeds, ages, and why what is left out is left out.

Layer 7.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from importlib import import_module
from itertools import islice
from typing import TYPE_CHECKING, Any

from conduit_nb.compute.judging import KNOBS
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.selection import Explanation
from conduit_nb.compute.throughput import Range
from conduit_nb.compute.vram import GIB
from conduit_nb.errors import plain
from conduit_nb.notebook.display import (
    LONGEST_LINE,
    Shown,
    escaped,
    html_table,
    shortened,
    text_table,
)
from conduit_nb.notebook.plan_display import short_name
from conduit_nb.plans.choice import Choice
from conduit_nb.plans.documents import offerings_document
from conduit_nb.plans.options import DEFAULT_LIMIT
from conduit_nb.providers.sources import SourceFailure
from conduit_nb.units import counted

if TYPE_CHECKING:
    import pandas as pd

HEAD = (
    "#",
    "GPU",
    "count",
    "GiB",
    "$/h",
    "$/h per GiB",
    "tokens/s (estimate)",
    "availability",
    "region",
    "provider",
    "",
)
# From which age on it is said in which unit, and how many seconds that has.
AGES = ((172_800, "days", 86_400), (7_200, "h", 3_600), (120, "min", 60), (1, "s", 1))


class OfferingsView(Shown):
    """What is offered, as a table; `choice` has everything.

    `best` is None where nothing is left. `document()` is what `--json` prints. `limit` rows are
    shown, and with `show_why` as many of those that are left out.
    """

    def __init__(
        self,
        choice: Choice,
        *,
        limit: int = DEFAULT_LIMIT,
        show_why: bool = False,
        now: datetime | None = None,
    ) -> None:
        self.choice = choice
        self.limit = limit
        self.show_why = show_why
        self._now = now or datetime.now(UTC)

    @property
    def best(self) -> ComputeOffering | None:
        """Return the first of the ranking, None where nothing is left."""
        return self.choice.best

    @property
    def ranked(self) -> list[ComputeOffering]:
        """Return everything that is left, the best first."""
        return [one.offering for one in self.choice.ranked]

    @property
    def failures(self) -> tuple[SourceFailure, ...]:
        """Return the sources, or parts of them, that could not be read, and why."""
        return self.choice.failures

    def why(self) -> pd.DataFrame:
        """Return every offering with its rank, or everything that speaks against it."""
        if self.choice.selection is not None:
            return self.choice.selection.why()
        rows = [_why_row(one) for one in (*self.choice.ranked, *self.choice.excluded)]
        return import_module("pandas").DataFrame(rows)

    def document(self) -> dict[str, Any]:
        """Return the offerings as a JSON document; with `show_why` what is left out as well."""
        return offerings_document(self.choice, why=self.show_why)

    def _text(self) -> str:
        parts = [self.title]
        if self.choice.ranked:
            parts.append(text_table(*self._table(self.choice.ranked)))
        notes = list(self._notes())
        if notes:
            parts.append("\n".join(notes))
        if self.show_why and self.choice.excluded:
            parts.append(f"Left out:\n{text_table(*self._table(self.choice.excluded))}")
        return plain("\n\n".join(parts))

    def _html(self) -> str:
        lines = [f"<div><strong>{escaped(self.title)}</strong></div>"]
        if self.choice.ranked:
            lines.append(html_table(*self._table(self.choice.ranked)))
        lines += [f"<div>{escaped(note)}</div>" for note in self._notes()]
        if self.show_why and self.choice.excluded:
            lines.append("<div><strong>Left out</strong></div>")
            lines.append(html_table(*self._table(self.choice.excluded)))
        return "".join(lines)

    @property
    def title(self) -> str:
        """Return one line of how many there are, and of what for."""
        choice = self.choice
        number = len(choice.ranked)
        offers = counted(number, "offering")
        if choice.plan is None:
            return f"{offers} by {choice.objective}"
        models = " + ".join(short_name(model.model_id) for model in choice.plan.models)
        needed = choice.plan.largest_device_bytes / GIB
        count = choice.plan.device_count
        verb = "holds" if number == 1 else "hold"
        return (
            f"{offers} {verb} {models} on {choice.plan.runtime} ({count} x {needed:.2f} GiB), "
            f"by {choice.objective}"
        )

    def _table(self, shown: Sequence[Explanation]) -> tuple[list[str], list[list[str]]]:
        """Return the head and the first rows; columns that nothing stands in are left out."""
        rows = [self._row(one) for one in islice(shown, self.limit)]
        used = [
            column for column in range(len(HEAD)) if column < 2 or any(row[column] for row in rows)
        ]
        return [HEAD[column] for column in used], [[row[column] for column in used] for row in rows]

    def _row(self, one: Explanation) -> list[str]:
        offering = one.offering
        nodes = f" x {offering.nodes} nodes" if offering.nodes > 1 else ""
        times = f" ({one.instances} needed)" if one.instances > 1 else ""
        return [
            str(one.rank or ""),
            offering.hardware.name,
            f"{offering.count}{nodes}{times}",
            f"{offering.total_gib:.1f}",
            f"{one.usd_per_hour:.2f}",
            f"{offering.usd_per_gib_hour:.4f}",
            _speed(one.tokens_per_s),
            self._availability(offering),
            shortened(offering.region or ""),
            shortened(offering.provider) + (", spot" if offering.interruptible else ""),
            _verdict(one, self.choice),
        ]

    def _availability(self, offering: ComputeOffering) -> str:
        """Say how much stock there is and how old that is; of a price list its age."""
        if offering.availability_as_of is not None:
            return f"{offering.availability}, {_age(self._now - offering.availability_as_of)}"
        if offering.price_as_of is not None:
            return f"{offering.availability}, price {_age(self._now - offering.price_as_of)}"
        return offering.availability

    def _notes(self) -> Iterator[str]:
        choice = self.choice
        hidden = len(choice.ranked) - self.limit
        if hidden > 0:
            yield f"{hidden:,} more: --limit shows them."
        counts = choice.reason_counts()
        if counts:
            said = ", ".join(
                f"{code.replace('_', ' ')} {number:,}" for code, number in counts.items()
            )
            ask = "" if self.show_why else "; --why shows them"
            yield f"{len(choice.excluded):,} left out ({said}){ask}."
        if not choice.ranked and counts:
            text = "; or ".join(KNOBS[code] for code in islice(counts, 2))
            yield f"{text[0].upper()}{text[1:]}."
        if choice.other_gpus:
            yield f"{choice.other_gpus:,} offerings have other devices."
        yield from _failure_lines(choice.failures)


def _failure_lines(failures: Sequence[SourceFailure]) -> Iterator[str]:
    """Yield one line for each source and thing to do; what is alike is counted."""
    alike: dict[tuple[str, str], list[SourceFailure]] = {}
    for failure in failures:
        alike.setdefault((failure.provider, failure.error.hint), []).append(failure)
    for same in alike.values():
        more = f" (And {len(same) - 1} more like it.)" if len(same) > 1 else ""
        yield f"Missing: {shortened(str(same[0]), LONGEST_LINE)}{more}"


def _speed(tokens_per_s: Range | None) -> str:
    if tokens_per_s is None or not tokens_per_s.expected:
        return ""
    low, expected, high = tokens_per_s.low, tokens_per_s.expected, tokens_per_s.high
    return f"{expected:,.0f} ({low:,.0f} to {high:,.0f})"


def _age(age: timedelta) -> str:
    for least_s, unit, unit_s in AGES:
        if age.total_seconds() >= least_s:
            return f"{age.total_seconds() / unit_s:.0f} {unit} ago"
    return "just now"


def _verdict(one: Explanation, choice: Choice) -> str:
    """Say whether it fits, or everything that speaks against it."""
    if one.reasons:
        return shortened("; ".join(reason.text for reason in one.reasons))
    said = ["fits"] if choice.plan else []
    if not choice.is_launchable(one.offering):
        said.append("price only")
    return ", ".join(said)


def _why_row(one: Explanation) -> dict[str, object]:
    offering = one.offering
    return {
        "rank": one.rank,
        "provider": offering.provider,
        "id": offering.id,
        "region": offering.region,
        "accelerator": offering.accelerator,
        "count": offering.count,
        "nodes": offering.nodes,
        "memory_gib": offering.hardware.memory_gib,
        "usd_per_hour": offering.usd_per_hour,
        "availability": offering.availability,
        "interruptible": offering.interruptible,
        one.objective: one.value,
        "why_not": "; ".join(reason.text for reason in one.reasons),
    }
