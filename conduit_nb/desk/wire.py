"""What the panels are told and what they ask, as JSON; `extension/src/shared/wire.ts` has the same.

Amounts are US dollars, times ISO 8601. Knows no web server.
Layer 6.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Literal, cast

from conduit_nb.compute.request import DeploymentRequest, deployment_options
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ArgumentError
from conduit_nb.options import Option
from conduit_nb.plain_text import plain
from conduit_nb.units import require_hours

Document = dict[str, Any]
ActionState = Literal["running", "done", "failed"]

LONGEST_BODY_BYTES = 64 * 1024
LONGEST_TEXT = 2000
MOST_LOG_LINES = 2000
SIDECAR_MARK = "sidecar:"
_SPELLED = {"usd": "USD", "gpu": "GPU", "len": "length"}
"""Words of options' names that a form writes otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Action:
    """Something long that was begun; `error` is the document of what went wrong."""

    id: str
    word: str
    target: str
    state: ActionState
    began_at: datetime
    ended_at: datetime | None = None
    error: Document | None = None


def key_of(info: DeploymentInfo) -> str:
    """Return what names one thing that runs: a deployment's id, or `sidecar:` and its name."""
    return info.id if info.id is not None else f"{SIDECAR_MARK}{_short(info.name)}"


def deployment_document(info: DeploymentInfo) -> Document:
    """Return one thing that runs, without what grows by itself: what it has cost, its idle time."""
    return {
        "key": key_of(info),
        "id": info.id,
        "name": _short(info.name),
        "provider": _short(info.provider),
        "runtime": _short(info.runtime),
        "status": _short(info.status),
        "device": _short(info.device),
        "region": _short(info.region),
        "nodes": info.nodes,
        "models": {_short(name): _short(state) for name, state in info.models.items()},
        "usd_per_hour": info.usd_per_hour,
        "started_at": _moment(info.started_at),
        "lease_until": _moment(info.lease_until),
        "detail": _short(info.detail),
    }


def action_document(action: Action) -> Document:
    """Return an action as it stands."""
    return plain_document(
        {
            name: value.isoformat() if isinstance(value, datetime) else value
            for name, value in asdict(action).items()
        }
    )


def plain_document(document: Document) -> Document:
    """Return a document with every text in it cut and made safe to show."""
    return {name: _plain(value) for name, value in document.items()}


def log_document(lines: Sequence[str]) -> Document:
    """Return lines of a log, each cut to what a screen can take."""
    return {"lines": [_short(line) for line in lines]}


def form_document() -> list[Document]:
    """Return every option of a deployment as a form draws it, in the order of their declaration.

    A null default means that the option is not set. What a form sends back, as texts or typed, is
    read by `read_deploy`.
    """
    return [
        {
            "name": one.name,
            "label": _label(one),
            "kind": one.kind,
            "choices": list(one.choices),
            "default": _default(one),
            "help": one.help,
            "units": one.units,
            "is_basic": one.is_basic,
        }
        for one in deployment_options()
    ]


def read_body(body: bytes) -> Document:
    """Read the object that was sent; nothing is an empty one. Raises ArgumentError."""
    if len(body) > LONGEST_BODY_BYTES:
        raise ArgumentError(
            f"{len(body):,} bytes were sent; {LONGEST_BODY_BYTES:,} are the most.",
            hint="Send less.",
        )
    try:
        told: object = json.loads(body) if body.strip() else {}
    except (ValueError, RecursionError) as err:
        raise ArgumentError("What was sent is no JSON.", hint="Send one JSON object.") from err
    if not isinstance(told, dict):
        raise ArgumentError("What was sent is no JSON object.", hint="Send one JSON object.")
    return cast("Document", told)


def read_hours(told: Document) -> float:
    """Read `hours`, one where it is left out. Raises ArgumentError."""
    return _number(told, "hours", require_hours) or 1.0


def read_tail(text: str) -> int:
    """Read how many lines of a log are wanted. Raises ArgumentError."""
    if not text.isdecimal() or not 1 <= int(text[:9]) <= MOST_LOG_LINES:
        raise ArgumentError(
            f"tail={text[:20]!r} cannot be meant.",
            param="tail",
            hint=f"Give a number from 1 to {MOST_LOG_LINES}.",
        )
    return int(text)


def read_deploy(told: Document) -> DeploymentRequest:
    """Read a deployment that is asked for, in the words of `%conduit deploy`.

    Raises ArgumentError, with `param`, for what is unknown, missing or not valid.
    """
    request = DeploymentRequest.parse(told)
    if not request.models:
        raise ArgumentError(
            "models names no model.", param="models", hint="Send a list of ids or folders."
        )
    return request


def _label(one: Option) -> str:
    """Return `max USD per hour` for max_usd_per_hour; a unit at the end stands beside the field."""
    name = one.name.removesuffix("_s") if one.kind == "seconds" else one.name
    return " ".join(_SPELLED.get(word, word) for word in name.split("_"))


def _default(one: Option) -> str | float | bool | None:
    """Return an option's default as people write it."""
    value: Any = one.default
    if value is None:
        return one.any_word
    if isinstance(value, tuple):
        words = cast("tuple[str, ...]", value)
        return (shlex.join(words) if one.kind == "command" else ",".join(words)) or None
    return value if isinstance(value, str | int | float) else str(value)


def _number(told: Document, name: str, require: Callable[..., float]) -> float | None:
    value = told.get(name)
    return None if value is None else require(name, value, hint=f"Leave {name} out.")


def _short(text: str | None) -> str:
    """Return foreign text cut, and without what would change how other text is read."""
    return plain((text or "")[:LONGEST_TEXT])


def _plain(value: object) -> object:
    if isinstance(value, str):
        return _short(value)
    if isinstance(value, dict):
        return {name: _plain(one) for name, one in cast("Document", value).items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in cast("list[object]", value)]
    return value


def _moment(value: datetime | None) -> str | None:
    return value.isoformat() if value else None
