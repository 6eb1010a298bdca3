"""Containers of the local Runpod server as processes of this machine, the guard first.

What Conduit asks of an image is run as it stands, but for what a machine of one's own lacks: the
port of the container becomes a free one of the loopback address, `python3` is the Python that runs
this, and converted models are those of this machine.
Layer 6.
"""

from __future__ import annotations

import json
import shlex
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from typing import Any, cast

from conduit_nb import settings
from conduit_nb.child_environment import server_environment
from conduit_nb.providers.guarding import CONFIG_NAME
from conduit_nb.testing.runpod_server.containers import Container, ContainerHandle

PYTHON = "python3"
WAITS = (sys.executable, "-c", "import signal; signal.pause()")


class PodProcesses:
    """Starts what a container's arguments say; `grace_s` is how long its end may take."""

    def __init__(self, *, grace_s: float = 10.0) -> None:
        self._grace_s = grace_s

    def __call__(self, container: Container) -> ContainerHandle:
        """Start it."""
        ports = {port: _free_port() for port in container.ports}
        environment = dict(container.env)
        if CONFIG_NAME not in environment:  # somebody else's pod: it only is there
            return _Running(list(WAITS), environment, ports, container.log, self._grace_s)
        config = cast("dict[str, Any]", json.loads(environment[CONFIG_NAME]))
        config["host"], config["port"] = "127.0.0.1", ports[config["port"]]
        config["command"] = [_local(part) for part in config["command"]]
        if "CONDUIT_CACHE_DIR" in environment:  # models that are here need no network
            environment["CONDUIT_CACHE_DIR"] = str(settings.cache_dir().absolute())
        environment[CONFIG_NAME] = json.dumps(config)
        return _Running(_command(container.args), environment, ports, container.log, self._grace_s)


class _Running:
    def __init__(
        self,
        command: list[str],
        environment: Mapping[str, str],
        ports: Mapping[int, int],
        log: Callable[[str], None],
        grace_s: float,
    ) -> None:
        self.ports = ports
        self._grace_s = grace_s
        self._process = subprocess.Popen(  # noqa: S603  # no shell, and Conduit's own command
            command,
            env={**server_environment(with_hub_token=False), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(target=self._read, args=(log,), daemon=True)
        self._reader.start()

    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        """End it, and return when it has ended."""
        self._process.terminate()
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(self._grace_s)

    def _read(self, log: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                log(line.rstrip("\n"))


def _command(args: str) -> list[str]:
    """Return the arguments as Runpod would start them in an image without an entry point."""
    if args.startswith("{"):
        told = cast("dict[str, list[str]]", json.loads(args))
        return [_local(part) for part in (*told["entrypoint"], *told["cmd"])]
    return [_local(part) for part in shlex.split(args)]


def _local(part: str) -> str:
    return sys.executable if part == PYTHON else part


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
