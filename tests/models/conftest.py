"""Folders of its own for every test of models: our cache, and the hub's."""

from __future__ import annotations

from pathlib import Path

import pytest


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return our cache, empty, with the hub's beside it, and nothing told from outside."""
    for name in ("CONDUIT_OFFLINE", "CONDUIT_EMBEDDED_WHEEL", "HF_HUB_CACHE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    monkeypatch.setenv("HF_ENDPOINT", "http://hub.invalid")
    monkeypatch.setenv("CONDUIT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"
