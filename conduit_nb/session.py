"""The session: what a process needs to run blocks and deployments, and the host that blocks find.

One event loop in a thread of its own carries all asynchronous work of the process; `wait` is how
ordinary code waits for it. The servers that it starts outlive it.
"""

from __future__ import annotations

import asyncio
import atexit
import functools
import os
import threading
import weakref
from collections.abc import Callable, Collection, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, TypeVar

from conduit_nb.blocks.host import Running, result_of
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.info import ServedModel
from conduit_nb.deployments.service import Deployments
from conduit_nb.deployments.shared import HUNG_AFTER_S, SharedServer
from conduit_nb.errors import ArgumentError, Interrupted
from conduit_nb.events import Events
from conduit_nb.loop_thread import LoopThread
from conduit_nb.models.hub import available_offline
from conduit_nb.providers.base import OfferingSource, Provider
from conduit_nb.providers.registry import make_provider, make_sources, provider_names
from conduit_nb.providers.sources import TIMEOUT_S, Market, find_offerings, who_may_list
from conduit_nb.runtimes.base import Runtime
from conduit_nb.runtimes.registry import make_runtime
from conduit_nb.together import first_error

T = TypeVar("T")


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
        return self._context.events

    @property
    def deployments(self) -> Deployments:
        """Everything that runs; its methods are to be awaited on the session's loop: see `wait`."""
        return self._deployments

    def submit(self, work: Coroutine[Any, Any, T]) -> Future[T]:
        """Start `work` on the session's event loop; cancelling the future cancels the work."""
        return asyncio.run_coroutine_threadsafe(work, self._running_loop().loop)

    def is_loop_thread(self) -> bool:
        """Say whether the caller is on the session's event loop."""
        thread = self._loop_thread
        return thread is not None and thread.is_current()

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

    async def endpoint(self, target: DeploymentRequest | str, *, fresh: bool = False) -> Endpoint:
        """Return where a request is served, starting what is missing; or where a name runs.

        `fresh` says that the endpoint handed out before does not answer any more: look again.
        """
        return await self._deployments.connect(target, fresh=fresh)

    async def models(self) -> list[ServedModel]:
        """Return what running servers have loaded, then what can be loaded without a network."""
        served = await self._deployments.models()
        here = await asyncio.to_thread(available_offline)
        known = {model.id for model in served}
        return served + [
            ServedModel(id=model_id, state="available")
            for model_id in here
            if model_id not in known
        ]

    async def offerings(
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
        return await find_offerings(sources, timeout_s, is_fresh=is_fresh)

    def close(self) -> None:
        """Cancel what is under way and end the thread, within seconds; servers stay."""
        if self.is_loop_thread():
            raise _waits_for_itself()
        with self._lock:
            thread, self._loop_thread = self._loop_thread, None
        if thread is not None:
            thread.close(self._deployments.aclose())

    def forget_parent(self) -> None:
        """Begin anew in a forked child: what the parent has under way stays the parent's."""
        # Kept, because closing (or dropping) them here would touch what the parent uses.
        inherited = dict(vars(self))
        self._begin()
        self._inherited = inherited

    def _begin(self) -> None:
        self._lock = threading.Lock()
        self._loop_thread: LoopThread | None = None
        self._context = Context(
            provider=functools.cache(self._make_provider),
            provider_names=self._provider_names,
            runtime=self._make_runtime,
        )
        shared = SharedServer(self._context, hung_after_s=self._hung_after_s)
        self._deployments = Deployments(self._context, shared=shared)

    def _running_loop(self) -> LoopThread:
        with self._lock:
            if self._loop_thread is None:
                self._loop_thread = LoopThread()
            return self._loop_thread


def _waits_for_itself() -> ArgumentError:
    return ArgumentError(
        "A blocking call on Conduit's event loop would deadlock.",
        hint="Await the method of `session.deployments`, or `block.run(record)`, instead.",
    )


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
