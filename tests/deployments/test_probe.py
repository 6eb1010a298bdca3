"""deployments/probe.py: whether a node's server answers; test_hostile_provider.py has the boots."""

from __future__ import annotations

from contextlib import aclosing
from pathlib import Path

from conduit_nb.deployments.probe import Probe
from tests.deployments.deployed import Bench
from tests.deployments.faulty_cloud import answering_server
from tests.state.stores import deployment, node


async def test_a_node_is_asked_where_it_is_now(tmp_path: Path):
    async with aclosing(Probe(Bench(tmp_path).context(), deployment())) as probe:
        with answering_server() as first:
            before = node(url=first.url)
            assert await probe.answers(before)
        assert not await probe.answers(before)
        with answering_server() as second:
            assert await probe.answers(node(url=second.url))
