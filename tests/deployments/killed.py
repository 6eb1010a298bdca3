"""A client that is killed at a checkpoint: `python -m tests.deployments.killed JSON`.

`kill_at` is the checkpoint's number or its name, 0 for none.

Creates a deployment, stops it (where that can be done), starts it, adds a replica, and ends it.
Prints the number of checkpoints that it has passed, if it lives to do so.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from subprocess import CompletedProcess
from typing import Any

from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.providers.base import Provider
from conduit_nb.providers.runpod import Runpod
from tests.deployments.deployed import Bench, request

ROOT = Path(__file__).resolve().parent.parent.parent


@dataclass
class Client(Bench):
    """A bench whose cloud is served by another process."""

    api: str = ""
    key: str = ""
    proxy: str = ""

    def provider(self, name: str) -> Provider:
        if name != "runpod":
            return super().provider(name)
        provider = Runpod(self.api, key=self.key, proxy_url=self.proxy)
        provider.capabilities = replace(provider.capabilities, list_lag_s=self.list_lag_s)
        return provider


def run(folder: Path, provider: str, kill_at: int | str, **more: Any) -> CompletedProcess[str]:
    """Run a client to its end, or to where it is killed."""
    told = {"folder": str(folder), "provider": provider, "kill_at": kill_at, **more}
    return subprocess.run(
        [sys.executable, "-m", "tests.deployments.killed", json.dumps(told)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=240,
    )


def wanted(provider: str) -> DeploymentRequest:
    return request(provider, name="killed", replicas=Replicas(least=1, most=2))


async def work(client: Client, provider: str) -> None:
    manager = client.manager()
    record = await manager.deploy(wanted(provider))
    if provider != "local":
        await manager.stop(record.name)
        record = await manager.deploy(wanted(provider))
    tools = manager.tools
    record = await tools.set_deployment(record, wanted_replicas=2)
    await manager.deploy(wanted(provider))
    await manager.terminate(record.name)


def main() -> None:
    told: dict[str, Any] = json.loads(sys.argv[1])
    passed = 0

    def checkpoint(name: str) -> None:
        nonlocal passed
        passed += 1
        if told["kill_at"] in (passed, name):
            os.kill(os.getpid(), signal.SIGKILL)

    client = Client(
        Path(told["folder"]),
        list_lag_s=told.get("list_lag_s", 0.0),
        engine=told.get("engine"),
        flags=tuple(told.get("flags", ())),
        api=told.get("api", ""),
        key=told.get("key", ""),
        proxy=told.get("proxy", ""),
        checkpoint=checkpoint,
    )
    asyncio.run(work(client, told["provider"]))
    print(passed, flush=True)


if __name__ == "__main__":
    main()
