"""What runs and what it costs, in a small file: to be read without the state store's libraries.

The manager writes it anew after every change; whoever reads it sees its age.
Layer 3.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any, cast

from conduit_nb import settings
from conduit_nb.private_files import write_private_file

FILE_NAME = "summary.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class KnownNode:
    """What it takes to terminate a node without the state: its name, its provider and its id.

    `deployment` is what people call the deployment that it belongs to.
    """

    name: str
    provider: str
    id: str | None = None
    deployment: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Live deployments of this installation as of `written_at`.

    `usd_per_hour` is what all of it costs from then on, `spent_usd` what it had cost by then,
    `next_end` the first end of a lease. `installation` and `known` are for terminating nodes where
    the state itself cannot be used.
    """

    deployments: int
    nodes: int
    usd_per_hour: float
    spent_usd: float
    written_at: datetime
    next_end: datetime | None = None
    installation: str = ""
    known: tuple[KnownNode, ...] = ()

    def spent_by(self, now: datetime) -> float:
        """Return what it has come to by now, if nothing has changed since."""
        hours = max((now - self.written_at) / timedelta(hours=1), 0.0)
        return self.spent_usd + hours * self.usd_per_hour


def write_summary(summary: Summary) -> None:
    """Put the summary in the place of the last one, in one step."""
    told = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in asdict(summary).items()
    }
    path = settings.state_dir() / FILE_NAME
    write_private_file(path, json.dumps(told).encode(), knob="CONDUIT_STATE_DIR")


def read_summary() -> Summary | None:
    """Return the last summary; None where there is none that can be read."""
    try:
        told = cast("dict[str, Any]", json.loads((settings.state_dir() / FILE_NAME).read_bytes()))
        if told["next_end"] is not None:
            told["next_end"] = datetime.fromisoformat(told["next_end"])
        told["written_at"] = datetime.fromisoformat(told["written_at"])
        told["known"] = tuple(KnownNode(**one) for one in told.get("known", ()))
        return Summary(**told)
    except (OSError, ValueError, KeyError, TypeError):
        return None
