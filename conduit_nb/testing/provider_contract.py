"""What every provider must do, whoever wrote it: one suite, for ours and for one's own.

Write a `ProviderHarness` and derive a test class from `ProviderContract`:

    class TestMine(ProviderContract):
        @pytest.fixture
        def harness(self) -> Iterator[ProviderHarness]:
            yield ProviderHarness(provider=Mine(…), spec=…, secrets=…, exists=…)

pytest (with pytest-asyncio in its auto mode) runs the rest. Knows no provider.
Layer 6.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError, DeploymentError
from conduit_nb.providers.base import Node, NodeStatus, Provider, Renewing

LOOK_EVERY_S = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderHarness:
    """A provider, and what to try it with.

    `spec` makes a launch spec of a server that is ready in a moment, under the name it is given;
    `names` are two names that `providers.naming` made, `foreign` one of another installation.
    `exists` says the truth, past the provider: whether a node of that name is there. `patience_s`
    is how long a state may take to be reached.
    """

    provider: Provider
    spec: Callable[[str], LaunchSpec]
    secrets: Mapping[str, str]
    exists: Callable[[str], bool]
    names: tuple[str, str]
    foreign: str
    offering: ComputeOffering | None = None
    patience_s: float = 60.0

    async def launch(self, name: str) -> Node:
        """Launch a node of that name."""
        return await self.provider.launch(self.spec(name), self.secrets, self.offering)

    async def until(self, name: str, *statuses: NodeStatus) -> Node:
        """Return the node once it is in one of these states."""
        async with asyncio.timeout(self.patience_s):
            while True:
                node = await self.provider.describe(name)
                if node is not None and node.status in statuses:
                    return node
                await asyncio.sleep(LOOK_EVERY_S)


class ProviderContract:
    """The suite; a class of its own is derived for each provider."""

    async def test_what_is_launched_is_there_by_its_name_and_runs(self, harness: ProviderHarness):
        launched = await harness.launch(harness.names[0])
        node = await harness.until(harness.names[0], "running")

        assert harness.exists(launched.name)
        assert (launched.name, launched.provider) == (harness.names[0], harness.provider.name)
        assert node.url.startswith(("http://", "https://"))
        assert await harness.provider.describe(node.name, node.id) is not None

    async def test_a_name_can_be_had_once(self, harness: ProviderHarness):
        await harness.launch(harness.names[0])
        await harness.until(harness.names[0], "running")
        try:
            await harness.launch(harness.names[0])
        except DeploymentError:
            return
        # A provider that lets two things have one name must end both by it.
        await harness.provider.terminate(harness.names[0])
        assert not harness.exists(harness.names[0])

    async def test_every_node_is_listed_whoevers_it_is(self, harness: ProviderHarness):
        for name in (*harness.names, harness.foreign):
            await harness.launch(name)

        listed = {node.name for node in await harness.provider.list_nodes()}
        assert listed >= {*harness.names, harness.foreign}
        await harness.provider.terminate(harness.names[0])
        left = {node.name for node in await harness.provider.list_nodes()}
        assert harness.names[0] not in left
        assert left >= {harness.names[1], harness.foreign}

    async def test_ending_what_has_ended_is_success(self, harness: ProviderHarness):
        node = await harness.launch(harness.names[0])
        for _ in range(2):
            await harness.provider.terminate(node.name, node.id)
            await harness.provider.terminate(node.name)
        found = await harness.provider.describe(node.name)

        assert found is None or found.status == "gone"
        assert not harness.exists(node.name)
        await harness.provider.terminate(harness.names[1])  # which never was

    async def test_stop_and_start_are_what_its_capabilities_say(self, harness: ProviderHarness):
        node = await harness.launch(harness.names[0])
        await harness.until(node.name, "running")
        if not harness.provider.capabilities.can_stop:
            for verb in (harness.provider.stop, harness.provider.start, harness.provider.restart):
                with pytest.raises(DeploymentError) as refused:
                    await verb(node.name)
                assert refused.value.hint
            return
        # What its guard was told at first would end it again.
        assert isinstance(harness.provider, Renewing)
        for _ in range(2):
            await harness.provider.stop(node.name, node.id)
        await harness.until(node.name, "stopped")
        later = datetime.now(UTC) + timedelta(hours=1)
        await harness.provider.renew(
            node.name, node.id, boot_until=later, lease_until=later, not_after=None
        )
        for _ in range(2):
            await harness.provider.start(node.name, node.id)
        await harness.until(node.name, "running")
        await harness.provider.restart(node.name, node.id)
        await harness.until(node.name, "running")
        assert harness.exists(node.name)

    async def test_what_is_not_there_is_none_or_an_error_of_ours(self, harness: ProviderHarness):
        assert await harness.provider.describe(harness.names[1]) is None
        with pytest.raises(ConduitError):
            await harness.provider.start(harness.names[1])

    async def test_its_log_is_read(self, harness: ProviderHarness):
        node = await harness.launch(harness.names[0])
        await harness.until(node.name, "running")
        async with asyncio.timeout(harness.patience_s):
            lines: list[str] = []
            while not lines:
                await asyncio.sleep(LOOK_EVERY_S)
                logs = harness.provider.logs(node.name, node.id, tail=5)
                lines = [line async for line in logs]
        lines = [line async for line in harness.provider.logs(node.name, node.id, tail=1)]

        assert len(lines) >= 1
        assert [line async for line in harness.provider.logs(harness.names[1])] == []

    async def test_what_costs_says_how_much(self, harness: ProviderHarness):
        node = await harness.launch(harness.names[0])
        node = await harness.until(node.name, "running")
        if harness.provider.capabilities.is_billable:
            assert (node.usd_per_hour or 0) > 0
        else:
            assert not node.usd_per_hour
            assert await harness.provider.billed_usd(node.name, node.id) == 0

    async def test_offerings_are_its_own(self, harness: ProviderHarness):
        listing = await harness.provider.offerings()

        assert {one.provider for one in listing.offerings} <= {harness.provider.name}

    async def test_no_key_is_in_what_it_tells(self, harness: ProviderHarness):
        node = await harness.launch(harness.names[0])

        for secret in harness.secrets.values():
            assert secret not in repr(node)
            assert secret not in repr(harness.provider)
