"""What to launch on the local Runpod server: the echoing server of the tests, guarded."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.providers.naming import NodeName
from conduit_nb.providers.runpod import Runpod
from conduit_nb.testing.runpod_server import RunpodServer

KEY = "k-0123456789abcdef"
SECRETS = {"CONDUIT_API_KEY": KEY}
SERVER = str(Path(__file__).parent.parent / "echo_server.py")


def name_of(attempt: int = 1, installation: str = "0123456789ab") -> str:
    return str(NodeName(installation=installation, deployment="abc123", replica=0, attempt=attempt))


def spec_of(name: str | None = None, *flags: str, **change: Any) -> LaunchSpec:
    now = datetime.now(UTC)
    terms = GuardTerms(
        idle_s=600,
        boot_until=now + timedelta(seconds=60),
        lease_until=now + timedelta(seconds=600),
        not_after=now + timedelta(seconds=900),
    )
    given: dict[str, Any] = {
        "name": name or name_of(),
        "command": ("python3", SERVER, "--port", "{port}", *flags),
        "environment": {"PYTHONPATH": str(Path(__file__).parent.parent.parent)},
        "secrets": ("CONDUIT_API_KEY",),
        "image": "conduit/echo:1",
        "dialect": "lmlite",
        "devices": 1,
        "guard": terms,
    }
    return LaunchSpec(**{**given, **change})


async def offering_of(provider: Runpod, gpu: str = "NVIDIA L40S") -> ComputeOffering:
    listing = await provider.offerings()
    return next(one for one in listing.offerings if one.metadata.get("gpu_id") == gpu)


def provider_of(cloud: RunpodServer, **options: Any) -> Runpod:
    return Runpod(cloud.url, key=cloud.key, proxy_url=cloud.proxy_url, **options)
