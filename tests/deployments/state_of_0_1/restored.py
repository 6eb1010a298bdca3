"""Puts the frozen state of version 0.1 back, and makes the world true that it speaks of.

Knows the files that version 0.1 left, not the code that reads them now. What is rewritten:

- Every moment is shifted, so that version 0.1 wrote the state `AGE` ago: leases are not over.
- The name of the machine, folders, ports, process ids and their creation times are those of now:
  the same user upgrades on the same machine.
- The address of Runpod is that of the local server, which holds the pods under their ids and names.
- The boot deadline of guards that ran: their processes had booted then, and boot again here.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import platform
import socket
import sqlite3
import subprocess
import sys
import zlib
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import psutil

from conduit_nb.testing.runpod_server import RunpodServer, runpod_server
from tests import waiting
from tests.deployments.state_of_0_1.model_server import make_program
from tests.deployments.state_of_0_1.pods import container_starter
from tests.deployments.state_of_0_1.requested import PROGRAM

FOLDER = Path(__file__).parent
OLD_FOLDER = "/srv/conduit"
GUARD = "guard_of_0_1.txt"
AGE = timedelta(minutes=10)
BOOTS_WITHIN_S = 60
POD_PORT = 8000
MOMENTS = {
    "conduit_deployments": ("created_at", "lease_until", "ended_at"),
    "conduit_nodes": (
        *("created_at", "boot_until", "not_after", "ready_at"),
        *("missing_since", "ended_at"),
    ),
    "conduit_charges": ("begin", "end"),
}
GUARD_MOMENTS = ("boot_until", "lease_until", "not_after", "as_of")


@dataclass(frozen=True, kw_only=True)
class Restored:
    """The world of the state: Runpod with its pods, and the processes of this machine by node."""

    cloud: RunpodServer
    processes: Mapping[str, subprocess.Popen[bytes]]
    urls: Mapping[str, str]
    shift: timedelta

    def pods(self) -> dict[str, str]:
        """Return the status of every pod that there is, by its name."""
        there = self.cloud.account.pods()
        return {pod.name: pod.status for pod in there if pod.status != "TERMINATED"}

    def nodes_of(self, deployment_id: str) -> list[str]:
        """Return the names of a deployment's nodes."""
        return [name for name in self.urls if f"-{deployment_id}-" in name]

    def guards_of(self, deployment_id: str) -> list[dict[str, Any]]:
        """Return what the guard of each node of a deployment says."""
        return [
            asked_guard(self.urls[name], deployment_id) for name in self.nodes_of(deployment_id)
        ]

    def processes_of(self, node: str) -> list[psutil.Process]:
        """Return the process of a node of this machine, and all that it has started."""
        process = psutil.Process(self.processes[node].pid)
        return [process, *process.children(recursive=True)]

    def creations(self) -> int:
        """Return how often a pod was asked for."""
        return sum(
            one.method == "POST" and one.path.endswith("/pods") for one in self.cloud.exchanges
        )


@contextmanager
def restored(folder: Path) -> Iterator[Restored]:
    """Restore the state into the folders that the environment names, and its world beside it.

    `folder` is for what is neither data nor state. At the end the processes are ended; what the
    test's session has started is the test's own to end.
    """
    data, state = Path(os.environ["CONDUIT_DATA_DIR"]), Path(os.environ["CONDUIT_STATE_DIR"])
    written = frozen("written.json")
    shift = datetime.now(UTC) - AGE - datetime.fromtimestamp(written["written_at"], UTC)
    program = make_program(folder / "model-server")
    with ExitStack() as stack:
        cloud = stack.enter_context(runpod_server(start_container=container_starter(program)))
        records = {path.stem: json.loads(path.read_text()) for path in frozen_records()}
        ports = {name: free_port() for name in records}
        names = {
            f"{OLD_FOLDER}/state": str(state),
            written["machine"]: platform.node(),
            written["runpod"]: cloud.url.removesuffix("/v2"),
            **{one["url"]: f"http://127.0.0.1:{ports[name]}" for name, one in records.items()},
        }
        restore_installation(data)
        restore_database(data, names, shift)
        restore_summary(state, shift)
        names[PROGRAM] = str(program)  # of processes; requests name the one in the image
        processes: dict[str, subprocess.Popen[bytes]] = {}
        stack.callback(end_all, processes)
        for one in frozen("processes.json"):
            name = one["name"]
            processes[name] = start_process(one, ports[name], names, program, shift, state)
            restore_record(records[name], processes[name].pid, ports[name], shift, state)
        restore_pods(cloud, names, shift)
        urls = {name: f"http://127.0.0.1:{port}" for name, port in ports.items()}
        for pod in cloud.account.pods():
            urls[pod.name] = cloud.proxy_url.format(id=pod.id, port=POD_PORT)
        world = Restored(cloud=cloud, processes=processes, urls=urls, shift=shift)
        wait_until_all_answer(world)
        yield world


def frozen(name: str) -> Any:
    """Return one of the frozen documents."""
    return json.loads((FOLDER / name).read_text())


def frozen_records() -> list[Path]:
    """Return the frozen records of local nodes."""
    return sorted((FOLDER / "state/nodes").glob("*.json"))


def endpoint_key(name: str) -> str:
    """Return the key of a deployment, or of the shared local server, as version 0.1 derives it."""
    secret = bytes.fromhex(frozen("data/installation.json")["secret"])
    return hmac.digest(secret, f"endpoint:{name}".encode(), hashlib.sha256).hex()


def asked_guard(url: str, deployment_id: str) -> dict[str, Any]:
    """Return what a guard says over HTTP to who has the key of version 0.1."""
    headers = {"Authorization": f"Bearer {endpoint_key(deployment_id)}"}
    response = httpx2.get(f"{url}/conduit/guard", headers=headers, trust_env=False)
    response.raise_for_status()
    return response.json()


def wait_until_all_answer(world: Restored) -> None:
    """Wait until every node answers as it did when the state was written; but for stopped ones.

    One after the other, over kept connections: many short ones would take the ports that guards
    have chosen for their servers.
    """
    with httpx2.Client(trust_env=False) as client:

        def is_healthy(url: str) -> bool:
            try:
                return client.get(f"{url}/health").status_code == 200
            except httpx2.TransportError:
                return False

        for name, url in world.urls.items():
            if world.pods().get(name) != "EXITED":
                waiting.until_true(partial(is_healthy, url))


def restore_installation(data: Path) -> None:
    """Write the installation's file, for its user only."""
    data.mkdir(mode=0o700, parents=True)
    path = data / "installation.json"
    path.touch(mode=0o600)
    path.write_text((FOLDER / "data/installation.json").read_text())


def restore_database(data: Path, names: Mapping[str, str], shift: timedelta) -> None:
    """Make the state database out of its SQL, and shift its moments."""
    path = data / "state.sqlite3"
    path.touch(mode=0o600)
    with closing(sqlite3.connect(path)) as database:
        database.executescript(renamed((FOLDER / "data/state.sql").read_text(), names))
        for table, columns in MOMENTS.items():
            changes = ", ".join(f'"{column}" = "{column}" + :shift' for column in columns)
            database.execute(f"UPDATE {table} SET {changes}", {"shift": shift.total_seconds()})
        database.commit()


def restore_summary(state: Path, shift: timedelta) -> None:
    """Write the summary of what runs."""
    summary = frozen("state/summary.json")
    for name in ("written_at", "next_end"):
        summary[name] = shifted(summary[name], shift)
    state.mkdir(mode=0o700, parents=True)
    (state / "summary.json").write_text(json.dumps(summary))


def restore_record(
    record: dict[str, Any], pid: int, port: int, shift: timedelta, state: Path
) -> None:
    """Write the record of a node of this machine: by it, every kernel finds its process."""
    now = {
        "machine": platform.node(),
        "pid": pid,
        "created": psutil.Process(pid).create_time(),
        "port": port,
        "url": f"http://127.0.0.1:{port}",
        "started_at": shifted(record["started_at"], shift),
    }
    path = state / "nodes" / f"{record['name']}.json"
    path.parent.mkdir(mode=0o700, exist_ok=True)
    path.write_text(json.dumps({**record, **now}))


def start_process(
    frozen_process: Mapping[str, Any],
    port: int,
    names: Mapping[str, str],
    program: Path,
    shift: timedelta,
    state: Path,
) -> subprocess.Popen[bytes]:
    """Start a node of this machine: version 0.1's guard, or the shared server, which has none."""
    environment = {
        name: renamed(text, names) for name, text in frozen_process["environment"].items()
    }
    if "CONDUIT_GUARD" in environment:
        terms = guard_terms(environment["CONDUIT_GUARD"], shift)
        environment["CONDUIT_GUARD"] = json.dumps({**terms, "port": port})
        command = [sys.executable, str(FOLDER / GUARD)]
    else:
        command = [str(program), "--port", str(port)]
    log = state / "logs" / f"{frozen_process['name']}.log"
    log.parent.mkdir(mode=0o700, exist_ok=True)
    with log.open("ab") as file:
        return subprocess.Popen(
            command,
            env={**os.environ, **environment},
            cwd=state,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )


def restore_pods(cloud: RunpodServer, names: Mapping[str, str], shift: timedelta) -> None:
    """Create the pods under their ids, each with version 0.1's guard; stop what was stopped."""
    source = base64.b64encode(zlib.compress((FOLDER / GUARD).read_bytes())).decode()
    for pod in frozen("pods.json"):
        body = pod["created"]
        terms = guard_terms(renamed(body["env"]["CONDUIT_GUARD"], names), shift)
        guarded = {"CONDUIT_GUARD": json.dumps(terms), "CONDUIT_GUARD_SOURCE": source}
        body["env"] = {**body["env"], **guarded}
        cloud.account.create(body, pod_id=pod["id"])
        if pod["status"] == "EXITED":
            cloud.account.act(pod["id"], "stop")


def guard_terms(config: str, shift: timedelta) -> dict[str, Any]:
    """Return a guard's configuration for now."""
    terms = json.loads(config)
    for name in GUARD_MOMENTS:
        if terms[name] is not None:
            terms[name] += shift.total_seconds()
    return {**terms, "boot_until": datetime.now(UTC).timestamp() + BOOTS_WITHIN_S}


def renamed(text: str, names: Mapping[str, str]) -> str:
    """Return the text with the names of this machine in place of the frozen ones."""
    for old, new in names.items():
        text = text.replace(old, new)
    return text


def shifted(moment: str, shift: timedelta) -> str:
    """Return a moment of a document, moved."""
    return (datetime.fromisoformat(moment) + shift).isoformat()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return probe.getsockname()[1]


def end_all(processes: Mapping[str, subprocess.Popen[bytes]]) -> None:
    """End what still runs of the restored processes; a guard ends its server first."""
    for process in processes.values():
        with suppress(ProcessLookupError):
            process.terminate()
    for process in processes.values():
        process.wait(20)
