#!/usr/bin/env python3
"""Build and check the TypeScript of `extension/`: `extension.py build | check`.

build   bundle the notebook's panels into the package, where they are committed; make
        extension/labextension, unless it is made of these very sources, and put it where the
        JupyterLab of this environment looks
check   formatting, lint, types and unit tests, and whether the committed bundles of the panels are
        what a build makes; then build extension/labextension

Needs node and npm. Where they are missing it says so and goes on; with CI=true that is a failure.
The build of a wheel calls `build_extension`, so: the standard library only, and jupyter-builder.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
EXTENSION = ROOT / "extension"
BUILT = EXTENSION / "labextension"
STAMP = BUILT / "sources.sha256"  # of what it is made of
PACKAGES = EXTENSION / "node_modules"
PACKAGES_STAMP = PACKAGES / "conduit-lock.sha256"
LOCK = EXTENSION / "package-lock.json"
OLDEST_NODE = 20
# What JupyterLab's part is made of; tests, linters and the panels are not in it.
SOURCES = (
    *("package.json", "package-lock.json", "tsconfig*.json", "schema/*", "style/*"),
    *("src/lab/**/*", "src/shared/**/*"),
)
BUNDLES = ROOT / "conduit_nb/notebook/panels/bundles"
INSTALLED = "share/jupyter/labextensions/conduit-nb"
SERVER_CONFIG = "etc/jupyter/jupyter_server_config.d/conduit_nb.json"


class ExtensionError(Exception):
    """It could not be built or checked; the message says why, and what to do."""


class NoNodeError(ExtensionError):
    """Node is missing or too old."""


def main() -> int:
    """Do what the command line asks; return the exit code."""
    parser = argparse.ArgumentParser(description="Build or check JupyterLab's part.")
    parser.add_argument("what", choices=("build", "check"))
    what = parser.parse_args().what
    try:
        if what == "check":
            check_extension()
        else:
            build_panels()
        build_extension()
        install_extension(Path(sys.prefix))
    except NoNodeError as error:
        print(f"extension: {error}", file=sys.stderr)
        return 1 if is_ci() else 0
    except ExtensionError as error:
        print(f"extension: {error}", file=sys.stderr)
        return 1
    return 0


def build_extension() -> None:
    """Make BUILT of the sources as they are. Raises ExtensionError where that cannot be done."""
    wanted = sources_digest()
    if STAMP.is_file() and STAMP.read_text() == wanted:
        return
    install_packages()
    for made in (BUILT, EXTENSION / "lib"):  # a file of yesterday would be shipped
        shutil.rmtree(made, ignore_errors=True)
    run("compiling", "node", PACKAGES / "typescript/bin/tsc", "-p", "tsconfig.build.json")
    core = PACKAGES / "@jupyterlab/core-meta/core.package.json"
    builder = ("-m", "jupyter_builder.main", "build", f"--core-package-file={core}", ".")
    run("bundling", sys.executable, *builder)
    if not (BUILT / "package.json").is_file():
        raise ExtensionError("jupyter-builder has made nothing.")
    STAMP.write_text(wanted)


def build_panels(folder: Path | None = None) -> None:
    """Bundle the panels into BUNDLES, or another folder. Raises ExtensionError."""
    install_packages()
    target = BUNDLES if folder is None else folder
    shutil.rmtree(target, ignore_errors=True)
    run("bundling the panels", "node", "bundle_panels.js", target)


def check_panels() -> None:
    """Raise ExtensionError where the committed bundles are not what a build makes."""
    with tempfile.TemporaryDirectory() as folder:
        fresh = Path(folder, "bundles")
        build_panels(fresh)
        made, committed = contents(fresh), contents(BUNDLES)
    stale = sorted(name for name in made | committed if made.get(name) != committed.get(name))
    if stale:
        raise ExtensionError(
            f"{', '.join(stale)} in {BUNDLES.name} is not what its sources make.\n"
            "  Run scripts/extension.py build, and commit what it writes."
        )


def contents(folder: Path) -> dict[str, bytes]:
    """Return what stands in the files of a folder, by name."""
    return {path.name: path.read_bytes() for path in folder.glob("*")}


def check_extension() -> None:
    """Check formatting, lint, types, unit tests and the panels' bundles. Raises ExtensionError."""
    install_packages()
    for title, command in {
        "formatting (npm run format)": (
            "prettier/bin/prettier.cjs",
            *("--config", "package.json", "--check", "."),
        ),
        "lint": ("eslint/bin/eslint.js", "--max-warnings", "0", "."),
        "types": ("typescript/bin/tsc", "--noEmit"),
        "unit tests": ("vitest/vitest.mjs", "run"),
    }.items():
        said = run(title, "node", PACKAGES / command[0], *command[1:])
        print(f"extension: {title}: {said.strip().splitlines()[-1] if said.strip() else 'ok'}")
    check_panels()
    print("extension: bundles of the panels: ok")


def install_packages() -> None:
    """Install what package-lock.json names, once for each content of it."""
    require_node()
    wanted = digest([LOCK])
    if PACKAGES_STAMP.is_file() and PACKAGES_STAMP.read_text() == wanted:
        return
    print("extension: installing node packages …", flush=True)
    run("npm ci", "npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund")
    PACKAGES_STAMP.write_text(wanted)


def install_extension(prefix: Path) -> None:
    """Put the built extension where the JupyterLab of that environment finds it."""
    target = prefix / INSTALLED
    if target.is_symlink():
        target.unlink()
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(BUILT, target)
    shutil.copy(EXTENSION / "install.json", target)
    config = prefix / SERVER_CONFIG
    config.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(EXTENSION / "jupyter_server_config.json", config)


def require_node() -> None:
    """Raise NoNodeError where node or npm is missing, or too old."""
    missing = [name for name in ("node", "npm") if shutil.which(name) is None]
    if missing:
        raise NoNodeError(
            f"{' and '.join(missing)} not found: JupyterLab's part is left out.\n"
            f"  Install Node.js {OLDEST_NODE} or newer to build it, or pip install a wheel."
        )
    version = run("node --version", "node", "--version").strip()
    if int(version.lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise NoNodeError(
            f"node is {version}; {OLDEST_NODE} or newer is needed: JupyterLab's part is left out."
        )


def run(title: str, program: str, *arguments: str | Path) -> str:
    """Run a program in the extension's folder; return what it said. Raises ExtensionError."""
    command = [shutil.which(program) or program, *map(str, arguments)]
    environment = {**os.environ, "NO_COLOR": "1"}
    done = subprocess.run(command, cwd=EXTENSION, env=environment, capture_output=True, text=True)
    if done.returncode:
        raise ExtensionError(f"{title} failed:\n{(done.stdout + done.stderr)[-6000:]}")
    return done.stdout


def sources_digest() -> str:
    """Return what tells these sources from others."""
    return digest(
        sorted(path for pattern in SOURCES for path in EXTENSION.glob(pattern) if path.is_file())
    )


def digest(paths: list[Path]) -> str:
    """Return a digest of the files' names and contents."""
    summed = hashlib.sha256()
    for path in paths:
        summed.update(path.relative_to(EXTENSION).as_posix().encode() + b"\0")
        summed.update(hashlib.sha256(path.read_bytes()).digest())
    return summed.hexdigest()


def is_ci() -> bool:
    """Say whether what is missing is a failure."""
    return os.environ.get("CI") == "true"


if __name__ == "__main__":
    sys.exit(main())
