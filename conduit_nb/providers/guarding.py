"""How a launch spec is wrapped in the guard: what is started, and what it finds in its environment.

Every provider does it alike. In a container the guard's source comes in the environment, so that
any image with a Python 3 can carry it.
Layer 3.
"""

from __future__ import annotations

import base64
import inspect
import json
import sys
import zlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import cast

from conduit_nb import guard
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.errors import DeploymentError

SOURCE_NAME = "CONDUIT_GUARD_SOURCE"
CONFIG_NAME = "CONDUIT_GUARD"
_LOADER = (
    "import base64,os,zlib;exec(compile(zlib.decompress(base64.b64decode("
    f"os.environ.pop('{SOURCE_NAME}'))),'guard.py','exec'))"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Started:
    """What a provider really starts: a command, and variables beside those of the spec."""

    command: tuple[str, ...]
    environment: Mapping[str, str]


def in_process(spec: LaunchSpec, *, host: str, port: int) -> Started:
    """Say what a process of this machine starts; without guard terms the server itself."""
    if spec.guard is None:
        command = tuple(part.replace("{port}", str(port)) for part in spec.command)
        return Started(command=command, environment={})
    config = _config(spec, host=host, port=port, end={"kind": "exit"})
    return Started(
        command=(sys.executable, inspect.getfile(guard)), environment={CONFIG_NAME: config}
    )


def in_container(spec: LaunchSpec, *, end: Mapping[str, str] | None = None) -> Started:
    """Say what a container starts, listening on all of its own addresses at `spec.port`.

    `end` is how the guard ends its node, see `guard.Config`; by default it just ends.
    """
    assert spec.guard is not None, "what runs in a container has a guard"
    config = _config(spec, host="0.0.0.0", port=spec.port, end=dict(end or {"kind": "exit"}))  # noqa: S104  # inside the container
    return Started(
        command=("python3", "-c", _LOADER),
        environment={CONFIG_NAME: config, SOURCE_NAME: _source()},
    )


def _config(spec: LaunchSpec, *, host: str, port: int, end: dict[str, str]) -> str:
    terms = spec.guard
    assert terms is not None
    config = guard.Config(
        command=list(spec.command),
        host=host,
        port=port,
        idle_s=terms.idle_s,
        boot_until=terms.boot_until.timestamp(),
        lease_until=terms.lease_until.timestamp(),
        not_after=terms.not_after.timestamp() if terms.not_after else None,
        as_of=terms.as_of.timestamp() if terms.as_of else None,
        health_path=spec.health_path,
        key_name=spec.key_name,
        end=end,
    )
    return json.dumps(asdict(config))


def renewed(config: str, terms: GuardTerms) -> tuple[str, str]:
    """Return a guard's config with the moments of `terms`, and the variable of its key.

    Raises DeploymentError where the config is none that Conduit has written.
    """
    moments = {
        "boot_until": terms.boot_until.timestamp(),
        "lease_until": terms.lease_until.timestamp(),
        "not_after": terms.not_after.timestamp() if terms.not_after else None,
        "as_of": terms.as_of.timestamp() if terms.as_of else None,
    }
    try:
        known: object = json.loads(config)
    except (ValueError, RecursionError):
        known = None
    fields = cast("dict[str, object]", known) if isinstance(known, dict) else {}
    key_name = fields.get("key_name")
    if not isinstance(key_name, str):
        raise DeploymentError(
            "The node's guard has a configuration that Conduit has not written.",
            hint="It was changed outside Conduit: terminate it, and deploy again.",
        )
    return json.dumps({**fields, **moments}), key_name


def _source() -> str:
    return base64.b64encode(zlib.compress(inspect.getsource(guard).encode(), 9)).decode()
