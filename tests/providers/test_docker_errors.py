"""providers/docker_errors.py: what is missing, and the command that cures it."""

from __future__ import annotations

import re

import pytest

from conduit_nb.providers.docker_errors import api_error, unreachable


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ('could not select device driver "nvidia" with capabilities', "nvidia-ctk"),
        ("nvidia-container-cli: initialization error: nvml error", "nvidia-smi"),
        ("write /x: no space left on device", "docker system prune"),
        ('exec: "python3": executable file not found in $PATH', "Python 3.8"),
        ("conflict", "docker ps -a"),
    ],
)
def test_what_the_engine_says_has_a_cure(said: str, cure: str):
    error = api_error(said, 500)

    assert said in str(error)
    assert cure in error.hint


@pytest.mark.parametrize(
    ("said", "cure"),
    [
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", "usermod -aG docker"),
        ("FileNotFoundError(2, 'No such file or directory')", "systemctl start docker"),
        ("ConnectionRefusedError(111, 'Connection refused')", "systemctl start docker"),
        ("something else", "DOCKER_HOST"),
    ],
)
def test_an_engine_that_cannot_be_talked_to_has_a_cure_which_comes_first(said: str, cure: str):
    error = unreachable(said, "tcp://127.0.0.1:2375 (DOCKER_HOST)")

    assert "tcp://127.0.0.1:2375 (DOCKER_HOST)" in str(error)
    commands = re.findall(r"usermod -aG docker|systemctl start docker|DOCKER_HOST", error.hint)
    assert commands[0] == cure
