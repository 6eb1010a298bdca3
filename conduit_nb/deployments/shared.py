"""The local server that all notebooks of this user share: a deployment without a lease or a cost.

It loads models on demand. Every client of this user, on this machine, with this version and
environment means the same one: its name is made of these, and it is recorded by the local provider
under that name, which lets only one client start it. It is in no state, so that a notebook that
rents nothing opens none.
"""

from __future__ import annotations

import asyncio
import hashlib
import platform
import signal
import sys
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version

from conduit_nb import settings
from conduit_nb.client import Endpoint, model_options
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.request import LMLITE
from conduit_nb.compute.vram import GIB
from conduit_nb.deployments.boot import (
    FIRST_POLL_S,
    LOG_LINES_SHOWN,
    boot_error,
    probe,
    wait_until_ready,
)
from conduit_nb.deployments.context import Context
from conduit_nb.deployments.info import DeploymentInfo, DeploymentStatus, ServedModel
from conduit_nb.errors import (
    DeploymentError,
    EndpointAuthError,
    EndpointError,
    EndpointUnreachableError,
    NameTakenError,
)
from conduit_nb.events import Step
from conduit_nb.models.config import LmLiteModelConfig, split_revision
from conduit_nb.models.hub import resolved_id
from conduit_nb.protocol import Dialect, Health, LoadedModel, LoadRequest
from conduit_nb.providers.base import Node, Provider
from conduit_nb.providers.naming import parse_node_name
from conduit_nb.runtimes.base import Runtime, ServerRequest
from conduit_nb.together import all_or_none
from conduit_nb.units import duration

PORT_IN_USE_EXIT_CODE = 98
ENDED_BY_OTHERS = (None, 0, -signal.SIGTERM, -signal.SIGKILL)
"""How a server ends that another client has replaced before it was ready."""
LAUNCHES = 3
"""How often one client launches a server whose port is taken, or that others replace."""
HUNG_AFTER_S = 30.0  # a server that converts or loads on a busy machine may be silent for seconds
LIST_TIMEOUT_S = 2.0
SLACK_S = 30.0
"""What one who waits for others gives them beyond a boot, and a silence, of their servers."""


class SharedServer:
    """Starts, finds and ends the shared server; tells the context's events what takes time.

    `hung_after_s` is how long a server that should answer may be silent before it is replaced.
    """

    def __init__(self, context: Context, *, hung_after_s: float = HUNG_AFTER_S) -> None:
        self._context = context
        self._hung_after_s = hung_after_s
        self._told: set[str] = set()

    @property
    def name(self) -> str:
        """The name of the one server that this user shares here."""
        installation = self._context.installation
        parts = (installation.id, platform.node(), version("conduit-nb"), sys.prefix)
        digest = hashlib.sha256("\0".join(parts).encode()).hexdigest()
        return f"{self._runtime.name}-{self._provider.name}-{digest[:10]}"

    async def connect(self, name: str | None = None) -> Endpoint:
        """Return where it answers: the running one, else one started now.

        A `name` is that of a shared server; one of another environment is not started from here.
        Raises BootError where it does not start, DeploymentError where others have been starting it
        for too long.
        """
        if name not in (None, self.name):
            return await self._reach_other(name or "")
        name, launches, began = self.name, 0, time.monotonic()
        longest_s = settings.boot_timeout_s() + self._hung_after_s + SLACK_S
        while True:
            endpoint = await self._running(name)
            if endpoint is not None:
                return endpoint
            waited_s = time.monotonic() - began
            if waited_s > longest_s:
                raise DeploymentError(
                    f"Other processes have been starting {name} for {duration(waited_s)}.",
                    hint=f"See what is wrong with it: conduit logs {name}.",
                )
            try:
                node = await self._launch(name, is_first=launches == 0)
            except NameTakenError:
                await asyncio.sleep(FIRST_POLL_S)  # another client was quicker: it is waited for
                continue
            launches += 1
            endpoint = await self._booted(node, is_last=launches == LAUNCHES)
            if endpoint is not None:
                return endpoint

    async def infos(self) -> list[DeploymentInfo]:
        """Return the shared servers that run: this one, and those of other environments."""
        nodes = [one for one in await self._provider.list_nodes() if _is_shared(one.name)]
        return await all_or_none(*map(self._info, nodes))

    async def names(self) -> list[str]:
        """Return the names of the shared servers that run, without asking them anything."""
        return [one.name for one in await self._provider.list_nodes() if _is_shared(one.name)]

    async def has(self, name: str) -> bool:
        """Say whether a shared server has that name: this one, or another that runs."""
        return name == self.name or name in await self.names()

    async def models(self) -> list[ServedModel]:
        """Return the models that shared servers have loaded."""
        found = await all_or_none(*map(self._models_of, await self.infos()))
        return [model for models in found for model in models]

    async def load(self, endpoint: Endpoint, config: LmLiteModelConfig, replicas: int) -> None:
        """Load a model, each replica on a device of its own."""
        await endpoint.load_model(
            LoadRequest(
                model=resolved_id(config.model_id),
                replicas=replicas,
                conduit=model_options(config),
            )
        )

    async def unload(self, model_id: str) -> list[ServedModel]:
        """Free what a model holds, wherever it is loaded; return those.

        Raises EndpointBusyError where it is at work.
        """
        wanted = resolved_id(split_revision(model_id)[0])
        infos = {info.name: info for info in await self.infos()}
        asked = [await self._models_of(info) for info in infos.values()]
        loaded = [model for models in asked for model in models if model.id == wanted]
        for name in {model.deployment for model in loaded}:
            async with self._lent(infos[name or ""]) as endpoint:
                await endpoint.unload_model(wanted)
        return loaded

    async def stop(self, name: str) -> DeploymentInfo | None:
        """End a shared server; None where none runs under that name."""
        for info in await self.infos():
            if info.name == name:
                await self._provider.terminate(name)
                return replace(info, status="stopped")
        return None

    async def logs(self, name: str, tail: int) -> list[str]:
        """Return the last lines of the log of a process of this machine, whether it runs or not."""
        return [line async for line in self._provider.logs(name, tail=tail)]

    @property
    def _provider(self) -> Provider:
        return self._context.provider(ComputeProvider.LOCAL)

    @property
    def _runtime(self) -> Runtime:
        return self._context.runtime(LMLITE)

    async def _reach_other(self, name: str) -> Endpoint:
        """Return where the shared server of another environment answers."""
        node = await self._provider.describe(name)
        if node is None or node.status == "gone":
            raise EndpointUnreachableError(f"{name} does not run.", hint="See %conduit ps.")
        return self._endpoint(node)

    async def _running(self, name: str) -> Endpoint | None:
        """Return the endpoint of what runs; give what another client has started its time.

        What does not get ready is ended: then there is none. What another client has replaced
        meanwhile is none either.
        """
        node = await self._provider.describe(name)
        if node is None or node.status == "gone":
            return None
        endpoint = self._endpoint(node)
        health: Health | None = None
        why = "does not answer"
        try:
            async with _closed_on_failure(endpoint):
                if node.status == "running":
                    health = await probe(endpoint)
                if health is None:
                    self._context.tell(f"{name} runs but is not ready yet; waiting for it.")
                    ready = await wait_until_ready(
                        self._provider, node, endpoint, within_s=self._patience_s(node)
                    )
                    health = ready.health
                    if ready.is_gone:
                        await endpoint.aclose()
                        return None
        except EndpointAuthError:
            why = "was started with another key"
        if health is None:
            await endpoint.aclose()
            self._context.tell(f"{name} {why} and is replaced.")
            await self._provider.terminate(name, node.id)  # and no later launch of that name
            return None
        self._tell_device(health)
        return endpoint

    def _patience_s(self, node: Node) -> float:
        if node.status == "running" or node.started_at is None:
            return self._hung_after_s
        age_s = (datetime.now(UTC) - node.started_at).total_seconds()
        return max(settings.boot_timeout_s() - age_s, self._hung_after_s)

    async def _launch(self, name: str, *, is_first: bool) -> Node:
        spec = self._runtime.launch_spec(ServerRequest(name=name))
        key = self._context.installation.endpoint_key(name)
        node = await self._provider.launch(spec, dict.fromkeys(spec.secrets, key))
        log = f", its log is {node.log}" if node.log else ""
        if is_first:
            runtime = self._runtime.name
            self._context.tell(f"Starting the model server ({runtime} on this machine{log}).")
        return node

    async def _booted(self, node: Node, *, is_last: bool) -> Endpoint | None:
        """Return the endpoint of a server that was just launched; None to look again.

        That is where its port was taken, or where another client has replaced it meanwhile. One
        that is late, or has another key, is ended. Raises BootError.
        """
        endpoint = self._endpoint(node)
        at_most_s = settings.boot_timeout_s()

        def say(seconds: float) -> None:
            shown = f"{duration(seconds)} of at most {duration(at_most_s)}"
            self._context.tell(Step(text=f"{node.name} starts: {shown}"))

        try:
            async with _closed_on_failure(endpoint), self._context.telling(say):
                ready = await wait_until_ready(self._provider, node, endpoint, within_s=at_most_s)
        except EndpointAuthError:
            await self._provider.terminate(node.name, node.id)
            raise
        if ready.health is not None:
            self._tell_device(ready.health)
            return endpoint
        await endpoint.aclose()
        if not ready.is_gone:
            await self._provider.terminate(node.name, node.id)
        exit_code = ready.node.exit_code if ready.node is not None else None
        if exit_code == PORT_IN_USE_EXIT_CODE and not is_last:
            return None
        if ready.is_gone and exit_code in ENDED_BY_OTHERS and not is_last:
            later = await self._provider.describe(node.name)
            if later is not None and later.status != "gone":
                return None
        reason = "deadline" if not ready.is_gone else "gone" if exit_code is None else "exited"
        raise boot_error(
            node.name,
            reason=reason,
            exit_code=exit_code,
            lines=await self.logs(node.name, LOG_LINES_SHOWN),
            within_s=at_most_s,
            setting="CONDUIT_BOOT_TIMEOUT_S",
            log=node.log,
            port_tries=LAUNCHES if exit_code == PORT_IN_USE_EXIT_CODE else 0,
        )

    def _endpoint(self, node: Node, *, dialect: Dialect = "lmlite") -> Endpoint:
        key = self._context.installation.endpoint_key(node.name)
        return Endpoint(node.url, key=key, dialect=dialect, name=node.name)

    def _tell_device(self, health: Health) -> None:
        if health["device"] == "cpu":
            text = "Models run on this machine's CPU: no GPU was found that they can use."
            self._tell_once(text)

    def _tell_once(self, text: str) -> None:
        if text not in self._told:
            self._told.add(text)
            self._context.tell(text)

    async def _info(self, node: Node) -> DeploymentInfo:
        """Complete what the provider knows of a node by what its server says."""
        status: DeploymentStatus = "starting" if node.status == "starting" else "not answering"
        health: Health | None = None
        if node.status == "running":
            endpoint = self._endpoint(node)
            try:
                health = await endpoint.health(timeout_s=LIST_TIMEOUT_S)
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

    async def _models_of(self, info: DeploymentInfo) -> list[ServedModel]:
        if info.status != "running":
            return []
        async with self._lent(info) as endpoint:
            try:
                found = await endpoint.models()
            except EndpointError:
                return []
        return [
            _to_served(info, model["conduit"], model["id"]) for model in found if "conduit" in model
        ]

    @asynccontextmanager
    async def _lent(self, info: DeploymentInfo) -> AsyncGenerator[Endpoint]:
        """Lend an endpoint for a question or two."""
        key = self._context.installation.endpoint_key(info.name)
        endpoint = Endpoint(info.url, key=key, dialect="lmlite", name=info.name)
        try:
            yield endpoint
        finally:
            await endpoint.aclose()


@asynccontextmanager
async def _closed_on_failure(endpoint: Endpoint) -> AsyncGenerator[None]:
    """Close an endpoint that is not handed on, also where who waited for it was cancelled."""
    try:
        yield
    except BaseException:
        await endpoint.aclose()
        raise


def _is_shared(name: str) -> bool:
    """Say whether a node of this machine is a shared server: those of deployments are parsed."""
    return parse_node_name(name) is None


def _to_served(info: DeploymentInfo, loaded: LoadedModel, model_id: str) -> ServedModel:
    planned = loaded.get("memory_bytes")
    return ServedModel(
        id=model_id,
        state=loaded["state"],
        deployment=info.name,
        revision=loaded.get("revision"),
        dtype=loaded.get("dtype"),
        device=loaded.get("device"),
        context_tokens=loaded.get("context_tokens"),
        memory_gib=round(planned / GIB, 2) if planned is not None else None,
        running=loaded.get("running", 0),
        waiting=loaded.get("waiting", 0),
        detail=loaded.get("detail", ""),
    )
