"""What a request would be started on and what that costs: asked of providers, nothing is created.

Layer 4.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace

from conduit_nb.compute.accelerators import find_accelerator, find_accelerators
from conduit_nb.compute.judging import terms_reasons
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.compute.selection import rank_offerings
from conduit_nb.compute.vram import GIB, Plan
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.money import Rates, rates_of
from conduit_nb.errors import ArgumentError, ConduitError, NoOfferingError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.models.hub import folder_here
from conduit_nb.providers.base import Listing, Provider
from conduit_nb.runtimes.base import Place, Runtime, ServerRequest

RUNTIME_DISK_GIB = 20
"""For an image's layers, caches and logs, beside the weights twice (fetched, and converted)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """One offering that would do; `place` is how the server runs there."""

    provider: str
    offering: ComputeOffering
    rates: Rates
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerQuote:
    """One server of a deployment: its models, their needs, and where it could run, best first."""

    models: tuple[LmLiteModelConfig, ...]
    plan: Plan | None
    disk_gib: int
    candidates: tuple[Candidate, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Quote:
    """What a request comes to; `usd_per_hour` with the best candidates and the least replicas."""

    request: DeploymentRequest
    servers: tuple[ServerQuote, ...]
    usd_per_hour: float


async def make_quote(context: Context, request: DeploymentRequest) -> Quote:
    """Ask the request's providers, all at once.

    Raises NoOfferingError where nothing would do, ArgumentError for a GPU that nobody knows and for
    a command that would not be followed, and what a runtime lacks to be started: an image, a
    package.
    """
    runtime = context.runtime(request.runtime)
    runtime.check(request.models)
    names = [request.provider] if request.provider else context.provider_names()
    providers = [context.provider(name) for name in names]
    _require_command_followed(request, runtime, providers)
    listings = await asyncio.gather(*(_listed(one, is_only=len(names) == 1) for one in providers))
    if request.gpu is not None:
        _check_gpu(request.gpu, listings)
    servers: list[ServerQuote] = []
    for models in split_models(request.models, runtime):
        plan = await asyncio.to_thread(context.plan_of, models, request)
        disk_gib = _disk_gib(plan)
        candidates = [
            Candidate(
                provider=provider.name,
                offering=offering,
                rates=rates_of(offering, disk_gib),
                place=place,
            )
            for provider, listing in zip(providers, listings, strict=True)
            for place in _places(request, runtime, provider)
            for offering in _suitable(listing.offerings, request, runtime, plan, place)
        ]
        if not candidates:
            raise _nothing(request, plan, listings)
        candidates.sort(key=lambda one: _order(one.offering))
        server = ServerQuote(
            models=models, plan=plan, disk_gib=disk_gib, candidates=tuple(candidates)
        )
        servers.append(_startable(server, request, runtime))
    rate = sum(one.candidates[0].rates.running_usd_per_hour for one in servers)
    return Quote(request=request, servers=tuple(servers), usd_per_hour=rate * request.replicas.min)


def split_models(
    models: Sequence[LmLiteModelConfig], runtime: Runtime
) -> list[tuple[LmLiteModelConfig, ...]]:
    """Return the models of each server: all in one, or one in each, as the runtime has it."""
    if runtime.models_per_server is None:
        return [tuple(models)]
    size = runtime.models_per_server
    return [tuple(models[begin : begin + size]) for begin in range(0, len(models), size)]


def server_request(
    request: DeploymentRequest, server: ServerQuote, candidate: Candidate, *, name: str
) -> ServerRequest:
    """Return what a runtime is asked for: one server of the request on one offering."""
    offering, is_process = candidate.offering, candidate.place == "process"
    return ServerRequest(
        name=name,
        models=server.models,
        place=candidate.place,
        devices=0 if offering.hardware.is_cpu else offering.count,
        tensor_parallel=request.tensor_parallel,
        pipeline_parallel=request.pipeline_parallel,
        version=request.runtime_version,
        image=request.image,
        command=request.command,
        disk_gib=server.disk_gib,
        model_folder=_model_folder(server.models) if is_process else None,
    )


def _model_folder(models: Sequence[LmLiteModelConfig]) -> str | None:
    """Return where the one model of a process lies, where it is here and not on a hub only."""
    if len(models) != 1:
        return None
    folder = folder_here(models[0].model_id, models[0].revision)
    return str(folder) if folder is not None else None


def _startable(server: ServerQuote, request: DeploymentRequest, runtime: Runtime) -> ServerQuote:
    """Leave the candidates on which the runtime can be started; raise why it can on none."""
    left: list[Candidate] = []
    refused: list[ConduitError] = []
    for one in server.candidates:
        try:
            runtime.launch_spec(server_request(request, server, one, name=runtime.name))
        except ConduitError as err:
            refused.append(err)
        else:
            left.append(one)
    if not left:
        raise refused[0]
    return replace(server, candidates=tuple(left))


async def _listed(provider: Provider, *, is_only: bool) -> Listing:
    try:
        return await provider.offerings()
    except ConduitError as err:
        if is_only:
            raise
        return Listing(offerings=(), problems=(err,))


def _check_gpu(name: str, listings: Sequence[Listing]) -> None:
    offered = {
        one.hardware.accelerator.name
        for listing in listings
        for one in listing.offerings
        if one.hardware.accelerator is not None
    }
    if name not in offered and not find_accelerators(name):
        find_accelerator(name)  # it has the words


def _require_command_followed(
    request: DeploymentRequest, runtime: Runtime, providers: Sequence[Provider]
) -> None:
    """Raise ArgumentError where the request's command would be ignored wherever it could run."""
    if not request.command or any(_places(request, runtime, one) for one in providers):
        return
    if not runtime.command_places:
        raise ArgumentError(
            f"{runtime.name} starts its server by a command of its own, so command= (--command) is"
            " not followed.",
            param="command",
            hint="Leave it out; a server of your own is runtime custom, with image= and command=.",
        )
    if found := [one.name for one in providers if _place(runtime, one) is not None]:
        raise ArgumentError(
            f"command= (--command) says what is started in a container, and {runtime.name} runs as"
            f" a process on {', '.join(found)}: it is not followed there.",
            param="command",
            hint="Leave it out, or take a provider of containers (docker, runpod).",
        )


def _places(request: DeploymentRequest, runtime: Runtime, provider: Provider) -> tuple[Place, ...]:
    """Return how the runtime runs there, nothing where a command would be ignored."""
    place = _place(runtime, provider)
    if place is None or (request.command and place not in runtime.command_places):
        return ()
    return (place,)


def _place(runtime: Runtime, provider: Provider) -> Place | None:
    """Return how the runtime runs there: as a process where both can, else in a container."""
    can = provider.capabilities
    if can.runs_processes and "process" in runtime.places:
        return "process"
    return "container" if can.runs_images and "container" in runtime.places else None


def _suitable(
    offerings: Sequence[ComputeOffering],
    request: DeploymentRequest,
    runtime: Runtime,
    plan: Plan | None,
    place: Place,
) -> list[ComputeOffering]:
    """Return what the request accepts, the best first."""
    possible = [
        one
        for one in offerings
        if _is_asked_for(one, request)
        and (place == "process" or request.image or runtime.why_not(one.hardware) is None)
    ]
    if plan is not None:
        ranked = list(rank_offerings(plan, possible, constraint=request.constraint).ranked)
        # Plans of runtimes other than ours are made with figures of GPUs; an environment of the
        # user's own may hold a build for the CPU, of which nothing is known.
        if ranked or place == "container" or runtime.models_per_server is None:
            return ranked
    constraint = request.constraint
    accepted = [
        one
        for one in possible
        if not terms_reasons(one.terms, constraint, only_launchable=True)
        and (constraint.max_usd_per_hour is None or one.usd_per_hour <= constraint.max_usd_per_hour)
        and not (constraint.single_device and one.hardware.devices > 1)
    ]
    return sorted(accepted, key=_order)


def _order(offering: ComputeOffering) -> tuple[float, float]:
    """Return what the best offering has least of: dollars for a GiB and hour, then dollars."""
    # Three times a price over three times the memory is the same figure, but for rounding.
    return round(offering.usd_per_gib_hour, 9), offering.usd_per_hour


def _is_asked_for(offering: ComputeOffering, request: DeploymentRequest) -> bool:
    if request.gpu_count is not None and offering.count != request.gpu_count:
        return False
    if request.gpu is None:
        return True
    wanted = {one.name for one in find_accelerators(request.gpu)}
    found = offering.hardware.accelerator
    return found is not None and (found.name in wanted or found.name == request.gpu)


def _disk_gib(plan: Plan | None) -> int:
    weights = sum(model.weights_bytes for model in plan.models) if plan else 0
    return RUNTIME_DISK_GIB + int(2 * weights / GIB)


def _nothing(
    request: DeploymentRequest, plan: Plan | None, listings: Sequence[Listing]
) -> NoOfferingError:
    offerings = [one for listing in listings for one in listing.offerings]
    problems = "; ".join(str(one) for listing in listings for one in listing.problems)
    where = f"on {request.provider}" if request.provider else "anywhere"
    needed = plan.largest_device_bytes / GIB if plan else 0.0
    needs = f", which needs {needed:.1f} GiB of each device" if plan else ""
    return NoOfferingError(
        f"Nothing {where} can run this in {request.runtime}{needs}: {len(offerings)} offerings were"
        f" looked at.{f' {problems}' if problems else ''}",
        needed_gib=needed,
        largest_gib=max((one.hardware.memory_gib for one in offerings), default=0.0),
        considered=len(offerings),
        reasons={},
        hint="See why: find_offerings(plan(…)).why(), or allow more (gpu=, constraint=, provider).",
    )
