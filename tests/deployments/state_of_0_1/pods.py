"""Containers of the local Runpod server whose image holds the model server at its own path."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from conduit_nb.testing.pod_processes import PodProcesses
from conduit_nb.testing.runpod_server import Container, ContainerHandle
from conduit_nb.testing.runpod_server.containers import StartContainer
from tests.deployments.state_of_0_1.requested import PROGRAM


def container_starter(program: Path) -> StartContainer:
    """Return what starts containers as processes, with `program` for the one of the image."""
    start = PodProcesses(grace_s=5)

    def start_container(container: Container) -> ContainerHandle:
        env = {name: text.replace(PROGRAM, str(program)) for name, text in container.env.items()}
        return start(replace(container, env=env))

    return start_container
