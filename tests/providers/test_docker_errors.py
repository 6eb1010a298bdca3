"""providers/docker_errors.py: what is missing, and the command that cures it."""

from __future__ import annotations

import pytest

from conduit_nb.providers.docker_errors import api_error, unreachable


@pytest.mark.parametrize(
    ("said", "what", "cure"),
    [
        ('could not select device driver "nvidia" with capabilities', "no GPU", "nvidia-ctk"),
        ("nvidia-container-cli: initialization error: nvml error", "driver", "nvidia-smi"),
        ("write /x: no space left on device", "full", "prune"),
        ('exec: "python3": executable file not found in $PATH', "python3", "Python 3.8"),
        ("conflict", "refused", "docker ps"),
    ],
)
def test_what_the_engine_says_has_a_cure(said: str, what: str, cure: str):
    error = api_error(said, 500)

    assert what in str(error)
    assert cure in error.hint


@pytest.mark.parametrize(
    ("said", "what", "cure"),
    [
        ("('Connection aborted.', PermissionError(13, 'Permission denied'))", "may not", "usermod"),
        ("FileNotFoundError(2, 'No such file or directory')", "No Docker engine", "systemctl"),
        ("ConnectionRefusedError(111, 'Connection refused')", "No Docker engine", "systemctl"),
        ("something else", "cannot be reached", "DOCKER_HOST"),
    ],
)
def test_an_engine_that_cannot_be_talked_to_has_a_cure(said: str, what: str, cure: str):
    error = unreachable(said, "tcp://127.0.0.1:2375 (DOCKER_HOST)")

    assert what in str(error)
    assert "tcp://127.0.0.1:2375 (DOCKER_HOST)" in str(error)
    assert cure in error.hint
