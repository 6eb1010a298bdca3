"""Deployments, as a user knows them: deploy, connect, list, stop, start, extend, terminate.

One service for everything that runs: what is recorded in the state, and the local server that all
notebooks share. With `replicas`, `nodes` and `reconcile` it is the only writer of the state and the
only caller of providers. Which client does something does not matter: each looks at the state
first, and who writes an intent first carries it out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from typing import overload

from conduit_nb import settings
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import S_PER_HOUR, DeploymentRequest
from conduit_nb.deployments import nodes as node_work
from conduit_nb.deployments import replicas
from conduit_nb.deployments.adoption import (
    adopt,
    require_known,
    terminate_orphan,
    to_orphan,
    unclaimed,
)
from conduit_nb.deployments.autoscale import EVERY_S, AutoScale
from conduit_nb.deployments.connections import Connections
from conduit_nb.deployments.context import Context, at_work, is_given_up, this_process
from conduit_nb.deployments.ending import ended_without_state
from conduit_nb.deployments.info import DeploymentInfo, ServedModel
from conduit_nb.deployments.intent import (
    end_of_money,
    holders_named,
    key_of,
    lease_of,
    may_spend_usd,
    new_record,
    node_budget,
)
from conduit_nb.deployments.lease import ask_guard, extend_lease
from conduit_nb.deployments.money import rate_of, require_affordable
from conduit_nb.deployments.overview import CostReport, cost_report, to_info, write_overview
from conduit_nb.deployments.quote import Quote, make_quote
from conduit_nb.deployments.reconcile import Looked, reconcile
from conduit_nb.deployments.routing import RoutedEndpoint
from conduit_nb.deployments.shared import SharedServer
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    DeploymentEndedError,
    DeploymentError,
    EndpointUnreachableError,
    NearMatchError,
    PartlyFailedError,
    SpendCapError,
    StateConflictError,
    StorageError,
)
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.spelling import nearest
from conduit_nb.state.records import DeploymentRecord, NodeRecord
from conduit_nb.together import Outcome, each
from conduit_nb.units import dollars, duration, require_hours

ALL = "all"
LOCAL_SERVER = "local server"
_DEPLOYMENTS = "deployments"
LOOK_EVERY_S = 0.25


class Deployments:
    """Everything that users ask of deployments. Every method is awaited on one event loop.

    A deployment is named by its name or id; the local server that all notebooks share by its name,
    or by None.
    """

    def __init__(
        self, context: Context, *, shared: SharedServer, scale_every_s: float = EVERY_S
    ) -> None:
        self.context = context
        self.shared = shared
        self._scale_every_s = scale_every_s
        self._scales: dict[str, AutoScale] = {}
        self._serving: dict[str, str] = {}
        self._connections = Connections(self._reach, context.events)

    # What runs, and what it costs.

    async def ps(self) -> list[DeploymentInfo]:
        """Return everything that runs, after a look at the providers."""
        if self.context.has_state():
            await self.look()
        infos, _ = await self.snapshot()
        return infos

    async def snapshot(self) -> tuple[list[DeploymentInfo], CostReport | None]:
        """Return what runs as the state has it, asking no provider; None where nothing was ever."""
        infos = await self.shared.infos()
        if not self.context.has_state():
            return infos, None
        report = await cost_report(self.context)
        return [*infos, *map(to_info, report.deployments)], report

    async def look(self, *, tells_unseen: bool = True) -> Looked:
        """Bring the state and the providers together, past all that fails: see `reconcile`."""
        looked = await reconcile(self.context, tells_unseen=tells_unseen)
        await write_overview(self.context)
        return looked

    @overload
    async def find(self, target: str) -> DeploymentInfo: ...
    @overload
    async def find(self, target: DeploymentRequest | str) -> DeploymentInfo | None: ...
    async def find(self, target: DeploymentRequest | str) -> DeploymentInfo | None:
        """Return the live deployment of a request, None where there is none; or that of a name.

        Raises ArgumentError where nothing has the name.
        """
        is_shared = not isinstance(target, str) and target.is_shared
        name = self.shared.name if is_shared else target
        for info in await self.shared.infos():
            if info.name == name:
                return info
        if is_shared:
            return None
        record = await (
            self._named(target) if isinstance(target, str) else self._of_request(target)
        )
        return None if record is None else await self._info(record)

    async def cost(self) -> CostReport:
        """Return what is spent, goes on to be spent, and may be."""
        return await cost_report(self.context)

    async def logs(self, name: str | None = None, *, tail: int) -> list[str]:
        """Return the last lines of all nodes of a deployment; without a name the shared server's.

        Raises ArgumentError where there is no such deployment.
        """
        name = self.shared.name if name is None else name
        lines = await self.shared.logs(name, tail)
        if lines or name == self.shared.name:
            return lines
        record = await self._named(name)
        nodes = await self._nodes(record)
        for node in nodes:
            head = [f"--- {node.name}"] if len(nodes) > 1 else []
            provider = self.context.provider(node.provider)
            try:
                logs = provider.logs(node.name, node.provider_id, tail=tail)
                lines += [*head, *[line async for line in logs]]
            except ConduitError as err:
                if len(nodes) == 1:
                    raise
                lines += [*head, f"The log cannot be read: {err}"]
        return lines

    async def models(self) -> list[ServedModel]:
        """Return the models that the shared server has loaded."""
        return await self.shared.models()

    async def load(self, config: LmLiteModelConfig, *, replicas: int = 1) -> None:
        """Load a model into the shared server, each replica on a device of its own."""
        endpoint = await self.connect(DeploymentRequest(), fresh=True)
        await self.shared.load(endpoint, config, replicas)

    async def unload(self, model_id: str) -> list[ServedModel]:
        """Free what a model holds in the shared server; return what was unloaded."""
        return await self.shared.unload(model_id)

    async def orphans(self, *, asks_all: bool = False) -> list[DeploymentInfo]:
        """Return the nodes in our accounts that no deployment names; they are never touched.

        Where nothing was ever deployed from here, providers are asked with `asks_all` only.
        """
        if not asks_all and not self.context.has_state():
            return []
        return [to_orphan(one) for one in await unclaimed(self.context)]

    # Connecting and deploying.

    async def connect(self, target: DeploymentRequest | str, *, fresh: bool = False) -> Endpoint:
        """Return where a request is served, deploying it where it is not; or a name, where it runs.

        `fresh` says that the endpoint handed out before does not answer any more: look again.
        """
        return await self._connections.connect(target, fresh=fresh)

    async def deploy(self, request: DeploymentRequest) -> DeploymentInfo:
        """Have the request running: the deployment that is there already, else one started now.

        Raises NoOfferingError, SpendCapError (also where it would cost more until its lease ends
        than may be spent), BootError and the provider's errors; then nothing of what this call
        started is left that costs, and what ran before stays.
        """
        if request.is_shared:
            for option in request.bounds():
                raise ArgumentError(
                    f"{option} does not apply to the local LmLite server, which all notebooks"
                    " share.",
                    param=option,
                    hint=f"Leave {option} out, or choose another provider (docker) or runtime.",
                )
            await self.connect(request, fresh=True)
            for config in request.models:
                await self.load(config)
            info = await self.find(request)
            if info is None:
                raise DeploymentEndedError(
                    f"{self.shared.name} was stopped meanwhile.", hint="Deploy it again."
                )
            return info
        return await self._info(await self._running(request, is_for_its_lease=True))

    async def quote(self, request: DeploymentRequest) -> Quote:
        """Return what the request would start, and what that costs; nothing is created."""
        return await make_quote(self.context, request)

    async def require_deployable(self, quote: Quote) -> None:
        """Raise what `deploy` would raise of a new deployment before it starts anything."""
        await self.context.opened()
        await self._require_lease_affordable(quote)
        record = await new_record(self.context, quote.request)
        _require_free_name(await self._live(), record.name)
        for server in quote.servers:
            rate = server.candidates[0].rates.running_usd_per_hour
            if rate > 0:
                await node_budget(self.context, record, rate)

    async def require_no_near_match(self, request: DeploymentRequest) -> None:
        """Raise NearMatchError where the same models run, but not as they are asked for.

        A cell or a block that would rent them once more is more often one that should use what
        runs; who wants both deploys the other one by name.
        """
        if await self._near_match(request) is None:
            return
        await self.look()  # it may have ended by itself
        near = await self._near_match(request)
        if near is not None:
            raise NearMatchError(near.name, differences=near.request.compared(request))

    async def may_spend_usd(self, request: DeploymentRequest) -> float:
        """Return what the caps leave for the request: for what runs of it, else for a new one."""
        return await may_spend_usd(self.context, await self._of_request(request), request.max_usd)

    async def require_affordable(
        self, usd: float, target: DeploymentRequest | str, *, what: str = "It"
    ) -> None:
        """Raise SpendCapError where an estimate is above what is left of the caps."""
        if isinstance(target, str):
            if await self._is_shared(target):
                return
            record = await self._named(target)
            await self._require_affordable(usd, record, record.request, what=what)
        else:
            await self._require_affordable(usd, await self._of_request(target), target, what=what)

    # Stopping, starting, ending.

    async def stop(self, name: str | None = None) -> list[DeploymentInfo]:
        """Stop a deployment and keep its disks; "all" stops everything that can be stopped.

        Without a name the shared server, which keeps nothing; where that does not run, the list is
        empty. Raises DeploymentError where a provider cannot stop a deployment, before anything is
        changed; of "all" those are left running, and named. What fails stops no other, and is
        raised at the end.
        """
        if name == ALL:
            return await self._stop_all()
        if name is None or await self._is_shared(name):
            return await self._stop_shared(name or self.shared.name)
        return [await self._stop(await self._named(name))]

    async def start(self, name: str) -> DeploymentInfo:
        """Start a stopped deployment again, with a new lease.

        Raises SpendCapError, before anything is changed, where there is no money for it.
        """
        return await self._start(await self._named(name))

    async def restart(self, name: str) -> DeploymentInfo:
        """Restart the servers of a deployment, one after another, past those that fail."""
        record = await self._named(name)
        found = await self._nodes(record)
        require_known(record, found)
        one_at_a_time = asyncio.Lock()  # so that the others answer meanwhile

        async def again(node: NodeRecord) -> NodeRecord:
            async with one_at_a_time:
                return await node_work.boot_again(self.context, record, node, "restart")

        with at_work(record.id):
            async with replicas.given_up_on_failure(self.context, record):
                outcome = await each({node.name: again(node) for node in found})
                await replicas.require_done(
                    self.context, record, outcome, f"Restarting {record.name}"
                )
        return await self._info(record)

    async def terminate(self, name: str) -> list[DeploymentInfo]:
        """Terminate a deployment for good, or "all"; return what there is to say of each.

        What cannot be terminated stops no other; it is named in the error that is raised at the
        end, with what it still costs. Needs no state: where that cannot be used, the nodes are
        terminated by their names, and StorageError says afterwards what became of them.
        """
        if name == ALL:
            return await self._terminate_all()
        is_shared = await self._is_shared(name)
        return await (self._stop_shared(name) if is_shared else self._terminate(name))

    async def extend(self, name: str, hours: float) -> DeploymentInfo:
        """Let the deployment live so long from now on, as far as its budget lasts."""
        seconds = require_hours("hours", hours) * S_PER_HOUR
        record = await self._named(name)
        now = self.context.clock()
        until = now + timedelta(seconds=seconds)
        found = await self._nodes(record)
        limits = [node.not_after for node in found if node.not_after is not None]
        if limits and until > min(limits):
            left_s = (min(limits) - now).total_seconds()
            raise ArgumentError(
                f"The budget of {record.name} lasts for {max(left_s, 0) / 3600:.1f} h more"
                f" (got hours={hours:.1f}).",
                param="hours",
                hint="Extend it by less, or end it and deploy it with a larger --max-usd.",
            )
        key = self.context.installation.endpoint_key(record.id)
        outcome = await each(
            {
                node.name: extend_lease(node.url, key, until, now=self.context.clock())
                for node in found
                if node.status == "running" and node.url is not None
            }
        )
        if outcome.done or not outcome.failures:
            # Only now: what stands in the state is what guards hold their nodes to.
            allowed = max(outcome.done.values(), default=until)
            if allowed < until:
                left_s = (allowed - self.context.clock()).total_seconds()
                self.context.tell(f"The guard of {record.name} allows {duration(left_s)} at most.")
            record = await self.context.set_deployment(record, lease_until=min(until, allowed))
        outcome.require_done(f"Extending {record.name}")
        return await self._info(record)

    async def scale(self, request: DeploymentRequest, count: int) -> list[replicas.Server]:
        """Have that many replicas of a running deployment, and return who answers then.

        Where more cannot be had, everything that was there stays, and so does each that came;
        then `wanted_replicas` is what there is.
        """
        record = await self._of_request(request)
        if record is None or record.status != "running":
            raise DeploymentEndedError("It does not run any more.", hint="Look at %conduit ps.")
        with at_work(record.id):
            if count < record.wanted_replicas:
                record = await replicas.shrink(self.context, record, count)
            else:
                quote = await self.quote(request)
                record = await replicas.grow(self.context, record, quote, count)
        await write_overview(self.context)
        return await replicas.servers(self.context, record)

    async def attach(self, node_name: str) -> DeploymentInfo:
        """Take over a node that no row of the state names, as a deployment: see `adoption`."""
        return await self._info(await adopt(self.context, node_name))

    async def cleanup(self, *, force: bool = False) -> list[str]:
        """Terminate every node of this state that no deployment names; return their names.

        Nodes of this installation that another state may name are told of, and ended with `force`.
        """
        looked = await reconcile(self.context, ends_unknown=True, of_any_state=force)
        if looked.of_other_states:
            self.context.tell(
                f"Not terminated, as another state of this installation may use them (another"
                f" CONDUIT_DB_URI, or a state that is lost): {', '.join(looked.of_other_states)}."
                " To terminate them: conduit cleanup --force."
            )
        await write_overview(self.context)
        if looked.failures:
            raise PartlyFailedError(
                "Cleaning up", done=tuple(looked.ended), failures=looked.failures
            )
        return looked.ended

    async def in_flight(self, record: DeploymentRecord) -> int:
        """Return how many requests a deployment's nodes are answering, of all clients."""
        key = self.context.installation.endpoint_key(record.id)
        nodes = await replicas.running_nodes(self.context, record)
        urls = [node.url for node in nodes if node.url is not None]
        states = await asyncio.gather(*(ask_guard(url, key) for url in urls))
        return sum(one.in_flight for one in states if one is not None)

    async def live(self, request: DeploymentRequest) -> DeploymentRecord | None:
        """Return the record of a request's live deployment, None where there is none."""
        return await self._of_request(request)

    async def aclose(self) -> None:
        """Close every connection; what runs goes on."""
        await self._connections.aclose()

    # How.

    async def _reach(self, target: DeploymentRequest | str) -> Endpoint:
        """Return an endpoint of a request or a name, newly made."""
        if isinstance(target, str):
            return await self._reach_named(target)
        if target.is_shared:
            return await self.shared.connect()
        await self._require_not_ended(target)
        await self.require_no_near_match(target)
        endpoint = await self._ensure(target)
        record = await self._of_request(target)
        if record is not None:
            self._serving[target.identity()] = record.id
        if target.replicas.max > target.replicas.min:
            self._follow(target, endpoint)
        return endpoint

    async def _reach_named(self, name: str) -> Endpoint:
        """Return where a deployment answers that runs; nothing that costs is started."""
        if await self._is_shared(name):
            return await self.shared.connect(name)
        await self._named(name)
        await self.look()  # it may have stopped by itself: who asks is to hear of that
        record = await self._named(name)
        if record.status != "running":
            start = f"Start it: %conduit start {record.name}."
            raise EndpointUnreachableError(
                f"{record.name} is {record.status}.",
                hint=start if record.status == "stopped" else "See %conduit ps.",
            )
        return await replicas.endpoint(self.context, record)

    async def _is_shared(self, name: str) -> bool:
        """Say whether that is a shared server; one that cannot be seen is none.

        Whatever is wrong with this machine's servers keeps nothing rented from being stopped.
        """
        with suppress(ConduitError):
            return await self.shared.has(name)
        return False

    async def _ensure(self, request: DeploymentRequest) -> RoutedEndpoint:
        """Return where the request is served, with every node that is running.

        As `deploy`; what is asked for may be done long before the lease ends, so its end is not
        what the money must last for. Where replicas are missing and cannot be had, those that run
        have to do.
        """
        try:
            record = await self._running(request, is_for_its_lease=False)
        except ConduitError as err:
            left = await self._of_request(request)
            if left is None or left.status != "running":
                raise
            if not await replicas.running_nodes(self.context, left):
                raise
            self.context.tell(f"{left.name} goes on with the replicas that it has: {err}")
            record = left
        return await replicas.endpoint(self.context, record)

    async def _running(
        self, request: DeploymentRequest, *, is_for_its_lease: bool
    ) -> DeploymentRecord:
        await self.look()
        while True:
            known = await self._of_request(request)
            if known is None:
                quote = await self.quote(request)
                if is_for_its_lease:
                    await self._require_lease_affordable(quote)
                record = await new_record(self.context, request)
                with at_work(record.id):
                    known = await self._insert(record)
                    if known is not None:
                        known = await replicas.launch(self.context, known, quote)
                        await write_overview(self.context)
                        return known
            elif known.status == "stopped":
                await self._start(known)
            elif known.status == "running":
                if await replicas.is_whole(self.context, known):
                    return known
                quote = await self.quote(request)
                with at_work(known.id):
                    refilled = await replicas.refill(self.context, known, quote)
                if refilled is not None:
                    await write_overview(self.context)
                    return refilled
            else:
                await self._wait_for(known)

    async def _insert(self, record: DeploymentRecord) -> DeploymentRecord | None:
        """Write what is to be; None where another client has just done so."""
        _require_free_name(await self._live(), record.name)
        try:
            return await self.context.write(self.context.store.insert_deployment, record)
        except StateConflictError:
            return None
        except asyncio.CancelledError:
            if await self.context.read(self.context.store.deployment, record.id) is not None:
                why = "it was stopped while it started"
                await replicas.end_at_last(self.context, record, why=why)
            raise

    async def _wait_for(self, record: DeploymentRecord) -> None:
        """Wait a moment for whoever works on the deployment; take its place where it is gone."""
        self.context.tell(f"{record.name} is {record.status} by another client; waiting.")
        deadline = self.context.clock() + timedelta(
            seconds=settings.node_boot_timeout_s() + settings.boot_timeout_s()
        )
        while self.context.clock() < deadline:
            found = await self._nodes(record)
            owners = [record.owner, *(node.owner for node in found)]
            if all(is_given_up(owner, record.id) for owner in owners):
                await self.look()
            now = await self.context.read(self.context.store.deployment, record.id)
            if now is None or now.status != record.status:
                return
            await self.context.pause(LOOK_EVERY_S)
        raise DeploymentError(
            f"{record.name} has been {record.status} for too long.",
            hint=f"End it: %conduit terminate {record.name}.",
        )

    async def _require_lease_affordable(self, quote: Quote) -> None:
        hours = lease_of(quote.request.lease_s).total_seconds() / 3600
        if quote.usd_per_hour <= 0:
            return
        what = f"${quote.usd_per_hour:.2f}/h for the {hours:g} h of its lease"
        await self._require_affordable(quote.usd_per_hour * hours, None, quote.request, what=what)

    async def _require_affordable(
        self, usd: float, record: DeploymentRecord | None, request: DeploymentRequest, *, what: str
    ) -> None:
        left = await may_spend_usd(self.context, record, request.max_usd)
        try:
            require_affordable(usd, left, what=what)
        except SpendCapError as err:
            cap = request.max_usd or self.context.caps().deployment_usd
            deployment = record.id if record is not None else ""
            raise await holders_named(self.context, err, deployment, cap) from None

    async def _require_not_ended(self, request: DeploymentRequest) -> None:
        """Raise DeploymentEndedError once where somebody has ended on purpose what served it.

        Rows that are still on their way are no reason to rent it again.
        """
        before = self._serving.pop(request.identity(), None)
        if before is None:
            return
        record = await self.context.read(self.context.store.deployment, before)
        if record is None or record.status not in ("terminating", "terminated") or record.detail:
            return  # it runs, or has ended for a reason of its own
        raise DeploymentEndedError(
            f"{record.name} was ended while it was asked.", hint="Ask again to deploy it anew."
        )

    async def _near_match(self, request: DeploymentRequest) -> DeploymentRecord | None:
        """Return what runs with the same models and runtime, where nothing is just as asked for."""
        if not request.models or await self._of_request(request) is not None:
            return None
        wanted = {model.model_id for model in request.models}
        for record in await self._live():
            other = record.request
            is_same = wanted == {model.model_id for model in other.models}
            if record.status == "running" and is_same and other.runtime == request.runtime:
                return record
        return None

    def _follow(self, request: DeploymentRequest, endpoint: RoutedEndpoint) -> None:
        """Let the one who scales the deployment look at this endpoint, too."""
        self._scales = {key: one for key, one in self._scales.items() if not one.is_over}
        scale = self._scales.get(request.identity())
        if scale is not None:
            scale.follow(endpoint)
        else:
            self._scales[request.identity()] = AutoScale(
                self, request, endpoint, every_s=self._scale_every_s
            )

    async def _start(self, record: DeploymentRecord) -> DeploymentInfo:
        found = await self._nodes(record)
        require_known(record, found)
        for node in found:
            await end_of_money(self.context, node)
        until = self.context.clock() + lease_of(None)
        with at_work(record.id):
            record = await self.context.set_deployment(
                record, status="launching", lease_until=until, owner=this_process()
            )
            async with replicas.given_up_on_failure(self.context, record):
                outcome = await each(
                    {
                        node.name: node_work.boot_again(self.context, record, node, "start")
                        for node in found
                    }
                )
                await replicas.require_done(
                    self.context, record, outcome, f"Starting {record.name}"
                )
        return await self._info(await self.context.set_deployment(record, status="running"))

    async def _stop(self, record: DeploymentRecord) -> DeploymentInfo:
        found = await self._nodes(record)
        for node in found:
            if not self._can_stop(node):
                raise DeploymentError(
                    f"{node.provider} cannot stop {record.name}, only terminate it.",
                    hint=f"Terminate it: %conduit terminate {record.name}.",
                )
        with at_work(record.id):
            record = await self.context.set_deployment(
                record, status="stopping", owner=this_process()
            )
            async with replicas.given_up_on_failure(self.context, record):
                outcome = await each(
                    {node.name: node_work.stop(self.context, node) for node in found}
                )
                await replicas.require_done(
                    self.context, record, outcome, f"Stopping {record.name}"
                )
        return await self._info(await self.context.set_deployment(record, status="stopped"))

    def _can_stop(self, node: NodeRecord) -> bool:
        return self.context.provider(node.provider).capabilities.can_stop

    async def _stop_shared(self, name: str) -> list[DeploymentInfo]:
        info = await self.shared.stop(name)
        self._connections.forget(name)
        if name == self.shared.name:
            self._connections.forget(DeploymentRequest())
        return [] if info is None else [info]

    async def _stop_every_shared(self) -> list[DeploymentInfo]:
        names = [info.name for info in await self.shared.infos()]
        outcome = await each({name: self._stop_shared(name) for name in names})
        outcome.require_done("Stopping the local server")
        return [info for found in outcome.done.values() for info in found]

    async def _stop_all(self) -> list[DeploymentInfo]:
        """Stop what can be stopped, past what fails, and say what is still billed."""
        shared = await each({LOCAL_SERVER: self._stop_every_shared()})
        deployed: Outcome[DeploymentInfo] = Outcome(done={}, failures={})
        rate = 0.0
        if self.context.has_state():
            await self.look()
            running = [record for record in await self._live() if record.status != "stopped"]
            deployed = await each({record.name: self._stop_if_can(record) for record in running})
            rate = (await self.cost()).usd_per_hour
        infos = [info for found in shared.done.values() for info in found]
        infos += deployed.done.values()
        left = [info.name for info in infos if info.status not in ("stopped", "terminating")]
        if left:
            self.context.tell(f"Left running, as it cannot be stopped: {', '.join(left)}.")
        if rate > 0:
            self.context.tell(f"Still billed: {dollars(rate)}/h. To end that: terminate all")
        Outcome(
            done={info.name: info for info in infos if info.status == "stopped"},
            failures={**shared.failures, **deployed.failures},
        ).require_done("Stopping all", usd_per_hour=rate)
        return infos

    async def _stop_if_can(self, record: DeploymentRecord) -> DeploymentInfo:
        """Stop a deployment, or return it as it runs where its provider cannot."""
        nodes = await self._nodes(record)
        if nodes and all(map(self._can_stop, nodes)):
            return await self._stop(record)
        return await self._info(record)

    async def _terminate_all(self) -> list[DeploymentInfo]:
        has_state = self.context.has_state()
        works = {LOCAL_SERVER: self._stop_every_shared()}
        if has_state:
            works[_DEPLOYMENTS] = self._terminate(ALL)
        outcome: Outcome[list[DeploymentInfo]] = await each(works)
        if _DEPLOYMENTS in outcome.failures:
            if LOCAL_SERVER in outcome.failures:
                failure = outcome.failures[LOCAL_SERVER]
                self.context.tell(f"The {LOCAL_SERVER} could not be stopped: {failure}")
            raise outcome.failures[_DEPLOYMENTS]
        infos = [info for found in outcome.done.values() for info in found]
        Outcome(done={info.name: info for info in infos}, failures=outcome.failures).require_done(
            "Terminating all"
        )
        return infos

    async def _terminate(self, name: str) -> list[DeploymentInfo]:
        """Terminate what the state names; where it cannot be used, nodes by their names."""
        try:
            await self.context.opened()
        except ConduitError as err:
            raise await ended_without_state(self.context, name, [err]) from err
        try:
            return await self._terminate_in_state(name)
        except StorageError as err:
            causes = [err]
        except PartlyFailedError as err:
            causes = [one for one in err.failures.values() if isinstance(one, StorageError)]
            if not causes:
                raise
        raise await ended_without_state(self.context, name, causes) from causes[0]

    async def _terminate_in_state(self, name: str) -> list[DeploymentInfo]:
        if name != ALL:
            try:
                found = await self._named(name)
            except ArgumentError:
                ended = await terminate_orphan(self.context, name)
                if ended is None:
                    raise
                return [ended]
            return [await self._terminate_one(found)]
        records = {record.name: record for record in await self._live()}
        outcome = await each(
            {name: self._terminate_one(record) for name, record in records.items()}
        )
        if outcome.failures:
            nodes = await self.context.read(self.context.store.nodes)
            ids = {record.id for record in records.values()}
            outcome.require_done(
                "Terminating all",
                usd_per_hour=sum(rate_of(one) for one in nodes if one.deployment in ids),
                hint="Try again: conduit terminate all.",
            )
        return list(outcome.done.values())

    async def _terminate_one(self, record: DeploymentRecord) -> DeploymentInfo:
        info = await self._info(record)
        ended = await replicas.end(self.context, record, why="")
        await write_overview(self.context)
        nodes = await self._nodes(record)
        # One whose creation may still be under way is looked for again, and may cost until then.
        return replace(info, status=ended.status, usd_per_hour=sum(map(rate_of, nodes)))

    async def _of_request(self, request: DeploymentRequest) -> DeploymentRecord | None:
        """Return the live deployment of an equal request, by whichever version of Conduit."""
        identity, key = request.identity(), key_of(request)
        for record in await self._live():
            if record.key == key or record.request.identity() == identity:
                return record
        return None

    async def _named(self, name: str) -> DeploymentRecord:
        """Return the live deployment of that name or id; ArgumentError lists those there are."""
        live = await self._live() if self.context.has_state() else []
        for record in live:
            if name in (record.id, record.name):
                return record
        names = [record.name for record in live]
        with suppress(ConduitError):  # that it cannot be seen is not what was asked
            names = [*await self.shared.names(), *names]
        if name in names:
            raise ArgumentError(
                f"{name} is the local server: it has no lease, and is started when it is needed.",
                param="name",
                hint=f"Stop it: %conduit stop {name}.",
            )
        raise ArgumentError(
            f"No deployment named {name!r}.",
            param="name",
            hint=nearest(name, names, then=f"Running: {', '.join(names) or 'none'}."),
        )

    async def _live(self) -> list[DeploymentRecord]:
        await self.context.opened()
        return await self.context.read(self.context.store.deployments, self.context.installation.id)

    async def _nodes(self, record: DeploymentRecord) -> list[NodeRecord]:
        return await self.context.read(self.context.store.nodes, record.id)

    async def _info(self, record: DeploymentRecord) -> DeploymentInfo:
        """Return a deployment as people are told of it, and keep the overview true."""
        report = await write_overview(self.context)
        for cost in report.deployments:
            if cost.record.id == record.id:
                return to_info(cost)
        raise ArgumentError(
            f"{record.name} has ended meanwhile.", param="name", hint="Look at %conduit ps."
        )


def _require_free_name(live: Sequence[DeploymentRecord], name: str) -> None:
    if any(record.name == name for record in live):
        raise ArgumentError(
            f"A deployment named {name!r} already exists.",
            param="name",
            hint="Choose another --name, or terminate it.",
        )
