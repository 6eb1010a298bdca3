"""A provider at a price, whose nodes are only told of, and a session that has it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from conduit_nb import session as session_module
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ProviderUnreachableError
from conduit_nb.providers.base import Listing, Node
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from conduit_nb.state.store import Store
from tests.fake_lmlite import FakeRuntime


class FarProvider(LocalProvider):
    """A provider whose nodes are only told of, at a price; it can be silent."""

    name = "far"

    def __init__(self) -> None:
        super().__init__(grace_s=1)
        self.has: list[Node] = []
        self.is_silent = False
        self.looks = 0
        self.is_asked = False
        self._goes_on = threading.Event()
        self._goes_on.set()

    async def list_nodes(self) -> list[Node]:
        self.looks += 1
        if self.is_silent:
            raise ProviderUnreachableError("It does not answer.")
        self.is_asked = True
        await asyncio.to_thread(self._goes_on.wait)
        self.is_asked = False
        return self.has

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Answer nobody before the block ends."""
        self._goes_on.clear()
        try:
            yield
        finally:
            self._goes_on.set()

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        self.has = []

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        return Listing(
            offerings=(
                ComputeOffering(
                    provider="far", id="far-l4", accelerator="L4", memory_gib=24, usd_per_hour=0.42
                ),
            ),
            problems=(ProviderUnreachableError("Half of it does not answer."),),
        )


@contextlib.contextmanager
def far_session(
    folder: Path, monkeypatch: pytest.MonkeyPatch, far: FarProvider
) -> Iterator[Session]:
    """Let the process's session be one of the local provider and of this one, kept in a folder."""
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(folder / "data"))
    local = LocalProvider(grace_s=1)
    session = Session(
        make_runtime=lambda name: FakeRuntime(name=name),
        make_provider=lambda name: far if name == "far" else local,
        provider_names=lambda: ["local", "far"],
        make_sources=lambda: [far],
        hung_after_s=1.0,
    )
    monkeypatch.setattr(session_module, "_made", lambda: session)
    yield session
    far.is_silent = False
    session.wait(session.deployments.terminate("all"))
    session.close()


def put_far_node(far: FarProvider, deployment_id: str) -> str:
    """Let a deployment have a node at the far provider, for $0.42 an hour; return its name."""
    store = Store()
    (near,) = store.nodes(deployment_id)
    name = f"{near.name[: -len('-0-1')]}-7-1"
    node = store.insert_node(
        replace(near, name=name, replica=7, provider="far", usd_per_hour=0.42, provider_id="f1")
    )
    store.update_node(node, charge="running", at=node.created_at, status="running")
    store.close()
    far.has = [Node(name=name, provider="far", status="running", url=near.url or "", id="f1")]
    return name
