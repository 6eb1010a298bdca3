"""Runpod's pods, as the API writes them: what a launch asks for, and what a pod is to us.

Figures of disks are Runpod's published prices per GB and month.
Layer 3.
"""

from __future__ import annotations

import json
import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, cast

from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ArgumentError, ProviderFailedError
from conduit_nb.providers.base import Node, NodeStatus
from conduit_nb.providers.guarding import in_container
from conduit_nb.providers.naming import PREFIX

PROVIDER = "runpod"
GIB, GB = 2**30, 10**9
HOURS_PER_MONTH = 730
DISK_USD_PER_GB_MONTH, STOPPED_DISK_USD_PER_GB_MONTH = 0.10, 0.20
DEFAULT_PORT = 8000
CLOCK_TOLERANCE = timedelta(seconds=30)
"""A `Date` header has whole seconds, and is as old as its way here: less than this is no error."""
LONGEST_STATUS = 40
_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_PORT = re.compile(r"(\d{1,5})(?:/|$)")
STATUSES: Mapping[str, NodeStatus] = {
    "PROVISIONING": "starting",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "stopped",
    "ERROR": "failed",
    "TERMINATED": "gone",
}


def create_body(
    spec: LaunchSpec,
    secrets: Mapping[str, str],
    offering: ComputeOffering,
    *,
    api_url: str,
    server_now: datetime | None = None,
) -> dict[str, Any]:
    """Return what asks for the pod.

    The node's own key is part of the call; every other secret is a reference to one that the user
    has stored at Runpod, by its name in lower case (`HF_TOKEN`: `hf_token`). The guard's moments
    are by Runpod's clock, `server_now`, which the guard knows too.
    """
    if spec.image is None or spec.guard is None:
        raise ArgumentError(
            f"{spec.name} has no image, and Runpod starts nothing else.",
            param="image",
            hint="Choose a runtime that runs in a container, or the local provider.",
        )
    spec = replace(spec, guard=by_server_clock(spec.guard, server_now))
    asked, started = offering.metadata, in_container(spec, end={"kind": PROVIDER, "url": api_url})
    referred = {
        name: f"{{{{ RUNPOD_SECRET_{name.lower()} }}}}"
        for name in spec.secrets
        if name != spec.key_name
    }
    body: dict[str, Any] = {
        "name": spec.name,
        "image": spec.image,
        "args": _args(spec, started.command),
        "disk": to_gb(spec.disk_gib),
        "env": {
            **spec.environment,
            **started.environment,
            **referred,
            spec.key_name: secrets[spec.key_name],
        },
        "ports": [f"{spec.port}/http"],
        "cloud": asked["cloud"],
    }
    if offering.region is not None:
        body["dataCenterIds"] = [offering.region]
    if "gpu_id" in asked:
        body["gpu"] = {"id": asked["gpu_id"], "count": offering.count}
    else:
        body["cpu"] = {"id": asked["cpu_id"], "vcpuCount": int(offering.vcpus or 1)}
    return body


def by_server_clock(terms: GuardTerms, server_now: datetime | None) -> GuardTerms:
    """Return the terms by the provider's clock, where this machine's differs from that."""
    if server_now is None or terms.as_of is None:
        return terms
    ahead = server_now - terms.as_of
    return terms.shifted(ahead) if abs(ahead) > CLOCK_TOLERANCE else terms


def to_node(pod: object, *, proxy_url: str) -> Node:
    """Return a pod as a node; its server's port is the first that it publishes.

    Only an id and a name must be readable: what cannot be told from the rest is left open, and a
    status that is new to us is "unknown". Raises ProviderFailedError where there are none.
    """
    fields = fields_of(pod)
    pod_id, name, state = fields.get("id"), fields.get("name"), fields.get("status")
    if not (isinstance(pod_id, str) and _ID.fullmatch(pod_id) and isinstance(name, str)):
        raise ProviderFailedError(
            f"{PROVIDER} described a pod without a usable id and name.", hint="Try again later."
        )
    said = state if isinstance(state, str) else ""
    status = STATUSES.get(said, "unknown")
    return Node(
        name=name,
        provider=PROVIDER,
        status=status,
        id=pod_id,
        url=proxy_url.replace("{id}", pod_id).replace("{port}", str(_port(fields.get("ports")))),
        started_at=_moment(fields.get("createdAt")),
        usd_per_hour=_rate(fields, status),
        detail=" ".join(said.lower().split())[:LONGEST_STATUS]
        or "in a state that it does not name",
    )


def fields_of(value: object) -> Mapping[str, Any]:
    """Return a JSON object as it is, and no fields for everything else."""
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def is_ours(pod: object) -> bool:
    """Say whether an entry of a list is a pod that Conduit has made, whatever else it is."""
    name: object = fields_of(pod).get("name")
    return isinstance(name, str) and name.startswith(f"{PREFIX}-")


def disk_usd_per_hour(disk_gb: float, *, is_stopped: bool = False) -> float:
    """Return what a pod's disk costs."""
    per_month = STOPPED_DISK_USD_PER_GB_MONTH if is_stopped else DISK_USD_PER_GB_MONTH
    return disk_gb * per_month / HOURS_PER_MONTH


def to_gb(gib: float) -> int:
    """Return whole GB that hold so many GiB."""
    return math.ceil(gib * GIB / GB)


def _args(spec: LaunchSpec, command: tuple[str, ...]) -> str:
    """Return the command as one text; where the image has a program of its own, in its place.

    That form (`cmd` and `entrypoint` as JSON) is that of Runpod's start command; no pod has shown
    yet that `args` takes it.
    """
    if spec.has_entrypoint:
        return json.dumps({"entrypoint": list(command[:1]), "cmd": list(command[1:])})
    return shlex.join(command)


def _rate(pod: Mapping[str, Any], status: NodeStatus) -> float | None:
    """Return what a pod costs; None where a pod that runs has no price that can be one."""
    persistent = fields_of(fields_of(pod.get("mounts")).get("persistent"))
    disk_gb = _amount(pod.get("disk")) + _amount(persistent.get("size"))
    cost = _amount(pod.get("cost"))
    if status == "gone":
        return 0.0
    if status in ("stopped", "failed"):
        return cost + disk_usd_per_hour(disk_gb, is_stopped=True)
    return cost + disk_usd_per_hour(disk_gb) if cost > 0 else None


def _amount(value: object) -> float:
    """Return a number that is an amount of something, 0 for everything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return 0.0
    try:
        amount = float(value)
    except OverflowError:
        return 0.0
    return amount if math.isfinite(amount) and amount > 0 else 0.0


def _port(ports: object) -> int:
    """Return the first port that is published, that of our servers where none can be read."""
    first = cast("list[object]", ports)[0] if isinstance(ports, list) and ports else None
    found = _PORT.match(first) if isinstance(first, str) else None
    return int(found[1]) if found else DEFAULT_PORT


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
    except ValueError:
        return None
    return moment.replace(tzinfo=moment.tzinfo or UTC) if moment is not None else None
