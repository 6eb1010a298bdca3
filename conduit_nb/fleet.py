"""The fleet: what the user has deployed anywhere, beside the sidecar; asked of by the session.

Wires the manager of deployments with the installation, the state and the planner, when it is first
needed: the libraries of the state take a third of a second to load.
Layer 5.
"""

from __future__ import annotations

import asyncio
import functools
import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

from conduit_nb import settings
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.compute.vram import Plan
from conduit_nb.deployments.adoption import Unclaimed, unclaimed
from conduit_nb.deployments.autoscale import EVERY_S, AutoScale
from conduit_nb.deployments.ending import end_by_name
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.deployments.intent import may_spend_usd
from conduit_nb.deployments.manager import DeploymentManager
from conduit_nb.deployments.money import Caps, rate_of
from conduit_nb.deployments.overview import CostReport, DeploymentCost, cost_report
from conduit_nb.deployments.quote import Quote
from conduit_nb.deployments.routing import RoutedEndpoint
from conduit_nb.deployments.tools import Tools
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    DeploymentEndedError,
    PartlyFailedError,
    StorageError,
)
from conduit_nb.events import Events, Notice, Step
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.plans.answer import PlanOptions, make_plan
from conduit_nb.plans.options import PLANNED_AS
from conduit_nb.providers.base import Provider
from conduit_nb.providers.naming import parse_node_name
from conduit_nb.runtimes.base import Runtime
from conduit_nb.state.installation import load_installation
from conduit_nb.state.records import NodeRecord
from conduit_nb.state.store import Store
from conduit_nb.state.summary import KnownNode, read_summary
from conduit_nb.together import Outcome, each


class Fleet:
    """Deployments of this installation. Every method is to be awaited on the session's loop."""

    def __init__(
        self,
        *,
        events: Events,
        provider: Callable[[str], Provider],
        provider_names: Callable[[], list[str]],
        runtime: Callable[[str], Runtime],
        scale_every_s: float = EVERY_S,
    ) -> None:
        self._scale_every_s = scale_every_s
        self._events = events
        self._provider = provider
        self._provider_names = provider_names
        self._runtime = functools.cache(runtime)
        self._made: DeploymentManager | None = None
        self._scales: dict[str, AutoScale] = {}
        self._serving: dict[str, str] = {}

    async def endpoint(self, request: DeploymentRequest) -> RoutedEndpoint:
        """Return where the request is served, deploying it where it is not.

        Raises DeploymentEndedError once where somebody has ended on purpose what served it before:
        rows that are still on their way are no reason to rent it anew.
        """
        manager = await self._manager()
        await self._require_not_ended(manager, request)
        endpoint = await manager.ensure(request)
        served = await manager.live(request)
        if served is not None:
            self._serving[request.identity()] = served.id
        if request.replicas.max > request.replicas.min:
            self._follow(manager, request, endpoint)
        return endpoint

    async def reach(self, name: str) -> RoutedEndpoint:
        """Return the endpoint of what runs under that name or id; nothing is started."""
        return await (await self._manager()).reach(name)

    async def quote(self, request: DeploymentRequest) -> Quote:
        """Say what the request would start, and what that costs; nothing is created."""
        return await (await self._manager()).quote(request)

    async def deploy(self, request: DeploymentRequest) -> DeploymentInfo:
        """Have the request running, and say what runs then."""
        manager = await self._manager()
        record = await manager.deploy(request)
        return await self._told(record.id)

    async def left_of(self, request: DeploymentRequest) -> DeploymentInfo | None:
        """Return what there is of the request now, None where nothing of it lives."""
        record = await (await self._manager()).live(request)
        return None if record is None else await self._live(record.id)

    async def list_deployments(self) -> list[DeploymentInfo]:
        """Return every live deployment, after a look at the providers."""
        manager = await self._manager()
        await manager.reconcile()
        return (await self.known())[0]

    async def known(self) -> tuple[list[DeploymentInfo], CostReport]:
        """Return every live deployment as the state has it, asking no provider, and the costs."""
        report = await self.cost()
        return [_to_info(cost) for cost in report.deployments], report

    async def stop(self, name: str) -> DeploymentInfo:
        """Stop a deployment's nodes and keep their places."""
        record = await (await self._manager()).stop(name)
        return await self._told(record.id)

    async def start(self, name: str) -> DeploymentInfo:
        """Start a stopped deployment again."""
        record = await (await self._manager()).start(name)
        return await self._told(record.id)

    async def restart(self, name: str) -> DeploymentInfo:
        """Start the programs of a deployment's nodes anew."""
        record = await (await self._manager()).restart(name)
        return await self._told(record.id)

    async def terminate(self, name: str) -> list[DeploymentInfo]:
        """Terminate a deployment, or "all"; return what there is to say of each.

        What cannot be terminated stops no other; it is named in the error that is raised at the
        end, with what it still costs. Needs no state: where that cannot be used, the nodes are
        terminated by their names, and StorageError says afterwards what became of them.
        """
        try:
            manager = await self._manager()
        except ConduitError as err:
            raise await self._ended_without_state(name, [err]) from err
        try:
            return await self._terminate(manager, name)
        except StorageError as err:
            causes = [err]
        except PartlyFailedError as err:
            causes = [one for one in err.failures.values() if isinstance(one, StorageError)]
            if not causes:
                raise
        raise await self._ended_without_state(name, causes) from causes[0]

    async def _terminate(self, manager: DeploymentManager, name: str) -> list[DeploymentInfo]:
        if name != "all":
            try:
                found = await manager.find(name)
            except ArgumentError:
                return [await self._terminate_unclaimed(manager, name)]
            return [await self._terminate_one(found.id)]
        records = await manager.deployments()
        names = {record.id: record.name for record in records}
        outcome = await each({record.id: self._terminate_one(record.id) for record in records})
        if outcome.failures:
            nodes = await manager.tools.read(manager.tools.store.nodes)
            Outcome(
                done={names[one]: info for one, info in outcome.done.items()},
                failures={names[one]: error for one, error in outcome.failures.items()},
            ).require_done(
                "Terminating all",
                usd_per_hour=sum(rate_of(one) for one in nodes if one.deployment in names),
                hint="Try again: conduit terminate all.",
            )
        return list(outcome.done.values())

    async def _terminate_unclaimed(self, manager: DeploymentManager, name: str) -> DeploymentInfo:
        """Terminate a node of ours whose row is lost, by its own name; else say who is there."""
        if parse_node_name(name) is not None:
            for one in await unclaimed(manager.tools):
                if one.node.name == name and one.is_ours:
                    await self._provider(one.node.provider).terminate(name, one.node.id)
                    info = _to_unclaimed_info(one)
                    return replace(info, status="terminated", usd_per_hour=0.0, detail="")
        await manager.find(name)  # it has the words
        raise AssertionError("it was not found before")

    async def _terminate_one(self, deployment_id: str) -> DeploymentInfo:
        manager = await self._manager()
        info = await self._told(deployment_id)
        record = await manager.terminate(deployment_id)
        nodes = await manager.tools.read(manager.tools.store.nodes, record.id)
        # One whose creation may still be under way is looked for again, and may cost until then.
        return replace(info, status=record.status, usd_per_hour=sum(map(rate_of, nodes)))

    async def _ended_without_state(self, name: str, causes: Sequence[ConduitError]) -> StorageError:
        """Terminate nodes by their names, and return the error that says what became of it."""
        installation, known = await self._known_without_state()
        ended = await end_by_name(
            name,
            provider=self._provider,
            provider_names=self._provider_names(),
            installation=installation,
            known=known,
        )
        before = [node for one in causes if isinstance(one, StorageError) for node in one.ended]
        nodes = sorted({*before, *ended.nodes})
        what = (
            f"Terminated at the provider: {', '.join(nodes)}."
            if nodes
            else (
                "No nodes of this installation were found."
                if name == "all"
                else f"No node of {name!r} was found. There are: {', '.join(ended.seen) or 'none'}."
            )
        )
        failed = "".join(f" {one}: {error}" for one, error in ended.failures.items())
        error = StorageError(
            f"{what}{f' Not everything could be asked:{failed}' if failed else ''}"
            f" The state was not updated: {causes[0]}",
            hint=causes[0].hint,
        )
        error.ended = tuple(nodes)
        return error

    async def _known_without_state(self) -> tuple[str | None, tuple[KnownNode, ...]]:
        """Return the installation and its nodes, as far as anything still tells."""
        summary = read_summary()
        installation = summary.installation if summary is not None else None
        known = summary.known if summary is not None else ()
        with suppress(ConduitError):
            installation = (await asyncio.to_thread(load_installation)).id
        with suppress(ConduitError):
            tools = (await self._manager()).tools
            records = await tools.read(tools.store.deployments, tools.installation.id)
            names = {record.id: record.name for record in records}
            known = tuple(
                KnownNode(
                    name=node.name,
                    provider=node.provider,
                    id=node.provider_id,
                    deployment=names[node.deployment],
                )
                for node in await tools.read(tools.store.nodes)
                if node.deployment in names
            )
        return installation or None, known

    async def extend(self, name: str, seconds: float) -> DeploymentInfo:
        """Let a deployment live so long from now on."""
        record = await (await self._manager()).extend(name, seconds)
        return await self._told(record.id)

    async def cost(self) -> CostReport:
        """Return what is spent, goes on to be spent, and may be."""
        return await cost_report((await self._manager()).tools)

    async def gc(self, *, force: bool = False) -> list[str]:
        """End every node of this state that no deployment wants; return their names.

        With `force` also those of this installation that another state may use.
        """
        return await (await self._manager()).gc(force=force)

    async def adopt(self, node_name: str) -> DeploymentInfo:
        """Take a node that no row of the state names into it, as a deployment."""
        record = await (await self._manager()).adopt(node_name)
        return await self._told(record.id)

    async def unclaimed(self) -> list[DeploymentInfo]:
        """Return nodes in our accounts that the state does not name; they are never touched."""
        manager = await self._manager()
        return [_to_unclaimed_info(one) for one in await unclaimed(manager.tools)]

    async def read_logs(self, name: str, *, tail: int) -> list[str]:
        """Return the last lines of all nodes of a deployment; ArgumentError where there is none."""
        manager = await self._manager()
        record = await manager.find(name)
        nodes = await manager.tools.read(manager.tools.store.nodes, record.id)
        lines: list[str] = []
        for node in nodes:
            head = [f"--- {node.name}"] if len(nodes) > 1 else []
            try:
                logs = self._provider(node.provider).logs(node.name, node.provider_id, tail=tail)
                lines += [*head, *[line async for line in logs]]
            except ConduitError as err:
                if len(nodes) == 1:
                    raise
                lines += [*head, f"The log cannot be read: {err}"]
        return lines

    async def may_spend_usd(self, request: DeploymentRequest) -> float:
        """Return what the caps leave for the request: for what runs of it, else for a new one."""
        manager = await self._manager()
        record = await manager.live(request)
        return await may_spend_usd(manager.tools, record, request.max_usd)

    async def require_affordable(self, usd: float, request: DeploymentRequest) -> None:
        """Raise SpendCapError where an estimate is above what is left of the caps."""
        manager = await self._manager()
        record = await manager.live(request)
        await manager.require_affordable(usd, record, request, what="It")

    async def require_deployable(self, quote: Quote) -> None:
        """Raise what a new deployment of the quote would be refused with; nothing is created."""
        await (await self._manager()).require_deployable(quote)

    async def _require_not_ended(
        self, manager: DeploymentManager, request: DeploymentRequest
    ) -> None:
        before = self._serving.pop(request.identity(), None)
        if before is None:
            return
        record = await manager.tools.read(manager.tools.store.deployment, before)
        if record is None or record.status not in ("terminating", "terminated") or record.detail:
            return  # it runs, or has ended for a reason of its own
        raise DeploymentEndedError(
            f"{record.name} was ended while it was asked.", hint="Ask again to deploy it anew."
        )

    async def _told(self, deployment_id: str) -> DeploymentInfo:
        info = await self._live(deployment_id)
        if info is None:
            raise ArgumentError(
                f"Deployment {deployment_id} has ended meanwhile.", hint="Look at %conduit ps."
            )
        return info

    async def _live(self, deployment_id: str) -> DeploymentInfo | None:
        for cost in (await self.cost()).deployments:
            if cost.record.id == deployment_id:
                return _to_info(cost)
        return None

    async def _manager(self) -> DeploymentManager:
        if self._made is None:
            tools = await asyncio.to_thread(self._tools)
            self._made = self._made or DeploymentManager(tools)
        return self._made

    def _follow(
        self, manager: DeploymentManager, request: DeploymentRequest, endpoint: RoutedEndpoint
    ) -> None:
        """Let the one who scales the deployment look at this endpoint, too."""
        self._scales = {key: one for key, one in self._scales.items() if not one.is_over}
        scale = self._scales.get(request.identity())
        if scale is not None:
            scale.follow(endpoint)
        else:
            self._scales[request.identity()] = AutoScale(
                manager, request, endpoint, every_s=self._scale_every_s
            )

    def _tell(self, said: str | Step) -> None:
        self._events.emit(Notice(text=said) if isinstance(said, str) else said)

    def _tools(self) -> Tools:
        return Tools(
            store=Store(),
            installation=load_installation(),
            provider=self._provider,
            provider_names=self._provider_names,
            runtime=self._runtime,
            plan_of=plan_of,
            caps=lambda: Caps(
                deployment_usd=settings.max_usd_per_deployment(),
                day_usd=settings.max_usd_per_day(),
            ),
            tell=self._tell,
        )


def plan_of(models: Sequence[LmLiteModelConfig], request: DeploymentRequest) -> Plan | None:
    """Return what one server needs for these models, None where nothing is known of its runtime."""
    runtime = PLANNED_AS.get(request.runtime)
    if runtime is None or not models:
        return None
    longest = [one.max_model_len for one in models if one.max_model_len is not None]
    most = [one.max_model_concurrency or 1 for one in models]
    dtypes = {one.dtype for one in models}
    quantizations = {one.quantization for one in models}
    return make_plan(
        [one.full_id for one in models],
        PlanOptions(
            tensor_parallel=request.tensor_parallel,
            pipeline_parallel=request.pipeline_parallel,
            dtype=dtypes.pop() if len(dtypes) == 1 else "auto",
            quantization=quantizations.pop() if len(quantizations) == 1 else None,
            max_model_len=max(longest) if len(longest) == len(models) else None,
            max_concurrency=max(most),
            runtime=runtime,
        ),
    )


def _to_info(cost: DeploymentCost) -> DeploymentInfo:
    """Return a deployment as people are told of it."""
    record, nodes = cost.record, cost.nodes
    first = nodes[0] if nodes else None
    offering: dict[str, Any] = json.loads(first.offering) if first and first.offering else {}
    ready = sum(node.status == "running" for node in nodes)
    return DeploymentInfo(
        name=record.name,
        provider=first.provider if first is not None else record.provider or "",
        runtime=record.runtime,
        status=_status(record.status, nodes),
        url=(first.url if first is not None else None) or "",
        started_at=record.created_at,
        device=_device(offering),
        region=offering.get("region"),
        models={model: "ready" for node in nodes for model in json.loads(node.models)},
        nodes=f"{ready}/{len(nodes)}",
        usd_per_hour=cost.usd_per_hour,
        spent_usd=cost.spent_usd,
        lease_until=record.lease_until,
        id=record.id,
        detail=record.detail or (first.detail if first is not None else ""),
    )


def _to_unclaimed_info(one: Unclaimed) -> DeploymentInfo:
    whose = "of another installation"
    if one.is_ours:
        whose = "no row names it, gc ends it"
        if not one.is_of_this_state:
            whose = "of another state of this installation, gc --force ends it"
    return DeploymentInfo(
        name=one.node.name,
        provider=one.node.provider,
        runtime="",
        status=one.node.status,
        url=one.node.url,
        started_at=one.node.started_at,
        usd_per_hour=one.node.usd_per_hour,
        detail=f"{whose}; adopt takes it over",
    )


def _status(status: str, nodes: Sequence[NodeRecord]) -> str:
    if status == "running" and not any(node.status == "running" for node in nodes):
        return "not answering"
    return status


def _device(offering: dict[str, Any]) -> str | None:
    if not offering:
        return None
    gpu, count = offering.get("gpu"), offering.get("count")
    return "cpu" if gpu is None else f"{count} x {gpu}" if count != 1 else str(gpu)
