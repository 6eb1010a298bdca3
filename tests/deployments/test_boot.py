"""deployments/boot.py: whether a server answers and is the one that was meant; why one failed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.client import Endpoint
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.deployments.boot import Probe, boot_error, probe, wait_until_ready
from conduit_nb.errors import EndpointAuthError
from conduit_nb.providers.base import Node, NodeStatus
from tests.deployments.deployed import Bench
from tests.deployments.faulty_cloud import answering_server
from tests.raw_server import HANG_UP, json_answer, raw_server
from tests.state.stores import deployment, node

OK = {"status": "ok", "version": "1", "device": "cpu", "idle_s": 0, "models": {}}
NO_MODELS = {"object": "list", "data": []}


NODE = Node(name="n", id="first", provider="told", status="starting", url="http://x")


class Told:
    """A provider whose node has these states, one at each look, the last for ever."""

    name = "told"

    def __init__(self, *statuses: NodeStatus | None) -> None:
        self._statuses = list(statuses)
        self.looks = 0

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        assert (name, node_id) == (NODE.name, NODE.id), "a later node of that name is another one"
        status = self._statuses[min(self.looks, len(self._statuses) - 1)]
        self.looks += 1
        return replace(NODE, status=status) if status is not None else None

    async def launch(self, spec: LaunchSpec, secrets: Mapping[str, str]) -> Node:
        raise AssertionError("nobody asked for that")

    async def list_nodes(self) -> list[Node]:
        return []

    async def terminate(self, name: str) -> None:
        raise AssertionError("nobody asked for that")

    async def logs(self, name: str, *, tail: int = 100, follow: bool = False) -> AsyncIterator[str]:
        yield ""


@asynccontextmanager
async def serving(*answers: list[bytes], stays: bool = False) -> AsyncIterator[Any]:
    async with raw_server(*answers, stays=stays) as server:
        endpoint = Endpoint(server.url, key="k")
        try:
            yield server, endpoint
        finally:
            await endpoint.aclose()


async def test_a_server_that_takes_our_key_is_ready():
    async with serving(json_answer(OK), json_answer(NO_MODELS)) as (_server, endpoint):
        assert await probe(endpoint) == OK


@pytest.mark.parametrize(
    "answers",
    [
        [json_answer({**OK, "status": "stopping"})],
        [json_answer({"hello": "world"})],
        [json_answer({}, status=503)],
        [[HANG_UP]],
        [json_answer(OK), json_answer({}, status=500)],
    ],
)
async def test_a_server_that_takes_no_requests_is_not_ready(answers: list[list[bytes]]):
    async with serving(*answers) as (_server, endpoint):
        assert await probe(endpoint) is None


async def test_a_server_that_is_silent_is_not_ready():
    async with serving(stays=True) as (_server, endpoint):
        assert await probe(endpoint, timeout_s=0.1) is None


async def test_a_server_that_refuses_our_key_is_told():
    async with serving(json_answer(OK), json_answer({}, status=401)) as (_server, endpoint):
        with pytest.raises(EndpointAuthError):
            await probe(endpoint)


async def test_nobody_is_asked_before_the_node_itself_listens():
    provider = Told("starting", "starting", "running")
    async with serving(json_answer(OK), json_answer(NO_MODELS)) as (server, endpoint):
        found = await wait_until_ready(provider, NODE, endpoint, within_s=10)

    assert found.health == OK
    assert provider.looks == 3
    assert len(server.heads) == 2


@pytest.mark.parametrize("end", ["gone", None])
async def test_a_node_that_is_gone_is_not_waited_for(end: NodeStatus | None):
    provider = Told("starting", end)
    async with serving(json_answer(OK)) as (server, endpoint):
        found = await wait_until_ready(provider, NODE, endpoint, within_s=60)

    assert found.is_gone
    assert found.health is None
    assert provider.looks == 2
    assert not server.heads


async def test_a_node_that_does_not_become_ready_is_given_up_in_time():
    provider = Told("running")
    async with serving(stays=True) as (_server, endpoint):
        found = await wait_until_ready(provider, NODE, endpoint, within_s=0.2)

    assert found.health is None
    assert not found.is_gone


LOG = [
    "--- 2026-01-01 10:00:00 UTC: starting lmlite",
    "the words of an earlier launch",
    "--- 2026-01-01 11:00:00 UTC: starting lmlite",
    "--- Logging error ---",
    "no such device",
]


@pytest.mark.parametrize(
    ("reason", "exit_code", "facts"),
    [
        ("exited", 3, ("code 3", "no such device")),
        ("exited", -9, ("SIGKILL", "memory")),
        ("exited", None, ("exited",)),
        ("deadline", None, ("2 min", "CONDUIT_BOOT_TIMEOUT_S")),
        ("gone", None, ("gone",)),
    ],
)
def test_what_did_not_boot_is_told_with_why_and_what_its_last_launch_wrote(
    reason: str, exit_code: int | None, facts: tuple[str, ...]
):
    error = boot_error(
        "n",
        reason=reason,
        exit_code=exit_code,
        lines=LOG,
        within_s=120,
        setting="CONDUIT_BOOT_TIMEOUT_S",
        log="a/file.log",
    )

    assert (error.reason, error.exit_code, error.log) == (reason, exit_code, tuple(LOG[2:]))
    assert all(fact in f"{error} {error.hint}" for fact in facts)
    assert "earlier launch" not in str(error)
    assert "a/file.log" in error.hint


def test_ports_that_were_in_use_are_told_with_how_many():
    error = boot_error(
        "n", reason="exited", exit_code=98, lines=(), within_s=1, setting="S", port_tries=3
    )

    assert "3 times" in str(error)
    assert "ss -ltnp" in error.hint


async def test_a_node_is_asked_where_it_is_now(tmp_path: Path):
    async with aclosing(Probe(Bench(tmp_path).context(), deployment())) as probe:
        with answering_server() as first:
            before = node(url=first.url)
            assert await probe.answers(before)
        assert not await probe.answers(before)
        with answering_server() as second:
            assert await probe.answers(node(url=second.url))
