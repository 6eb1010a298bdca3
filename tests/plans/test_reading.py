"""plans/reading.py: models by id or folder, without their weights."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError, ModelFilesError, ModelNotFoundError
from conduit_nb.plans.reading import read_planned
from tests.plans.model_folders import config_folder


def test_a_folder_with_nothing_but_a_config_is_enough(tmp_path: Path):
    folder = config_folder(tmp_path, "Llama-3.1-8B-Instruct")

    model = read_planned(str(folder), max_model_len=4096, max_model_concurrency=3)

    assert model.spec.layers == 32
    assert sum(tensor.elements for tensor in model.weights.tensors) == 8_030_261_248
    assert (model.max_model_len, model.max_model_concurrency) == (4096, 3)


def test_a_folder_that_is_there_need_not_be_written_as_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    config_folder(tmp_path, "Qwen3-8B")
    monkeypatch.chdir(tmp_path)

    assert read_planned("Qwen3-8B").spec.layers == 36


@pytest.mark.parametrize(
    ("said", "meant"),
    [("bf16", "bfloat16"), ("half", "float16"), ("fp32", "float32"), ("auto", "auto")],
)
def test_a_precision_may_be_called_as_runtimes_call_it(tmp_path: Path, said: str, meant: str):
    folder = config_folder(tmp_path, "Qwen3-8B")

    assert read_planned(str(folder), dtype=said).dtype == meant


def test_fp8_weights_are_a_quantization(tmp_path: Path):
    folder = config_folder(tmp_path, "Qwen3-8B")

    model = read_planned(str(folder), dtype="fp8", kv_dtype="fp8_e4m3")

    assert (model.dtype, model.quantization, model.kv_dtype) == ("auto", "fp8", "fp8")


@pytest.mark.parametrize(
    "asked",
    [{"dtype": "int3"}, {"kv_dtype": "int3"}, {"dtype": "fp8", "quantization": "bitsandbytes"}],
)
def test_a_precision_that_nobody_knows_is_an_error(tmp_path: Path, asked: dict[str, str]):
    folder = config_folder(tmp_path, "Qwen3-8B")

    with pytest.raises(ArgumentError) as caught:
        read_planned(str(folder), **asked)

    assert caught.value.param in asked
    assert caught.value.hint


def test_a_family_that_nobody_can_reckon_is_an_error_that_says_what_would_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "zebra", "n_layer": 2}))

    with pytest.raises(ModelFilesError, match="zebra"):
        read_planned(str(tmp_path))


@pytest.mark.parametrize("name", ["/nowhere/at/all", "./nothing.gguf", "~/no-such-model-here"])
def test_a_path_that_is_not_there_is_an_error(name: str):
    with pytest.raises(ModelNotFoundError, match=re.escape(Path(name).name)) as caught:
        read_planned(name)

    assert caught.value.reason == "missing"


def test_an_empty_folder_is_an_error_that_names_what_is_missing(tmp_path: Path):
    with pytest.raises(ModelFilesError, match=r"config\.json"):
        read_planned(str(tmp_path))


def test_a_gguf_without_a_config_beside_it_is_an_error_that_says_so(tmp_path: Path):
    path = tmp_path / "model.gguf"
    path.write_bytes(b"GGUF\3\0\0\0")

    with pytest.raises(ModelFilesError) as caught:
        read_planned(str(path))

    assert "config.json" in caught.value.hint


def test_an_id_that_is_not_here_is_not_asked_of_the_hub_when_offline(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))

    with pytest.raises(ModelNotFoundError, match="nobody/such-model") as caught:
        read_planned("nobody/such-model")

    assert caught.value.reason == "offline"
    assert "CONDUIT_OFFLINE" in caught.value.hint
