"""The installation: one user's Conduit on one machine, its id and its secret.

The secret stands in a 0600 file in the data folder, or comes from `CONDUIT_SECRET_KEY`, and is
never written anywhere else: the keys of endpoints are derived from it, so that every client of
the installation knows them.
Layer 3.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import secrets
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import filelock

from conduit_nb import settings
from conduit_nb.errors import ArgumentError, StorageError
from conduit_nb.private_files import make_private_folder, to_storage_error, write_private_file

FILE_NAME = "installation.json"
SHORTEST_SECRET = 16
LOCK_TIMEOUT_S = 10.0
KNOB = "CONDUIT_DATA_DIR"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installation:
    """Whose deployments these are (`id`), and what their keys come from."""

    id: str
    secret: bytes = field(repr=False)

    def endpoint_key(self, deployment_id: str) -> str:
        """Return the key of a deployment's endpoint, the same for every client."""
        return hmac.digest(self.secret, f"endpoint:{deployment_id}".encode(), hashlib.sha256).hex()


def load_installation() -> Installation:
    """Return this user's installation; the first call on a machine makes it.

    Raises StorageError where its file cannot be made, read or kept private.
    """
    from_outside = settings.secret_key()
    if from_outside is not None:
        return _from_secret_key(from_outside)
    path = settings.data_dir() / FILE_NAME
    return _read(path) or _make(path)


def endpoint_key(deployment_id: str) -> str:
    """Return the key of a deployment's endpoint in this user's installation."""
    return load_installation().endpoint_key(deployment_id)


def _from_secret_key(secret_key: str) -> Installation:
    secret = secret_key.encode()
    if len(secret) < SHORTEST_SECRET:
        raise ArgumentError(
            f"CONDUIT_SECRET_KEY has {len(secret)} bytes; it needs at least {SHORTEST_SECRET}.",
            param="CONDUIT_SECRET_KEY",
            hint="Make one: python -c 'import secrets; print(secrets.token_hex(32))'.",
        )
    return Installation(
        id=hmac.digest(secret, b"installation", hashlib.sha256).hex()[:16], secret=secret
    )


def _read(path: Path) -> Installation | None:
    """Return what stands in the file, None where there is none."""
    try:
        with path.open("rb") as file:
            _keep_private(path, os.fstat(file.fileno()))
            content = file.read()
    except FileNotFoundError:
        return None
    except OSError as err:
        raise to_storage_error(err, path, knob=KNOB) from err
    try:
        fields = cast("dict[str, Any]", json.loads(content))
        installation = Installation(id=str(fields["id"]), secret=bytes.fromhex(fields["secret"]))
    except (ValueError, KeyError, TypeError) as err:
        raise _broken(path) from err
    if not installation.id or len(installation.secret) < SHORTEST_SECRET:
        raise _broken(path)
    return installation


def _keep_private(path: Path, found: os.stat_result) -> None:
    """Take the file away from everybody else; refuse one that is not ours."""
    if found.st_uid != os.geteuid():
        raise StorageError(
            f"{path} belongs to another user (uid {found.st_uid}).",
            hint=f"Set {KNOB} to a folder of your own.",
        )
    if not found.st_mode & 0o077:
        return
    path.chmod(0o600)
    if path.stat().st_mode & 0o077:
        raise StorageError(
            f"{path} holds a secret, and its file system lets others read it.",
            hint=f"Set {KNOB} to a folder on another file system, or set CONDUIT_SECRET_KEY.",
        )


def _make(path: Path) -> Installation:
    make_private_folder(path.parent, knob=KNOB)
    lock = filelock.FileLock(path.with_suffix(".lock"), timeout=LOCK_TIMEOUT_S, mode=0o600)
    try:
        with lock:
            found = _read(path)
            if found is not None:
                return found
            made = Installation(id=secrets.token_hex(8), secret=secrets.token_bytes(32))
            content = {"id": made.id, "secret": made.secret.hex()}
            write_private_file(path, json.dumps(content).encode(), knob=KNOB)
            return made
    except filelock.Timeout as err:
        raise StorageError(
            f"Another process has held {lock.lock_file} for {LOCK_TIMEOUT_S:g} s.",
            hint="End that process, or delete the lock file if there is none.",
        ) from err
    except OSError as err:
        raise to_storage_error(err, path, knob=KNOB) from err


def _broken(path: Path) -> StorageError:
    return StorageError(
        f"{path} does not hold an installation's id and secret.",
        hint="Delete it to begin anew. To end what runs with the old secret before that: "
        "conduit terminate all.",
    )
