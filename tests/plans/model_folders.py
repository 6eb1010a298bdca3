"""Folders that hold nothing but a published model's config.json."""

from __future__ import annotations

import json
from pathlib import Path

from tests.models.published import config_of


def config_folder(parent: Path, name: str) -> Path:
    """Make `parent`/`name` with the model's config.json alone."""
    folder = parent / name
    folder.mkdir()
    (folder / "config.json").write_text(json.dumps(config_of(name)))
    return folder
