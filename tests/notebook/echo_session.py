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
from conduit_nb.providers.runpod import Runpod
from conduit_nb.runtimes.base import Runtime
from conduit_nb.session import Session
from conduit_nb.testing.runpod_server import RunpodServer
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
def echo_session(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    *,
    provider: Provider | None = None,
    make_runtime: Callable[[str], Runtime] | None = None,
) -> Iterator[Session]:
    """Let words that people write work on real processes under `folder`."""
    given = provider or LocalProvider(grace_s=1)
    make = make_runtime or (lambda name: FakeRuntime(name=name))
    with _session_of(folder, monkeypatch, [given.name], lambda _: given, make) as session:
        yield session


@contextmanager
def rented_session(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    cloud: RunpodServer,
    make_runtime: Callable[[str], Runtime],
) -> Iterator[Session]:
    """Let words that people write work on this machine and on an account at Runpod."""
    providers: dict[str, Provider] = {
        "local": LocalProvider(grace_s=1),
        "runpod": Runpod(cloud.url, key=cloud.key, proxy_url=cloud.proxy_url),
    }
    make_provider = providers.__getitem__
    with _session_of(folder, monkeypatch, list(providers), make_provider, make_runtime) as session:
        yield session


@contextmanager
def _session_of(
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    names: list[str],
    make_provider: Callable[[str], Provider],
    make_runtime: Callable[[str], Runtime],
) -> Iterator[Session]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(folder / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(folder / "data"))
    session = Session(
        make_runtime=make_runtime,
        make_provider=make_provider,
        provider_names=lambda: names,
        hung_after_s=1.0,
    )
    monkeypatch.setattr(session_module, "_made", lambda: session)
    try:
        yield session
    finally:
        session.wait(session.deployments.terminate("all"))
        session.close()
