"""One node, from the intent to its end: every step is in the state before it is taken.

Layer 4.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager, aclosing, nullcontext, suppress
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Literal, cast

from conduit_nb import credentials, settings
from conduit_nb.deployments import boot
from conduit_nb.deployments.boot import LOG_LINES_SHOWN, BootLog, Probe, last_lines
from conduit_nb.deployments.context import Context, ahead_of, this_process
from conduit_nb.deployments.intent import (
    HUB_SECRET,
    Slot,
    boot_s,
    charged_since,
    end_of_money,
    intend,
    launch_spec,
    secrets_of,
)
from conduit_nb.deployments.lease import ask_guard, extend_lease, renew
from conduit_nb.deployments.quote import Candidate
from conduit_nb.errors import (
    BootError,
    ConduitError,
    DeploymentEndedError,
    DeploymentError,
    NoCapacityError,
    ProviderError,
    ProviderFailedError,
    SpendCapError,
    StorageError,
)
from conduit_nb.events import Step
from conduit_nb.plain_text import plain
from conduit_nb.providers.base import EndingOne, KeptOpen, Node, Preparing, Provider, Telling
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.units import duration

LOOK_EVERY_S = 0.5
LONGEST_LINE = 120
LONGEST_WAIT_S = 60.0
"""A provider that asks for more patience is asked all the same: a node costs meanwhile."""
STOPS_WITHIN = timedelta(seconds=60)
TRIES = 3
PRICE_TOLERANCE, SAME_PRICE, LEAST_PRICE = 1.10, 0.01, 0.25
CLOCK_TOLERANCE_S = 60.0
SOON = timedelta(seconds=1)


async def fill(context: Context, record: DeploymentRecord, slot: Slot) -> NodeRecord:
    """Start a node on the best candidate that can be had, and wait until it answers.

    Only missing capacity is a reason to take another offering, and one boot that fails without its
    server's doing. A create call that was lost is made once more, for the same. Raises the last
    error where nothing does; nothing of it is left then.
    """
    waiting = list(slot.server.candidates)
    quoted = waiting[0].rates.running_usd_per_hour
    failed: BootError | None = None
    was_lost = False
    while True:
        candidate = waiting.pop(0)
        _tell_price(context, candidate, quoted)
        try:
            node = await create(context, record, slot, candidate)
            node = await _boot_new(context, record, node)
        except BootError as err:
            if err.reason == "exited" or (failed is not None and failed.reason == err.reason):
                raise
            failure: ConduitError = err
            failed = err
        except NoCapacityError as err:
            failure = err
        except ProviderError as err:
            if not err.may_have_arrived or was_lost:
                raise
            was_lost, failure = True, err
            waiting.insert(0, candidate)
        else:
            if was_lost:
                await end_late_nodes(context, record)
            return node
        context.tell(f"{candidate.provider} {candidate.offering.id}: {failure}")
        if not waiting:
            raise failure
        # As quoted first; the sort keeps the order of those that are alike.
        waiting.sort(key=lambda one: one.rates.running_usd_per_hour > quoted * PRICE_TOLERANCE)


def _tell_price(context: Context, candidate: Candidate, quoted: float) -> None:
    rate = candidate.rates.running_usd_per_hour
    if rate > quoted * PRICE_TOLERANCE:
        context.tell(
            f"Nothing is free at the quoted ${quoted:.2f}/h: trying {candidate.offering.id} on"
            f" {candidate.provider} at ${rate:.2f}/h."
        )


async def _boot_new(context: Context, record: DeploymentRecord, node: NodeRecord) -> NodeRecord:
    """Boot a node that was just created; whatever breaks that off, it must not go on costing."""
    try:
        return await boot_node(context, record, node)
    except BootError:
        raise  # it has ended
    except BaseException as err:
        why = str(err) if isinstance(err, ConduitError) else "it was stopped while it booted"
        await end_at_last(context, node, why=why)
        raise


async def create(
    context: Context, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    """Write the intent, create the node, write that it is there."""
    secrets = await secrets_of(context, record, slot, candidate)  # first: it may raise
    node = await _intended(context, record, slot, candidate)
    provider = context.provider(candidate.provider)
    has_token = HUB_SECRET in secrets
    if isinstance(provider, Telling):
        provider.tell = context.tell
    is_asked = False
    try:
        spec = launch_spec(context, record, slot, candidate, node, with_hub_token=has_token)
        if isinstance(provider, Preparing):
            began = context.clock()
            await provider.prepare(spec)
            if context.clock() - began > SOON:  # it has fetched something: the boot begins now
                boot_until = context.clock() + timedelta(seconds=boot_s(context, candidate))
                node = await context.set_node(node, boot_until=boot_until)
                spec = launch_spec(context, record, slot, candidate, node, with_hub_token=has_token)
        is_asked = True
        created = await context.call(
            "launch",
            provider.launch(
                spec, {name: secrets[name] for name in spec.secrets}, candidate.offering
            ),
        )
        await _require_own(context, node, created)
    except ProviderError as err:
        if not err.may_have_arrived or not is_asked:
            await _never_was(context, provider, node, str(err))
            raise
        context.tell(
            f"The reply of {candidate.provider} to the creation of {node.name} was lost or"
            " unreadable. Checking whether it exists."
        )
        try:
            arrived = await _look_for(context, provider, node)
        except BaseException:
            await end_at_last(context, node, why=str(err))
            raise
        if arrived is None:
            await end_at_last(context, node, why=str(err))
            raise
        created = arrived
    except ConduitError as err:
        await _never_was(context, provider, node, str(err))
        raise
    except BaseException:  # the user has stopped it: what may be there must end
        if is_asked:
            await end_at_last(context, node, why="it was stopped while it was created")
        else:
            await _take_back(context, node)
        raise
    tell_clock(context, provider)
    try:
        node = await confirm(context, node, created)
        return await reprice(context, record, node, created, set())
    except BaseException as err:  # the state cannot be written, or somebody has ended it
        why = str(err) if isinstance(err, SpendCapError) else f"it could not be confirmed: {err}"
        await _end_created(context, node, created, why=why)
        raise


async def _intended(
    context: Context, record: DeploymentRecord, slot: Slot, candidate: Candidate
) -> NodeRecord:
    """Write the intent; one that is interrupted is taken back: nothing was asked for yet."""
    try:
        return await intend(context, record, slot, candidate)
    except asyncio.CancelledError:
        for node in await context.read(context.store.nodes, record.id):
            is_own = node.replica == slot.replica and node.owner == this_process()
            if is_own and node.status == "launching":
                await _take_back(context, node)
        raise


async def _take_back(context: Context, node: NodeRecord) -> None:
    """Write that a node will never be: no provider was asked for it, so nothing can come of it."""
    why = "it was stopped before it was created"
    await context.set_node(node, status="failed", detail=why, ended_at=context.clock())


async def _require_own(context: Context, node: NodeRecord, created: Node) -> None:
    """Raise ProviderFailedError where the reply to a creation shows a node that was there before.

    Whether the new one exists is not known then.
    """
    every = await context.read(context.store.nodes)
    others = {one.provider_id for one in every if one.provider == node.provider}
    if created.name == node.name and (created.id is None or created.id not in others):
        return
    error = ProviderFailedError(
        f"{node.provider} answered the creation of {node.name} with another node.",
        hint="Try again later.",
    )
    error.may_have_arrived = True
    raise error


async def _end_created(context: Context, node: NodeRecord, created: Node, *, why: str) -> None:
    """End and count what was created, by its id: no list may show it yet."""
    known = replace(node, provider_id=created.id)
    try:
        known = await context.set_node(
            node,
            status="terminating",
            detail=why,
            provider_id=created.id,
            charge="running",
            at=node.created_at,
        )
    except DeploymentEndedError:  # another client has ended its row before it came
        try:
            await end_late(context, node, created)
        except ConduitError as err:
            context.tell(f"{node.name} could not be terminated yet ({err}). Conduit will retry.")
        return
    except StorageError:
        pass  # ending needs no state
    await end_at_last(context, known, why=why)


def tell_clock(context: Context, provider: Provider) -> None:
    """Say where this machine's clock and the provider's are far apart."""
    ahead_s = ahead_of(provider, context.clock()).total_seconds()
    if abs(ahead_s) > CLOCK_TOLERANCE_S:
        way = "ahead of" if ahead_s > 0 else "behind"
        context.tell(
            f"This machine's clock is {duration(abs(ahead_s))} {way} the clock of {provider.name}."
            " Leases are kept as durations; set the clock, so that the times shown are right."
        )


async def confirm(context: Context, node: NodeRecord, found: Node) -> NodeRecord:
    """Write that the provider has the node, and that it costs since it was asked for."""
    return await context.set_node(
        node,
        status="booting",
        provider_id=found.id,
        url=found.url,
        charge="running",
        at=node.created_at,
    )


async def reprice(
    context: Context, record: DeploymentRecord, node: NodeRecord, found: Node, told: set[str]
) -> NodeRecord:
    """Count with what the provider says that a running node costs, where that is not the quote.

    Its budget stays, and lasts for less long (or longer). `told` has what was said already. Raises
    SpendCapError where the price is more than was quoted or allowed, or the rest of the budget pays
    for next to nothing.
    """
    real, known = found.usd_per_hour, node.usd_per_hour
    is_up = found.status in ("starting", "running", "unknown")
    if not is_up or real is None or real <= 0 or node.budget_usd is None:
        return node
    if is_same_price(real, node):
        return node
    if real < (_number_of(node.offering, "quoted_usd_per_hour") or 0.0) * LEAST_PRICE:
        _tell_once(  # next to nothing is no price: the quote is the safe side
            context,
            told,
            f"{node.provider} says that {node.name} costs ${real:.4f}/h, far below the quote:"
            f" ${known:.2f}/h is counted.",
        )
        return node
    # Before it has answered it cannot have had another price.
    since = context.clock() if node.ready_at is not None else await charged_since(context, node)
    node = await context.set_node(node, usd_per_hour=real, charge="running", at=since)
    context.tell(f"{node.provider} charges ${real:.2f}/h for {node.name}, not ${known:.2f}/h.")
    _require_price(record, node)
    return await context.set_node(node, not_after=await end_of_money(context, node))


def is_same_price(usd_per_hour: float, node: NodeRecord) -> bool:
    """Say whether a node's price is what the state counts with, but for rounding."""
    return abs(usd_per_hour - node.usd_per_hour) <= node.usd_per_hour * SAME_PRICE


def _require_price(record: DeploymentRecord, node: NodeRecord) -> None:
    """Raise SpendCapError where a node costs more than was quoted, or than the request allows."""
    quoted = _number_of(node.offering, "quoted_usd_per_hour")
    most = record.request.constraint.max_usd_per_hour
    limits = [*([quoted * PRICE_TOLERANCE] if quoted else []), *([most] if most else [])]
    if not limits or node.usd_per_hour <= min(limits):
        return
    was = f"the quote was ${quoted:.2f}/h" if quoted else f"the limit is ${most:.2f}/h"
    raise SpendCapError(
        f"{node.provider} charges ${node.usd_per_hour:.2f}/h for {node.name}, and {was}:"
        " it is terminated.",
        left_usd=node.budget_usd or 0.0,
        hint="Look at the provider's prices, then deploy again, with a higher --max-usd-per-hour"
        " where that was the limit.",
    )


def _number_of(text: str, *path: str) -> float | None:
    """Return a number out of the JSON of a record."""
    value: object = json.loads(text) if text else None
    for name in path:
        value = cast("dict[str, object]", value).get(name) if isinstance(value, dict) else None
    return float(value) if isinstance(value, int | float) else None


async def boot_node(context: Context, record: DeploymentRecord, node: NodeRecord) -> NodeRecord:
    """Wait until the node's server answers; end it where it does not by its deadline."""
    provider = context.provider(node.provider)
    at_most = (node.boot_until - context.clock()).total_seconds()
    probe = Probe(context, record)

    def say(seconds: float) -> None:
        where = f"{record.name} boots on {node.provider}"
        line = f" | {plain(lines[-1])[:LONGEST_LINE]}" if (lines := probe.log.lines) else ""
        context.tell(
            Step(text=f"{where}: {duration(seconds)} of at most {duration(at_most)}{line}")
        )

    async with context.telling(say), _kept_open(provider), aclosing(probe):
        return await _booted(context, record, node, provider, probe)


async def _booted(
    context: Context, record: DeploymentRecord, node: NodeRecord, provider: Provider, probe: Probe
) -> NodeRecord:
    """Look again and again until the server answers, has ended, or its time is up.

    A look that fails says nothing of the node. A provider that denies the node is believed once it
    has shown it, or its list would have to show it: before that it does not know it yet.
    """
    seen: Node | None = None
    was_seen, is_denied = node.ready_at is not None, False
    # What was just told to start may be shown as it was before, for as long as a list may lag.
    is_again, began = was_seen, context.clock()
    lag = timedelta(seconds=provider.capabilities.list_lag_s)
    next_look, told = context.clock(), set[str]()
    while True:
        if context.clock() >= next_look:
            try:
                seen = await provider.describe(node.name, node.provider_id)
            except ProviderError as err:
                if not err.retryable:
                    raise
                next_look = context.clock() + timedelta(
                    seconds=min(err.retry_after_s or 0.0, LONGEST_WAIT_S)
                )
                _tell_once(context, told, f"{node.provider} did not answer ({err}). Retrying.")
            else:
                was_seen = was_seen or seen is not None
                is_denied = seen is None and (
                    was_seen or context.clock() >= settled_at(provider, node)
                )
                if is_denied:
                    break
        if seen is not None:
            if seen.url != node.url:
                node = await context.set_node(node, url=seen.url)
            node = await _priced(context, record, node, seen, told)
            if seen.status == "unknown":
                _tell_once(
                    context, told, f"{node.name} is {seen.detail} at {node.provider}. Waiting."
                )
            if seen.status == "running":
                if await probe.answers(node):
                    node = await context.set_node(node, status="running", ready_at=context.clock())
                    await _pass_on_lease(context, node)
                    return node
                await probe.read_log(node, provider)
            is_again = is_again and seen.status == "stopped" and context.clock() < began + lag
            if probe.log.has_exited or (
                seen.status in ("gone", "failed", "stopped") and not is_again
            ):
                break
        if context.clock() >= node.boot_until:
            break
        await context.pause(provider.capabilities.poll_s)
    error = await boot_error(context, node, seen, probe.log, is_denied=is_denied)
    await end_at_last(context, node, why=str(error))
    raise error


async def _priced(
    context: Context, record: DeploymentRecord, node: NodeRecord, seen: Node, told: set[str]
) -> NodeRecord:
    """Take over a node's price; end it where that is too much."""
    try:
        return await reprice(context, record, node, seen, told)
    except SpendCapError as err:
        await end_at_last(context, node, why=str(err))
        raise


def _tell_once(context: Context, told: set[str], text: str) -> None:
    if text not in told:
        told.add(text)
        context.tell(text)


def _kept_open(provider: Provider) -> AbstractAsyncContextManager[None]:
    return provider.kept_open() if isinstance(provider, KeptOpen) else nullcontext()


async def _pass_on_lease(context: Context, node: NodeRecord) -> None:
    """Tell the guard of a lease that was extended, or a price that has risen, meanwhile."""
    record = await context.read(context.store.deployment, node.deployment)
    key = context.installation.endpoint_key(node.deployment)
    now = context.clock()
    told = await ask_guard(node.url, key, now=now) if node.url is not None else None
    if record is not None and node.url is not None and told is not None:
        is_short = record.lease_until - told.lease_until > SOON  # its clock counts in floats
        is_rich = (
            node.not_after is not None
            and told.not_after is not None
            and told.not_after - node.not_after > SOON
        )
        if is_short or is_rich:
            try:
                await extend_lease(
                    node.url, key, record.lease_until, now=now, not_after=node.not_after
                )
            except DeploymentError as err:  # the node runs, until its first lease ends
                context.tell(f"{record.name}: {err} {err.hint}")


async def answers(context: Context, record: DeploymentRecord, node: NodeRecord) -> bool:
    """Say whether the node's server takes requests with our key."""
    async with aclosing(Probe(context, record)) as probe:
        return await probe.answers(node)


async def end(
    context: Context, node: NodeRecord, *, why: str = "", is_failed: bool = False
) -> NodeRecord:
    """End a node for good; where its creation may still be under way, as much as can be now.

    Then it stays "terminating", and the next look finishes it. Idempotent, also where two
    clients end it at once: both go through every step, and who comes second finds it done.
    """
    if not node.is_live:
        return node
    try:
        return await _end(context, node, why, is_failed)
    except DeploymentEndedError:
        ended = await context.read(context.store.node, node.name)
        assert ended is not None, "nodes are never removed"
        if ended.is_live:
            raise
        return ended


async def end_at_provider(context: Context, node: NodeRecord) -> NodeRecord:
    """End a node without a word of it in the state, which cannot be written; looks write it."""
    provider = context.provider(node.provider)
    await context.call("terminate", provider.terminate(node.name, node.provider_id))
    return node


async def end_at_last(context: Context, node: NodeRecord, *, why: str) -> None:
    """End what something else has failed for; that it cannot be ended yet is told, not raised.

    The state says then that it is terminating, and every look at the providers tries again.
    """
    try:
        await end(context, node, why=why)
    except ConduitError as err:
        context.tell(f"{node.name} could not be terminated yet ({err}). Conduit will retry.")


async def _end(context: Context, node: NodeRecord, why: str, is_failed: bool) -> NodeRecord:
    provider = context.provider(node.provider)
    try:
        node = await context.set_node(node, status="terminating", detail=why)
    except StorageError:  # ending needs no state: what costs ends first
        await end_at_provider(context, node)
        raise
    if node.provider_id is None:
        found = await provider.describe(node.name)
        if found is not None:  # it costs since it was asked for, whoever had noticed
            node = await context.set_node(
                node, provider_id=found.id, charge="running", at=node.created_at
            )
    if node.provider_id is not None and isinstance(provider, EndingOne):
        with suppress(ProviderError):  # what a list that fails hides is found by a later look
            for found in await provider.list_nodes():
                if found.name == node.name and found.id != node.provider_id:
                    await end_twin(context, node.name, found)
    if not await _terminated(context, provider, node):
        context.tell(f"{node.provider} still has {node.name}. Conduit will retry.")
        return node
    now = context.clock()
    if node.provider_id is None and now < settled_at(provider, node):
        return node
    billed = await _billed(provider, node)
    return await context.set_node(
        node,
        status="failed" if is_failed else "terminated",
        ended_at=now,
        end_charge=True,
        at=now,
        billed_usd=billed,
    )


async def _terminated(context: Context, provider: Provider, node: NodeRecord) -> bool:
    """Terminate a node, and see that it is gone, whatever the reply was."""
    for _ in range(TRIES):
        await context.call("terminate", provider.terminate(node.name, node.provider_id))
        if node.provider_id is None:
            return True  # its name is looked for until the list must show it
        try:
            seen = await provider.describe(node.name, node.provider_id)
        except ProviderError:
            await context.pause(LOOK_EVERY_S)
            continue
        if seen is None or seen.status == "gone":
            return True
        await context.pause(LOOK_EVERY_S)
    return False


async def end_late(context: Context, node: NodeRecord, found: Node | None) -> bool:
    """End what a provider has though its row says that it has ended, and charge it until now.

    A create call came late, or its end has never come. Returns whether there was anything: a list
    shows what has ended for a while. A charge that a client has left open which died while it did
    this ends, too.
    """
    provider = context.provider(node.provider)
    node_id = found.id if found is not None else node.provider_id
    seen = await provider.describe(node.name, node_id)
    charges = [
        one
        for one in await context.read(context.store.charges, node.deployment)
        if one.node == node.name
    ]
    is_open = any(one.end is None for one in charges)
    if (node_id is not None or found is None) and (seen is None or seen.status == "gone"):
        if is_open:
            await context.set_node(node, end_charge=True, at=context.clock())
        return False
    found = seen or found
    assert found is not None, "else it would be gone"
    if not is_open:
        ends = (one.end for one in charges if one.end is not None and one.twin is None)
        since = max(ends, default=node.created_at)
        rate = found.usd_per_hour or node.usd_per_hour
        node = await context.set_node(
            node, provider_id=found.id, usd_per_hour=rate, charge="running", at=since
        )
    node = await context.set_node(node, provider_id=found.id)
    if not await _terminated(context, provider, node):
        raise ProviderFailedError(
            f"{node.provider} still has {node.name}.", hint="Conduit will retry at the next look."
        )
    billed = await _billed(provider, node)
    await context.set_node(node, end_charge=True, at=context.clock(), billed_usd=billed)
    return True


async def end_twin(context: Context, name: str, found: Node) -> bool:
    """End a second node of a live node's name, and charge it to that; say whether there was one.

    A create call that was refused, and then made again, had been carried out all the same. Its cost
    is recorded first: once it is terminated, no list shows it.
    """
    node = await context.read(context.store.node, name)
    provider = context.provider(found.provider)
    if node is None or found.id is None or not isinstance(provider, EndingOne):
        return False
    if not node.is_live or node.provider_id in (None, found.id):
        return False
    seen = await provider.describe(name, found.id)
    if seen is None or seen.status == "gone":
        return False
    rate = found.usd_per_hour or node.usd_per_hour
    try:
        await context.write(context.store.charge_twin, node, found.id, context.clock(), rate)
    except StorageError:  # ending needs no state
        await provider.terminate_one(found.id)
        raise
    await context.call("terminate", provider.terminate_one(found.id))
    await context.write(context.store.charge_twin, node, found.id, context.clock(), rate)
    context.tell(f"{node.provider} had a second node {name}. It was terminated.")
    return True


async def end_late_nodes(context: Context, record: DeploymentRecord) -> None:
    """End nodes of a deployment whose creation was given up, where they have come all the same."""
    every = await context.read(context.store.nodes, record.id, live_only=False)
    for node in every:
        if node.is_live or node.provider_id is not None:
            continue
        try:
            found = await context.provider(node.provider).describe(node.name)
            if found is not None:
                await end_late(context, node, found)
        except ProviderError as err:
            context.tell(f"{node.name} could not be looked for ({err}). Conduit will retry.")


async def stop(context: Context, node: NodeRecord) -> NodeRecord:
    """Stop a node and keep its place; it costs as one that runs until it is seen stopped."""
    if node.status == "stopped":
        return node
    provider = context.provider(node.provider)
    node = await context.set_node(node, status="stopping")
    await context.call("stop", provider.stop(node.name, node.provider_id))
    until = context.clock() + STOPS_WITHIN
    while not await _has_stopped(provider, node):
        if context.clock() >= until:
            raise ProviderFailedError(
                f"{node.provider} was told to stop {node.name}, and it still runs.",
                hint="Conduit will retry at the next look; or terminate it.",
            )
        await context.pause(provider.capabilities.poll_s)
    return await context.set_node(node, status="stopped", charge="stopped", at=context.clock())


async def _has_stopped(provider: Provider, node: NodeRecord) -> bool:
    try:
        seen = await provider.describe(node.name, node.provider_id)
    except ProviderError as err:
        if not err.retryable:
            raise
        return False
    return seen is None or seen.status in ("stopped", "gone", "failed")


async def boot_again(
    context: Context, record: DeploymentRecord, node: NodeRecord, word: Literal["start", "restart"]
) -> NodeRecord:
    """Have a node start its program again, with a boot deadline of its own.

    One that was stopped has as long as its money lasts from now on.
    """
    provider, now = context.provider(node.provider), context.clock()
    until = now + timedelta(seconds=settings.node_boot_timeout_s())
    changes: dict[str, Any] = {}
    if word == "start":
        not_after = await end_of_money(context, node)
        changes = {"charge": "running", "at": now, "not_after": not_after}
    node = await context.set_node(
        node, status="booting", boot_until=until, owner=this_process(), **changes
    )
    await context.call("renew", renew(provider, node, record.lease_until, as_of=now))
    act = provider.start if word == "start" else provider.restart
    await context.call(word, act(node.name, node.provider_id))
    return await boot_node(context, record, node)


def settled_at(provider: Provider, node: NodeRecord) -> datetime:
    """Return when the provider's list must show the node, if it was ever created."""
    return node.created_at + timedelta(seconds=provider.capabilities.list_lag_s) + SOON


async def _look_for(context: Context, provider: Provider, node: NodeRecord) -> Node | None:
    """Look for a node that may have been created, until the list must show it."""
    while True:
        found: Node | None = None
        try:
            found = await provider.describe(node.name)
        except ProviderError as err:
            if not err.retryable:
                raise
        if found is not None or context.clock() >= settled_at(provider, node):
            return found
        await context.pause(provider.capabilities.poll_s)


async def _never_was(context: Context, provider: Provider, node: NodeRecord, why: str) -> None:
    """Write that a node was not created; of a failure on this machine half of it may be left."""
    if not provider.capabilities.is_billable:
        with suppress(ConduitError):
            await provider.terminate(node.name)
    await context.set_node(node, status="failed", detail=why[:500], ended_at=context.clock())


async def _billed(provider: Provider, node: NodeRecord) -> float | None:
    if not provider.capabilities.is_billable or node.provider_id is None:
        return None
    try:
        return await provider.billed_usd(node.name, node.provider_id)
    except ConduitError:
        return None  # the bill can be asked for later; the end cannot wait for it


async def boot_error(
    context: Context,
    node: NodeRecord,
    seen: Node | None,
    log: BootLog | None = None,
    *,
    is_denied: bool = False,
) -> BootError:
    """Return what to say of a node that did not get ready: why, and its last words."""
    log = log or BootLog()
    status = "gone" if is_denied else seen.status if seen is not None else "starting"
    code = log.exit_code if log.has_exited else seen.exit_code if seen is not None else None
    has_exited = log.has_exited or code is not None or status == "stopped"
    is_over = status in ("gone", "failed")
    # What a guard told before the end lacks the last lines, which say why.
    is_whole = log.has_exited or not (has_exited or is_over)
    lines = log.lines if is_whole else ()
    lines = lines or await last_lines(context.provider(node.provider), node) or log.lines
    lines = _blanked(lines[-LOG_LINES_SHOWN:], context, node)
    return boot.boot_error(
        node.name,
        reason="exited" if has_exited else status if is_over else "deadline",
        exit_code=code,
        lines=lines,
        within_s=(node.boot_until - node.created_at).total_seconds(),
        setting="CONDUIT_NODE_BOOT_TIMEOUT_S",
        provider=node.provider,
    )


def _blanked(lines: Sequence[str], context: Context, node: NodeRecord) -> tuple[str, ...]:
    """Return the lines without the node's key and the hub's token, whatever the server prints."""
    secrets = [context.installation.endpoint_key(node.deployment)]
    with suppress(ConduitError):
        token = credentials.find(credentials.HUB)
        secrets += [token.value] if token is not None else []
    for secret in secrets:
        lines = [line.replace(secret, "…") for line in lines]
    return tuple(lines)
