"""A Runpod of one's own on this machine: `with runpod_server() as cloud: Runpod(cloud.url, …)`.

A thread serves the API and the proxy on a free port of the loopback address.
Layer 6.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets as randoms
import socket
import threading
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime

import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from conduit_nb.testing.runpod_server.account import Account, utc_now
from conduit_nb.testing.runpod_server.app import make_app
from conduit_nb.testing.runpod_server.containers import StartContainer
from conduit_nb.testing.runpod_server.faults import Behaviour, Fault
from conduit_nb.testing.runpod_server.proxy import CUT_AFTER_S, Proxy
from conduit_nb.testing.runpod_server.stock import Stock
from conduit_nb.testing.runpod_server.traffic import Exchange, HangUps, Wire

LOOK_EVERY_S = 0.25


class RunpodServer:
    """A server that runs: where it is, what opens it, and how to look at it and spoil it.

    `url` is the API's address, `proxy_url` that of a pod's port, with {id} and {port} in it.
    `faults` and `behaviour` may be changed at any time; `exchanges` is what went over the wire.
    """

    def __init__(
        self,
        *,
        origin: str,
        account: Account,
        faults: list[Fault],
        exchanges: list[Exchange],
        hang_ups: HangUps,
    ) -> None:
        self.url = f"{origin}/v2"
        self.proxy_url = f"{origin}/proxy/{{id}}-{{port}}"
        self.account = account
        self.faults = faults
        self.exchanges = exchanges
        self._hang_ups = hang_ups

    @property
    def key(self) -> str:
        """Return the account's key."""
        return self.account.key

    @property
    def behaviour(self) -> Behaviour:
        """Return how the account and its pods behave."""
        return self.account.behaviour

    @property
    def connections(self) -> int:
        """Return how many connections were accepted until now, also those to pods."""
        return self._hang_ups.accepted

    @property
    def environment(self) -> dict[str, str]:
        """Return the variables that lead Conduit here."""
        return {
            "RUNPOD_API_KEY": self.key,
            "CONDUIT_RUNPOD_API_URL": self.url,
            "CONDUIT_RUNPOD_PROXY_URL": self.proxy_url,
        }

    def spoil(self, fault: Fault) -> None:
        """Spoil the next requests that the fault fits."""
        self.faults.append(fault)

    def vanish(self, pod_id: str) -> None:
        """Let a pod be gone, as when its host fails."""
        self.account.remove(pod_id)


@contextmanager
def runpod_server(
    *,
    stock: Stock | None = None,
    behaviour: Behaviour | None = None,
    key: str | None = None,
    clock: Callable[[], datetime] = utc_now,
    secrets: Mapping[str, str] | None = None,
    start_container: StartContainer | None = None,
    proxy_cuts_after_s: float = CUT_AFTER_S,
    faults: Sequence[Fault] = (),
) -> Generator[RunpodServer]:
    """Serve one account until the block ends; then every container has ended.

    `secrets` are the account's, by name; pods refer to them as `{{ RUNPOD_SECRET_name }}`, and a
    reference to one that is not there stays as it is. As in Runpod's API no call lists them.
    Without `start_container` pods run nothing.
    """
    account = Account(
        stock=stock or Stock(),
        behaviour=behaviour or Behaviour(),
        key=key or f"rpa_{randoms.token_hex(20)}",
        clock=clock,
        secrets=secrets,
        start_container=start_container,
    )
    proxy = Proxy(account, cut_after_s=proxy_cuts_after_s)
    waiting_faults, hang_ups = list(faults), HangUps()
    wire = Wire(make_app(account, proxy), waiting_faults, hang_ups, account.date)
    with socket.create_server(("127.0.0.1", 0)) as listening:
        server = _Server(wire, account, proxy, hang_ups)
        thread = threading.Thread(target=server.serve, args=(listening,), name="runpod-server")
        thread.start()
        try:
            server.has_started.wait()
            yield RunpodServer(
                origin=f"http://127.0.0.1:{listening.getsockname()[1]}",
                account=account,
                faults=waiting_faults,
                exchanges=wire.exchanges,
                hang_ups=hang_ups,
            )
        finally:
            server.stop()
            thread.join()
            account.close()


class _Uvicorn(uvicorn.Server):
    """uvicorn, but it says when it listens."""

    def __init__(self, has_started: threading.Event, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._has_started = has_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._has_started.set()


class _Server:
    """uvicorn in a thread of its own, with an eye on the containers."""

    def __init__(self, wire: Wire, account: Account, proxy: Proxy, hang_ups: HangUps) -> None:
        self.has_started = threading.Event()
        self._account = account
        self._proxy = proxy

        class Connection(H11Protocol):
            """One connection, known by its client's address while it is open."""

            def connection_made(self, transport: asyncio.Transport) -> None:
                super().connection_made(transport)
                hang_ups.accepted += 1
                if self.client is not None:
                    hang_ups.transports[self.client] = transport

            def connection_lost(self, exc: Exception | None) -> None:
                super().connection_lost(exc)
                if self.client is not None:
                    hang_ups.transports.pop(self.client, None)

        self._uvicorn = _Uvicorn(
            self.has_started,
            uvicorn.Config(
                wire,
                http=Connection,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                date_header=False,  # the server has a clock of its own
                timeout_graceful_shutdown=1,
            ),
        )

    def serve(self, listening: socket.socket) -> None:
        """Serve until `stop`."""
        asyncio.run(self._serve(listening))

    def stop(self) -> None:
        """Ask the server to end; open streams are cut."""
        self._uvicorn.should_exit = True
        self._uvicorn.force_exit = True

    async def _serve(self, listening: socket.socket) -> None:
        async with self._watched():
            await self._uvicorn.serve(sockets=[listening])
        await self._proxy.aclose()

    @asynccontextmanager
    async def _watched(self) -> AsyncGenerator[None]:
        task = asyncio.create_task(self._watch(), name="watch pods")
        try:
            yield
        finally:
            task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await task

    async def _watch(self) -> None:
        """Look after containers, which end when they like."""
        while self._account.has_container_hook:
            self._account.look()
            await asyncio.sleep(LOOK_EVERY_S)
