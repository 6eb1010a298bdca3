"""providers/docker_images.py: pulls by a real engine from a registry on a real port."""

from __future__ import annotations

import itertools
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import docker
import pytest

from conduit_nb.errors import DeploymentError, StorageError
from conduit_nb.events import Step
from conduit_nb.providers.docker_images import (
    follow_pull,
    have_image,
    recorded_digest,
    split_name,
)
from tests.image_registry import ImageRegistry, image_registry

NAME = "owner/image"


@pytest.fixture(autouse=True)
def data_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    return tmp_path / "data"


@pytest.fixture
def registry() -> Iterator[ImageRegistry]:
    with image_registry() as registry:
        yield registry


@pytest.fixture
def client(engine: str) -> Iterator[Any]:
    with closing(docker.DockerClient(base_url=engine)) as client:
        yield client


def forget(client: Any, image: str) -> None:
    """Remove an image with all its names, as pruning does."""
    client.images.remove(client.images.get(image).id, force=True)


@pytest.mark.needs("docker")
def test_a_tag_that_was_moved_is_pulled_as_it_was_first(
    client: Any, registry: ImageRegistry, data_folder: Path
):
    image = f"{registry.address}/{NAME}:1"
    first = registry.push("1", b"first")
    told: list[str] = []
    told_again: list[str] = []
    have_image(client, image, told.append)
    had = client.images.get(image).id
    forget(client, image)
    registry.push("1", b"moved")
    registry.asked.clear()
    have_image(client, image, told_again.append)

    assert client.images.get(image).id == had
    assert recorded_digest(image) == first
    assert set(registry.asked) <= {first}, "the tag is not asked for"
    assert image in told[0]
    assert first not in told[0]
    assert any(image in text and first in text for text in told[1:])
    assert any(image in text and first in text for text in told_again)
    assert stat.S_IMODE((data_folder / "images.json").stat().st_mode) == 0o600


@pytest.mark.needs("docker")
def test_an_image_that_is_here_is_not_asked_for(client: Any, registry: ImageRegistry):
    image = f"{registry.address}/{NAME}:1"
    registry.push("1", b"first")
    have_image(client, image, lambda _: None)
    registry.asked.clear()
    told: list[str] = []
    have_image(client, image, told.append)

    assert (registry.asked, told) == ([], [])


@pytest.mark.needs("docker")
def test_an_image_named_by_its_digest_is_that(client: Any, registry: ImageRegistry):
    digest = registry.push("1", b"first")
    registry.push("1", b"second")
    image = f"{registry.address}/{NAME}@{digest}"
    have_image(client, image, lambda _: None)

    assert image in client.images.get(image).attrs["RepoDigests"]
    assert set(registry.asked) == {digest}
    assert recorded_digest(image) is None


@pytest.mark.needs("docker")
def test_how_much_has_come_is_told(client: Any, registry: ImageRegistry):
    image = f"{registry.address}/{NAME}:big"
    registry.push("big", os.urandom(8_000_000))
    told: list[str | Step] = []
    have_image(client, image, told.append, clock=itertools.count(0, 10).__next__)

    steps = [one.text for one in told if isinstance(one, Step)]
    assert any(re.search(rf"{re.escape(image)}: \d of 8 MB, .* left$", one) for one in steps), told


@pytest.mark.needs("docker")
def test_a_pull_that_nobody_wants_any_more_ends(client: Any, registry: ImageRegistry):
    image = f"{registry.address}/{NAME}:late"
    registry.push("late", b"late")
    with pytest.raises(DeploymentError, match=image) as caught:
        have_image(client, image, lambda _: None, is_unwanted=lambda: True)

    assert "conduit image build" not in caught.value.hint, "it could have been pulled"
    assert recorded_digest(image) is None


@pytest.mark.needs("docker")
def test_a_tag_that_is_not_there_is_told(client: Any, registry: ImageRegistry):
    image = f"{registry.address}/{NAME}:none"
    with pytest.raises(DeploymentError, match=image) as caught:
        have_image(client, image, lambda _: None)

    assert "conduit image build" in caught.value.hint


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("image", ("image", "latest", None)),
        ("image:2", ("image", "2", None)),
        ("host:5000/owner/image", ("host:5000/owner/image", "latest", None)),
        ("host:5000/owner/image:2", ("host:5000/owner/image", "2", None)),
        ("host:5000/image:2@sha256:ab", ("host:5000/image", "2", "sha256:ab")),
    ],
)
def test_a_name_has_a_repository_a_tag_and_a_digest(name: str, parts: tuple[str, str, str | None]):
    assert split_name(name) == parts


def test_progress_is_summed_over_layers_and_told_now_and_then():
    steps = [
        {"id": "a", "status": "Downloading", "progressDetail": {"current": 1e6, "total": 4e6}},
        {"id": "b", "status": "Downloading", "progressDetail": {"current": 2e6, "total": 6e6}},
        {"id": "a", "status": "Download complete", "progressDetail": {}},
        {"id": "a", "status": "Extracting", "progressDetail": {"current": 1, "total": 4e6}},
        {"status": "Digest: sha256:ab"},
    ]
    told: list[str] = []
    # The first is the beginning.
    moments = iter([0.0, 0.9, 3.0, 3.0, 3.5, 6.0, 6.0, 6.0])

    assert follow_pull(steps, told.append, moments.__next__) == ("", "sha256:ab")
    assert told == ["3 of 10 MB, 1.0 MB/s, 7.0 s left", "6 of 10 MB, 1.0 MB/s, 4.0 s left"]


def test_the_engines_error_is_returned():
    steps = [{"errorDetail": {"message": "no space"}, "error": "no space"}]

    assert follow_pull(steps, lambda _: None, lambda: 0.0) == ("no space", None)


def test_a_file_that_is_none_of_ours_is_told(data_folder: Path):
    data_folder.mkdir()
    (data_folder / "images.json").write_text("{")
    with pytest.raises(StorageError, match=r"images\.json") as caught:
        recorded_digest("image:1")

    assert isinstance(caught.value.__cause__, ValueError)
    assert caught.value.hint
    (data_folder / "images.json").write_text(json.dumps({"image:1": {"digest": "sha256:1"}}))
    assert recorded_digest("image:1") == "sha256:1"
