"""models/files.py: whole and safe, or an error that says what is missing."""

from __future__ import annotations

import json
import re
import struct

import pytest

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.files import check_gguf, check_model_folder, check_safetensors
from tests.models.model_files import gguf_header, model_bytes, safetensors_bytes, write_model


def test_a_whole_model_passes(tmp_path):
    check_model_folder(write_model(tmp_path))


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_a_missing_file_is_named(tmp_path, name):
    files = model_bytes()
    del files[name]

    with pytest.raises(ModelFilesError, match=re.escape(name)) as caught:
        check_model_folder(write_model(tmp_path, files))

    assert not any(other in str(caught.value) for other in files)


def test_everything_that_is_missing_is_named_at_once(tmp_path):
    with pytest.raises(ModelFilesError) as caught:
        check_model_folder(tmp_path)

    for name in ("config.json", "tokenizer.json", "safetensors"):
        assert name in str(caught.value)


def test_pickled_weights_are_refused_as_unsafe(tmp_path):
    files = model_bytes()
    files["pytorch_model.bin"] = files.pop("model.safetensors")

    with pytest.raises(ModelFilesError, match=r"pytorch_model\.bin") as caught:
        check_model_folder(write_model(tmp_path, files))

    assert "save_pretrained" in caught.value.hint


def test_pickled_weights_beside_safetensors_do_no_harm(tmp_path):
    check_model_folder(write_model(tmp_path, {**model_bytes(), "pytorch_model.bin": b"x"}))


def test_a_shard_that_is_missing_is_named(tmp_path):
    index = {"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}
    files = model_bytes()
    files["model-1.safetensors"] = files.pop("model.safetensors")
    files["model.safetensors.index.json"] = json.dumps(index).encode()

    with pytest.raises(ModelFilesError, match=r"model-2\.safetensors") as caught:
        check_model_folder(write_model(tmp_path, files))

    assert "model-1.safetensors" not in str(caught.value)


@pytest.mark.parametrize(
    ("index", "fact"),
    [
        (b"{", ""),
        (b"[]", ""),
        (b'{"weight_map": {}}', ""),
        (b'{"weight_map": {"a": "../../secret"}}', r"'\.\./\.\./secret'"),
    ],
)
def test_an_index_that_leads_nowhere_is_an_error(tmp_path, index, fact):
    files = {**model_bytes(), "model.safetensors.index.json": index}

    with pytest.raises(ModelFilesError, match=rf"index\.json.*{fact}"):
        check_model_folder(write_model(tmp_path, files))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"1234",
        safetensors_bytes()[:-1],
        safetensors_bytes() + b"x",
        struct.pack("<Q", 2**60) + b"{}",
        struct.pack("<Q", 4) + b"nope",
        struct.pack("<Q", 2) + b"[]",
        struct.pack("<Q", 7) + b'{"a":1}',
    ],
)
def test_a_broken_or_cut_weights_file_is_an_error_that_names_it(tmp_path, content):
    path = tmp_path / "model.safetensors"
    path.write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"model\.safetensors"):
        check_safetensors(path)


@pytest.mark.parametrize("content", [b"", b"GGUF", b"GGML\3\0\0\0", gguf_header(version=99)])
def test_what_is_no_gguf_is_an_error(tmp_path, content):
    path = tmp_path / "model.gguf"
    path.write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"model\.gguf.*\bGGUF\b"):
        check_gguf(path)


def test_a_gguf_header_passes(tmp_path):
    path = tmp_path / "model.gguf"
    path.write_bytes(gguf_header())

    check_gguf(path)
