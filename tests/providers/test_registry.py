"""Providers are found by the name they are registered under, foreign ones among them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.compute.offerings import ComputeProvider
from conduit_nb.errors import ArgumentError, MissingExtraError
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.registry import make_provider, provider_names


def test_this_machine_is_registered():
    assert isinstance(make_provider(ComputeProvider.LOCAL), LocalProvider)


@pytest.mark.parametrize("provider", ComputeProvider)
def test_every_provider_that_has_a_public_name_is_registered(provider: ComputeProvider):
    assert provider in provider_names()
    assert make_provider(provider).name == provider


def test_an_unknown_name_is_an_error_that_lists_the_registered_ones():
    with pytest.raises(ArgumentError, match="'lokal'") as caught:
        make_provider("lokal")

    assert "local" in caught.value.hint


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A package, as if installed, that registers two providers, one of them broken."""
    folder = tmp_path / "theirs-1.0.dist-info"
    folder.mkdir()
    (folder / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (folder / "entry_points.txt").write_text(
        "[conduit_nb.providers]\ntheirs = theirs_clouds:Theirs\nbroken = theirs_gone:Gone\n"
    )
    (tmp_path / "theirs_clouds.py").write_text("class Theirs:\n    name = 'theirs'\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    sys.modules.pop("theirs_clouds", None)


@pytest.mark.usefixtures("package")
def test_a_provider_of_another_package_is_found():
    assert {"local", "theirs"} <= set(provider_names())
    assert make_provider("theirs").name == "theirs"


@pytest.mark.usefixtures("package")
def test_a_provider_that_cannot_be_imported_is_an_error_that_names_its_package():
    with pytest.raises(MissingExtraError, match="'broken'") as caught:
        make_provider("broken")

    assert "theirs_gone" in caught.value.hint
