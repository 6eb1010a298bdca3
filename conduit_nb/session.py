"""The session: wires everything together, and is the host that blocks find.

One event loop in a thread of its own carries all asynchronous work of the process; what people
call is synchronous and waits for it. The servers that it starts outlive it.
Layer 5.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import importlib
import os
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import CancelledError, Future
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

from conduit_nb import settings
from conduit_nb.blocks.host import Running, result_of
from conduit_nb.client import Endpoint, model_options
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.info import DeploymentInfo, ServedModel
from conduit_nb.deployments.loading import LoadingWatch
from conduit_nb.deployments.sidecar import HUNG_AFTER_S, SidecarManager
from conduit_nb.deployments.starts import Starts
from conduit_nb.errors import ArgumentError, ConduitError, Interrupted, PartlyFailedError
from conduit_nb.events import Events
from conduit_nb.loop_thread import LoopThread
from conduit_nb.models.config import LmLiteModelConfig, split_revision
from conduit_nb.models.hub import available_offline, resolved_id
from conduit_nb.protocol import LoadRequest
from conduit_nb.providers.base import OfferingSource, Provider
from conduit_nb.providers.registry import make_provider, make_sources, provider_names
from conduit_nb.providers.sources import TIMEOUT_S, Market, find_offerings, who_may_list
from conduit_nb.runtimes.base import Runtime
from conduit_nb.runtimes.registry import make_runtime
from conduit_nb.spelling import nearest
from conduit_nb.state.summary import read_summary
from conduit_nb.together import each, first_error

if TYPE_CHECKING:
    from conduit_nb.deployments.overview import CostReport
    from conduit_nb.fleet import Fleet

T = TypeVar("T")

SIDECAR = "sidecar"
SIDECAR_RUNTIME = "lmlite"
SIDECAR_PROVIDER = "local"
CLOSE_TIMEOUT_S = 2.0


class Session:
    """What a process needs to run blocks. It is made at once, and works when it is first used.

    `close` ends its thread, a later call begins anew; so does a forked child.
    """

    def __init__(
        self,
        *,
        make_runtime: Callable[[str], Runtime] = make_runtime,
        make_provider: Callable[[str], Provider] = make_provider,
        provider_names: Callable[[], list[str]] = provider_names,
        make_sources: Callable[[], list[OfferingSource]] = make_sources,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self._make_runtime = make_runtime
        self._make_provider = make_provider
        self._provider_names = provider_names
        self._make_sources = functools.cache(make_sources)  # they remember what they were told
        self._hung_after_s = hung_after_s
        self._begin()
        here: weakref.ref[Session] = weakref.ref(self)
        os.register_at_fork(after_in_child=lambda: _begin_in_child(here))

    @property
    def events(self) -> Events:
        """The hook through which blocks and deployments tell what happens."""
        return self._events

    @property
    def fleet(self) -> Fleet:
        """What is deployed, beside the sidecar; loaded when it is first asked for."""
        if self._fleet is None:
            made: type[Fleet] = importlib.import_module("conduit_nb.fleet").Fleet
            self._fleet = made(
                events=self._events,
                provider=self._provider,
                provider_names=self._provider_names,
                runtime=self._make_runtime,
            )
        return self._fleet

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the session's event loop; cancelling the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop().loop)

    def is_loop_thread(self) -> bool:
        """Say whether the caller is on the session's event loop."""
        thread = self._loop_thread
        return thread is not None and thread.is_current()

    async def endpoint(self, request: DeploymentRequest, *, fresh: bool = False) -> Endpoint:
        """Return where the request is served, starting what is missing.

        `fresh` says that the endpoint handed out before does not answer any more: look again.
        """
        known = self._served.get(_key(request))
        if known is None or fresh:
            known = await self._ensured(request)
        known.watch.look()
        return known.endpoint

    def ps(self) -> list[DeploymentInfo]:
        """Return everything of ours that runs, on every provider."""
        return self.wait(self._ps())

    def unclaimed(self, *, all_nodes: bool = False) -> list[DeploymentInfo]:
        """Return nodes in our accounts that no deployment names.

        Where nothing was ever deployed from here, providers are asked with `all_nodes` only.
        """
        if not (all_nodes or self._may_have_fleet()):
            return []
        return self.wait(self.fleet.unclaimed())

    def known(self) -> tuple[list[DeploymentInfo], CostReport | None]:
        """Return what runs as the state has it, asking no provider; None where nothing was ever."""
        return self.wait(self._known())

    def models(self) -> list[ServedModel]:
        """Return what running servers have loaded, then what can be loaded without a network."""
        return self.wait(self._models())

    def find_offerings(
        self,
        *,
        providers: Collection[str] | None = None,
        timeout_s: float = TIMEOUT_S,
        is_fresh: bool = False,
    ) -> Market:
        """Ask every source of offerings at once; who does not answer is named in the answer.

        `providers` leaves out who cannot have any of theirs; `is_fresh` asks again whose last list
        would still do.
        """
        sources = self._make_sources()
        if providers is not None:
            sources = who_may_list(sources, providers, self._provider_names())
        return self.wait(find_offerings(sources, timeout_s, is_fresh=is_fresh))

    def load_model(self, config: LmLiteModelConfig, *, replicas: int = 1) -> None:
        """Load a model into the local server, each replica on a device of its own."""
        self.wait(self._load_model(config, replicas))

    def unload_model(self, model_id: str) -> list[ServedModel]:
        """Free what a model holds, wherever it is loaded; return what was unloaded."""
        return self.wait(
            self._sidecar.unload_model(
                [self._provider(SIDECAR_PROVIDER)], resolved_id(split_revision(model_id)[0])
            )
        )

    def logs(self, name: str | None = None, tail: int = 100) -> list[str]:
        """Return the last lines of a deployment's log, by default the sidecar's."""
        return self.wait(self._logs(name, tail))

    def stop(self, name: str | None = None) -> list[DeploymentInfo]:
        """Stop a deployment, by default the sidecar; return what was stopped.

        "all" ends everything, so that nothing costs any more; nothing to end is an empty list.
        """
        return self.wait(self._stop(name))

    def terminate(self, name: str) -> list[DeploymentInfo]:
        """End a deployment, or "all", for good; of the sidecar, which keeps nothing, its stop."""
        return self.wait(self._terminate(name))

    def close(self) -> None:
        """Cancel what is under way and end the thread, within seconds; servers stay."""
        if self.is_loop_thread():
            raise _waits_for_itself()
        with self._lock:
            thread, self._loop_thread = self._loop_thread, None
        if thread is not None:
            thread.close(self._disconnect())
        self._served.clear()
        self._starts.clear()

    def forget_parent(self) -> None:
        """Begin anew in a forked child: what the parent has under way stays the parent's."""
        # Kept, because closing (or dropping) them here would touch what the parent uses.
        inherited = dict(vars(self))
        self._begin()
        self._inherited = inherited

    def _begin(self) -> None:
        self._events = Events()
        self._lock = threading.Lock()
        self._loop_thread: LoopThread | None = None
        self._sidecar = SidecarManager(events=self._events, hung_after_s=self._hung_after_s)
        self._providers: dict[str, Provider] = {}
        self._fleet: Fleet | None = None
        self._served: dict[str, _Served] = {}
        self._replaced: list[Endpoint] = []
        self._starts: Starts[_Served] = Starts(self._events)

    def _running_loop(self) -> LoopThread:
        with self._lock:
            if self._loop_thread is None:
                self._loop_thread = LoopThread()
            return self._loop_thread

    def wait(self, work: Coroutine[Any, Any, T]) -> T:
        """Do `work` on the session's loop and wait for it, from ordinary code."""
        if self.is_loop_thread():
            work.close()
            raise _waits_for_itself()
        running = Running()
        try:
            return result_of(self.submit(running.carry_out(lambda: work)))
        except CancelledError as err:
            raise Interrupted("The session was closed meanwhile.", hint="Call it again.") from err
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        finally:
            if not running.cancel():  # it was never begun
                work.close()

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            self._providers[name] = self._make_provider(name)
        return self._providers[name]

    async def _ensured(self, request: DeploymentRequest) -> _Served:
        """Find or start the server; who asks meanwhile gets the same answer."""
        return await self._starts.join(
            _key(request),
            lambda: self._ensure(request),
            ends_unwanted=not request.is_shared,  # what costs ends when nobody wants it any more
        )

    async def _ensure(self, request: DeploymentRequest) -> _Served:
        key = _key(request)
        if request.is_shared:
            endpoint = await self._sidecar.ensure(
                self._make_runtime(SIDECAR_RUNTIME), self._provider(SIDECAR_PROVIDER)
            )
        else:
            endpoint = await self.fleet.endpoint(request)
        known = self._served.get(key)
        if request.is_shared and known is not None and known.endpoint.url == endpoint.url:
            await endpoint.aclose()
            return known
        if known is not None:
            self._replaced.append(known.endpoint)
        served = self._served[key] = _Served(endpoint, self._events)
        return served

    async def _ps(self) -> list[DeploymentInfo]:
        """Return the sidecar, where it runs, then what is deployed."""
        sidecars = await self._sidecars()
        return (
            sidecars + await self.fleet.list_deployments() if self._may_have_fleet() else sidecars
        )

    async def _known(self) -> tuple[list[DeploymentInfo], CostReport | None]:
        sidecars = await self._sidecars()
        if not self._may_have_fleet():
            return sidecars, None
        deployed, report = await self.fleet.known()
        return sidecars + deployed, report

    async def _sidecars(self) -> list[DeploymentInfo]:
        return await self._sidecar.list_deployments([self._provider(SIDECAR_PROVIDER)])

    def _may_have_fleet(self) -> bool:
        """Say whether anything was ever deployed, without loading what the state is read with."""
        is_told = settings.db_uri() is not None or settings.state_file().exists()
        return is_told or read_summary() is not None

    async def _models(self) -> list[ServedModel]:
        served = await self._sidecar.list_models([self._provider(SIDECAR_PROVIDER)])
        here = await asyncio.to_thread(available_offline)
        known = {model.id for model in served}
        return served + [
            ServedModel(id=model_id, state="available")
            for model_id in here
            if model_id not in known
        ]

    async def _load_model(self, config: LmLiteModelConfig, replicas: int) -> None:
        endpoint = await self.endpoint(DeploymentRequest())
        await endpoint.load_model(
            LoadRequest(
                model=resolved_id(config.model_id),
                replicas=replicas,
                conduit=model_options(config),
            )
        )

    async def _logs(self, name: str | None, tail: int) -> list[str]:
        if name is None:
            return await self._sidecar.read_logs(
                self._provider(SIDECAR_PROVIDER), self._sidecar_name(), tail=tail
            )
        lines = await self._sidecar.read_logs(self._provider(SIDECAR_PROVIDER), name, tail=tail)
        if lines:
            return lines
        running = await self._ps()
        if not any(name in (found.name, found.id) for found in running):
            raise self._unknown(name, running)
        return await self.fleet.read_logs(name, tail=tail)

    async def _stop(self, name: str | None) -> list[DeploymentInfo]:
        if name == "all":
            return await self._stop_all()
        running = await self._ps()
        wanted = self._sidecar_name() if name is None else name
        found = next((one for one in running if wanted in (one.name, one.id)), None)
        if found is not None and found.id is not None:
            return [await self.fleet.stop(found.id)]
        if found is not None:
            return [await self._stop_sidecar(found)]
        if wanted != self._sidecar_name():
            raise self._unknown(wanted, running)
        return []

    async def _stop_all(self) -> list[DeploymentInfo]:
        """End everything, past what fails: all means that nothing costs any more."""
        try:
            sidecars = await self._sidecars()
            works = {found.name: _as_list(self._stop_sidecar(found)) for found in sidecars}
        except ConduitError as err:
            works = {"local server": _raise(err)}
        if self._may_have_fleet():
            works[_DEPLOYMENTS] = self.fleet.terminate("all")
        outcome = await each(works)
        of_fleet = outcome.failures.get(_DEPLOYMENTS)
        if isinstance(of_fleet, PartlyFailedError):
            others = {name: error for name, error in outcome.failures.items() if error != of_fleet}
            raise PartlyFailedError(
                "Stopping all",
                done=(*outcome.done, *of_fleet.done),
                failures={**others, **of_fleet.failures},
                usd_per_hour=of_fleet.usd_per_hour,
                hint=of_fleet.hint,
            )
        if of_fleet is not None and len(outcome.failures) == 1:
            raise of_fleet
        outcome.require_done("Stopping all")
        return [info for infos in outcome.done.values() for info in infos]

    async def _stop_sidecar(self, found: DeploymentInfo) -> DeploymentInfo:
        await self._sidecar.stop(self._provider(found.provider), found.name)
        known = self._served.pop(SIDECAR, None)
        if known is not None:
            self._replaced.append(known.endpoint)
        return replace(found, status="stopped")

    async def _terminate(self, name: str) -> list[DeploymentInfo]:
        try:
            is_sidecar = any(name == found.name for found in await self._sidecars())
        except ConduitError:
            is_sidecar = False  # whatever keeps it from being seen keeps nothing from ending
        return await (self._stop(name) if is_sidecar else self.fleet.terminate(name))

    def _sidecar_name(self) -> str:
        return self._sidecar.deployment_id(
            self._make_runtime(SIDECAR_RUNTIME), self._provider(SIDECAR_PROVIDER)
        )

    def _unknown(self, name: str, running: list[DeploymentInfo]) -> ArgumentError:
        names = [found.name for found in running]
        return ArgumentError(
            f"No deployment is called {name!r}.",
            param="name",
            hint=nearest(name, names, then=f"These run: {', '.join(names) or 'none now'}."),
        )

    async def _disconnect(self) -> None:
        endpoints = [served.endpoint for served in self._served.values()] + self._replaced
        self._replaced.clear()
        for endpoint in endpoints:
            await endpoint.aclose()


def _key(request: DeploymentRequest) -> str:
    """Return what tells one server in use from another: the sidecar serves many requests."""
    return SIDECAR if request.is_shared else request.identity()


def _waits_for_itself() -> ArgumentError:
    return ArgumentError(
        "The session was asked to wait for itself, which would never end.",
        hint="Hand it to a thread there: `await asyncio.to_thread(session.ps)`, for example.",
    )


_DEPLOYMENTS = "deployments"


async def _as_list(work: Coroutine[Any, Any, DeploymentInfo]) -> list[DeploymentInfo]:
    return [await work]


async def _raise(error: ConduitError) -> list[DeploymentInfo]:
    raise error


class _Served:
    """A server in use, and the watch that tells what it loads."""

    def __init__(self, endpoint: Endpoint, events: Events) -> None:
        self.endpoint = endpoint
        self.watch = LoadingWatch(endpoint, events)


def process_session() -> Session:
    """Return the session of this process; the first call makes it."""
    with _only_one:
        return _made()


@functools.cache
def _made() -> Session:
    session = Session()
    atexit.register(session.close)
    return session


def _begin_in_child(here: weakref.ref[Session]) -> None:
    """Let a forked child forget the loop, the connections and the listeners of its parent."""
    session = here()
    if session is not None:
        session.forget_parent()


_only_one = threading.Lock()
# A fork while another thread holds the lock would leave it locked in the child for ever.
os.register_at_fork(
    before=_only_one.acquire,
    after_in_parent=_only_one.release,
    after_in_child=_only_one.release,
)
