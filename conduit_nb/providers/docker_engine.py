"""Connections to the Docker engine of this machine, wherever Docker's own settings say that it is.

An engine of another machine is refused: containers get folders of this machine, and their ports are
reached at 127.0.0.1.
Layer 3.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
from collections.abc import Generator
from typing import Any

import httpx2

from conduit_nb import http_clients
from conduit_nb.credentials import DockerEngine, docker_engine
from conduit_nb.errors import ProviderRefusedError
from conduit_nb.providers.docker_errors import load_sdk, to_docker_error, unreachable

# The SDK's own, whose types are partial; and it is loaded only where it is used.
DockerClient = Any

UNIX, TCP = "unix://", "tcp://"
TIMEOUT_S = 10.0


@contextlib.contextmanager
def connect(url: str | None) -> Generator[DockerClient]:
    """Lend a client of the engine at `url`, else the one that the environment or context names.

    Raises ProviderUnreachableError, which names the address that was tried; ProviderRefusedError
    where the engine is on another machine; CredentialsError where a context does not exist.
    """
    engine = docker_engine() if url is None else DockerEngine(address=url, source="as given")
    with to_docker_error(_shown(engine)):
        client = _connect(engine)
        try:
            yield client
        finally:
            client.close()


def _connect(engine: DockerEngine) -> DockerClient:
    sdk, address = load_sdk(), engine.address
    if "://" not in address:
        address = f"{TCP}{address}"  # as Docker's own programs take it
    scheme, _, rest = address.partition("://")
    if scheme == "unix":
        # The SDK asks at once, and leaves an open socket behind where nobody answers.
        with socket.socket(socket.AF_UNIX) as probe:
            probe.connect(rest)
        return sdk.DockerClient(base_url=address)
    if scheme not in ("tcp", "http", "https"):
        raise _refused(engine, f"{scheme}:// is not supported")
    if not http_clients.is_loopback(f"http://{rest}"):
        raise _refused(engine, "it is on another machine")
    tls = _tls(sdk, engine)
    if tls is not None or scheme == "https":
        return sdk.DockerClient(base_url=address, tls=tls or True)
    # The SDK would ask the environment's proxy for this machine, and for the version at once.
    client = sdk.DockerClient(base_url=address, version=_version(engine, f"http://{rest}"))
    client.api.trust_env = False
    return client


def _version(engine: DockerEngine, url: str) -> str:
    """Ask the engine which version of the API it speaks."""
    try:
        with http_clients.client(url, timeout=TIMEOUT_S) as client:
            return str(client.get(f"{url}/version").json()["ApiVersion"])
    except (ValueError, KeyError, TypeError) as err:
        raise unreachable("what answers is no Docker engine", _shown(engine)) from err
    except (httpx2.HTTPError, httpx2.InvalidURL) as err:
        raise unreachable(str(err) or type(err).__name__, _shown(engine)) from err


def _tls(sdk: Any, engine: DockerEngine) -> Any:
    """Return the certificates of a context, or of the variables beside DOCKER_HOST."""
    if engine.certificates is not None:
        folder, is_checked = engine.certificates, True
    elif engine.source == "DOCKER_HOST" and (named := os.environ.get("DOCKER_CERT_PATH")):
        folder, is_checked = named, bool(os.environ.get("DOCKER_TLS_VERIFY"))
    else:
        return None
    cert, key, ca = (os.path.join(folder, f"{name}.pem") for name in ("cert", "key", "ca"))  # noqa: PTH118  # the SDK takes texts
    return sdk.tls.TLSConfig(client_cert=(cert, key), ca_cert=ca, verify=is_checked)


def _shown(engine: DockerEngine) -> str:
    """Return the address and where it comes from; a password in it is left out."""
    return f"{re.sub(r':[^:/@]*@', ':…@', engine.address)} ({engine.source})"


def _refused(engine: DockerEngine, reason: str) -> ProviderRefusedError:
    return ProviderRefusedError(
        f"The Docker engine at {_shown(engine)} cannot be used: {reason}.",
        hint="Conduit mounts folders of this machine into containers and asks them at 127.0.0.1, "
        "which takes an engine of this machine: unset DOCKER_HOST, or use `docker context use "
        "default`. To use the other machine, run Conduit there.",
    )
