"""notebook/doctor.py: what works here, and what to do for the rest."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.notebook.doctor import doctor
from conduit_nb.session import Session
from tests.notebook.echo_session import echo_session


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


def test_everything_is_looked_at_and_what_is_missing_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)

    found = {one.what: one for one in doctor()}

    assert {"Python", "LmLite", "GPUs here", "disk of the cache", "state"} <= found.keys()
    assert found["provider local"].works == "yes"
    assert found["provider runpod"].works == "no"
    assert "RUNPOD_API_KEY" in found["provider runpod"].to_do
    assert found["Python"].works == "yes"


def test_it_says_where_each_key_was_found_and_shows_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".runpod" / "config.toml"
    path.parent.mkdir()
    path.write_text('[default]\napi_key = "rpa_SECRET"\n')
    monkeypatch.setenv("CONDUIT_RUNPOD_API_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_TOKEN", "hf_SECRET")

    table = doctor()

    found = {one.what: one for one in table}
    assert found["Runpod API key"].works == found["Hugging Face token"].works == "yes"
    assert str(path) in found["Runpod API key"].seen
    assert "HF_TOKEN" in found["Hugging Face token"].seen
    assert "SECRET" not in str(table) + repr(list(table))


def test_it_says_what_is_wrong_with_a_login_and_how_to_get_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HOME", str(tmp_path))
    path = tmp_path / ".runpod" / "config.toml"
    path.parent.mkdir()
    path.write_text("[default]\napi_key = SECRET")
    monkeypatch.setenv("DOCKER_CONTEXT", "gone")

    found = {one.what: one for one in doctor()}

    for what in ("Runpod API key", "provider runpod"):
        assert found[what].works == "no"
        assert str(path) in found[what].seen
        assert "SECRET" not in found[what].seen
    assert found["Hugging Face token"].works == "no"
    assert "hf auth login" in found["Hugging Face token"].to_do
    assert "'gone'" in found["Docker's address"].seen
