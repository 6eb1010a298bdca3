"""Docker on this machine: a node is a container, its port published on the loopback address.

NVIDIA GPUs come through the NVIDIA Container Toolkit. Secrets are files that only root in the
container reads, never part of what `docker inspect` shows; the cache of converted models is
mounted read-only, and nothing else of the user's.
Layer 3: the only user of the Docker SDK.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import filelock

from conduit_nb import settings
from conduit_nb.compute.detection import Detection, detect_devices, local_offerings
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import (
    ArgumentError,
    ComputeError,
    ConduitError,
    DeploymentError,
    NameTakenError,
)
from conduit_nb.events import Step
from conduit_nb.private_files import make_private_folder, write_private_file
from conduit_nb.providers.base import Capabilities, Listing, Node, NodeStatus, Tell
from conduit_nb.providers.docker_engine import DockerClient, connect
from conduit_nb.providers.docker_errors import TOOLKIT, load_sdk
from conduit_nb.providers.docker_gpus import allowed_gpus, choose_gpus
from conduit_nb.providers.docker_images import have_image, stopped
from conduit_nb.providers.guarding import CONFIG_NAME, in_container, renewed

T = TypeVar("T")
Container = Any  # the SDK's own, whose types are partial

HOST = "127.0.0.1"
KNOB = "CONDUIT_STATE_DIR"
NODE_LABEL, PORT_LABEL, GPUS_LABEL = "conduit.node", "conduit.port", "conduit.gpus"
SECRETS_FOLDER = "/run/conduit/secrets"
CACHE_FOLDER = "/var/cache/conduit"
STOP_TIMEOUT_S, END_TIMEOUT_S = 15, 4
STATUSES: Mapping[str, NodeStatus] = {
    "created": "starting",
    "restarting": "starting",
    "running": "running",
    "paused": "stopped",
    "exited": "stopped",
    "removing": "gone",
    "dead": "failed",
}


class DockerProvider:
    """Containers of the Docker engine that `DOCKER_HOST` or the current context names."""

    name = "docker"
    capabilities = Capabilities(can_stop=True, is_billable=False, runs_images=True)

    def __init__(
        self, url: str | None = None, *, detect: Callable[[], Detection] = detect_devices
    ) -> None:
        self._url = url
        self._detect = detect
        self.tell: Tell = _keep_silent

    async def offerings(self, *, timeout_s: float = 20) -> Listing:  # noqa: ARG002  # asks this machine only
        """Return this machine's CPU, and the GPUs that containers can be given."""
        return await self._do(self._offerings)

    async def launch(
        self,
        spec: LaunchSpec,
        secrets: Mapping[str, str],
        offering: ComputeOffering | None = None,
    ) -> Node:
        """Create and start a container, pulling its image where it is not here."""
        if spec.image is None or spec.guard is None:
            raise ArgumentError(
                f"{spec.name} has no image, and Docker starts nothing else.",
                param="image",
                hint="Choose a runtime that runs in a container, or the local provider.",
            )
        return await self._do_while_wanted(
            lambda client, is_unwanted: self._launch(client, spec, secrets, offering, is_unwanted)
        )

    async def prepare(self, spec: LaunchSpec) -> None:
        """Pull the image where it is not here."""
        image = spec.image
        if image is not None:
            await self._do_while_wanted(
                lambda client, is_unwanted: have_image(
                    client, image, self.tell, is_unwanted=is_unwanted
                )
            )

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:  # noqa: ARG002  # names are unique
        """Return the container of that name as it is now."""

        def look(client: DockerClient) -> Node | None:
            found = _find(client, name)
            return None if found is None else self._to_node(found)

        return await self._do(look)

    async def list_nodes(self) -> list[Node]:
        """Return every container that Conduit has made on this engine, whoever's."""

        def look(client: DockerClient) -> list[Node]:
            found = client.containers.list(all=True, filters={"label": NODE_LABEL})
            return [self._to_node(one) for one in found]

        return await self._do(look)

    async def renew(
        self,
        name: str,
        node_id: str | None = None,  # noqa: ARG002  # as above
        *,
        boot_until: datetime,
        lease_until: datetime,
        not_after: datetime | None,
        as_of: datetime | None = None,
    ) -> None:
        """Put the guard's new terms beside the node's secrets, where they go before the old."""

        def write(client: DockerClient) -> None:
            variables: list[str] = _there(client, name).attrs["Config"]["Env"] or []
            known = {name: text for name, _, text in (one.partition("=") for one in variables)}
            terms, _ = renewed(
                known.get(CONFIG_NAME, ""),
                GuardTerms(
                    idle_s=0,
                    boot_until=boot_until,
                    lease_until=lease_until,
                    not_after=not_after,
                    as_of=as_of,
                ),
            )
            path = self._secrets_folder(name) / CONFIG_NAME
            write_private_file(path, terms.encode(), knob=KNOB)

        await self._do(write)

    async def start(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # as above
        """Start a stopped container again."""
        await self._do(lambda client: _there(client, name).start())

    async def stop(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # as above
        """Stop a container and keep it."""

        def stop(client: DockerClient) -> None:
            found = _find(client, name)
            if found is not None:
                found.stop(timeout=STOP_TIMEOUT_S)

        await self._do(stop)

    async def restart(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # as above
        """Start a container's program anew."""
        await self._do(lambda client: _there(client, name).restart(timeout=STOP_TIMEOUT_S))

    async def terminate(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # as above
        """End the container and remove it with everything that is its own."""

        def remove(client: DockerClient) -> None:
            found = _find(client, name)
            if found is not None:
                with contextlib.suppress(load_sdk().errors.NotFound):
                    found.stop(timeout=END_TIMEOUT_S)
                    found.remove(force=True, v=True)
            shutil.rmtree(self._secrets_folder(name), ignore_errors=True)

        await self._do(remove)

    async def logs(
        self,
        name: str,
        node_id: str | None = None,  # noqa: ARG002  # as above
        *,
        tail: int = 100,
        follow: bool = False,
    ) -> AsyncIterator[str]:
        """Yield the container's last lines, then new ones until it ends."""

        def open_stream(client: DockerClient) -> Iterator[bytes] | None:
            found = _find(client, name)
            if found is None:
                return None
            stream: Any = found.logs(stream=True, follow=follow, tail=tail)
            return iter(stream)

        stream = await self._do(open_stream)
        rest = b""
        while stream is not None:
            piece = await asyncio.to_thread(next, stream, None)
            if piece is None:
                break
            *lines, rest = (rest + piece).split(b"\n")
            for line in lines:
                yield line.decode(errors="replace").rstrip("\r")
        if rest:
            yield rest.decode(errors="replace")

    async def billed_usd(self, name: str, node_id: str | None = None) -> float | None:  # noqa: ARG002  # whatever it is
        """Return 0: what runs here costs nothing."""
        return 0.0

    def _launch(
        self,
        client: DockerClient,
        spec: LaunchSpec,
        secrets: Mapping[str, str],
        offering: ComputeOffering | None,
        is_unwanted: Callable[[], bool],
    ) -> Node:
        assert spec.image is not None
        if _find(client, spec.name) is not None:
            raise NameTakenError(
                f"A container is called {spec.name} already.",
                hint=f"Use it, or end it first: %conduit terminate, or docker rm -f {spec.name}.",
            )
        have_image(client, spec.image, self.tell, is_unwanted=is_unwanted)
        folder = self._secrets_folder(spec.name)
        for name in spec.secrets:
            write_private_file(folder / name, secrets[name].encode(), knob=KNOB)
        started = in_container(spec)
        volumes = {str(folder): {"bind": SECRETS_FOLDER, "mode": "ro"}}
        cache = settings.cache_dir().absolute()
        if cache.is_dir():
            volumes[str(cache)] = {"bind": CACHE_FOLDER, "mode": "ro"}
        sdk = load_sdk()
        try:
            with self._gpus(client, spec.devices, offering) as gpus:
                made = client.containers.create(
                    spec.image,
                    name=spec.name,
                    entrypoint=[started.command[0]],
                    command=list(started.command[1:]),
                    environment={**spec.environment, **started.environment},
                    labels={
                        NODE_LABEL: spec.name,
                        PORT_LABEL: str(spec.port),
                        GPUS_LABEL: ",".join(gpus),
                    },
                    ports={f"{spec.port}/tcp": (HOST, None)},
                    volumes=volumes,
                    device_requests=_device_requests(spec.devices, gpus),
                    mem_limit=int(spec.ram_gib * 2**30) if spec.ram_gib else None,
                    shm_size="1g",
                    security_opt=["no-new-privileges"],
                )
            made.start()
            if is_unwanted():
                raise stopped(spec.name)
        except (sdk.errors.APIError, ConduitError):
            with contextlib.suppress(sdk.errors.APIError):
                found = _find(client, spec.name)
                if found is not None:
                    found.remove(force=True)
            shutil.rmtree(folder, ignore_errors=True)
            raise
        made.reload()
        return self._to_node(made)

    @contextlib.contextmanager
    def _gpus(
        self, client: DockerClient, count: int, offering: ComputeOffering | None
    ) -> Generator[tuple[str, ...]]:
        """Lend the ids of GPUs that no container has; one launch at a time, until it has them.

        Nothing where GPUs are not wanted, or nobody knows those that there are.
        """
        devices = allowed_gpus(self._detect()) if count and offering is not None else ()
        if not devices or offering is None:
            yield ()
            return
        folder = make_private_folder(settings.state_dir().absolute() / "docker", knob=KNOB)
        with filelock.FileLock(folder.with_name("docker-gpus.lock"), mode=0o600):
            containers = client.containers.list(all=True, filters={"label": GPUS_LABEL})
            taken = {
                one
                for container in containers
                for one in container.attrs["Config"]["Labels"][GPUS_LABEL].split(",")
            }
            yield choose_gpus(devices, offering, count, taken=taken)

    def _to_node(self, container: Container) -> Node:
        attrs: dict[str, Any] = container.attrs
        state: dict[str, Any] = attrs["State"]
        status = STATUSES.get(container.status, "unknown")
        port = attrs["Config"]["Labels"].get(PORT_LABEL, "8000")
        ports: dict[str, list[dict[str, str]] | None] = attrs["NetworkSettings"]["Ports"] or {}
        bound = ports.get(f"{port}/tcp") or []
        return Node(
            name=str(container.name),
            provider=self.name,
            status=status,
            id=container.id,
            url=f"http://{HOST}:{bound[0]['HostPort'] if bound else 9}",
            started_at=datetime.fromisoformat(f"{attrs['Created'][:19]}+00:00"),
            exit_code=None if status in ("running", "starting") else state.get("ExitCode"),
            usd_per_hour=0.0,
            detail=container.status,
        )

    def _offerings(self, client: DockerClient) -> Listing:
        detection = self._detect()
        detection = replace(detection, devices=allowed_gpus(detection))
        runtimes: dict[str, Any] = client.info().get("Runtimes") or {}
        found = [replace(one, provider=self.name) for one in local_offerings(detection)]
        problems = [
            ComputeError(f"{problem}.", hint=problem.hint) for problem in detection.problems
        ]
        if any(one.accelerator is not None for one in found) and "nvidia" not in runtimes:
            problems.append(
                ComputeError("Docker cannot give GPUs to containers here.", hint=TOOLKIT)
            )
            found = [one for one in found if one.accelerator is None]
        return Listing(offerings=tuple(found), problems=tuple(problems))

    def _secrets_folder(self, name: str) -> Path:
        folder = settings.state_dir().absolute() / "docker"
        return make_private_folder(folder, knob=KNOB) / name

    async def _do_while_wanted(self, work: Callable[[DockerClient, Callable[[], bool]], T]) -> T:
        is_unwanted = threading.Event()
        try:
            return await self._do(lambda client: work(client, is_unwanted.is_set))
        except asyncio.CancelledError:
            is_unwanted.set()  # its thread goes on: until it sees this, and leaves nothing behind
            raise

    async def _do(self, work: Callable[[DockerClient], T]) -> T:
        """Do blocking work with a client of its own; the engine's errors become ours here."""

        def call() -> T:
            with connect(self._url) as client:
                return work(client)

        return await asyncio.to_thread(call)


def _device_requests(count: int, ids: tuple[str, ...]) -> list[Any] | None:
    """Return what asks Docker for GPUs: these, or so many of any; None for none."""
    if not count:
        return None
    which: dict[str, Any] = {"device_ids": list(ids)} if ids else {"count": count}
    return [load_sdk().types.DeviceRequest(driver="nvidia", capabilities=[["gpu"]], **which)]


def _keep_silent(_: str | Step) -> None:
    """Tell nobody."""


def _find(client: DockerClient, name: str) -> Container | None:
    try:
        return client.containers.get(name)
    except load_sdk().errors.NotFound:
        return None


def _there(client: DockerClient, name: str) -> Container:
    found = _find(client, name)
    if found is None:
        raise DeploymentError(f"No container is called {name}.", hint="Deploy it again.")
    return found
