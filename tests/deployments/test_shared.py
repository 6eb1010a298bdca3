"""deployments/shared.py, with real processes that speak LmLite's wire."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.client import Endpoint
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.shared import PORT_IN_USE_EXIT_CODE, SharedServer
from conduit_nb.errors import BootError, DeploymentError, StorageError
from conduit_nb.events import Events
from conduit_nb.protocol import ChatRequest, LoadRequest
from conduit_nb.providers.base import Node
from conduit_nb.providers.local import LocalProvider
from conduit_nb.runtimes.base import ServerRequest
from conduit_nb.state.installation import Installation
from tests.echo_server import LAST_WORDS
from tests.fake_lmlite import FakeRuntime
from tests.waiting import until

pytestmark = pytest.mark.system  # real processes


INSTALLATION = Installation(id="tests", secret=b"s" * 32)
HUNG_AFTER_S = 1.0
KEY = {"CONDUIT_API_KEY": "another"}


def named(name: str) -> ServerRequest:
    return ServerRequest(name=name)


@dataclass
class Bench:
    """Clients of one shared server, with their own state folder; `told` is what they said."""

    state_dir: Path
    events: Events = field(default_factory=Events)
    told: list[str] = field(default_factory=list)
    endpoints: list[Endpoint] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.events.subscribe(lambda event: self.told.append(getattr(event, "text", "")))
        self.provider = LocalProvider(grace_s=1)
        self.shared = self.client()

    def client(
        self, *flags: str, installation: Installation = INSTALLATION, **change: Any
    ) -> SharedServer:
        """Return what another client has, whose server is started with these flags."""
        context = Context(
            provider=lambda _: self.provider,
            provider_names=lambda: ["local"],
            runtime=lambda _: FakeRuntime(flags),
            events=self.events,
            installation=installation,
        )
        return SharedServer(context, **{"hung_after_s": HUNG_AFTER_S} | change)

    async def connect(self, shared: SharedServer | None = None) -> Endpoint:
        endpoint = await (shared or self.shared).connect()
        self.endpoints.append(endpoint)
        return endpoint

    async def pids(self) -> list[int | None]:
        return [node.pid for node in await self.provider.list_nodes()]

    async def launch(self, *flags: str, key: str | None = None) -> Node:
        """Launch the server as another client does that goes away before it is ready."""
        name = self.shared.name
        spec = FakeRuntime(flags).launch_spec(ServerRequest(name=name))
        secret = INSTALLATION.endpoint_key(name) if key is None else key
        return await self.provider.launch(spec, {"CONDUIT_API_KEY": secret})


@pytest.fixture
async def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Bench]:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "20")
    bench = Bench(tmp_path)
    yield bench
    for endpoint in bench.endpoints:
        await endpoint.aclose()
    for node in await bench.provider.list_nodes():
        await bench.provider.terminate(node.name)


@pytest.fixture
def foreign_port() -> Iterator[int]:
    """A port on which a process that is not ours takes connections."""
    with socket.socket() as foreign:
        foreign.bind(("127.0.0.1", 0))
        foreign.listen()
        yield foreign.getsockname()[1]


def ports(*first: int) -> Callable[[], int]:
    """Choose these ports first, then free ones."""
    left = list(first)

    def choose() -> int:
        if left:
            return left.pop(0)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return probe.getsockname()[1]

    return choose


async def answer(endpoint: Endpoint, model: str = "m") -> str:
    request = ChatRequest(model=model, messages=[{"role": "user", "content": "hello"}])
    return (await endpoint.chat(request))["choices"][0]["message"]["content"]


async def test_the_first_call_starts_a_server_and_the_next_finds_it(bench: Bench):
    first = await bench.connect()
    second = await bench.connect(bench.client())

    assert first.url == second.url
    assert first.dialect == second.dialect == "lmlite"
    assert (await answer(first)).endswith(": hello")
    assert len(await bench.pids()) == 1


async def test_what_is_started_and_where_it_runs_is_told_once(bench: Bench):
    await bench.connect()
    await bench.connect()

    assert [text for text in bench.told if str(bench.state_dir) in text] == bench.told[:1]
    assert ".log" in bench.told[0]
    assert len([text for text in bench.told if "CPU" in text]) == 1


async def test_calls_at_once_start_one_server(bench: Bench):
    clients = [bench.client() for _ in range(5)]
    endpoints = await asyncio.gather(*map(bench.connect, clients))

    assert len({endpoint.url for endpoint in endpoints}) == 1
    assert len(await bench.pids()) == 1


async def test_the_name_is_made_of_installation_machine_version_and_environment(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    mine = bench.shared.name
    other = Installation(id="other", secret=b"s" * 32)

    assert mine.startswith("fake-local-")
    assert bench.client().name == mine
    assert bench.client(installation=other).name != mine
    monkeypatch.setattr(sys, "prefix", "/another/environment")
    assert bench.shared.name != mine


async def test_a_server_that_was_killed_is_replaced(bench: Bench):
    first = await bench.connect()
    (pid,) = await bench.pids()
    os.kill(pid or 0, signal.SIGKILL)
    second = await bench.connect()

    assert (await answer(second)).endswith(": hello")
    assert first.url != second.url or await bench.pids() != [pid]
    assert len(await bench.pids()) == 1


async def test_a_server_that_hangs_is_replaced_in_bounded_time(bench: Bench):
    await bench.connect()
    (pid,) = await bench.pids()
    os.kill(pid or 0, signal.SIGSTOP)
    before = len(bench.events.notices())
    endpoint = await asyncio.wait_for(bench.connect(), timeout=30)

    assert (await answer(endpoint)).endswith(": hello")
    assert await bench.pids() != [pid]
    name = bench.shared.name
    waits, replaced, starts = (notice.text for notice in bench.events.notices()[before:])
    assert name in waits
    assert name in replaced
    assert ".log" in starts


async def test_a_server_that_another_client_is_still_booting_is_waited_for(bench: Bench):
    node = await bench.launch()
    await bench.connect()

    assert await bench.pids() == [node.pid]
    assert not any(".log" in text for text in bench.told), "it started one of its own"


async def test_a_server_that_was_started_with_another_key_is_replaced(bench: Bench):
    node = await bench.launch(key="another")
    endpoint = await bench.connect()

    assert (await answer(endpoint)).endswith(": hello")
    assert await bench.pids() != [node.pid]


async def test_a_port_that_is_taken_meanwhile_is_left_for_another(bench: Bench, foreign_port: int):
    bench.provider = LocalProvider(choose_port=ports(foreign_port, foreign_port))
    endpoint = await bench.connect()

    assert not endpoint.url.endswith(f":{foreign_port}")
    assert (await answer(endpoint)).endswith(": hello")


async def test_ports_that_are_all_taken_are_an_error(bench: Bench, foreign_port: int):
    bench.provider = LocalProvider(choose_port=lambda: foreign_port)

    with pytest.raises(BootError, match=r"\b3\b") as caught:
        await bench.connect()

    assert (caught.value.reason, caught.value.exit_code) == ("exited", PORT_IN_USE_EXIT_CODE)
    assert await bench.pids() == []


async def test_a_server_that_dies_is_told_at_once_with_its_last_words(bench: Bench):
    with pytest.raises(BootError, match=LAST_WORDS) as caught:
        await asyncio.wait_for(bench.connect(bench.client("--dies", "3")), timeout=15)

    assert (caught.value.reason, caught.value.exit_code) == ("exited", 3)
    assert caught.value.log[-1] == LAST_WORDS
    assert ".log" in caught.value.hint
    assert str(bench.state_dir) in caught.value.hint


async def test_only_the_last_words_of_this_launch_are_told(bench: Bench):
    await bench.connect()
    (node,) = await bench.provider.list_nodes()
    await bench.provider.terminate(node.name)

    with pytest.raises(BootError) as caught:
        await bench.connect(bench.client("--dies", "3"))

    assert str(caught.value).count("--- ") == 1


async def test_a_server_that_is_killed_while_it_boots_is_told_at_once(bench: Bench):
    booting = asyncio.create_task(bench.connect(bench.client("--never-listens")))
    (pid,) = await until(bench.pids)
    os.kill(pid or 0, signal.SIGKILL)

    with pytest.raises(BootError, match="SIGKILL") as caught:
        await asyncio.wait_for(booting, timeout=15)

    assert (caught.value.reason, caught.value.exit_code) == ("exited", -signal.SIGKILL)
    assert "memory" in caught.value.hint


async def test_a_server_that_never_becomes_ready_is_ended(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "0.5")

    with pytest.raises(BootError, match=r"\b0\.5 s\b") as caught:
        await bench.connect(bench.client("--never-listens"))

    assert (caught.value.reason, caught.value.exit_code) == ("deadline", None)
    assert "CONDUIT_BOOT_TIMEOUT_S" in caught.value.hint
    assert await bench.pids() == []


async def test_a_cancelled_start_goes_on_and_is_found_by_the_next_call(bench: Bench):
    starting = asyncio.create_task(bench.connect())
    (pid,) = await until(bench.pids)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await bench.connect()

    assert await bench.pids() == [pid]


class Replaced(LocalProvider):
    """This machine, where another client replaces the first launch while it boots."""

    later: Node | None = None

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        if node_id is not None and self.later is None:
            other = LocalProvider(grace_s=1)
            await other.terminate(name, node_id)
            key = {"CONDUIT_API_KEY": INSTALLATION.endpoint_key(name)}
            self.later = await other.launch(FakeRuntime().launch_spec(named(name)), key)
        return await super().describe(name, node_id)


@pytest.mark.parametrize("is_own", [True, False])
async def test_whoever_waits_for_a_launch_that_another_client_replaces_takes_the_later_one(
    bench: Bench, is_own: bool
):
    bench.provider = provider = Replaced(grace_s=1)
    if not is_own:
        await bench.launch("--never-listens")

    endpoint = await asyncio.wait_for(bench.connect(bench.client("--never-listens")), timeout=10)

    assert provider.later is not None
    assert endpoint.url == provider.later.url
    assert await bench.pids() == [provider.later.pid]


class Contended(LocalProvider):
    """This machine, where another client is always quicker to launch what never gets ready."""

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        await super().terminate(name, node_id)
        if node_id is not None:
            await self.launch(FakeRuntime(("--never-listens",)).launch_spec(named(name)), KEY)


async def test_a_start_that_others_never_finish_is_an_error_after_a_while(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("conduit_nb.deployments.shared.SLACK_S", 0.0)
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "0.2")
    bench.provider = Contended(grace_s=1)
    await bench.launch("--never-listens")

    with pytest.raises(DeploymentError) as caught:
        await bench.connect(bench.client(hung_after_s=0.1))

    assert not isinstance(caught.value, BootError)
    assert bench.shared.name in str(caught.value)
    assert len(await bench.pids()) == 1


async def test_no_permission_in_the_state_folder_is_an_error_that_names_the_variable(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
):
    (bench.state_dir / "file").write_text("in the way")
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(bench.state_dir / "file" / "state"))

    with pytest.raises(StorageError) as caught:
        await bench.connect()

    assert "CONDUIT_STATE_DIR" in caught.value.hint
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(bench.state_dir))


async def test_deployments_are_listed_with_what_their_servers_say(bench: Bench):
    await bench.connect()
    (info,) = await bench.shared.infos()

    assert info.name == bench.shared.name
    assert (info.provider, info.runtime, info.status) == ("local", "fake", "running")
    assert (info.device, info.models) == ("cpu", {})
    assert info.idle_s is not None
    assert [info.pid] == await bench.pids()


async def test_a_deployment_that_boots_or_hangs_is_listed_as_that(bench: Bench):
    await bench.connect()
    (pid,) = await bench.pids()
    await bench.provider.launch(
        FakeRuntime(("--never-listens",)).launch_spec(ServerRequest(name="deaf-local-1")),
        {"CONDUIT_API_KEY": "k"},
    )
    os.kill(pid or 0, signal.SIGSTOP)
    listed = await bench.shared.infos()

    assert {info.runtime: info.status for info in listed} == {
        "fake": "not answering",
        "deaf": "starting",
    }


async def test_models_are_listed_by_deployment(bench: Bench):
    await bench.connect()
    (model,) = await bench.shared.models()

    assert (model.id, model.state, model.device) == ("loading", "ready", "cpu")
    assert model.deployment == bench.shared.name
    assert model.memory_gib == 1.0


async def test_a_model_is_unloaded_where_it_is_loaded(bench: Bench):
    endpoint = await bench.connect()
    await endpoint.load_model(LoadRequest(model="owner/name"))

    (unloaded,) = await bench.shared.unload("owner/name")

    assert unloaded.id == "owner/name"
    assert unloaded.deployment == bench.shared.name
    assert [model.id for model in await bench.shared.models()] == ["loading"]
    assert await bench.shared.unload("owner/name") == []
