"""This machine: a node is a process beside the kernel that outlives it.

Each has a 0600 record in the state folder (`nodes/NAME.json`) by which every kernel of this user
finds it, and a log (`logs/NAME.log`). A record whose process is gone is put away by whoever sees
it first, together with whatever that process had started.
Layer 3.
"""

from __future__ import annotations

import asyncio
import json
import platform
import re
import secrets as randoms
import socket
from collections.abc import AsyncIterator, Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, cast

import filelock

from conduit_nb import settings
from conduit_nb.child_environment import server_environment
from conduit_nb.compute.detection import detect_devices, local_offerings
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import (
    ArgumentError,
    ComputeError,
    DeploymentError,
    NameTakenError,
    StorageError,
)
from conduit_nb.private_files import make_private_folder, to_storage_error, write_private_file
from conduit_nb.providers.base import Capabilities, Listing, Node
from conduit_nb.providers.guarding import in_process
from conduit_nb.providers.log_files import open_log, read_on, read_tail
from conduit_nb.providers.processes import (
    MARK,
    Child,
    end_process,
    is_listening,
    is_same_process,
    kill_all,
    marked_processes,
)

HOST = "127.0.0.1"
KNOB = "CONDUIT_STATE_DIR"
LOCK_TIMEOUT_S = 10.0
FOLLOW_EVERY_S = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What every kernel must know of a process to find it, and to know that it is the one."""

    name: str
    launch: str
    machine: str
    pid: int
    created: float
    port: int
    url: str
    started_at: str
    version: str


class LocalProvider:
    """Nodes are detached processes on this machine, listening on the loopback address only."""

    name = "local"
    capabilities = Capabilities(
        can_stop=False, is_billable=False, runs_images=False, runs_processes=True
    )

    def __init__(
        self,
        *,
        state_dir: Path | None = None,
        choose_port: Callable[[], int] | None = None,
        grace_s: float = 8.0,
    ) -> None:
        self._state_dir = state_dir
        self._choose_port = choose_port or _free_port
        self._grace_s = grace_s
        self._children: dict[str, tuple[Record, Child]] = {}
        self._listening: set[str] = set()

    async def offerings(self, *, timeout_s: float = 20) -> Listing:  # noqa: ARG002  # asks nobody
        """Return what this machine can run on, and what of it could not be seen."""
        detection = await asyncio.to_thread(detect_devices)
        return Listing(
            offerings=tuple(await asyncio.to_thread(local_offerings, detection)),
            problems=tuple(
                ComputeError(f"{problem}.", hint=problem.hint) for problem in detection.problems
            ),
        )

    async def launch(
        self,
        spec: LaunchSpec,
        secrets: Mapping[str, str],
        offering: ComputeOffering | None = None,  # noqa: ARG002  # there is one machine
    ) -> Node:
        """Start `spec` as a process; raise DeploymentError where the name is taken."""
        # Shielded: a process that was started must get its record, whoever has lost interest.
        return await asyncio.shield(asyncio.to_thread(self._launch, spec, secrets))

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        """Return the node as it is now; one that is gone once more, with its exit code.

        With an id only that launch: where a later one has its name, it is gone.
        """
        return await asyncio.to_thread(self._describe, name, node_id)

    async def list_nodes(self) -> list[Node]:
        """Return every node that still runs, the oldest first."""
        nodes = self._list()  # at once: some small files of this machine
        for node in nodes:
            if node.status == "gone":
                await asyncio.to_thread(self._describe, node.name)  # puts away what is left of it
        running = [node for node in nodes if node.status != "gone"]
        return sorted(running, key=lambda node: str(node.started_at))

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        """End the process (SIGTERM, then SIGKILL) and everything that it started.

        With an id only that launch: a later one of the same name is left alone.
        """
        record = await asyncio.to_thread(self._read, name)
        if record is not None and node_id not in (None, record.launch):
            return
        if record is None:
            await asyncio.to_thread(self._end_unrecorded, name)
            return
        await end_process(
            record.pid, record.created, mark=self._mark(record), grace_s=self._grace_s
        )
        await asyncio.to_thread(self._forget, record)

    async def logs(
        self,
        name: str,
        node_id: str | None = None,  # noqa: ARG002  # as above
        *,
        tail: int = 100,
        follow: bool = False,
    ) -> AsyncIterator[str]:
        """Yield the log's last lines, then new ones until the node is gone."""
        path = self._log_path(name)
        part = await asyncio.to_thread(read_tail, path, tail)
        for line in part.lines:
            yield line
        while follow:
            node = await self.describe(name)
            part = await asyncio.to_thread(read_on, path, part.position)
            for line in part.lines:
                yield line
            if node is None or node.status == "gone":
                break
            await asyncio.sleep(FOLLOW_EVERY_S)
        if part.rest and tail > 0:
            yield part.rest

    async def start(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # its name is its id
        """Refuse: a process that has ended is launched anew."""
        raise _cannot("start", name)

    async def stop(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # its name is its id
        """Refuse: a process has no place to keep."""
        raise _cannot("stop", name)

    async def restart(self, name: str, node_id: str | None = None) -> None:  # noqa: ARG002  # its name is its id
        """Refuse: a process that is to run anew is terminated and launched."""
        raise _cannot("restart", name)

    async def billed_usd(self, name: str, node_id: str | None = None) -> float | None:  # noqa: ARG002  # whatever it is
        """Return 0: what runs here costs nothing."""
        return 0.0

    def _launch(self, spec: LaunchSpec, secrets: Mapping[str, str]) -> Node:
        with self._locked():
            known = self._read(spec.name)
            if known is not None and is_same_process(known.pid, known.created):
                raise NameTakenError(
                    f"{spec.name} already runs (process {known.pid}).",
                    hint=f"Use it, or end it first: conduit_nb.stop({spec.name!r}).",
                )
            self._kill_unrecorded(spec.name)
            return self._start(spec, secrets)

    def _end_unrecorded(self, name: str) -> None:
        with self._locked():  # a launch under way has its record when it lets go
            if self._read_any(name) is None:  # another machine's is its own to end
                self._kill_unrecorded(name)

    def _kill_unrecorded(self, name: str) -> None:
        """End what a launch left that was itself killed before it could write its record."""
        kill_all(marked_processes(f"{self._record_path(name)}#"))

    def _start(self, spec: LaunchSpec, secrets: Mapping[str, str]) -> Node:
        port, launch, now = self._choose_port(), randoms.token_hex(8), datetime.now(UTC)
        started = in_process(spec, host=HOST, port=port)
        child = self._start_process(
            list(started.command),
            environment={
                **server_environment(),
                **spec.environment,
                **started.environment,
                **{name: secrets[name] for name in spec.secrets},
                MARK: f"{self._record_path(spec.name)}#{launch}",
            },
            log_path=self._log_path(spec.name),
            headline=f"--- {now:%Y-%m-%d %H:%M:%S} UTC: starting {' '.join(spec.command)}\n",
        )
        record = Record(
            name=spec.name,
            launch=launch,
            machine=platform.node(),
            pid=child.pid,
            created=child.created,
            port=port,
            url=f"http://{HOST}:{port}",
            started_at=now.isoformat(),
            version=version("conduit-nb"),
        )
        try:
            write_private_file(
                self._record_path(spec.name), json.dumps(asdict(record)).encode(), knob=KNOB
            )
        except StorageError:
            kill_all(marked_processes(self._mark(record)))
            raise
        self._children[spec.name] = (record, child)
        return self._to_node(record)

    def _start_process(
        self, command: list[str], *, environment: dict[str, str], log_path: Path, headline: str
    ) -> Child:
        make_private_folder(log_path.parent, knob=KNOB)
        try:
            log = open_log(log_path)
        except OSError as err:
            raise to_storage_error(err, log_path, knob=KNOB) from err
        with log:
            try:
                log.write(headline.encode())
            except OSError as err:
                raise to_storage_error(err, log_path, knob=KNOB) from err
            try:
                return Child(command, environment=environment, folder=self._folder(), log=log)
            except OSError as err:
                raise DeploymentError(
                    f"{command[0]} cannot be started ({err.strerror}).",
                    hint="Check that it exists and that more processes may be started (ulimit -u).",
                ) from err

    def _describe(self, name: str, node_id: str | None = None) -> Node | None:
        record = self._read(name)
        launched = self._children.get(name)
        if node_id is not None:
            record = record if record is not None and record.launch == node_id else None
            launched = launched if launched is not None and launched[0].launch == node_id else None
        if record is not None:
            node = self._to_node(record)
            if node.status == "gone":
                kill_all(marked_processes(self._mark(record)))
                self._forget(record)
            return node
        return self._to_node(launched[0]) if launched is not None else None

    def _list(self) -> list[Node]:
        names = sorted(path.stem for path in self._folder("nodes").glob("*.json"))
        records = [record for record in map(self._read, names) if record is not None]
        return [self._to_node(record) for record in records]

    def _to_node(self, record: Record) -> Node:
        launched = self._children.get(record.name)
        is_ours = launched is not None and launched[0] == record
        exit_code = None
        if not is_same_process(record.pid, record.created):
            status = "gone"
            exit_code = launched[1].exit_code() if launched is not None and is_ours else None
        else:
            status = "running" if self._listens(record) else "starting"
        return Node(
            name=record.name,
            provider=self.name,
            status=status,
            id=record.launch,
            url=record.url,
            pid=record.pid,
            started_at=datetime.fromisoformat(record.started_at),
            exit_code=exit_code,
            log=str(self._log_path(record.name)),
        )

    def _listens(self, record: Record) -> bool:
        """Say whether the node's own process takes connections; once it did, it goes on to."""
        if record.launch not in self._listening and is_listening(record.pid, record.port):
            self._listening.add(record.launch)
        return record.launch in self._listening

    def _read(self, name: str) -> Record | None:
        """Return the record of that name; a broken one, or one of another machine, is none."""
        record = self._read_any(name)
        return record if record is not None and record.machine == platform.node() else None

    def _read_any(self, name: str) -> Record | None:
        path = self._record_path(name)
        try:
            fields = cast("dict[str, Any]", json.loads(path.read_bytes()))
            record = Record(**fields)
            datetime.fromisoformat(record.started_at)
        except FileNotFoundError:
            return None
        except OSError as err:
            raise to_storage_error(err, path, knob=KNOB) from err
        except (ValueError, TypeError):
            return None
        return record

    def _forget(self, record: Record) -> None:
        """Remove the record, unless another launch has put its own there meanwhile."""
        path = self._record_path(record.name)
        with self._locked():
            if self._read(record.name) == record:
                try:
                    path.unlink(missing_ok=True)
                except OSError as err:
                    raise to_storage_error(err, path, knob=KNOB) from err

    @contextmanager
    def _locked(self) -> Generator[None]:
        """Keep other processes from changing records; held for moments only."""
        path = make_private_folder(self._folder("nodes"), knob=KNOB) / ".lock"
        lock = filelock.FileLock(path, timeout=LOCK_TIMEOUT_S, mode=0o600)
        try:
            lock.acquire()
        except filelock.Timeout as err:
            raise DeploymentError(
                f"Another process has held {path} for {LOCK_TIMEOUT_S:g} s.",
                hint="End that process; `fuser` on the file tells which it is.",
            ) from err
        except OSError as err:
            raise to_storage_error(err, path, knob=KNOB) from err
        try:
            yield
        finally:
            lock.release()

    def _mark(self, record: Record) -> str:
        return f"{self._record_path(record.name)}#{record.launch}"

    def _record_path(self, name: str) -> Path:
        return self._folder("nodes") / f"{_checked(name)}.json"

    def _log_path(self, name: str) -> Path:
        return self._folder("logs") / f"{_checked(name)}.log"

    def _folder(self, part: str = "") -> Path:
        return (self._state_dir or settings.state_dir()).absolute() / part


def _cannot(verb: str, name: str) -> DeploymentError:
    return DeploymentError(
        f"{name} is a process of this machine, and cannot be told to {verb}.",
        hint="Terminate it, and deploy again; it costs nothing meanwhile.",
    )


def _checked(name: str) -> str:
    """Return the name if it can be one of a file; it may come from a user."""
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,100}", name):
        raise ArgumentError(
            f"{name!r} is not the name of a deployment.",
            param="name",
            hint="`%conduit ps` shows the names of what runs.",
        )
    return name


def _free_port() -> int:
    """Return a port that nobody listens on; another may take it before our server does."""
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return probe.getsockname()[1]
