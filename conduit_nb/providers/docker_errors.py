"""What the Docker engine and its SDK say when something is missing, and the commands that cure it.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

from conduit_nb.errors import (
    DeploymentError,
    MissingExtraError,
    ProviderError,
    ProviderUnreachableError,
)

START = (
    "Start it: sudo systemctl start docker. Install it: https://docs.docker.com/engine/install/."
)
SETTINGS = "Check DOCKER_HOST and the context (docker context ls)."
GROUP = 'Join its group and log in again: sudo usermod -aG docker "$USER".'
TOOLKIT = (
    "Install the NVIDIA Container Toolkit, then: sudo nvidia-ctk runtime configure"
    " --runtime=docker && sudo systemctl restart docker."
)
DRIVER = "Install NVIDIA's driver, and look whether nvidia-smi shows the card."


def load_sdk() -> Any:
    """Return the Docker SDK for Python, an extra that is loaded where it is used."""
    try:
        import docker  # noqa: PLC0415  # an extra, and only here
    except ImportError as err:
        raise MissingExtraError(
            "The Docker SDK for Python is not installed.",
            hint="Install it: pip install 'conduit-nb[docker]'.",
        ) from err
    return docker


@contextmanager
def to_docker_error(where: str = "") -> Generator[None]:
    """Turn what the SDK raises of the engine at `where` into our errors: the one place for it."""
    sdk = load_sdk()
    try:
        yield
    except sdk.errors.APIError as err:
        raise api_error(str(err.explanation or err), err.status_code) from err
    except sdk.errors.DockerException as err:
        raise unreachable(str(err), where) from err
    except OSError as err:  # requests raises these
        raise unreachable(str(err), where) from err


def api_error(said: str, status: int | None) -> DeploymentError:
    """Return the error that the engine's words stand for."""
    lowered = said.lower()
    if "could not select device driver" in lowered or "unknown runtime" in lowered:
        return DeploymentError(f"Docker gives containers no GPU here ({said}).", hint=TOOLKIT)
    if "nvidia-container-cli" in lowered or "nvml" in lowered:
        return DeploymentError(f"The NVIDIA driver does not work ({said}).", hint=DRIVER)
    if "no space left" in lowered:
        return DeploymentError(f"Docker's disk is full ({said}).", hint="docker system prune.")
    if "executable file not found" in lowered:
        return DeploymentError(
            f"The image has no python3, which the guard needs ({said}).",
            hint="Use an image with Python 3.8 or newer.",
        )
    return DeploymentError(
        f"Docker refused it ({said}, status {status}).", hint="docker ps -a shows what there is."
    )


def unreachable(said: str, where: str = "") -> ProviderError:
    """Return the error for an engine that cannot be talked to at `where`."""
    lowered, at = said.lower(), f" at {where}" if where else ""
    if "permission denied" in lowered or "errno 13" in lowered:
        return ProviderUnreachableError(f"You may not use the Docker engine{at}.", hint=GROUP)
    if "no such file" in lowered or "refused" in lowered or "errno 2" in lowered:
        return ProviderUnreachableError(
            f"No Docker engine answers{at}.", hint=f"{START} {SETTINGS}"
        )
    return ProviderUnreachableError(
        f"The Docker engine{at} cannot be reached ({said[:300]}).", hint=f"{SETTINGS} {START}"
    )
