"""models/hub.py, `folder_here`: what this machine has of a model, without asking anybody."""

from __future__ import annotations

from pathlib import Path

import pytest

from conduit_nb.models.hub import folder_here
from tests.models.model_files import write_model


def test_a_folder_of_weights_is_itself(tmp_path: Path):
    folder = write_model(tmp_path / "m")

    assert folder_here(str(folder)) == folder


@pytest.mark.parametrize("model_id", ["nobody/has-this", "/not/there", "no id at all!"])
def test_what_is_not_here_is_none(model_id: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    assert folder_here(model_id) is None
