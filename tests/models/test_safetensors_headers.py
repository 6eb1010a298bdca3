"""models/safetensors_headers.py: what files hold, without reading or fetching a weight."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest

from conduit_nb.errors import ModelFilesError, ModelNotFoundError
from conduit_nb.models.files import INDEX_NAME
from conduit_nb.models.safetensors_headers import HubHeaders, folder_index, folder_tensors
from conduit_nb.models.tensors import Tensor
from tests.models.published import RangeServer, range_server, safetensors_header

FIRST = {"model.embed_tokens.weight": ("BF16", [100, 16])}
SECOND = {"lm_head.weight": ("F8_E4M3", [100, 16]), "scale": ("F32", [1])}
WEIGHTS = b"\0" * 5_000_000
BOTH = (
    Tensor(name="model.embed_tokens.weight", shape=(100, 16), dtype="bfloat16"),
    Tensor(name="lm_head.weight", shape=(100, 16), dtype="float8"),
    Tensor(name="scale", shape=(1,), dtype="float32"),
)
INDEX = {
    "metadata": {"total_size": 4804},
    "weight_map": {
        "model.embed_tokens.weight": "model-00001-of-00002.safetensors",
        "lm_head.weight": "model-00002-of-00002.safetensors",
        "scale": "model-00002-of-00002.safetensors",
    },
}
FILES = {
    "model-00001-of-00002.safetensors": safetensors_header(FIRST) + WEIGHTS,
    "model-00002-of-00002.safetensors": safetensors_header(SECOND) + WEIGHTS,
    INDEX_NAME: json.dumps(INDEX).encode(),
    "config.json": b'{"model_type": "llama"}',
}


def write(folder: Path, *names: str) -> Path:
    for name in names or FILES:
        (folder / name).write_bytes(FILES[name])
    return folder


def hub(**options: object) -> RangeServer:
    files = {f"/owner/model/resolve/main/{name}": data for name, data in FILES.items()}
    return RangeServer(files=files, **options)


def test_a_folders_headers_say_what_is_in_it(tmp_path):
    assert folder_tensors(write(tmp_path)) == BOTH


def test_files_without_an_index_are_read_all(tmp_path):
    write(tmp_path, "model-00001-of-00002.safetensors")

    assert folder_tensors(tmp_path) == BOTH[:1]


def test_a_second_form_of_the_same_weights_is_not_counted(tmp_path):
    write(tmp_path, "model-00001-of-00002.safetensors")
    (tmp_path / "consolidated.safetensors").write_bytes(safetensors_header(SECOND))

    assert folder_tensors(tmp_path) == BOTH[:1]


def test_a_folder_that_lacks_a_file_of_its_index_says_nothing_but_the_total(tmp_path):
    write(tmp_path, INDEX_NAME, "model-00001-of-00002.safetensors")

    assert folder_tensors(tmp_path) is None
    index = folder_index(tmp_path)
    assert index
    assert index.total_bytes == 4804


def test_a_folder_without_weights_says_nothing(tmp_path):
    assert folder_tensors(tmp_path) is None
    assert folder_index(tmp_path) is None


@pytest.mark.parametrize(
    "content",
    [
        b"",
        struct.pack("<Q", 0),
        struct.pack("<Q", 1 << 40),
        struct.pack("<Q", 3) + b"{x}",
        safetensors_header({"a": ("Q7", [1])}),
        struct.pack("<Q", 12) + b'{"a": "text"',
    ],
)
def test_a_broken_header_is_an_error_that_names_the_file(tmp_path, content):
    (tmp_path / "model.safetensors").write_bytes(content)

    with pytest.raises(ModelFilesError, match=r"model\.safetensors"):
        folder_tensors(tmp_path)


def test_an_index_cannot_lead_out_of_its_folder(tmp_path):
    (tmp_path / INDEX_NAME).write_text(json.dumps({"weight_map": {"a": "../b.safetensors"}}))

    with pytest.raises(ModelFilesError, match=r"'\.\./b\.safetensors'"):
        folder_tensors(tmp_path)


def test_a_hub_is_asked_for_headers_only():
    with range_server(hub()) as server, HubHeaders("owner/model", endpoint=server.url) as model:
        assert model.tensors() == BOTH
        assert model.config() == {"model_type": "llama"}

    assert server.sent < 10_000
    assert all("bytes=" in asked for asked in server.ranges)


def test_a_model_of_one_file_needs_no_index():
    server = hub()
    del server.files[f"/owner/model/resolve/main/{INDEX_NAME}"]
    server.files["/owner/model/resolve/main/model.safetensors"] = safetensors_header(FIRST)

    with range_server(server), HubHeaders("owner/model", endpoint=server.url) as model:
        assert model.tensors() == BOTH[:1]


def test_a_server_without_ranges_is_not_read_to_the_end():
    with (
        range_server(hub(knows_ranges=False)) as server,
        HubHeaders("owner/model", endpoint=server.url) as model,
    ):
        assert model.tensors() == BOTH


def test_another_revision_is_another_path():
    server = hub()
    server.files["/owner/model/resolve/v2/config.json"] = b'{"model_type": "newer"}'

    with (
        range_server(server),
        HubHeaders("owner/model", revision="v2", endpoint=server.url) as model,
    ):
        assert model.config() == {"model_type": "newer"}


def test_a_model_that_is_not_there_has_no_config():
    with (
        range_server(hub()) as server,
        HubHeaders("owner/none", endpoint=server.url) as model,
        pytest.raises(ModelNotFoundError, match=r"owner/none.*config\.json") as caught,
    ):
        model.config()

    assert caught.value.reason == "missing"


@pytest.mark.parametrize(
    ("status", "reason", "cure"), [(403, "access", "HF_TOKEN"), (500, "unreachable", "")]
)
def test_a_hub_that_refuses_or_fails_says_which(status, reason, cure):
    with (
        range_server(hub(refuses=status)) as server,
        HubHeaders("owner/model", endpoint=server.url) as model,
        pytest.raises(ModelNotFoundError, match=str(status)) as caught,
    ):
        model.tensors()

    assert caught.value.reason == reason
    assert cure in caught.value.hint


def test_a_hub_that_cannot_be_reached_is_named():
    with (
        HubHeaders("owner/model", endpoint="http://127.0.0.1:9") as model,
        pytest.raises(ModelNotFoundError, match=r"http://127\.0\.0\.1:9/") as caught,
    ):
        model.config()

    assert caught.value.reason == "unreachable"
