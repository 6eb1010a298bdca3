"""A bench whose provider may lie, whose time is virtual, and whose pods need no process."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Generator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

from conduit_nb.deployments.context import Context
from conduit_nb.providers import rest
from conduit_nb.providers.base import Provider
from conduit_nb.providers.runpod import Runpod
from conduit_nb.state.installation import Installation
from conduit_nb.state.ledger import spent_usd
from conduit_nb.testing.runpod_server import (
    Behaviour,
    Container,
    GpuType,
    Machine,
    RunpodServer,
    Stock,
    runpod_server,
)
from conduit_nb.testing.runpod_server.stock import CENTERS
from tests.deployments.deployed import INSTALLATION, Bench

LIST_LAG_S = 60.0
USD_PER_HOUR = 0.79


class KilledError(BaseException):
    """The end of a client, where a test puts it."""


def small_stock() -> Stock:
    """Return one GPU type in one data centre, by ones and by twos."""
    return Stock(
        gpus=[GpuType(id="NVIDIA L40S", name="L40S", memory_gb=48, secure_usd=USD_PER_HOUR)],
        machines=[Machine(gpu_id="NVIDIA L40S", center=CENTERS[0].id, gpus=2) for _ in range(3)],
        cpus=[],
        centers=CENTERS[:1],
    )


@dataclass
class Pods:
    """Containers that answer as a guard with a server behind it, all at one port.

    `state` is what the guard says of its server, `log` what that writes; `extend_reply` is what the
    guard answers to an extension in place of the truth, which takes effect all the same (None: it
    hangs up). With `is_mute` the guard tells nothing.
    """

    port: int = 0
    state: str = "ready"
    log: tuple[str, ...] = ()
    extend_reply: bytes | None = b""
    is_mute: bool = False
    leases_s: list[float] = field(default_factory=list)
    ports: Mapping[int, int] = field(default_factory=dict)

    def __call__(self, container: Container) -> Pods:
        for line in self.log:
            container.log(line)
        return replace(self, ports=dict.fromkeys(container.ports, self.port))

    def exit_code(self) -> int | None:
        return None

    def stop(self) -> None:
        """End nothing: there is no process."""


@contextmanager
def answering_pods(bench_clock: Any) -> Generator[Pods]:
    """Serve what containers answer until the block ends."""
    pods = Pods()

    class Handler(BaseHTTPRequestHandler):
        lease_until: ClassVar[float] = 0.0

        def do_GET(self) -> None:
            if self.path == "/conduit/guard" and not pods.is_mute:
                self._answer(self._told())
            elif self.path == "/v1/models" and pods.state == "ready":
                self._answer({"data": [{"id": "m/one"}]})
            else:
                self._answer({"error": {"message": "not yet", "code": "not_ready"}}, 503)

        def do_POST(self) -> None:
            wish = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            pods.leases_s.append(wish["lease_s"])
            Handler.lease_until = bench_clock().timestamp() + wish["lease_s"]
            if pods.extend_reply is None:
                self.close_connection = True
                return
            self._send(pods.extend_reply or json.dumps(self._told()).encode(), 200)

        def _told(self) -> dict[str, Any]:
            now = bench_clock().timestamp()
            until = Handler.lease_until or now + 600
            failed = {"exit_code": 3} if pods.state == "failed" else {}
            return {
                "state": pods.state,
                "now": now,
                "lease_until": until,
                "not_after": None,
                "log": list(pods.log),
                **failed,
            }

        def _answer(self, body: object, status: int = 200) -> None:
            self._send(json.dumps(body).encode(), status)

        def _send(self, body: bytes, status: int) -> None:
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    pods.port = server.server_address[1]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield pods
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@dataclass
class HostileBench(Bench):
    """Services in a time that passes only while somebody waits for it."""

    pods: Pods = field(default_factory=Pods)

    def __post_init__(self) -> None:
        super().__post_init__()
        self.clock.cloud = None  # which goes by this clock anyway

    async def pause(self, seconds: float) -> None:
        self.clock.advance(seconds=seconds)
        await asyncio.sleep(0)

    def provider(self, name: str) -> Provider:
        if name != "runpod":
            return super().provider(name)
        assert self.cloud is not None
        provider = Runpod(
            self.cloud.url, key=self.cloud.key, proxy_url=self.cloud.proxy_url, pause=self.pause
        )
        provider.capabilities = replace(provider.capabilities, list_lag_s=self.list_lag_s)
        return provider

    def context(self, installation: Installation = INSTALLATION, **change: Any) -> Context:
        return super().context(installation, **{"pause": self.pause} | change)

    @property
    def server(self) -> RunpodServer:
        assert self.cloud is not None
        return self.cloud

    def billing(self) -> list[str]:
        """Return the names of the pods that cost as running ones at this moment."""
        return [pod.name for pod in self.server.account.pods() if pod.is_up]

    def billed_usd(self) -> float:
        """Return what the provider has billed until now: the truth."""
        now = self.clock()
        spans = self.server.account.ledger.spans
        return sum(span.usd(span.begin, now) for span in spans)

    def counted_usd(self) -> float:
        """Return what stands in the ledger until now."""
        return spent_usd(self.context().store.charges(), self.clock())

    async def settle(self, *, looks: int = 2) -> None:
        """Let another client look, as often as one would in some minutes."""
        service = self.service()
        for _ in range(looks):
            await service.look()
            self.clock.advance(seconds=LIST_LAG_S + 1)
        await service.look()

    async def look_and_die(self, at: str, number: int = 1) -> None:
        """Look as a client does that is killed where it passes a checkpoint for the n-th time."""
        passed: list[str] = []

        def die(checkpoint: str) -> None:
            passed.append(checkpoint)
            if passed.count(at) == number and checkpoint == at:
                raise KilledError

        with suppress(KilledError):
            await self.service(checkpoint=die).look()
        assert passed.count(at) >= number, f"{at}: not passed"

    async def require_order(self) -> None:
        """Fail where a pod runs unseen or twice, or costs what nobody counts."""
        await self.settle()
        live = {node.name for node in self.context().store.nodes()}
        assert set(self.billing()) <= live, "a pod runs unseen"
        assert len(self.billing()) <= 1, "a second pod runs beside the first"
        self.clock.advance(hours=1)
        service = self.service()
        for record in self.records():
            await service.terminate(record.id)
        await self.settle(looks=1)
        assert not self.server.account.billing_pods(), "a pod goes on to cost"
        billed, counted = self.billed_usd(), self.counted_usd()
        lag_usd = USD_PER_HOUR * 3 * (10 * LIST_LAG_S) / 3600
        assert counted >= billed - 0.001, "a dollar is not counted"
        assert counted <= billed + lag_usd, "more is counted than was billed"


@contextmanager
def hostile_bench(folder: Path, behaviour: Behaviour | None = None) -> Generator[HostileBench]:
    """Serve an account with the bench's own clock; its replies may break any specification."""
    bench = HostileBench(folder, list_lag_s=LIST_LAG_S)
    rest._TIMES.clear()  # an earlier server, of another time, may have had the port
    with (
        answering_pods(bench.clock) as pods,
        runpod_server(
            stock=small_stock(),
            behaviour=behaviour or Behaviour(),
            clock=bench.clock,
            start_container=pods,
        ) as cloud,
    ):
        bench.cloud, bench.pods = cloud, pods
        yield bench
