"""models/hub.py: an id or a path becomes files, or an error that says what is here."""

from __future__ import annotations

import re

import pytest

from conduit_nb.errors import ModelFilesError, ModelNotFoundError
from conduit_nb.models.cache import converted_folder
from conduit_nb.models.embedded import GGUF_NAME, GGUF_SHA256
from conduit_nb.models.files import ModelFiles
from conduit_nb.models.hub import (
    EMBEDDED_MODEL_ID,
    available_offline,
    find_model,
    is_local,
    resolved_id,
)
from tests.models.hub_server import COMMIT, Hub, hub_server
from tests.models.model_files import gguf_header, model_bytes, write_model

pytestmark = pytest.mark.usefixtures("cache")


@pytest.fixture
def embedded_is_converted(cache):
    """Put what looks like the converted embedded model into the cache."""
    files = ModelFiles(
        model_id=EMBEDDED_MODEL_ID,
        revision=None,
        folder=cache,
        format="gguf",
        gguf_name=GGUF_NAME,
        fingerprint=GGUF_SHA256,
    )
    return write_model(converted_folder(files))


def test_a_folder_is_found_by_its_path(tmp_path):
    folder = write_model(tmp_path / "model")

    files = find_model(str(folder))

    assert (files.folder, files.format, files.revision) == (folder, "safetensors", None)


def test_a_relative_path_means_the_folder_where_the_user_stands(tmp_path, monkeypatch):
    write_model(tmp_path / "model")
    monkeypatch.chdir(tmp_path)

    assert find_model("./model").folder == tmp_path / "model"
    assert resolved_id("./model") == str(tmp_path / "model")
    assert resolved_id("owner/name") == "owner/name"


@pytest.mark.parametrize("path", ["/a", "./a", "../a", "~/a", ".", ".."])
def test_a_path_is_told_from_a_name(path):
    assert is_local(path)
    assert not is_local("owner/name")


def test_a_folder_that_is_not_there_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ModelNotFoundError, match=str(tmp_path / "nowhere")) as caught:
        find_model(str(tmp_path / "nowhere"))

    assert caught.value.reason == "missing"


def test_a_file_that_is_no_model_is_told_from_one_that_is_not_there(tmp_path):
    (tmp_path / "notes.txt").write_text("x")

    with pytest.raises(ModelNotFoundError, match=r"notes\.txt") as caught:
        find_model(str(tmp_path / "notes.txt"))

    assert caught.value.reason == "invalid"


def test_a_folder_that_lacks_files_is_an_error_that_names_them(tmp_path):
    (tmp_path / "config.json").write_text("{}")

    with pytest.raises(ModelFilesError, match=r"tokenizer\.json, \*\.safetensors") as caught:
        find_model(str(tmp_path))

    assert "config.json" not in str(caught.value)


def test_a_gguf_file_is_found_by_its_path_and_in_its_folder(tmp_path):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_header())

    by_path, by_folder = find_model(str(path)), find_model(str(tmp_path))

    assert by_path == by_folder
    assert (by_path.format, by_path.gguf_name) == ("gguf", "tiny.gguf")


def test_a_gguf_file_that_was_replaced_is_another(tmp_path):
    path = tmp_path / "tiny.gguf"
    path.write_bytes(gguf_header())
    before = find_model(str(path))
    path.write_bytes(gguf_header() + b"more")

    assert find_model(str(path)).fingerprint != before.fingerprint


def test_several_gguf_files_in_a_folder_are_an_error_that_says_to_choose(tmp_path):
    for name in ("a.gguf", "b.gguf"):
        (tmp_path / name).write_bytes(gguf_header())

    with pytest.raises(ModelFilesError, match=rf"{tmp_path}.*\b2\b.*\bGGUF\b") as caught:
        find_model(str(tmp_path))

    assert "a.gguf" in caught.value.hint


def test_a_broken_gguf_is_an_error(tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"<html>not found</html>")

    with pytest.raises(ModelFilesError, match=r"broken\.gguf.*\bGGUF\b"):
        find_model(str(path))


@pytest.mark.parametrize("model_id", ["", "a b", "a/b/c", "-x/y", "a/..", "x" * 97, "a/b\nc"])
def test_what_is_no_id_is_an_error_that_says_what_one_looks_like(model_id):
    with pytest.raises(ModelNotFoundError, match=re.escape(repr(model_id[:96]))) as caught:
        find_model(model_id)

    assert caught.value.reason == "invalid"
    assert "owner/name" in caught.value.hint


def test_the_embedded_model_needs_no_network_once_it_is_converted(
    embedded_is_converted, monkeypatch
):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")

    files = find_model(EMBEDDED_MODEL_ID)

    assert (files.folder, files.format) == (embedded_is_converted, "safetensors")


def test_a_revision_of_the_embedded_id_means_the_hub(embedded_is_converted, monkeypatch):
    pytest.importorskip("huggingface_hub")
    with hub_server(Hub({EMBEDDED_MODEL_ID: model_bytes()})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        files = find_model(EMBEDDED_MODEL_ID, revision="main")

    assert files.revision == COMMIT
    assert files.folder != embedded_is_converted


def test_offline_an_unknown_id_is_an_error_that_lists_what_is_here(
    embedded_is_converted, monkeypatch
):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")

    with pytest.raises(ModelNotFoundError, match="nobody/nothing") as caught:
        find_model("nobody/nothing")

    assert caught.value.reason == "offline"
    assert caught.value.available == (EMBEDDED_MODEL_ID,)
    assert "CONDUIT_OFFLINE" in caught.value.hint
    assert EMBEDDED_MODEL_ID in caught.value.hint


def test_without_any_model_the_hint_names_the_embedded_one(monkeypatch):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")

    with pytest.raises(ModelNotFoundError) as caught:
        find_model("nobody/nothing")

    assert caught.value.available == ()
    assert EMBEDDED_MODEL_ID in caught.value.hint


def test_what_is_available_offline_is_what_can_be_loaded(cache, embedded_is_converted):
    hub_folder = cache.parent / "huggingface" / "hub"
    whole = hub_folder / "models--owner--whole"
    write_model(whole / "snapshots" / COMMIT)
    (whole / "refs").mkdir()
    (whole / "refs" / "main").write_text(COMMIT)
    (hub_folder / "models--owner--begun" / "snapshots" / COMMIT).mkdir(parents=True)

    assert available_offline() == [EMBEDDED_MODEL_ID, "owner/whole"]


def test_the_home_of_nobody_is_a_folder_that_is_not_there():
    with pytest.raises(ModelNotFoundError, match="~nobody-of-that-name/model") as caught:
        find_model("~nobody-of-that-name/model")
    assert caught.value.reason == "missing"
    assert resolved_id("~nobody-of-that-name").endswith("~nobody-of-that-name")
