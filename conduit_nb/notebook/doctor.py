"""`conduit doctor`: what works on this machine, and what to do for the rest.

Layer 7.
"""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from conduit_nb import credentials, settings
from conduit_nb.compute.detection import detect_devices
from conduit_nb.errors import ConduitError, StorageError
from conduit_nb.models.hub import available_offline
from conduit_nb.notebook.display import Table
from conduit_nb.private_files import write_private_file
from conduit_nb.providers.registry import make_provider, provider_names
from conduit_nb.runtimes.lmlite import NEEDED
from conduit_nb.session import process_session
from conduit_nb.units import counted

GIB = 2**30
LEAST_FREE_GIB = 4.0
PROBE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that was looked at: whether it works, what was seen, and what to do where not."""

    what: str
    works: str
    seen: str
    to_do: str = ""


def doctor() -> Table[Finding]:
    """Look at everything that Conduit needs, and return what was found."""
    looks: tuple[Callable[[], Finding], ...] = (
        _python,
        _lmlite,
        _devices,
        _models,
        _disk,
        _data_folder,
        _state_folder,
        _state,
    )
    findings = [look() for look in looks]
    findings += [_credential(kind) for kind in credentials.KINDS]
    findings.append(_docker_address())
    findings += [_provider(name) for name in provider_names()]
    return Table(findings, empty="Nothing was looked at.")


def _python() -> Finding:
    return Finding(what="Python", works="yes", seen=f"{platform.python_version()} in {sys.prefix}")


def _lmlite() -> Finding:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if not missing:
        return Finding(what="LmLite", works="yes", seen="all that it needs is installed")
    return Finding(
        what="LmLite",
        works="no",
        seen=f"not installed: {', '.join(missing)}",
        to_do="pip install 'conduit-nb[lmlite]', or use endpoint=URL or another provider",
    )


def _devices() -> Finding:
    detection = detect_devices()
    names = [device.name for device in detection.devices]
    problems = "; ".join(map(str, detection.problems))
    return Finding(
        what="GPUs here",
        works="yes" if names else "no",
        seen=", ".join(names) or problems or "none: models run on the CPU",
        to_do=" ".join(problem.hint for problem in detection.problems),
    )


def _models() -> Finding:
    found = available_offline()
    return Finding(
        what="models without a network",
        works="yes" if found else "no",
        seen=", ".join(found) or "none",
        to_do="" if found else "name a folder, or allow the hub (CONDUIT_OFFLINE)",
    )


def _disk() -> Finding:
    folder = settings.cache_dir()
    while not folder.exists():
        folder = folder.parent
    free_gib = shutil.disk_usage(folder).free / GIB
    enough = free_gib >= LEAST_FREE_GIB
    return Finding(
        what="disk of the cache",
        works="yes" if enough else "no",
        seen=f"{free_gib:.0f} GiB free in {folder}",
        to_do="" if enough else "make room, or set CONDUIT_CACHE_DIR",
    )


def _data_folder() -> Finding:
    return _folder("data folder", settings.data_dir(), "CONDUIT_DATA_DIR")


def _state_folder() -> Finding:
    return _folder("state folder", settings.state_dir(), "CONDUIT_STATE_DIR")


def _folder(what: str, folder: Path, variable: str) -> Finding:
    """Write as much as a record and the begin of a log take, and remove it."""
    path = folder / f".doctor-{os.getpid()}"
    try:
        write_private_file(path, b"\0" * PROBE_BYTES, knob=variable)
        path.unlink(missing_ok=True)
    except StorageError as err:
        return Finding(what=what, works="no", seen=str(err), to_do=err.hint)
    return Finding(what=what, works="yes", seen=f"{folder} can be written")


def _state() -> Finding:
    session = process_session()
    try:
        report = session.wait(session.deployments.cost())
    except ConduitError as err:
        return Finding(what="state", works="no", seen=str(err), to_do=err.hint)
    return Finding(
        what="state",
        works="yes",
        seen=f"{len(report.deployments)} deployments, ${report.usd_per_hour:.2f}/h, "
        f"${report.today_usd:.2f} of ${report.day_cap_usd:.2f} today",
    )


def _credential(kind: credentials.Kind) -> Finding:
    """Say where a key was found; the key itself is shown nowhere."""
    try:
        found = credentials.find(kind)
    except ConduitError as err:
        return Finding(what=kind.name, works="no", seen=str(err), to_do=err.hint)
    if found is None:
        seen = f"not found; needed for {kind.needed_for}"
        return Finding(what=kind.name, works="no", seen=seen, to_do=kind.cure)
    return Finding(what=kind.name, works="yes", seen=f"found in {found.source}")


def _docker_address() -> Finding:
    what = "Docker's address"
    try:
        engine = credentials.docker_engine()
    except ConduitError as err:
        return Finding(what=what, works="no", seen=str(err), to_do=err.hint)
    return Finding(what=what, works="yes", seen=f"{engine.address} ({engine.source})")


def _provider(name: str) -> Finding:
    session = process_session()
    try:
        listing = session.wait(make_provider(name).offerings())
    except ConduitError as err:
        return Finding(what=f"provider {name}", works="no", seen=str(err), to_do=err.hint)
    problems = "; ".join(str(one) for one in listing.problems)
    count = len(listing.offerings)
    return Finding(
        what=f"provider {name}",
        works="yes" if listing.offerings else "no",
        seen=f"{counted(count, 'offering')}{f'; {problems}' if problems else ''}",
        to_do=" ".join(one.hint for one in listing.problems),
    )
