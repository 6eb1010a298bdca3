"""How the local Runpod server can be told to fail.

`Fault` spoils single answers, `hostile` makes one by the name of a kind; `Behaviour` is how its
world is. All may be changed at any time.
Layer 6.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, cast


@dataclass(slots=True, kw_only=True)
class Fault:
    """Spoils requests that it fits: answers a status, hangs up, never answers, or falsifies.

    The first `after` requests that it fits pass, the next `times` are spoiled. `path` is a regular
    expression for the whole path after `/v2`. With `takes_effect` the request is carried out all
    the same. `content` is the body of the answer in place of a problem; `falsify` gets the body of
    the true answer (which takes effect, and keeps its status) and returns the one that is sent.
    """

    answer: int | Literal["drop", "hang"] = 500
    method: str | None = None
    path: str | None = None
    detail: str = "It failed because it was told to."
    retry_after_s: int | None = None
    takes_effect: bool = False
    times: int = 1
    after: int = 0
    content: bytes | None = None
    content_type: str = "application/json"
    falsify: Callable[[bytes], bytes] | None = None

    def fits(self, method: str, path: str) -> bool:
        """Say whether it spoils this request."""
        return (
            self.times > 0
            and self.method in (None, method)
            and (self.path is None or re.fullmatch(self.path, path) is not None)
        )


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """How pods and the account behave, in seconds of the server's clock.

    `provisioning_s`, `starting_s`   how long a pod stays in each state
    `never_boots`                    pods whose name it fits (a regular expression) stay STARTING
    `sold_out`                       GPU ids that are refused, whatever the catalogue says
    `list_lag_s`                     the list shows what was there so long ago
    `terminated_s`                   a terminated pod is still found by its id for so long
    `price_factor`                   a pod costs so many times what the catalogue says
    `is_price_hidden`                what it costs is not told, only billed
    `date_ahead_s`                   the `Date` header is ahead of the server's clock by so much
    `restarts_containers`            a container that exits is started again
    `has_balance`                    without, nothing starts: 402
    `pod_keys_may_terminate`         a pod's own key may stop and terminate that pod
    """

    provisioning_s: float = 0.0
    starting_s: float = 0.0
    never_boots: str | None = None
    sold_out: set[str] = field(default_factory=set[str])
    list_lag_s: float = 0.0
    terminated_s: float = 0.0
    price_factor: float = 1.0
    is_price_hidden: bool = False
    date_ahead_s: float = 0.0
    restarts_containers: bool = True
    has_balance: bool = True
    pod_keys_may_terminate: bool = True


HTML = b"<!doctype html><html><body><h1>Checking your browser</h1></body></html>"


def _edited(edit: Callable[[dict[str, Any]], dict[str, Any]]) -> Callable[[bytes], bytes]:
    """Return what edits every pod of an answer, be it one or a list of them."""

    def falsify(body: bytes) -> bytes:
        if not body:
            return body
        told = cast("dict[str, Any]", json.loads(body))
        if "pods" in told:
            return json.dumps({**told, "pods": [edit(pod) for pod in told["pods"]]}).encode()
        return json.dumps(edit(told)).encode()

    return falsify


def _without(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda pod: {key: value for key, value in pod.items() if key != name}


_FALSIFIED: Mapping[str, Callable[[bytes], bytes]] = {
    "html": lambda _: HTML,
    "empty": lambda _: b"",
    "{}": lambda _: b"{}",
    "null": lambda _: b"null",
    "list": lambda _: b"[]",
    "text": lambda _: b'"OK"',
    "nested": lambda _: b"[" * 20_000,
    "half": lambda body: body[: len(body) // 2] or b"{",
    "no id": _edited(_without("id")),
    "id of another type": _edited(lambda pod: {**pod, "id": {"value": 7}}),
    "id as a path": _edited(lambda pod: {**pod, "id": "../billing?x="}),
    "name of another type": _edited(lambda pod: {**pod, "name": 7}),
    "unknown status": _edited(lambda pod: {**pod, "status": "MIGRATING"}),
    "status of another type": _edited(lambda pod: {**pod, "status": ["RUNNING"]}),
    "fields of other types": _edited(
        lambda pod: {**pod, "ports": 7, "createdAt": [], "disk": "x", "mounts": 1, "actions": 1}
    ),
    "price 0": _edited(lambda pod: {**pod, "cost": 0}),
    "negative price": _edited(lambda pod: {**pod, "cost": -1.5}),
    "price NaN": _edited(lambda pod: {**pod, "cost": float("nan")}),
    "price as text": _edited(lambda pod: {**pod, "cost": "0.79"}),
    "no price": _edited(_without("cost")),
}
_REPLIES: Mapping[str, Callable[[], Fault]] = {
    "refused": lambda: Fault(answer=422),
    "not found": lambda: Fault(answer=404),
    "conflict": lambda: Fault(answer=409),
    "busy": lambda: Fault(answer=429, retry_after_s=3600),
    "failed before": lambda: Fault(answer=500),
    "failed after": lambda: Fault(answer=500, takes_effect=True),
    "bad gateway": lambda: Fault(answer=502, content=HTML, content_type="text/html"),
    "lost before": lambda: Fault(answer="drop"),
    "lost after": lambda: Fault(answer="drop", takes_effect=True),
    "html before": lambda: Fault(answer=200, content=HTML, content_type="text/html"),
    "{} before": lambda: Fault(answer=200, content=b"{}"),
    **{
        kind: (lambda falsify=falsify: Fault(takes_effect=True, falsify=falsify))
        for kind, falsify in _FALSIFIED.items()
    },
}
HOSTILE_KINDS: tuple[str, ...] = tuple(_REPLIES)
"""What `hostile` can be asked for. "before" and "after": without its effect, or with it."""


def hostile(kind: str, method: str, path: str, *, after: int = 0, times: int = 1) -> Fault:
    """Return what spoils requests in one of the ways of `HOSTILE_KINDS`."""
    fault = _REPLIES[kind]()
    fault.method, fault.path, fault.after, fault.times = method, path, after, times
    return fault
