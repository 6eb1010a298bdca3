"""Nodes on this machine for tests: what to launch, and how to look at it."""

from __future__ import annotations

from pathlib import Path

import psutil

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.providers.base import Node
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.processes import MARK
from conduit_nb.runtimes.base import ServerRequest
from tests import waiting
from tests.fake_lmlite import FakeRuntime

KEY = "k-0123456789abcdef"
SECRETS = {"CONDUIT_API_KEY": KEY}
LAUNCHES = """
import asyncio, sys
from pathlib import Path
from conduit_nb.errors import StorageError
from conduit_nb.providers.local import LocalProvider
from tests.fake_lmlite import FakeRuntime
from conduit_nb.runtimes.base import ServerRequest
spec = FakeRuntime(("--spawns",)).launch_spec(ServerRequest(name="one"))
provider = LocalProvider(state_dir=Path({state_dir!r}))
try:
    node = asyncio.run(provider.launch(spec, {{"CONDUIT_API_KEY": "k"}}))
except StorageError as error:
    sys.exit(f"StorageError: {{error}} {{error.hint}}")
print(node.pid, flush=True)
sys.stdin.read()
"""


def spec(*flags: str, name: str = "one") -> LaunchSpec:
    return FakeRuntime(flags).launch_spec(ServerRequest(name=name))


async def until(provider: LocalProvider, name: str, status: str) -> Node:
    async def look() -> Node | None:
        node = await provider.describe(name)
        return node if node is not None and node.status == status else None

    node = await waiting.until(look)
    assert node is not None
    return node


def marked(state_dir: Path) -> list[int]:
    """Return the processes that were started for this state folder, however detached."""
    found: list[int] = []
    for process in psutil.process_iter():
        try:
            if str(state_dir) in process.environ().get(MARK, "") and process.is_running():
                found.append(process.pid)
        except psutil.Error:
            continue
    return found
