"""scripts/extension.py and the wheel: JupyterLab's part is in it once, or left out with a word."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from types import ModuleType

import pytest

pytestmark = pytest.mark.system

ROOT = Path(__file__).resolve().parent.parent.parent
BUILT = ROOT / "extension/labextension"
PANELS = ("deployment_panel.js", "offering_table.js", "panels.css")


@pytest.fixture
def extension(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    """Return the script as a module that works in a copy of the extension's sources."""
    specification = importlib.util.spec_from_file_location("x", ROOT / "scripts/extension.py")
    assert specification is not None
    assert specification.loader is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    folder = tmp_path / "extension"
    copy_sources(ROOT / "extension", folder)
    for name in ("EXTENSION", "BUILT", "STAMP", "PACKAGES", "PACKAGES_STAMP", "LOCK"):
        relative = getattr(module, name).relative_to(module.ROOT / "extension")
        monkeypatch.setattr(module, name, folder / relative)
    return module


@pytest.fixture
def no_node(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Take every program of this machine but Python's own from the path."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.delenv("CI", raising=False)
    return folder


def copy_sources(source: Path, target: Path) -> None:
    ignored = shutil.ignore_patterns("node_modules", "labextension", "lib")
    shutil.copytree(source, target, ignore=ignored)


def test_the_digest_is_of_what_the_bundle_is_made_of(extension: ModuleType):
    before = extension.sources_digest()
    (extension.EXTENSION / "tests/shared/store.test.ts").write_text("other")
    (extension.EXTENSION / "src/panels/panel.ts").write_text("other")
    assert extension.sources_digest() == before

    (extension.EXTENSION / "src/lab/index.ts").write_text("other")
    changed = extension.sources_digest()
    assert changed != before

    (extension.EXTENSION / "src/shared/new.ts").write_text("")
    assert extension.sources_digest() not in (before, changed)


def test_without_node_it_says_what_to_do(extension: ModuleType, no_node: Path):
    with pytest.raises(extension.NoNodeError, match=r"node and npm not found[\s\S]*Node.js 20"):
        extension.build_extension()


def test_an_old_node_is_as_good_as_none(extension: ModuleType, no_node: Path):
    for name in ("node", "npm"):
        program = no_node / name
        program.write_text("#!/bin/sh\necho v12.22.12\n")
        program.chmod(0o755)

    with pytest.raises(extension.NoNodeError, match=r"v12\.22\.12"):
        extension.build_extension()


def test_a_bundle_of_these_very_sources_needs_no_node(extension: ModuleType, no_node: Path):
    extension.BUILT.mkdir()
    extension.STAMP.write_text(extension.sources_digest())

    extension.build_extension()


@pytest.mark.needs("html-manager")
def test_a_committed_bundle_that_its_sources_do_not_make_is_refused(extension: ModuleType):
    extension.PACKAGES.symlink_to(ROOT / "extension/node_modules")
    extension.check_panels()

    changed = extension.EXTENSION / "src/panels/sight.ts"
    changed.write_text(changed.read_text().replace("20_000", "30_000"))

    with pytest.raises(extension.ExtensionError, match=r"deployment_panel\.js, offering_table\.js"):
        extension.check_panels()


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_without_node_only_ci_fails(no_node: Path, ci: str, code: int):
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts/extension.py"), "check"],
        env={**os.environ, "CI": ci},
        capture_output=True,
        text=True,
    )

    assert done.returncode == code
    assert "JupyterLab's part is left out" in done.stderr


def test_the_lock_names_no_registry():
    assert '"resolved"' not in (ROOT / "extension/package-lock.json").read_text()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a copy of what a wheel is built from, without anything that was built."""
    pytest.importorskip("hatchling", reason="wheels are built where the dev tools are")
    folder = tmp_path / "clone"
    copy_sources(ROOT / "extension", folder / "extension")
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "conduit_nb", folder / "conduit_nb", ignore=ignored)
    (folder / "scripts").mkdir()
    for name in ("scripts/extension.py", "pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, folder / name)
    return folder


def wheel_of(clone: Path) -> tuple[Path, str]:
    """Build a wheel without a network; return it, and what was said."""
    command = ["pip", "wheel", "-v", "--no-deps", "--no-index", "--no-build-isolation", "-w"]
    done = subprocess.run(
        [sys.executable, "-m", *command, str(clone / "dist"), str(clone)],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (wheel,) = (clone / "dist").glob("*.whl")
    return wheel, done.stdout + done.stderr


def test_a_source_without_node_becomes_a_wheel_without_the_extension(clone: Path, no_node: Path):
    wheel, said = wheel_of(clone)

    names = zipfile.ZipFile(wheel).namelist()
    assert "conduit_nb/desk/desk.py" in names
    assert {f"conduit_nb/notebook/panels/bundles/{name}" for name in PANELS} <= set(names)
    assert not [name for name in names if "labextensions" in name]
    assert "JupyterLab's part of Conduit is left out" in said
    assert "node and npm not found" in said


@pytest.mark.needs("extension")
def test_the_wheel_brings_an_extension_that_jupyter_calls_enabled_and_ok(
    clone: Path, tmp_path: Path, no_node: Path
):
    pytest.importorskip("jupyterlab", reason="it is JupyterLab that is asked")
    shutil.copytree(BUILT, clone / "extension/labextension")
    wheel, _ = wheel_of(clone)

    names = zipfile.ZipFile(wheel).namelist()
    entries = [name for name in names if "remoteEntry" in name]
    assert len(entries) == 1, "once, and where JupyterLab looks"
    assert ".data/data/share/jupyter/labextensions/conduit-nb/static/" in entries[0]
    prefix = tmp_path / "prefix"
    # Without --ignore-installed pip would take away what this environment itself runs on.
    install = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "-q",
        "--no-deps",
        "--no-index",
        "--ignore-installed",
    ]
    subprocess.run([*install, "--prefix", str(prefix), str(wheel)], check=True)
    environment = {
        **os.environ,
        "JUPYTER_PATH": str(prefix / "share/jupyter"),
        "JUPYTER_CONFIG_PATH": str(prefix / "etc/jupyter"),
        "JUPYTER_PREFER_ENV_PATH": "0",
        "NO_COLOR": "1",
    }
    listed = jupyter("labextension list", environment)
    served = jupyter("server extension list", environment)

    ours = [line for line in listed.splitlines() if "conduit-nb v" in line]
    assert ours
    assert all("enabled" in line and "OK" in line for line in ours), ours
    assert str(prefix / "share/jupyter") in listed
    assert "conduit_nb.labserver" in served
    assert "Error" not in served


def jupyter(words: str, environment: dict[str, str]) -> str:
    """Return what a `jupyter` command says; it says it on both streams."""
    command = words.replace("labextension ", "jupyterlab.labextensions ")
    command = command.replace("server ", "jupyter_server ")
    done = subprocess.run(
        [sys.executable, "-m", *command.split()],
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
