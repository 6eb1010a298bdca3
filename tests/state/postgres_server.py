"""A PostgreSQL of our own for tests: a real server on a socket in a temporary folder."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "postgres"


def postgres_programs() -> Path | None:
    """Return the folder of PostgreSQL's programs: Debian keeps them apart from PATH."""
    on_path = shutil.which("postgres")
    if on_path:
        return Path(on_path).parent
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/postgres"))
    return found[-1].parent if found else None


def can_run() -> bool:
    """Say whether there is a server, and a user that may run it (root may not)."""
    if postgres_programs() is None:
        return False
    return os.geteuid() != 0 or _has_user()


@contextmanager
def postgres_server() -> Iterator[str]:
    """Serve until the block ends; the URL is that of an empty database."""
    programs = postgres_programs()
    assert programs is not None, "can_run says whether there is one"
    as_user = [] if os.geteuid() != 0 else ["setpriv", f"--reuid={USER}", f"--regid={USER}"]
    as_user += ["--init-groups"] if as_user else []
    folder = Path(tempfile.mkdtemp(prefix="conduit-pg-"))
    try:
        if as_user:
            shutil.chown(folder, USER)
        data, owner = folder / "data", USER
        initdb = [programs / "initdb", "-D", data, "-U", owner, "-A", "trust", "-N"]
        _run([*as_user, *initdb], folder)
        options = f"-c listen_addresses='' -c unix_socket_directories='{folder}' -c fsync=off"
        control = [*as_user, programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
        _run([*control, "-o", options, "start"], folder)
        try:
            yield f"postgresql://{owner}@/postgres?host={folder}"
        finally:
            _run([*control, "-m", "immediate", "stop"], folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _run(command: list[str | Path], folder: Path) -> None:
    log = folder / "output"
    with log.open("ab") as output:  # a pipe would stay open in the server
        done = subprocess.run(
            command, cwd="/", stdin=subprocess.DEVNULL, stdout=output, stderr=output, timeout=120
        )
    assert done.returncode == 0, log.read_text()


def _has_user() -> bool:
    try:
        pwd.getpwnam(USER)
    except KeyError:
        return False
    return shutil.which("setpriv") is not None
