"""Deployments, as a user knows them: deploy, find, stop, start, extend, end.

The only writer of the state and the only caller of providers, with `nodes` and `reconcile`. Which
client does it does not matter: each looks at the state first, and who writes an intent first
carries it out.
Layer 4.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
import string
from collections.abc import Sequence
from datetime import timedelta
from itertools import islice

from conduit_nb import settings
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments import power
from conduit_nb.deployments.adoption import adopt
from conduit_nb.deployments.intent import Slot, holders_named, may_spend_usd, node_budget
from conduit_nb.deployments.lease import ask_guard, extend_lease
from conduit_nb.deployments.money import require_affordable
from conduit_nb.deployments.overview import write_overview
from conduit_nb.deployments.owners import at_work, is_given_up, this_process
from conduit_nb.deployments.probe import endpoint_of
from conduit_nb.deployments.quote import Quote, make_quote
from conduit_nb.deployments.reconcile import reconcile
from conduit_nb.deployments.routing import RoutedEndpoint, Server
from conduit_nb.deployments.tools import Tools
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    DeploymentEndedError,
    DeploymentError,
    EndpointUnreachableError,
    PartlyFailedError,
    SpendCapError,
    StateConflictError,
    StorageError,
)
from conduit_nb.providers.naming import DEPLOYMENT_LENGTH
from conduit_nb.spelling import nearest
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.together import all_or_none, each
from conduit_nb.units import duration, require_hours

REPLICAS_OF_A_SERVER = 100
"""Numbers of replicas that each server of a deployment has: the second begins at 100."""
LOOK_EVERY_S = 0.25


class DeploymentManager:
    """Carries out what users ask of deployments, with the `tools` it is given."""

    def __init__(self, tools: Tools) -> None:
        self.tools = tools

    async def quote(self, request: DeploymentRequest) -> Quote:
        """Say what the request would start, and what that costs; nothing is created."""
        return await make_quote(self.tools, request)

    async def deploy(self, request: DeploymentRequest) -> DeploymentRecord:
        """Have the request running: the deployment that is there already, else one started now.

        Raises NoOfferingError, SpendCapError (also where it would cost more until its lease ends
        than may be spent), BootError and the provider's errors; then nothing of what this call
        started is left that costs, and what ran before stays.
        """
        return await self._running(request, is_for_its_lease=True)

    async def _running(
        self, request: DeploymentRequest, *, is_for_its_lease: bool
    ) -> DeploymentRecord:
        await self.reconcile()
        while True:
            known = await self._find(request)
            if known is None:
                quote = await self.quote(request)
                if is_for_its_lease:
                    await self._require_affordable(quote)
                record = await self._record(request)
                with at_work(record.id):
                    known = await self._insert(record)
                    if known is not None:
                        return await self._launch(known, quote)
            elif known.status == "stopped":
                return await self.start(known.name)
            elif known.status == "running":
                if await self._is_whole(known):
                    return known
                with at_work(known.id):
                    refilled = await self._refill(known, request)
                if refilled is not None:
                    return refilled
            else:
                await self._wait_for(known)

    async def ensure(self, request: DeploymentRequest) -> RoutedEndpoint:
        """Return where the request is served, with every node that is running.

        As `deploy`; what is asked for may be done long before the lease ends, so its end is not
        what the money must last for. Where replicas are missing and cannot be had, those that run
        have to do.
        """
        try:
            record = await self._running(request, is_for_its_lease=False)
        except ConduitError as err:
            left = await self._find(request)
            if left is None or left.status != "running" or not await self._running_nodes(left):
                raise
            self.tools.tell(f"{left.name} goes on with the replicas that it has: {err}")
            record = left
        return RoutedEndpoint(await self._servers(record), name=record.name)

    async def reach(self, name: str) -> RoutedEndpoint:
        """Return the endpoint of what runs under that name or id; nothing is started."""
        record = await self.find(name)
        if servers := await self._servers(record):
            return RoutedEndpoint(servers, name=record.name)
        raise EndpointUnreachableError(f"No node of {record.name} runs.", hint="See %conduit ps.")

    async def live(self, request: DeploymentRequest) -> DeploymentRecord | None:
        """Return the request's deployment as it is, None where there is none."""
        return await self._find(request)

    async def scale(self, request: DeploymentRequest, replicas: int) -> list[Server]:
        """Have that many replicas of a running deployment, and return who answers then.

        Where more cannot be had, everything that was there stays, and so does each that came;
        then `wanted_replicas` is what there is.
        """
        record = await self._find(request)
        if record is None or record.status != "running":
            raise DeploymentEndedError("It does not run any more.", hint="Look at %conduit ps.")
        with at_work(record.id):
            if replicas < record.wanted_replicas:
                record = await self._shrink(record, replicas)
            else:
                record = await self._grow(record, request, replicas)
        return await self._servers(await self._done(record))

    async def _grow(
        self, record: DeploymentRecord, request: DeploymentRequest, replicas: int
    ) -> DeploymentRecord:
        quote = await self.quote(request)
        before = record.wanted_replicas
        record = await self.tools.set_deployment(record, wanted_replicas=replicas)
        try:
            failures = await self._fill_missing(record, quote)
        except BaseException:
            await self._set_wanted(record, quote, at_least=before)
            raise
        if failures is not None:
            record = await self._set_wanted(record, quote, at_least=before)
            raise failures
        return record

    async def _set_wanted(
        self, record: DeploymentRecord, quote: Quote, *, at_least: int
    ) -> DeploymentRecord:
        """Write how many replicas there are, as those that were to come have not all come."""
        found = await self.tools.read(self.tools.store.nodes, record.id)
        there = [len(_places(found, number)) for number in range(len(quote.servers))]
        return await self.tools.set_deployment(record, wanted_replicas=max(at_least, min(there)))

    async def _shrink(self, record: DeploymentRecord, replicas: int) -> DeploymentRecord:
        """End the replicas of the highest numbers."""
        record = await self.tools.set_deployment(record, wanted_replicas=replicas)
        found = await self.tools.read(self.tools.store.nodes, record.id)
        surplus = [
            node
            for number in {node.replica // REPLICAS_OF_A_SERVER for node in found}
            for node in sorted(_places(found, number).values(), key=lambda one: one.replica)[
                replicas:
            ]
        ]
        why = "fewer replicas are wanted"
        outcome = await each(
            {node.name: node_work.end(self.tools, node, why=why) for node in surplus}
        )
        await power.require_done(self.tools, record, outcome, f"Scaling {record.name} down")
        return record

    async def in_flight(self, record: DeploymentRecord) -> int:
        """Return how many requests a deployment's nodes are answering, of all clients."""
        key = self.tools.installation.endpoint_key(record.id)
        urls = [node.url for node in await self._running_nodes(record) if node.url is not None]
        told = await asyncio.gather(*(ask_guard(url, key) for url in urls))
        return sum(one.in_flight for one in told if one is not None)

    async def find(self, name: str) -> DeploymentRecord:
        """Return the live deployment of that name or id; ArgumentError lists those there are."""
        live = await self.deployments()
        for record in live:
            if name in (record.id, record.name):
                return record
        names = [record.name for record in live]
        raise ArgumentError(
            f"No deployment is called {name!r}.",
            param="name",
            hint=nearest(name, names, then=f"There are: {', '.join(names) or 'none now'}."),
        )

    async def deployments(self) -> list[DeploymentRecord]:
        """Return every live deployment of this installation."""
        return await self.tools.read(self.tools.store.deployments, self.tools.installation.id)

    async def stop(self, name: str) -> DeploymentRecord:
        """Stop every node and keep its place; a provider that cannot says so."""
        return await self._done(await power.stop(self.tools, await self.find(name)))

    async def start(self, name: str) -> DeploymentRecord:
        """Start what was stopped, with a new lease."""
        record = await self.find(name)
        return await self._done(await power.start(self.tools, record, self._lease(None)))

    async def restart(self, name: str) -> DeploymentRecord:
        """Start the programs of all nodes anew."""
        return await self._done(await power.restart(self.tools, await self.find(name)))

    async def terminate(self, name: str) -> DeploymentRecord:
        """End every node for good. One that is gone already is success."""
        record = await self.find(name)
        return await self._end(record, why="")

    async def extend(self, name: str, seconds: float) -> DeploymentRecord:
        """Let the deployment live so long from now on, as far as its money lasts."""
        require_hours("hours", seconds / 3600)
        record = await self.find(name)
        until = self.tools.clock() + timedelta(seconds=seconds)
        found = await self.tools.read(self.tools.store.nodes, record.id)
        limits = [node.not_after for node in found if node.not_after is not None]
        if limits and until > min(limits):
            left_s = (min(limits) - self.tools.clock()).total_seconds()
            raise ArgumentError(
                f"{record.name} has money for {max(left_s, 0) / 3600:.1f} h more, and"
                f" {seconds / 3600:.1f} h are asked for.",
                param="hours",
                hint="Extend it by less, or end it and deploy it with a larger --max-usd.",
            )
        key = self.tools.installation.endpoint_key(record.id)
        outcome = await each(
            {
                node.name: extend_lease(node.url, key, until, now=self.tools.clock())
                for node in found
                if node.status == "running" and node.url is not None
            }
        )
        if outcome.done or not outcome.failures:
            # Only now: what stands in the state is what guards hold their nodes to.
            allowed = max(outcome.done.values(), default=until)
            if allowed < until:
                left_s = (allowed - self.tools.clock()).total_seconds()
                self.tools.tell(f"The guard of {record.name} allows {duration(left_s)} at most.")
            until = min(until, allowed)
            record = await self.tools.set_deployment(record, lease_until=until)
        outcome.require_done(f"Extending {record.name}")
        return await self._done(record)

    async def reconcile(self) -> None:
        """Bring the state and the providers together: see `reconcile`."""
        await reconcile(self.tools)
        await write_overview(self.tools)

    async def adopt(self, name: str) -> DeploymentRecord:
        """Take a node that no row names into this state, as a deployment: see `adoption`."""
        return await self._done(await adopt(self.tools, name))

    async def gc(self, *, force: bool = False) -> list[str]:
        """End every node of this state that no deployment wants; return their names.

        Nodes of this installation that another state may name are told of, and ended with `force`.
        """
        looked = await reconcile(self.tools, ends_unknown=True, of_any_state=force)
        if looked.of_other_states:
            self.tools.tell(
                f"Not terminated, as another state of this installation may use them (another"
                f" CONDUIT_DB_URI, or a state that is lost): {', '.join(looked.of_other_states)}."
                " To terminate them: conduit cleanup --force."
            )
        await write_overview(self.tools)
        if looked.failures:
            raise PartlyFailedError(
                "Cleaning up", done=tuple(looked.ended), failures=looked.failures
            )
        return looked.ended

    async def _find(self, request: DeploymentRequest) -> DeploymentRecord | None:
        """Return the live deployment of an equal request, by whichever version of Conduit."""
        identity, key = request.identity(), self._key(request)
        for record in await self.deployments():
            if record.key == key or record.request.identity() == identity:
                return record
        return None

    def _key(self, request: DeploymentRequest) -> str:
        return hashlib.sha256(request.identity().encode()).hexdigest()

    async def _require_affordable(self, quote: Quote) -> None:
        hours = self._lease(quote.request.lease_s).total_seconds() / 3600
        if quote.usd_per_hour <= 0:
            return
        what = f"${quote.usd_per_hour:.2f}/h for the {hours:g} h of its lease"
        await self.require_affordable(quote.usd_per_hour * hours, None, quote.request, what=what)

    async def require_affordable(
        self, usd: float, record: DeploymentRecord | None, request: DeploymentRequest, *, what: str
    ) -> None:
        """Raise SpendCapError where an estimate is above what a deployment may spend."""
        left = await may_spend_usd(self.tools, record, request.max_usd)
        try:
            require_affordable(usd, left, what=what)
        except SpendCapError as err:
            cap = request.max_usd or self.tools.caps().deployment_usd
            deployment = record.id if record is not None else ""
            raise await holders_named(self.tools, err, deployment, cap) from None

    async def require_deployable(self, quote: Quote) -> None:
        """Raise what `deploy` would raise of a new deployment before it starts anything."""
        await self._require_affordable(quote)
        record = await self._record(quote.request)
        _require_free_name(await self.deployments(), record.name)
        for server in quote.servers:
            rate = server.candidates[0].rates.running_usd_per_hour
            if rate > 0:
                await node_budget(self.tools, record, rate)

    async def _record(self, request: DeploymentRequest) -> DeploymentRecord:
        """Return what is to be, as it is written before anything is started."""
        now = self.tools.clock()
        alphabet = string.ascii_lowercase + string.digits
        own = "".join(secrets.choice(alphabet) for _ in range(DEPLOYMENT_LENGTH))
        deployment_id = own + await self.tools.read(self.tools.store.state_id)
        return DeploymentRecord(
            id=deployment_id,
            installation=self.tools.installation.id,
            key=self._key(request),
            name=request.name or _name_of(request, deployment_id),
            runtime=request.runtime,
            provider=request.provider,
            request=request,
            status="launching",
            created_at=now,
            lease_until=now + self._lease(request.lease_s),
            idle_s=request.idle_s or settings.idle_s(),
            max_usd=request.max_usd or self.tools.caps().deployment_usd,
            wanted_replicas=request.replicas.min,
            owner=this_process(),
        )

    async def _insert(self, record: DeploymentRecord) -> DeploymentRecord | None:
        """Write what is to be; None where another client has just done so."""
        _require_free_name(await self.deployments(), record.name)
        try:
            return await self.tools.write(self.tools.store.insert_deployment, record)
        except StateConflictError:
            return None
        except asyncio.CancelledError:
            if await self.tools.read(self.tools.store.deployment, record.id) is not None:
                await self._end_at_last(record, why="it was stopped while it started")
            raise

    async def _launch(self, record: DeploymentRecord, quote: Quote) -> DeploymentRecord:
        """Fill every place; where one cannot be filled, everything ends."""
        try:
            missing = await self._missing(record, quote)
            await all_or_none(*(node_work.fill(self.tools, record, slot) for slot in missing))
            record = await self.tools.set_deployment(record, status="running")
        except BaseException as err:
            is_error = isinstance(err, ConduitError)
            why = str(err) if is_error else "it was stopped while it started"
            await self._end_at_last(record, why=why)
            raise
        return await self._done(record)

    async def _is_whole(self, record: DeploymentRecord) -> bool:
        """Say whether every replica has its node."""
        runtime = self.tools.runtime(record.runtime)
        servers = len(record.request.models) if runtime.models_per_server == 1 else 1
        found = await self.tools.read(self.tools.store.nodes, record.id)
        return len(found) >= servers * record.wanted_replicas

    async def _refill(
        self, record: DeploymentRecord, request: DeploymentRequest
    ) -> DeploymentRecord | None:
        """Start what is missing of a deployment: a node has vanished, or more are wanted.

        What runs stays whatever fails. None where somebody else has just changed the deployment.
        """
        quote = await self.quote(request)
        try:
            # Not by set_deployment: who is second must not take the work of who was first.
            record = await self.tools.write(
                self.tools.store.update_deployment, record, status="launching", owner=this_process()
            )
        except StateConflictError:
            return None
        try:
            failures = await self._fill_missing(record, quote)
        except BaseException:
            await self._settle_refill(record, why="it was stopped while it was completed")
            raise
        why = str(failures) if failures is not None else ""
        record = await self._settle_refill(record, why=why)
        if failures is not None:
            raise failures
        return record

    async def _settle_refill(self, record: DeploymentRecord, *, why: str) -> DeploymentRecord:
        """Let a deployment run with the nodes it has; end it where it has none."""
        try:
            if await self.tools.read(self.tools.store.nodes, record.id):
                record = await self.tools.set_deployment(record, status="running")
            else:
                await self._end_at_last(record, why=why)
            return await self._done(record)
        except DeploymentEndedError:
            return record  # somebody has ended it meanwhile

    async def _fill_missing(self, record: DeploymentRecord, quote: Quote) -> ConduitError | None:
        """Fill what places can be filled, and return what failed for the others."""
        outcome = await each(
            {
                f"replica {slot.replica}": node_work.fill(self.tools, record, slot)
                for slot in await self._missing(record, quote)
            }
        )
        failures = {
            name: error
            for name, error in outcome.failures.items()
            if not isinstance(error, StateConflictError)  # somebody else fills that place
        }
        if not failures:
            return None
        if len(failures) == 1 and not outcome.done:
            return next(iter(failures.values()))
        return PartlyFailedError(
            f"Starting replicas of {record.name}", done=tuple(outcome.done), failures=failures
        )

    async def _servers(self, record: DeploymentRecord) -> list[Server]:
        servers = [
            Server(
                endpoint=endpoint_of(self.tools, record, node),
                models=tuple(json.loads(node.models)),
            )
            for node in await self._running_nodes(record)
        ]
        if not servers:
            raise DeploymentError(
                f"{record.name} has no node that answers.", hint="Look at %conduit ps."
            )
        return servers

    async def _running_nodes(self, record: DeploymentRecord) -> list[NodeRecord]:
        found = await self.tools.read(self.tools.store.nodes, record.id)
        return [node for node in found if node.status == "running"]

    async def _missing(self, record: DeploymentRecord, quote: Quote) -> list[Slot]:
        """Return places for the replicas that are missing, of the lowest numbers that are free."""
        found = await self.tools.read(self.tools.store.nodes, record.id)
        slots: list[Slot] = []
        for number, server in enumerate(quote.servers):
            taken = _places(found, number)
            free = (place for place in range(REPLICAS_OF_A_SERVER) if place not in taken)
            slots += [
                Slot(replica=number * REPLICAS_OF_A_SERVER + place, server=server)
                for place in islice(free, max(record.wanted_replicas - len(taken), 0))
            ]
        return slots

    async def _end(self, record: DeploymentRecord, *, why: str) -> DeploymentRecord:
        """End every node, past those that cannot be ended; what costs ends before what is written.

        Raises what has failed: what could not be ended is looked for again by every look.
        """
        unwritten: StorageError | None = None
        try:
            record = await self.tools.set_deployment(record, status="terminating", detail=why)
        except DeploymentEndedError:
            return await self._as_it_is(record)  # somebody else has
        except StorageError as err:
            unwritten = err
        found = await self.tools.read(self.tools.store.nodes, record.id)
        end = node_work.end if unwritten is None else node_work.end_at_provider
        outcome = await each({node.name: end(self.tools, node) for node in found})
        if unwritten is not None:
            unwritten.ended = tuple(outcome.done)
            raise unwritten
        await power.require_done(self.tools, record, outcome, f"Terminating {record.name}")
        if not any(node.is_live for node in outcome.done.values()):
            try:
                record = await self.tools.set_deployment(
                    record, status="terminated", ended_at=self.tools.clock()
                )
            except DeploymentEndedError:
                record = await self._as_it_is(record)  # who looked meanwhile has written it
        return await self._done(record)

    async def _end_at_last(self, record: DeploymentRecord, *, why: str) -> None:
        """End what something else has failed for; that it cannot be ended yet is told."""
        try:
            await self._end(record, why=why)
        except ConduitError as err:
            self.tools.tell(f"{record.name} could not be terminated yet ({err}). It is retried.")

    async def _as_it_is(self, record: DeploymentRecord) -> DeploymentRecord:
        return await self.tools.read(self.tools.store.deployment, record.id) or record

    async def _wait_for(self, record: DeploymentRecord) -> None:
        """Wait a moment for whoever works on the deployment; take its place where it is gone."""
        self.tools.tell(f"{record.name} is {record.status} by another client; waiting.")
        deadline = self.tools.clock() + timedelta(
            seconds=settings.node_boot_timeout_s() + settings.boot_timeout_s()
        )
        while self.tools.clock() < deadline:
            found = await self.tools.read(self.tools.store.nodes, record.id)
            owners = [record.owner, *(node.owner for node in found)]
            if all(is_given_up(owner, record.id) for owner in owners):
                await self.reconcile()
            now = await self.tools.read(self.tools.store.deployment, record.id)
            if now is None or now.status != record.status:
                return
            await self.tools.pause(LOOK_EVERY_S)
        raise DeploymentError(
            f"{record.name} has been {record.status} for too long.",
            hint=f"End it: %conduit terminate {record.name}.",
        )

    async def _done(self, record: DeploymentRecord) -> DeploymentRecord:
        await write_overview(self.tools)
        return record

    def _lease(self, seconds: float | None) -> timedelta:
        return timedelta(seconds=seconds or settings.lease_s())


def _name_of(request: DeploymentRequest, deployment_id: str) -> str:
    """Return a name that people can read and type: the first model's, and a piece of the id."""
    first = request.models[0].model_id if request.models else request.runtime
    short = first.rstrip("/").rpartition("/")[2].lower()
    return f"{short[:40]}-{deployment_id[:4]}"


def _require_free_name(live: Sequence[DeploymentRecord], name: str) -> None:
    if any(record.name == name for record in live):
        raise ArgumentError(
            f"Another deployment is called {name!r}.",
            param="name",
            hint="Choose another --name, or end it.",
        )


def _places(nodes: Sequence[NodeRecord], server: int) -> dict[int, NodeRecord]:
    """Return the nodes of one server of a deployment, by their number among its replicas."""
    first = server * REPLICAS_OF_A_SERVER
    return {
        node.replica - first: node
        for node in nodes
        if first <= node.replica < first + REPLICAS_OF_A_SERVER
    }
