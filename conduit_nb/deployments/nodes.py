"""One node, from the intent to its end: every step is in the state before it is taken.

Layer 4.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, Literal

from conduit_nb import settings
from conduit_nb.client import Endpoint
from conduit_nb.deployments.intent import (
    HUB_SECRET,
    Slot,
    boot_s,
    end_of_money,
    intend,
    launch_spec,
    secrets_of,
)
from conduit_nb.deployments.lease import ask_guard, extend_lease, renew
from conduit_nb.deployments.owners import this_process
from conduit_nb.deployments.quote import Candidate
from conduit_nb.deployments.telling import telling
from conduit_nb.deployments.tools import Tools
from conduit_nb.errors import (
    BootError,
    ConduitError,
    DeploymentEndedError,
    DeploymentError,
    EndpointError,
    NoCapacityError,
    ProviderError,
    StorageError,
)
from conduit_nb.events import Step
from conduit_nb.providers.base import Node, Preparing, Provider, Telling
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.units import duration

PROBE_TIMEOUT_S = 5.0
LOOK_EVERY_S = 0.5
LOG_LINES_SHOWN = 15
SOON = timedelta(seconds=1)


async def fill(tools: Tools, record: DeploymentRecord, slot: Slot) -> NodeRecord:
    """Start a node on the best candidate that can be had, and wait until it answers.

    Raises the last candidate's error where none does; nothing of it is left then.
    """
    failure: ConduitError | None = None
    for candidate in slot.server.candidates:
        node: NodeRecord | None = None
        try:
            node = await create(tools, record, slot, candidate)
            return await _boot_new(tools, record, node)
        except (NoCapacityError, BootError) as err:
            tools.tell(f"{candidate.provider} {candidate.offering.id}: {err}")
            failure = err
    assert failure is not None, "a quote has candidates"
    raise failure


async def _boot_new(tools: Tools, record: DeploymentRecord, node: NodeRecord) -> NodeRecord:
    """Boot a node that was just created; whatever breaks that off, it must not go on costing."""
    try:
        return await boot(tools, record, node)
    except BootError:
        raise  # it has ended
    except BaseException as err:
        why = str(err) if isinstance(err, ConduitError) else "it was stopped while it booted"
        await end_at_last(tools, node, why=why)
        raise


async def create(
    tools: Tools, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    """Write the intent, create the node, write that it is there."""
    secrets = await secrets_of(tools, record, slot, candidate)  # first: it may raise
    node = await intend(tools, record, slot, candidate)
    provider = tools.provider(candidate.provider)
    has_token = HUB_SECRET in secrets
    spec = launch_spec(tools, record, slot, candidate, node, with_hub_token=has_token)
    if isinstance(provider, Telling):
        provider.tell = tools.tell
    try:
        if isinstance(provider, Preparing):
            began = tools.clock()
            await provider.prepare(spec)
            if tools.clock() - began > SOON:  # it has fetched something: the boot begins now
                boot_until = tools.clock() + timedelta(seconds=boot_s(tools, candidate))
                node = await tools.set_node(node, boot_until=boot_until)
                spec = launch_spec(tools, record, slot, candidate, node, with_hub_token=has_token)
        created = await tools.call(
            "launch",
            provider.launch(
                spec, {name: secrets[name] for name in spec.secrets}, candidate.offering
            ),
        )
    except ProviderError as err:
        if not err.may_have_arrived:
            await _never_was(tools, node, str(err))
            raise
        tools.tell(f"{candidate.provider} broke off while it was asked for {node.name}; looking.")
        try:
            arrived = await _look_for(tools, provider, node)
        except BaseException:
            await end_at_last(tools, node, why=str(err))
            raise
        if arrived is None:
            await end_at_last(tools, node, why=str(err))
            raise NoCapacityError(str(err), hint=err.hint) from err
        created = arrived
    except ConduitError as err:
        await _never_was(tools, node, str(err))
        raise
    except BaseException:  # the user has stopped it: what may be there must end
        await end_at_last(tools, node, why="it was stopped while it was created")
        raise
    try:
        return await confirm(tools, node, created)
    except BaseException as err:  # the state cannot be written, or somebody has ended it
        await end_at_last(tools, node, why=f"it could not be confirmed: {err}")
        raise


async def confirm(tools: Tools, node: NodeRecord, found: Node) -> NodeRecord:
    """Write that the provider has the node, and that it costs since it was asked for."""
    return await tools.set_node(
        node,
        status="booting",
        provider_id=found.id,
        url=found.url,
        charge="running",
        at=node.created_at,
    )


async def boot(tools: Tools, record: DeploymentRecord, node: NodeRecord) -> NodeRecord:
    """Wait until the node's server answers; end it where it does not by its deadline."""
    provider = tools.provider(node.provider)
    at_most = (node.boot_until - tools.clock()).total_seconds()

    def say(seconds: float) -> None:
        where = f"{record.name} boots on {node.provider}"
        tools.tell(Step(text=f"{where}: {duration(seconds)} of at most {duration(at_most)}"))

    async with telling(say):
        return await _booted(tools, record, node, provider)


async def _booted(
    tools: Tools, record: DeploymentRecord, node: NodeRecord, provider: Provider
) -> NodeRecord:
    while True:
        seen = await provider.describe(node.name, node.provider_id)
        if seen is not None and seen.url != node.url:
            node = await tools.set_node(node, url=seen.url)
        if seen is not None and seen.status == "running" and await answers(tools, record, node):
            node = await tools.set_node(node, status="running", ready_at=tools.clock())
            await _pass_on_lease(tools, node)
            return node
        is_gone = seen is not None and seen.status in ("gone", "failed", "stopped")
        if is_gone or tools.clock() >= node.boot_until:
            break
        await tools.pause(LOOK_EVERY_S)
    error = await boot_error(provider, node, seen)
    await end_at_last(tools, node, why=str(error))
    raise error


async def _pass_on_lease(tools: Tools, node: NodeRecord) -> None:
    """Tell the guard of a lease that was extended while nobody could reach it."""
    record = await tools.read(tools.store.deployment, node.deployment)
    key = tools.installation.endpoint_key(node.deployment)
    told = await ask_guard(node.url, key) if node.url is not None else None
    if record is not None and node.url is not None and told is not None:
        missing_s = (record.lease_until - told.lease_until).total_seconds()
        if missing_s > 1:  # its clock counts in floats
            try:
                await extend_lease(node.url, key, record.lease_until)
            except DeploymentError as err:  # the node runs, until its first lease ends
                tools.tell(f"{record.name}: {err} {err.hint}")


async def answers(tools: Tools, record: DeploymentRecord, node: NodeRecord) -> bool:
    """Say whether the node's server takes requests with our key."""
    endpoint = endpoint_of(tools, record, node)
    try:
        await endpoint.models(timeout_s=PROBE_TIMEOUT_S)
    except EndpointError:
        return False
    finally:
        await endpoint.aclose()
    return True


async def end(
    tools: Tools, node: NodeRecord, *, why: str = "", is_failed: bool = False
) -> NodeRecord:
    """End a node for good; where its creation may still be under way, as much as can be now.

    Then it stays "terminating", and the next look finishes it. Idempotent, also where two
    clients end it at once: both go through every step, and who comes second finds it done.
    """
    if not node.is_live:
        return node
    try:
        return await _end(tools, node, why, is_failed)
    except DeploymentEndedError:
        ended = await tools.read(tools.store.node, node.name)
        assert ended is not None, "nodes are never removed"
        if ended.is_live:
            raise
        return ended


async def end_at_provider(tools: Tools, node: NodeRecord) -> NodeRecord:
    """End a node without a word of it in the state, which cannot be written; looks write it."""
    provider = tools.provider(node.provider)
    await tools.call("terminate", provider.terminate(node.name, node.provider_id))
    return node


async def end_at_last(tools: Tools, node: NodeRecord, *, why: str) -> None:
    """End what something else has failed for; that it cannot be ended yet is told, not raised.

    The state says then that it is terminating, and every look at the providers tries again.
    """
    try:
        await end(tools, node, why=why)
    except ConduitError as err:
        tools.tell(f"{node.name} could not be terminated yet ({err}). Conduit will retry.")


async def _end(tools: Tools, node: NodeRecord, why: str, is_failed: bool) -> NodeRecord:
    provider = tools.provider(node.provider)
    try:
        node = await tools.set_node(node, status="terminating", detail=why)
    except StorageError:  # ending needs no state: what costs ends first
        await end_at_provider(tools, node)
        raise
    if node.provider_id is None:
        found = await provider.describe(node.name)
        if found is not None:  # it costs since it was asked for, whoever had noticed
            node = await tools.set_node(
                node, provider_id=found.id, charge="running", at=node.created_at
            )
    await tools.call("terminate", provider.terminate(node.name, node.provider_id))
    now = tools.clock()
    if node.provider_id is None and now < settled_at(provider, node):
        return node
    billed = await _billed(provider, node)
    return await tools.set_node(
        node,
        status="failed" if is_failed else "terminated",
        ended_at=now,
        end_charge=True,
        at=now,
        billed_usd=billed,
    )


async def stop(tools: Tools, node: NodeRecord) -> NodeRecord:
    """Stop a node and keep its place."""
    if node.status == "stopped":
        return node
    provider = tools.provider(node.provider)
    node = await tools.set_node(node, status="stopping")
    await tools.call("stop", provider.stop(node.name, node.provider_id))
    return await tools.set_node(node, status="stopped", charge="stopped", at=tools.clock())


async def boot_again(
    tools: Tools, record: DeploymentRecord, node: NodeRecord, word: Literal["start", "restart"]
) -> NodeRecord:
    """Have a node start its program again, with a boot deadline of its own.

    One that was stopped has as long as its money lasts from now on.
    """
    provider, now = tools.provider(node.provider), tools.clock()
    until = now + timedelta(seconds=settings.node_boot_timeout_s())
    changes: dict[str, Any] = {}
    if word == "start":
        not_after = await end_of_money(tools, node)
        changes = {"charge": "running", "at": now, "not_after": not_after}
    node = await tools.set_node(
        node, status="booting", boot_until=until, owner=this_process(), **changes
    )
    await tools.call("renew", renew(provider, node, record.lease_until, as_of=now))
    act = provider.start if word == "start" else provider.restart
    await tools.call(word, act(node.name, node.provider_id))
    return await boot(tools, record, node)


def settled_at(provider: Provider, node: NodeRecord) -> datetime:
    """Return when the provider's list must show the node, if it was ever created."""
    return node.created_at + timedelta(seconds=provider.capabilities.list_lag_s) + SOON


def endpoint_of(tools: Tools, record: DeploymentRecord, node: NodeRecord) -> Endpoint:
    """Return the endpoint of a node."""
    assert node.url is not None, "a node that was created has an address"
    return Endpoint(
        node.url,
        key=tools.installation.endpoint_key(record.id),
        dialect=tools.runtime(record.runtime).dialect,
        name=record.name,
    )


async def _look_for(tools: Tools, provider: Provider, node: NodeRecord) -> Node | None:
    """Look for a node that may have been created, until the list must show it."""
    while True:
        found = await provider.describe(node.name)
        if found is not None or tools.clock() >= settled_at(provider, node):
            return found
        await tools.pause(LOOK_EVERY_S)


async def _never_was(tools: Tools, node: NodeRecord, why: str) -> None:
    await tools.set_node(node, status="failed", detail=why[:500], ended_at=tools.clock())


async def _billed(provider: Provider, node: NodeRecord) -> float | None:
    if not provider.capabilities.is_billable or node.provider_id is None:
        return None
    try:
        return await provider.billed_usd(node.name, node.provider_id)
    except ConduitError:
        return None  # the bill can be asked for later; the end cannot wait for it


async def boot_error(provider: Provider, node: NodeRecord, seen: Node | None) -> BootError:
    """Return what to say of a node that did not get ready: its last words."""
    try:
        lines = [
            line async for line in provider.logs(node.name, node.provider_id, tail=LOG_LINES_SHOWN)
        ]
    except ConduitError:
        lines = []
    said = "\n".join(["", *lines[-LOG_LINES_SHOWN:]]) if lines else " It has said nothing."
    ended = seen is not None and seen.status in ("gone", "failed", "stopped")
    what = f"is {seen.status}" if ended and seen else "was not ready by its deadline"
    return BootError(
        f"{node.name} {what}.{said}",
        hint="Give it longer (CONDUIT_NODE_BOOT_TIMEOUT_S), or choose another offering.",
    )
