"""The process's session with echoing servers instead of models, for tests of words."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from conduit_nb import session as session_module
from conduit_nb.providers.base import Listing, Provider
from conduit_nb.providers.local import LocalProvider
from conduit_nb.runtimes.base import Runtime
from conduit_nb.session import Session
from tests.fake_lmlite import FakeRuntime


class PricedProvider(LocalProvider):
    """Processes of this machine, offered at a price."""

    def __init__(self, usd_per_hour: float) -> None:
        super().__init__(grace_s=1)
        self._usd_per_hour = usd_per_hour

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        listing = await super().offerings(timeout_s=timeout_s)
        priced = [replace(one, usd_per_hour=self._usd_per_hour) for one in listing.offerings]
        return Listing(offerings=tuple(priced))


@contextmanager
def fleet_session(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    provider: Provider | None = None,
    make_runtime: Callable[[str], Runtime] | None = None,
) -> Iterator[Session]:
    """Let words that people write work on real processes under `folder`."""
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(folder / "data"))
    given = provider or LocalProvider(grace_s=1)
    session = Session(
        make_runtime=make_runtime or (lambda name: FakeRuntime(name=name)),
        make_provider=lambda _: given,
        provider_names=lambda: [given.name],
        hung_after_s=1.0,
    )
    monkeypatch.setattr(session_module, "_made", lambda: session)
    try:
        yield session
    finally:
        session.wait(session.deployments.terminate("all"))
        session.close()
