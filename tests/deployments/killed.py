"""A client that is killed at a checkpoint, in a process of its own.

Creates a deployment, stops it (where that can be done), starts it, adds a replica, and ends it.
Prints the number of checkpoints that it has passed, if it lives to do so. What a client loads takes
longer than what it does, so one process loads it, and forks a client for each line that it is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from conduit_nb.compute.request import DeploymentRequest, Replicas
from conduit_nb.providers.base import Provider
from conduit_nb.providers.runpod import Runpod
from tests.deployments.deployed import Bench, request

ROOT = Path(__file__).resolve().parent.parent.parent
TIMEOUT_S = 240


@dataclass
class Client(Bench):
    """A bench whose cloud is served by another process."""

    api: str = ""
    key: str = ""
    proxy: str = ""

    def provider(self, name: str) -> Provider:
        if name != "runpod":
            return super().provider(name)
        provider = Runpod(self.api, key=self.key, proxy_url=self.proxy)
        provider.capabilities = replace(provider.capabilities, list_lag_s=self.list_lag_s)
        return provider


@dataclass(frozen=True, kw_only=True)
class Ended:
    """How a client ended; `code` is -9 where it was killed."""

    code: int
    stdout: str
    stderr: str


RunClient = Callable[..., Ended]
"""`run(folder, provider, kill_at, **more)`; `kill_at` is a checkpoint's number or name, or 0."""


@contextmanager
def clients() -> Iterator[RunClient]:
    """Yield what runs a client to its end, or to where it is killed."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.deployments.killed"],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        sent, answers = process.stdin, process.stdout

        def run(folder: Path, provider: str, kill_at: int | str, **more: Any) -> Ended:
            told = {"folder": str(folder), "provider": provider, "kill_at": kill_at, **more}
            sent.write(f"{json.dumps(told)}\n")
            sent.flush()
            return Ended(**json.loads(answers.readline()))

        yield run
        sent.close()  # it ends with its input


def run(folder: Path, provider: str, kill_at: int | str, **more: Any) -> Ended:
    """Run one client, as `clients` does."""
    with clients() as run_client:
        return run_client(folder, provider, kill_at, **more)


def wanted(provider: str) -> DeploymentRequest:
    return request(provider, name="killed", replicas=Replicas(min=1, max=2))


async def work(client: Client, provider: str) -> None:
    service = client.service()
    info = await service.deploy(wanted(provider))
    if provider != "local":
        await service.stop(info.name)
        info = await service.deploy(wanted(provider))
    await service.context.set_deployment(client.record(info), wanted_replicas=2)
    await service.deploy(wanted(provider))
    await service.terminate(info.name)


def be_client(told: dict[str, Any]) -> None:
    passed = 0

    def checkpoint(name: str) -> None:
        nonlocal passed
        passed += 1
        if told["kill_at"] in (passed, name):
            os.kill(os.getpid(), signal.SIGKILL)

    client = Client(
        Path(told["folder"]),
        list_lag_s=told.get("list_lag_s", 0.0),
        engine=told.get("engine"),
        flags=tuple(told.get("flags", ())),
        api=told.get("api", ""),
        key=told.get("key", ""),
        proxy=told.get("proxy", ""),
        checkpoint=checkpoint,
    )
    asyncio.run(work(client, told["provider"]))
    print(passed, flush=True)


def fork_client(told: dict[str, Any]) -> Ended:
    assert threading.active_count() == 1, "a fork keeps one thread, and the locks of the others"
    with tempfile.TemporaryFile("w+") as stdout, tempfile.TemporaryFile("w+") as stderr:
        pid = os.fork()
        if pid == 0:
            code = 1
            try:
                signal.alarm(TIMEOUT_S)
                os.dup2(stdout.fileno(), 1)
                os.dup2(stderr.fileno(), 2)
                be_client(told)
                code = 0
            except BaseException:  # noqa: BLE001  # whatever it is, the parent tells it
                traceback.print_exc()
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        stdout.seek(0)
        stderr.seek(0)
        code = os.waitstatus_to_exitcode(status)
        return Ended(code=code, stdout=stdout.read(), stderr=stderr.read())


def main() -> None:
    for line in sys.stdin:
        print(json.dumps(asdict(fork_client(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
