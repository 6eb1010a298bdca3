"""Runpod's pods, as the API writes them: what a launch asks for, and what a pod is to us.

Figures of disks are Runpod's published prices per GB and month.
Layer 3.
"""

from __future__ import annotations

import json
import math
import shlex
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ArgumentError, ProviderFailedError
from conduit_nb.providers.base import Node, NodeStatus
from conduit_nb.providers.guarding import in_container

PROVIDER = "runpod"
GIB, GB = 2**30, 10**9
HOURS_PER_MONTH = 730
DISK_USD_PER_GB_MONTH, STOPPED_DISK_USD_PER_GB_MONTH = 0.10, 0.20
STATUSES: Mapping[str, NodeStatus] = {
    "PROVISIONING": "starting",
    "STARTING": "starting",
    "RUNNING": "running",
    "EXITED": "stopped",
    "ERROR": "failed",
    "TERMINATED": "gone",
}


def create_body(
    spec: LaunchSpec, secrets: Mapping[str, str], offering: ComputeOffering, *, api_url: str
) -> dict[str, Any]:
    """Return what asks for the pod.

    The node's own key is part of the call; every other secret is a reference to one that the user
    has stored at Runpod, by its name in lower case (`HF_TOKEN`: `hf_token`).
    """
    if spec.image is None or spec.guard is None:
        raise ArgumentError(
            f"{spec.name} has no image, and Runpod starts nothing else.",
            hint="Choose a runtime that runs in a container, or the local provider.",
        )
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


def to_node(pod: Mapping[str, Any], *, proxy_url: str, port: int | None = None) -> Node:
    """Return a pod as a node; its server's port is the first that it publishes."""
    try:
        pod_id, status = str(pod["id"]), STATUSES.get(pod["status"], "failed")
        ports: list[str] = pod.get("ports") or []
        first = port or int((ports[0] if ports else "0").partition("/")[0])
        return Node(
            name=pod["name"],
            provider=PROVIDER,
            status=status,
            id=pod_id,
            url=proxy_url.replace("{id}", pod_id).replace("{port}", str(first)),
            started_at=datetime.fromisoformat(pod["createdAt"]),
            usd_per_hour=_rate(pod, status),
            detail=str(pod["status"]).lower(),
        )
    except (KeyError, TypeError, ValueError) as err:
        raise ProviderFailedError(
            "runpod told of a pod in a way that makes no sense.", hint="Try again later."
        ) from err


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


def _rate(pod: Mapping[str, Any], status: NodeStatus) -> float:
    mounts: Mapping[str, Any] = pod.get("mounts") or {}
    persistent: Mapping[str, Any] = mounts.get("persistent") or {}
    disk_gb = float(pod.get("disk") or 0) + float(persistent.get("size") or 0)
    if status == "gone":
        return 0.0
    is_stopped = status in ("stopped", "failed")
    return float(pod.get("cost") or 0.0) + disk_usd_per_hour(disk_gb, is_stopped=is_stopped)
