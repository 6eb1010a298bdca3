"""Where users keep their keys: environment variables first, then the files of providers' programs.

One row of KINDS for each key: the variables that may hold it, the file that a login writes, and
how to read that. A key is in no repr and no message; where it was found may be shown.
Layer 0: imports only errors.
"""

from __future__ import annotations

import hashlib
import json
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from conduit_nb.errors import CredentialsError

MAX_FILE_BYTES = 1_000_000
DEFAULT_DOCKER_HOST = "unix:///var/run/docker.sock"
DEFAULT_CONTEXT = "default"


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """A key, and where it was found: a variable's name, or a file's path."""

    value: str = field(repr=False)
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Kind:
    """A key that users have: `variables` hold it, else the file that `login` writes.

    `read` takes the file's text and returns the key, None where the file holds none; it raises
    ValueError or TypeError where the file is malformed. `file` is None where the home folder is
    not known.
    """

    name: str
    variables: tuple[str, ...]
    file: Callable[[], Path | None]
    read: Callable[[str], str | None]
    login: str
    needed_for: str

    @property
    def cure(self) -> str:
        """Return what to do where there is no such key."""
        return f"Set {self.variables[0]} in the environment, or run `{self.login}`."


@dataclass(frozen=True, slots=True, kw_only=True)
class DockerEngine:
    """The engine that Docker's own settings name. `source` says which setting that is.

    `certificates` is the folder with ca.pem, cert.pem and key.pem of a context with TLS.
    """

    address: str
    source: str
    certificates: Path | None = None


def find(kind: Kind) -> Credential | None:
    """Return the key of that kind, None where there is none.

    Raises CredentialsError, which names the variable or file, where what it holds can be no key.
    """
    for name in kind.variables:
        value = os.environ.get(name, "").strip()
        if value and not _is_one_word(value):
            raise CredentialsError(
                f"{name} contains invalid characters (spaces, line breaks or quotes).",
                hint=f"Set {name} to the key alone.",
            )
        if value:
            return Credential(value=value, source=name)
    path = kind.file()
    text = _text(path, kind.login) if path is not None else None
    if path is None or text is None:
        return None
    try:
        value = kind.read(text)
    except (ValueError, TypeError):
        # `from None`: the parser's own error may quote the line that holds the key.
        raise _malformed(path, kind.login) from None
    return Credential(value=value, source=str(path)) if value else None


def hub_home() -> Path:
    """Return Hugging Face's folder (`HF_HOME`, else below `XDG_CACHE_HOME`)."""
    if home := os.environ.get("HF_HOME"):
        return expanded(home)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"


def docker_engine() -> DockerEngine:
    """Return the engine that `DOCKER_HOST`, `DOCKER_CONTEXT` or Docker's current context names.

    Raises CredentialsError where the context does not exist or its files are malformed.
    """
    if host := os.environ.get("DOCKER_HOST", "").strip():
        return DockerEngine(address=host, source="DOCKER_HOST")
    folder = expanded(os.environ.get("DOCKER_CONFIG") or "~/.docker")
    if name := os.environ.get("DOCKER_CONTEXT", "").strip():
        source = "DOCKER_CONTEXT"
    else:
        path = folder / "config.json"
        name, source = _json(path).get("currentContext") or DEFAULT_CONTEXT, str(path)
        if not isinstance(name, str):
            raise _malformed(path, "docker context use default")
    if name == DEFAULT_CONTEXT:
        return DockerEngine(address=DEFAULT_DOCKER_HOST, source="the default address")
    return _docker_context(folder, name, source)


def _docker_context(folder: Path, name: str, source: str) -> DockerEngine:
    identity = hashlib.sha256(name.encode()).hexdigest()
    path = folder / "contexts" / "meta" / identity / "meta.json"
    if not path.is_file():
        raise CredentialsError(
            f"The Docker context {name!r}, which {source} names, does not exist: no {path}.",
            hint="List the contexts with `docker context ls`; choose one with `docker context use "
            "NAME`, or set DOCKER_HOST.",
        )
    endpoints = _json(path).get("Endpoints")
    docker = cast("dict[str, Any]", endpoints).get("docker") if isinstance(endpoints, dict) else 0
    host = cast("dict[str, Any]", docker).get("Host") if isinstance(docker, dict) else None
    if not isinstance(host, str) or not host:
        raise _malformed(path, f"docker context update {name}")
    certificates = folder / "contexts" / "tls" / identity / "docker"
    return DockerEngine(
        address=host,
        source=f"context {name!r} of {source}",
        certificates=certificates if certificates.is_dir() else None,
    )


def _runpod_file() -> Path | None:
    return _in_home(".runpod/config.toml")


def _runpod_key(text: str) -> str | None:
    """Read the file of `runpod config` (a table for each profile) or of runpodctl (a flat one)."""
    content = tomllib.loads(text)
    profile = content.get("default")
    if profile is not None and not isinstance(profile, dict):
        raise TypeError
    for table in (cast("dict[str, Any]", profile or {}), content):
        for name, value in table.items():
            if name.lower().replace("_", "") == "apikey":
                return _one_word(value)
    return None


def _hub_file() -> Path | None:
    named = os.environ.get("HF_TOKEN_PATH")
    return expanded(named) if named else hub_home() / "token"


def _one_word(value: object) -> str | None:
    """Return a key without the blanks around it, None for no key; else ValueError or TypeError."""
    if not isinstance(value, str):
        raise TypeError
    key = value.strip()
    if not _is_one_word(key):
        raise ValueError
    return key or None


def _is_one_word(key: str) -> bool:
    return key.isascii() and key.isprintable() and not set(key) & set(" \"'")


def _in_home(name: str) -> Path | None:
    try:
        return Path.home() / name
    except RuntimeError:  # a user without a home folder
        return None


def expanded(path: str) -> Path:
    """Return the path with variables and `~` filled in, as Hugging Face's and Docker's tools do."""
    try:
        return Path(os.path.expandvars(path)).expanduser()
    except RuntimeError:  # a user without a home folder
        return Path(path)


def _text(path: Path, login: str) -> str | None:
    """Return the file's text, None where there is none; CredentialsError where it is unreadable."""
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as err:
        raise CredentialsError(
            f"{path} cannot be read: {err.strerror}.",
            hint=f"Check its permissions, or write it again with `{login}`.",
        ) from err
    if len(content) > MAX_FILE_BYTES:
        raise _malformed(path, login)
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise _malformed(path, login) from None  # the decoder's error holds the bytes


def _json(path: Path) -> Mapping[str, Any]:
    """Return what a JSON file of Docker's holds; nothing where there is no such file."""
    login = "docker context use default"
    text = _text(path, login)
    if text is None:
        return {}
    try:
        content: object = json.loads(text)
    except (ValueError, RecursionError):
        raise _malformed(path, login) from None  # the parser's error holds the text
    if not isinstance(content, dict):
        raise _malformed(path, login)
    return cast("dict[str, Any]", content)


def _malformed(path: Path, login: str) -> CredentialsError:
    return CredentialsError(
        f"{path} is malformed.", hint=f"Repair or delete it, then write it again with `{login}`."
    )


RUNPOD = Kind(
    name="Runpod API key",
    variables=("RUNPOD_API_KEY",),
    file=_runpod_file,
    read=_runpod_key,
    login="runpod config",
    needed_for="renting GPUs at Runpod",
)
HUB = Kind(
    name="Hugging Face token",
    variables=("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"),
    file=_hub_file,
    read=_one_word,
    login="hf auth login",
    needed_for="gated and private models",
)
KINDS = (RUNPOD, HUB)
