"""How LmLite is started: its command, what it needs to know, and what must be installed.

Layer 3: knows the program's command line, imports nothing of it.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Sequence

from conduit_nb import settings
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import Hardware
from conduit_nb.errors import MissingExtraError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect
from conduit_nb.runtimes.base import Place, ServerRequest

NEEDED = (
    "accelerate",
    "gguf",
    "huggingface_hub",
    "llguidance",
    "safetensors",
    "starlette",
    "torch",
    "transformers",
    "uvicorn",
)

# Where the Docker provider mounts the cache of converted models, read-only.
CONTAINER_CACHE = "/var/cache/conduit"
# For who has no image: PyTorch's own, by its tag, with Conduit installed at each boot.
PUBLIC_IMAGE = "docker.io/pytorch/pytorch:2.9.1-cuda12.8-cudnn9-runtime"
INSTALL = 'pip install --no-cache-dir "conduit-nb[lmlite] @ $CONDUIT_PACKAGE_URL" && exec "$@"'


class LmLiteRuntime:
    """Serves Hugging Face models with guided output, on CUDA, MPS or the CPU."""

    name = "lmlite"
    dialect: Dialect = "lmlite"
    models_per_server: int | None = None
    places: tuple[Place, ...] = ("process", "container")
    command_places: tuple[Place, ...] = ()  # another server would not load models on demand

    def check(self, models: Sequence[LmLiteModelConfig]) -> None:
        """Take every config: they are LmLite's own."""

    def why_not(self, hardware: Hardware) -> str | None:  # noqa: ARG002  # it runs on all
        """Return None: LmLite runs on CUDA, MPS and CPUs."""
        return None

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        """Say how LmLite is started: in the environment that this process runs in, or an image."""
        if request.place == "container":
            return self._container(request)
        missing = [package for package in NEEDED if importlib.util.find_spec(package) is None]
        if missing:
            raise MissingExtraError(
                f"LmLite cannot run in {sys.prefix}: {', '.join(missing)} not installed.",
                hint="Install it: pip install 'conduit-nb[lmlite]'.",
            )
        threads, device = settings.threads(), settings.lmlite_device()
        memory_gib = settings.lmlite_memory_gib()
        return LaunchSpec(
            name=request.name,
            command=(
                *(sys.executable, "-m", "conduit_nb.lmlite"),
                *("--port", "{port}"),
                *("--idle-s", f"{settings.sidecar_idle_s():g}"),
                *(("--threads", str(threads)) if threads else ()),
                *(("--device", device) if device else ()),
                *(("--memory-gib", f"{memory_gib:g}") if memory_gib else ()),
            ),
            environment={**_folders(), **_quiet(), **_hub()},
            secrets=("CONDUIT_API_KEY",),
            dialect=self.dialect,
        )

    def _container(self, request: ServerRequest) -> LaunchSpec:
        image = request.image or settings.lmlite_image()
        serve = ("python3", "-m", "conduit_nb.lmlite", "--port", "{port}", "--idle-s", "1e9")
        environment = {**_quiet(), **_hub(), "CONDUIT_CACHE_DIR": CONTAINER_CACHE}
        if image is None:
            package = settings.package_url()
            if package is None:
                raise MissingExtraError(
                    "There is no image of LmLite to start a container of.",
                    hint="Make one (conduit image build) and name it in CONDUIT_LMLITE_IMAGE; or "
                    "set CONDUIT_PACKAGE_URL to a wheel or git URL of Conduit.",
                )
            image, environment["CONDUIT_PACKAGE_URL"] = PUBLIC_IMAGE, package
            serve = ("sh", "-c", INSTALL, "conduit", *serve)
        return LaunchSpec(
            name=request.name,
            command=serve,
            environment=environment,
            secrets=("CONDUIT_API_KEY",),
            dialect=self.dialect,
            image=image,
            devices=request.devices,
            disk_gib=request.disk_gib,
        )


def _folders() -> dict[str, str]:
    """Return our folders as absolute paths: the server runs in a folder of its own."""
    return {
        "CONDUIT_DATA_DIR": str(settings.data_dir().absolute()),
        "CONDUIT_CACHE_DIR": str(settings.cache_dir().absolute()),
        "CONDUIT_STATE_DIR": str(settings.state_dir().absolute()),
    }


def _quiet() -> dict[str, str]:
    return {
        "OMP_WAIT_POLICY": "PASSIVE",  # threads that spin starve the kernel beside us
        "PYTHONSAFEPATH": "1",
        "PYTHONUNBUFFERED": "1",
        "TOKENIZERS_PARALLELISM": "false",
    }


def _hub() -> dict[str, str]:
    told = {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
    return {**told, "HF_HUB_OFFLINE": "1"} if settings.offline() else told
