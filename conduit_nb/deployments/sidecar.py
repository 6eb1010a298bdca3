"""The sidecar: the one server beside the kernels that loads models on demand, and costs nothing.

`ensure` gives every client of this user, on this machine, with this version and environment the
same server: its name is made of these, and a file lock lets only one client start it.
Layer 4.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import signal
import sys
import time
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import filelock

from conduit_nb import settings
from conduit_nb.client import Endpoint
from conduit_nb.compute.vram import GIB
from conduit_nb.deployments.health import Found, probe, wait_until_ready
from conduit_nb.deployments.info import DeploymentInfo, DeploymentStatus, ServedModel
from conduit_nb.deployments.telling import telling
from conduit_nb.errors import BootError, DeploymentError, EndpointAuthError, EndpointError
from conduit_nb.events import Events, Notice, Step
from conduit_nb.private_files import make_private_folder, to_storage_error
from conduit_nb.protocol import Dialect, Health, LoadedModel
from conduit_nb.providers.base import Node, Provider
from conduit_nb.providers.naming import parse_node_name
from conduit_nb.runtimes.base import Runtime, ServerRequest
from conduit_nb.state.installation import Installation, load_installation
from conduit_nb.together import all_or_none
from conduit_nb.units import duration

PORT_IN_USE_EXIT_CODE = 98
PORT_TRIES = 3
HUNG_AFTER_S = 30.0  # a server that converts or loads on a busy machine may be silent for seconds
LOG_LINES_SHOWN = 15
LOCK_POLL_S = 0.1
LOCK_SLACK_S = 30.0
SAY_WAITING_AFTER_S = 2.0


class SidecarManager:
    """Starts, finds and ends the sidecar; tells `events` what takes time.

    `hung_after_s` is how long a server that should answer may be silent before it is replaced.
    """

    def __init__(
        self,
        *,
        events: Events,
        installation: Callable[[], Installation] = load_installation,
        hung_after_s: float = HUNG_AFTER_S,
    ) -> None:
        self._events = events
        self._installation = installation
        self._hung_after_s = hung_after_s
        self._told: set[str] = set()

    def deployment_id(self, runtime: Runtime, provider: Provider) -> str:
        """Return the name of the one deployment of that runtime that this user shares here."""
        parts = (self._installation().id, platform.node(), version("conduit-nb"), sys.prefix)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return f"{runtime.name}-{provider.name}-{digest[:10]}"

    async def ensure(self, runtime: Runtime, provider: Provider) -> Endpoint:
        """Return where the deployment answers: the running one, else one started now.

        Raises BootError when it does not start, DeploymentError when another process has been
        starting it for too long.
        """
        name = self.deployment_id(runtime, provider)
        endpoint = await self._running(name, provider)
        if endpoint is None:
            async with self._one_at_a_time(name):
                endpoint = await self._settled(name, provider)
                if endpoint is None:
                    endpoint = await self._start(runtime, provider, name)
        return endpoint

    async def list_deployments(self, providers: Iterable[Provider]) -> list[DeploymentInfo]:
        """Return everything of ours that runs, asked all at once."""
        listed = await all_or_none(*(provider.list_nodes() for provider in providers))
        return await all_or_none(
            *(
                self._tell(node)
                for nodes in listed
                for node in nodes
                if parse_node_name(node.name) is None  # deployments are told of by their state
            )
        )

    async def list_models(self, providers: Iterable[Provider]) -> list[ServedModel]:
        """Return the models that running deployments have loaded."""
        deployments = await self.list_deployments(providers)
        models = await all_or_none(*map(self._models_of, deployments))
        return [model for found in models for model in found]

    async def unload_model(self, providers: Iterable[Provider], model_id: str) -> list[ServedModel]:
        """Free what a model holds in every deployment that has it loaded; return those.

        Raises EndpointBusyError where it is at work.
        """
        deployments = {found.name: found for found in await self.list_deployments(providers)}
        asked = [await self._models_of(found) for found in deployments.values()]
        loaded = [model for models in asked for model in models if model.id == model_id]
        for name in {model.deployment for model in loaded}:
            async with self._asked(deployments[name or ""]) as endpoint:
                await endpoint.unload_model(model_id)
        return loaded

    async def stop(self, provider: Provider, name: str) -> None:
        """End a deployment; one that is gone already is success."""
        await provider.terminate(name)

    async def read_logs(self, provider: Provider, name: str, *, tail: int) -> list[str]:
        """Return the last lines of a deployment's log, whether it runs or not."""
        return [line async for line in provider.logs(name, tail=tail)]

    async def _running(self, name: str, provider: Provider) -> Endpoint | None:
        """Return the endpoint if the node is ready at this moment."""
        node = await provider.describe(name)
        if node is None or node.status != "running":
            return None
        endpoint = self._endpoint(node)
        try:
            health = await probe(endpoint)
        except EndpointAuthError:
            health = None
        return await self._kept(endpoint, health)

    async def _settled(self, name: str, provider: Provider) -> Endpoint | None:
        """Give a node that another client has started its time; end it when that is over."""
        node = await provider.describe(name)
        if node is None or node.status == "gone":
            return None
        self._events.emit(Notice(text=f"{name} runs but is not ready yet; waiting for it."))
        endpoint = self._endpoint(node)
        try:
            found = await wait_until_ready(
                provider, name, endpoint, within_s=self._patience_s(node)
            )
            why = "does not answer"
        except EndpointAuthError:
            found = Found(node=node)
            why = "was started with another key"
        if found.health is None and not found.is_gone:
            self._events.emit(Notice(text=f"{name} {why} and is replaced."))
            await provider.terminate(name)
        return await self._kept(endpoint, found.health)

    def _patience_s(self, node: Node) -> float:
        if node.status == "running" or node.started_at is None:
            return self._hung_after_s
        age_s = (datetime.now(UTC) - node.started_at).total_seconds()
        return max(settings.boot_timeout_s() - age_s, self._hung_after_s)

    async def _start(self, runtime: Runtime, provider: Provider, name: str) -> Endpoint:
        spec = runtime.launch_spec(ServerRequest(name=name))
        key = self._installation().endpoint_key(name)
        for attempt in range(1, PORT_TRIES + 1):
            node = await provider.launch(spec, dict.fromkeys(spec.secrets, key))
            if attempt == 1:
                self._events.emit(Notice(text=_starting(runtime, provider, node)))
            endpoint = self._endpoint(node, dialect=spec.dialect)
            async with telling(lambda seconds: self._tell_starting(name, seconds)):
                found = await self._booted(provider, node, endpoint)
            if found.health is not None:
                await self._kept(endpoint, found.health)
                return endpoint
            await endpoint.aclose()
            exit_code = found.node.exit_code if found.node is not None else None
            if exit_code != PORT_IN_USE_EXIT_CODE or attempt == PORT_TRIES:
                raise await self._boot_error(provider, node, found, exit_code)
        raise AssertionError("the loop returns or raises")

    async def _booted(self, provider: Provider, node: Node, endpoint: Endpoint) -> Found:
        """Wait for the server; one that is late, or has another key, is ended."""
        try:
            found = await wait_until_ready(
                provider, node.name, endpoint, within_s=settings.boot_timeout_s()
            )
        except EndpointAuthError:
            await endpoint.aclose()
            await provider.terminate(node.name)
            raise
        if found.health is None and not found.is_gone:
            await provider.terminate(node.name)
        return found

    async def _boot_error(
        self, provider: Provider, node: Node, found: Found, exit_code: int | None
    ) -> BootError:
        if not found.is_gone:
            reason = "deadline"
            told = f"was not ready within {settings.boot_timeout_s():g} s and was ended"
            hint = "Set CONDUIT_BOOT_TIMEOUT_S to wait longer."
        elif exit_code == PORT_IN_USE_EXIT_CODE:
            reason = "exited"
            told = f"found its port in use {PORT_TRIES} times in a row"
            hint = "Another program takes every free port; see `ss -ltnp`."
        else:
            reason = "exited" if exit_code is not None else "gone"
            told, hint = _ending(exit_code)
        lines = await self.read_logs(provider, node.name, tail=LOG_LINES_SHOWN)
        lines = lines[_last_start(lines) :]
        shown = "\n".join(["", *lines]) if lines else ""
        log = f" Its log is {node.log}." if node.log else ""
        error = BootError(f"{node.name} {told}.{shown}", hint=f"{hint}{log}".strip())
        error.reason, error.exit_code, error.log = reason, exit_code, tuple(lines)
        return error

    def _endpoint(self, node: Node, *, dialect: Dialect = "lmlite") -> Endpoint:
        key = self._installation().endpoint_key(node.name)
        return Endpoint(node.url, key=key, dialect=dialect, name=node.name)

    async def _kept(self, endpoint: Endpoint, health: Health | None) -> Endpoint | None:
        """Hand the endpoint on if it is ready, and say once what the user should know of it."""
        if health is None:
            await endpoint.aclose()
            return None
        if health["device"] == "cpu":
            self._tell_once("Models run on this machine's CPU: no GPU was found that they can use.")
        return endpoint

    def _tell_starting(self, name: str, seconds: float) -> None:
        at_most = duration(settings.boot_timeout_s())
        self._events.emit(Step(text=f"{name} starts: {duration(seconds)} of at most {at_most}"))

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._events.emit(Notice(text=text))

    async def _tell(self, node: Node) -> DeploymentInfo:
        """Complete what the provider knows of a node by what its server says."""
        status: DeploymentStatus = "starting" if node.status == "starting" else "not answering"
        health: Health | None = None
        if node.status == "running":
            endpoint = self._endpoint(node)
            try:
                health = await endpoint.health(timeout_s=2.0)
                status = "running" if health["status"] == "ok" else "stopping"
            except EndpointError:
                health = None
            await endpoint.aclose()
        return DeploymentInfo(
            name=node.name,
            provider=node.provider,
            runtime=node.name.partition("-")[0],
            status=status,
            url=node.url,
            pid=node.pid,
            started_at=node.started_at,
            device=health["device"] if health else None,
            models=health["models"] if health else {},
            idle_s=health["idle_s"] if health else None,
            log=node.log,
        )

    async def _models_of(self, deployment: DeploymentInfo) -> list[ServedModel]:
        if deployment.status != "running":
            return []
        async with self._asked(deployment) as endpoint:
            try:
                infos = await endpoint.models()
            except EndpointError:
                return []
        return [
            _to_served(deployment, info["conduit"], info["id"])
            for info in infos
            if "conduit" in info
        ]

    @asynccontextmanager
    async def _asked(self, deployment: DeploymentInfo) -> AsyncGenerator[Endpoint]:
        """Lend an endpoint for a question or two."""
        key = self._installation().endpoint_key(deployment.name)
        endpoint = Endpoint(deployment.url, key=key, dialect="lmlite", name=deployment.name)
        try:
            yield endpoint
        finally:
            await endpoint.aclose()

    @asynccontextmanager
    async def _one_at_a_time(self, name: str) -> AsyncGenerator[None]:
        """Hold the file lock under which a deployment is started; wait for it, within bounds."""
        path = settings.state_dir().absolute() / "locks" / f"{name}.lock"
        make_private_folder(path.parent, knob="CONDUIT_STATE_DIR")
        lock = filelock.FileLock(path, mode=0o600, thread_local=False)
        await self._acquire(lock, path, name)
        try:
            yield
        finally:
            lock.release()

    async def _acquire(self, lock: filelock.BaseFileLock, path: Path, name: str) -> None:
        began = time.monotonic()
        timeout_s = settings.boot_timeout_s() + self._hung_after_s + LOCK_SLACK_S
        has_told = False
        while True:
            try:
                lock.acquire(blocking=False)
            except filelock.Timeout as err:
                waited_s = time.monotonic() - began
                if waited_s > timeout_s:
                    raise DeploymentError(
                        f"Another process has been starting {name} for {waited_s:.0f} s.",
                        hint=f"End that process; `fuser {path}` tells which it is.",
                    ) from err
            except OSError as err:
                raise to_storage_error(err, path, knob="CONDUIT_STATE_DIR") from err
            else:
                return
            if not has_told and time.monotonic() - began > SAY_WAITING_AFTER_S:
                has_told = True
                self._events.emit(Notice(text=f"Another process is starting {name}; waiting."))
            await asyncio.sleep(LOCK_POLL_S)


def _starting(runtime: Runtime, provider: Provider, node: Node) -> str:
    where = "on this machine" if provider.name == "local" else f"on {provider.name}"
    log = f", its log is {node.log}" if node.log else ""
    return f"Starting the model server ({runtime.name} {where}{log})."


def _ending(exit_code: int | None) -> tuple[str, str]:
    """Say how a process ended, and what that calls for."""
    if exit_code is None:
        return "ended before it was ready", "Look at its last words."
    if exit_code >= 0:
        return f"ended with code {exit_code} before it was ready", "Look at its last words."
    try:
        name = signal.Signals(-exit_code).name
    except ValueError:
        name = f"signal {-exit_code}"
    if name == "SIGKILL":
        return (
            f"was ended by {name} before it was ready",
            "The system may have run out of memory; free some, or use a smaller model.",
        )
    return f"was ended by {name} before it was ready", "Somebody may have stopped it; try again."


def _last_start(lines: list[str]) -> int:
    """Return where the part of a log begins that belongs to its last launch."""
    starts = [number for number, line in enumerate(lines) if line.startswith("--- ")]
    return starts[-1] if starts else 0


def _to_served(deployment: DeploymentInfo, loaded: LoadedModel, model_id: str) -> ServedModel:
    planned = loaded.get("memory_bytes")
    return ServedModel(
        id=model_id,
        state=loaded["state"],
        deployment=deployment.name,
        revision=loaded.get("revision"),
        dtype=loaded.get("dtype"),
        device=loaded.get("device"),
        context_tokens=loaded.get("context_tokens"),
        memory_gib=round(planned / GIB, 2) if planned is not None else None,
        running=loaded.get("running", 0),
        waiting=loaded.get("waiting", 0),
        detail=loaded.get("detail", ""),
    )
