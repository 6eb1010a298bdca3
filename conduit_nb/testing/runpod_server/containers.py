"""What runs in a pod of the local Runpod server: nothing, or what its hook starts.

`Processes` is such a hook: a process of this machine for each container.
Layer 6.
"""

from __future__ import annotations

import re
import socket
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from conduit_nb.child_environment import server_environment

_REFERENCE = re.compile(r"\{\{\s*RUNPOD_SECRET_(\w+)\s*\}\}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Container:
    """What to start: `env` has the values of secrets, and what Runpod adds. `log` takes its lines.

    `ports` are the ports that the pod publishes, as the container knows them.
    """

    pod_id: str
    name: str
    image: str
    args: str
    env: Mapping[str, str] = field(repr=False)
    ports: tuple[int, ...]
    log: Callable[[str], None] = field(repr=False)


class ContainerHandle(Protocol):
    """A container that was started. `ports` says where each of its ports really listens."""

    ports: Mapping[int, int]

    def exit_code(self) -> int | None:
        """Return how it ended, None while it runs."""
        ...

    def stop(self) -> None:
        """End it, and return when it has ended."""
        ...


StartContainer = Callable[[Container], ContainerHandle]


def resolve_secrets(env: Mapping[str, str], secrets: Mapping[str, str]) -> dict[str, str]:
    """Put the values of the account's secrets where `{{ RUNPOD_SECRET_name }}` stands.

    A reference to a secret that is not there stays as it is.
    """

    def value(found: re.Match[str]) -> str:
        return secrets.get(found[1], found[0])

    return {name: _REFERENCE.sub(value, text) for name, text in env.items()}


class Processes:
    """Starts a process for each container; `command_of` says which, given the ports it has.

    `command_of(container, ports)` gets the free port of this machine for each published port.
    """

    def __init__(
        self,
        command_of: Callable[[Container, Mapping[int, int]], Sequence[str]],
        *,
        grace_s: float = 5.0,
    ) -> None:
        self._command_of = command_of
        self._grace_s = grace_s

    def __call__(self, container: Container) -> ContainerHandle:
        """Start it."""
        ports = {port: _free_port() for port in container.ports}
        return _Process(container, self._command_of(container, ports), ports, self._grace_s)


class _Process:
    def __init__(
        self,
        container: Container,
        command: Sequence[str],
        ports: Mapping[int, int],
        grace_s: float,
    ) -> None:
        self.ports = ports
        self._grace_s = grace_s
        self._process = subprocess.Popen(  # noqa: S603  # no shell, and the test's own command
            command,
            env={**server_environment(with_hub_token=False), **container.env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        )
        self._reader = threading.Thread(
            target=self._read, args=(container.log,), name=f"pod-{container.pod_id}", daemon=True
        )
        self._reader.start()

    def exit_code(self) -> int | None:
        return self._process.poll()

    def stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(self._grace_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()

    def _read(self, log: Callable[[str], None]) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                log(line.rstrip("\n"))


def _free_port() -> int:
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return listening.getsockname()[1]
