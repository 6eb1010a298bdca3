"""How LmLite is started."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError, MissingExtraError
from conduit_nb.runtimes.base import ServerRequest
from conduit_nb.runtimes.lmlite import NEEDED, LmLiteRuntime


@pytest.fixture
def all_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the packages count as installed, so that this runs where torch is not."""
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: find_spec("json" if name in NEEDED else name)
    )


@pytest.mark.usefixtures("all_installed")
def test_it_is_this_environments_own_program_with_its_key_by_name_only(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("CONDUIT_SIDECAR_IDLE_S", "90")
    monkeypatch.delenv("CONDUIT_THREADS", raising=False)

    spec = LmLiteRuntime().launch_spec(ServerRequest(name="lmlite-local-1"))

    assert spec.name == "lmlite-local-1"
    assert spec.command == (
        *(sys.executable, "-m", "conduit_nb.lmlite"),
        *("--port", "{port}", "--idle-s", "90"),
    )
    assert spec.secrets == ("CONDUIT_API_KEY",)
    assert "CONDUIT_API_KEY" not in spec.environment
    assert spec.dialect == "lmlite"


@pytest.mark.usefixtures("all_installed")
def test_threads_and_folders_are_passed_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_THREADS", "3")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CONDUIT_CACHE_DIR", "here/cache")

    spec = LmLiteRuntime().launch_spec(ServerRequest(name="x"))

    assert spec.command[-2:] == ("--threads", "3")
    assert spec.environment["CONDUIT_CACHE_DIR"] == str(tmp_path / "here" / "cache")
    assert spec.environment["OMP_WAIT_POLICY"] == "PASSIVE"


@pytest.mark.usefixtures("all_installed")
def test_device_and_memory_are_passed_on(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_LMLITE_DEVICE", "cuda:1")
    monkeypatch.setenv("CONDUIT_LMLITE_MEMORY_GIB", "12.5")

    command = LmLiteRuntime().launch_spec(ServerRequest(name="x")).command

    assert command[-4:] == ("--device", "cuda:1", "--memory-gib", "12.5")


@pytest.mark.usefixtures("all_installed")
def test_the_hub_is_asked_only_when_we_may(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")
    offline = LmLiteRuntime().launch_spec(ServerRequest(name="x")).environment
    monkeypatch.setenv("CONDUIT_OFFLINE", "0")
    online = LmLiteRuntime().launch_spec(ServerRequest(name="x")).environment

    assert offline["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in online


def test_what_is_not_installed_is_named_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch,
):
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "torch" else find_spec(name)
    )

    with pytest.raises(MissingExtraError, match="torch") as caught:
        LmLiteRuntime().launch_spec(ServerRequest(name="x"))

    assert "pip install 'conduit-nb[lmlite]'" in caught.value.hint


@pytest.mark.usefixtures("all_installed")
def test_a_wrong_setting_is_an_error_and_no_server_is_started(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_SIDECAR_IDLE_S", "soon")

    with pytest.raises(ArgumentError) as caught:
        LmLiteRuntime().launch_spec(ServerRequest(name="x"))

    assert caught.value.param == "CONDUIT_SIDECAR_IDLE_S"
