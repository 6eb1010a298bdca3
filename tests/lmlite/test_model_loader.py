from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from safetensors.torch import load_file, save_file

from conduit_nb.errors import ArgumentError, ModelError, ModelFilesError
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.model_loader import default_threads, load_model

CPU = EngineConfig(device="cpu", threads=1)


@pytest.fixture
def folder(tiny_model_folder: Path, tmp_path: Path) -> Path:
    """Return a copy of a tiny model, to be broken."""
    for path in tiny_model_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    return tmp_path


def change_config(folder: Path, **values: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | values))


def test_a_model_says_what_it_is(folder: Path):
    loaded = load_model(folder, CPU)

    assert loaded.architecture == "LlamaForCausalLM"
    assert (loaded.context_tokens, loaded.stable_rope_tokens, loaded.vocab_size) == (512, 512, 512)
    assert (loaded.dtype, loaded.device.type) == (torch.float32, "cpu")
    assert [loaded.tokenizer.decode([token]) for token in loaded.end_tokens] == ["<|im_end|>"]


def test_float32_is_the_default_on_a_cpu_and_another_precision_can_be_requested(folder: Path):
    change_config(folder, dtype="bfloat16")

    assert load_model(folder, CPU).dtype == torch.float32
    config = EngineConfig(device="cpu", threads=1, dtype="bfloat16")
    assert load_model(folder, config).dtype == torch.bfloat16
    engine = Engine.load(folder, config)
    engine.close()
    assert engine.dtype == "bfloat16"


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json", "model.safetensors"])
def test_a_file_that_is_missing_is_named(folder: Path, name: str):
    (folder / name).unlink()

    with pytest.raises(ModelFilesError, match="safetensors" if "model" in name else name):
        load_model(folder, CPU)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", ["{", '{"model_type": 3}', "[]"])
def test_a_file_that_is_broken_is_an_error_of_the_files(folder: Path, name: str, content: str):
    (folder / name).write_text(content)

    with pytest.raises(ModelError, match=str(folder)):
        load_model(folder, CPU)


@pytest.mark.parametrize("kept", [0, 7, 100, 0.5])
def test_weights_that_are_cut_are_an_error_of_the_files(folder: Path, kept: float):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    path.write_bytes(data[: kept if isinstance(kept, int) else int(len(data) * kept)])

    with pytest.raises(ModelFilesError, match="weights"):
        load_model(folder, CPU)


def test_weights_that_lack_a_tensor_are_not_filled_with_random_ones(folder: Path):
    change_config(folder, num_hidden_layers=4)

    with pytest.raises(ModelFilesError, match=r"\b9\b.*\bmodel\.layers\.3\."):
        load_model(folder, CPU)


def test_weights_of_another_shape_are_an_error_of_the_files(folder: Path):
    change_config(folder, intermediate_size=64)

    with pytest.raises(ModelFilesError, match="weights"):
        load_model(folder, CPU)


def test_pickled_weights_are_never_read(folder: Path):
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"anything")

    with pytest.raises(ModelFilesError, match=r"safetensors.*pytorch_model\.bin"):
        load_model(folder, CPU)


def test_a_folder_that_is_not_there_is_an_error_of_the_files(tmp_path: Path):
    with pytest.raises(ModelFilesError, match=str(tmp_path / "nowhere")) as caught:
        load_model(tmp_path / "nowhere", CPU)

    assert "config.json" not in str(caught.value)


def test_code_in_a_model_folder_is_not_run(folder: Path):
    change_config(
        folder,
        model_type="mine",
        auto_map={"AutoConfig": "mine.Config", "AutoModelForCausalLM": "mine.Model"},
    )
    (folder / "mine.py").write_text(f"open({str(folder / 'ran')!r}, 'w')")

    with pytest.raises(ModelError, match=rf"{folder}\b.*\bLlamaForCausalLM\b") as caught:
        load_model(folder, CPU)
    assert "transformers" in caught.value.hint
    assert not (folder / "ran").exists()


def test_weights_of_four_bits_are_unpacked_where_nothing_can_multiply_them(
    tiny_model: Callable[..., Path], tmp_path: Path
):
    """gpt-oss is published so: experts in MXFP4, the rest in bfloat16."""
    sizes = {"hidden_size": 64, "intermediate_size": 64, "head_dim": 16, "num_attention_heads": 4}
    for path in tiny_model("gpt_oss", **sizes).iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    packed: dict[str, torch.Tensor] = {}
    for name, weight in load_file(tmp_path / "model.safetensors").items():
        if not name.endswith(("gate_up_proj", "down_proj")):
            packed[name] = weight.bfloat16()
            continue
        experts, inputs, outputs = weight.shape
        shape = (experts, outputs, inputs // 32)  # each 32 numbers have 16 bytes and one scale
        packed[f"{name}_blocks"] = torch.full((*shape, 16), 0x21, dtype=torch.uint8)
        packed[f"{name}_scales"] = torch.full(shape, 120, dtype=torch.uint8)
    save_file(packed, tmp_path / "model.safetensors", metadata={"format": "pt"})
    change_config(tmp_path, quantization_config={"quant_method": "mxfp4"})

    loaded = load_model(tmp_path, CPU)

    experts = loaded.model.get_submodule("model.layers.0.mlp.experts").down_proj
    # FP4 (e2m1): 1 is a half, 2 is one; the scale is 2 to the power of 120 - 127.
    assert set(experts.flatten().tolist()) == {0.5 / 128, 1 / 128}
    assert {weight.dtype for weight in loaded.model.parameters()} == {torch.float32}


def test_a_rotation_that_turns_with_the_length_bounds_what_is_steady(
    tiny_model: Callable[..., Path],
):
    loaded = load_model(tiny_model("phi3"), CPU)

    assert (loaded.stable_rope_tokens, loaded.context_tokens) == (256, 512)


@pytest.mark.parametrize(
    ("values", "why"),
    [
        ({"model_type": "t5", "architectures": ["T5Model"]}, "'T5Model'.*is_encoder_decoder"),
        ({"model_type": "vit", "architectures": ["ViTModel"]}, "'ViTModel'.*AutoModelForCausalLM"),
        ({"model_type": "mine", "auto_map": {"AutoConfig": "mine.C"}}, "LlamaForCausalLM"),
        (
            {"quantization_config": {"quant_method": "gptq", "bits": 4}},
            "'LlamaForCausalLM'.*(optimum|gptqmodel)",
        ),
        (
            {"quantization_config": {"quant_method": "unheard_of"}},
            "'LlamaForCausalLM'.*'unheard_of'",
        ),
    ],
    ids=["encoder and decoder", "vision only", "code of its own", "a package lacks", "unknown"],
)
def test_what_cannot_be_served_is_refused_with_its_name_and_what_to_do(
    folder: Path, values: dict[str, Any], why: str
):
    change_config(folder, **values)

    with pytest.raises(ModelError, match=why) as failure:
        load_model(folder, CPU)
    assert failure.value.hint


def test_a_device_that_is_not_there_is_an_error_that_names_it(folder: Path):
    with pytest.raises(ArgumentError, match="device='nonsense'") as caught:
        load_model(folder, EngineConfig(device="nonsense"))

    assert caught.value.param == "device"


def test_threads_are_no_more_than_the_cores_this_process_may_use():
    assert 1 <= default_threads() <= len(os.sched_getaffinity(0))
