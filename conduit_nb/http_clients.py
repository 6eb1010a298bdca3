"""HTTP clients: the one place where they are made, so that all follow the environment alike.

Proxies (`HTTP_PROXY`, `HTTPS_PROXY`, `ALL_PROXY`, `NO_PROXY`) are used for every address but those
of this machine. Certificates come from `SSL_CERT_FILE` or `SSL_CERT_DIR`, else from
`REQUESTS_CA_BUNDLE` or `CURL_CA_BUNDLE`, else from the system.
Layer 0: imports only errors.
"""

from __future__ import annotations

import ipaddress
import os
import ssl
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx2

from conduit_nb.errors import ArgumentError

Client = TypeVar("Client", httpx2.Client, httpx2.AsyncClient)

CERTIFICATE_VARIABLES = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")
PROXY_VARIABLES = ("http_proxy", "https_proxy", "all_proxy")
THIS_MACHINE = ("localhost", "*.localhost", "127.0.0.1", "[::1]")


def client(url: str, **options: Any) -> httpx2.Client:
    """Return a client for the server at `url`; `options` are httpx's.

    Raises ArgumentError where a variable names certificates or a proxy that cannot be used.
    """
    return _made(httpx2.Client, url, options)


def async_client(url: str, **options: Any) -> httpx2.AsyncClient:
    """Return the asynchronous form of `client`."""
    return _made(httpx2.AsyncClient, url, options)


def is_loopback(url: str) -> bool:
    """Return whether the address is one of this machine's own."""
    host = (urlsplit(url).hostname or "").rstrip(".")
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None) or address
    return mapped.is_loopback or mapped.is_unspecified


def certificate_file() -> str | None:
    """Return the file or folder of certificates that a variable names, None where none does."""
    found = _certificates()
    return found[1] if found is not None else None


def ssl_context() -> ssl.SSLContext:
    """Return what checks servers' certificates.

    Raises ArgumentError where a variable names no certificates.
    """
    named = _certificates()
    return _system_context() if named is None else _context(*named)


def _made(kind: type[Client], url: str, options: Mapping[str, Any]) -> Client:
    is_here = is_loopback(url)
    host = urlsplit(url).hostname or ""
    own = (f"[{host}]" if ":" in host else host,) if is_here else ()
    direct = {f"all://{name}": None for name in (*THIS_MACHINE, *own)}
    # A server of this machine without TLS needs no certificates, which take a tenth of a second.
    verify = _no_certificates() if is_here and url.startswith("http://") else ssl_context()
    try:
        return kind(verify=verify, mounts=direct, **options)
    except (ValueError, ImportError, httpx2.InvalidURL) as err:
        if not (names := _proxies_set()):
            raise
        if is_here:
            return kind(verify=verify, trust_env=False, **options)
        # `from None`: the foreign error may show the proxy's password.
        what = "needs the package socksio" if isinstance(err, ImportError) else "is malformed"
        raise ArgumentError(
            f"The proxy that {' or '.join(names)} names {what}.",
            param=names[0],
            hint="Write it like http://host:port, or unset it. Hosts in NO_PROXY need no proxy."
            if what == "is malformed"
            else "Install it: pip install socksio. Or name an HTTP proxy.",
        ) from None


def _proxies_set() -> list[str]:
    return [
        name
        for lowered in PROXY_VARIABLES
        for name in (lowered, lowered.upper())
        if os.environ.get(name)
    ]


def _certificates() -> tuple[str, str] | None:
    """Return the first variable that names certificates, and what it names."""
    for name in CERTIFICATE_VARIABLES:
        if value := os.environ.get(name, "").strip():
            return name, value
    return None


@cache
def _system_context() -> ssl.SSLContext:
    return httpx2.create_ssl_context(trust_env=False)


@cache
def _no_certificates() -> ssl.SSLContext:
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


@cache
def _context(variable: str, value: str) -> ssl.SSLContext:
    try:
        if Path(value).is_dir():
            return ssl.create_default_context(capath=value)
        return ssl.create_default_context(cafile=value)
    except ssl.SSLError as err:  # an OSError, too
        reason, cause = "holds no certificates", err
    except OSError as err:
        reason, cause = f"cannot be read: {err.strerror}", err
    raise ArgumentError(
        f"{variable} names {value}, which {reason}.",
        param=variable,
        hint=f"Set {variable} to a file of certificates (PEM), or unset it to use the system's.",
    ) from cause
