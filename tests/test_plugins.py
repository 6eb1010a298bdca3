"""What other packages register is found by its name."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError, MissingExtraError
from conduit_nb.plugins import load_registered, registered_names
from conduit_nb.spelling import did_you_mean

GROUP = "conduit_nb.providers"


@pytest.fixture
def _package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A package, as if installed, that registers two providers, one of them broken."""
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        f"[{GROUP}]\ntheirs = theirs_clouds:Theirs\nbroken = theirs_gone:Gone\n"
    )
    (tmp_path / "theirs_clouds.py").write_text("class Theirs:\n    name = 'theirs'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield
    sys.modules.pop("theirs_clouds", None)


@pytest.mark.usefixtures("_package")
def test_what_another_package_registers_is_found_beside_our_own():
    assert registered_names(GROUP) == sorted(registered_names(GROUP))
    assert {"local", "theirs"} <= set(registered_names(GROUP))
    assert getattr(load_registered(GROUP, "theirs", kind="provider"), "name", None) == "theirs"


@pytest.mark.usefixtures("_package")
def test_what_cannot_be_imported_is_an_error_that_names_its_package():
    with pytest.raises(MissingExtraError, match="'broken'") as caught:
        load_registered(GROUP, "broken", kind="provider")

    assert "theirs_gone" in caught.value.hint


def test_an_unknown_name_is_an_error_that_lists_the_known():
    with pytest.raises(ArgumentError, match="'lokal'") as caught:
        load_registered(GROUP, "lokal", kind="provider")

    assert caught.value.param == "provider"
    assert caught.value.hint.startswith(did_you_mean("local"))
    assert "docker" in caught.value.hint


def test_a_group_in_which_nothing_is_registered_says_so():
    assert registered_names("conduit_nb.no_such_group") == []
    with pytest.raises(ArgumentError) as caught:
        load_registered("conduit_nb.no_such_group", "x", kind="thing")

    assert caught.value.param == "thing"
    assert "none" in caught.value.hint
