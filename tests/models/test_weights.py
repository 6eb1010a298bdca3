"""models/weights.py: a model's weights by the best source at hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError, MissingExtraError, ModelError, ModelFilesError
from conduit_nb.models.files import INDEX_NAME
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.quantization import named_quantization, quantized
from conduit_nb.models.spec import spec_of
from conduit_nb.models.tensors import Tensor, parameter_count
from conduit_nb.models.weights import Weights, read_hub_model, read_model, served_tensors
from tests.models.published import (
    RangeServer,
    range_server,
    safetensors_header,
    spec_named,
)

SMALL = {
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 300,
    "max_position_embeddings": 128,
}
COUNTED = (Tensor(name="counted", shape=(7,)),)


def folder_of(tmp_path: Path, config: dict[str, object], *tensors: Tensor) -> Path:
    (tmp_path / "config.json").write_text(json.dumps(config))
    if tensors:
        (tmp_path / "model.safetensors").write_bytes(safetensors_header(list(tensors)))
    return tmp_path


def counts(_folder: Path) -> tuple[Tensor, ...]:
    return COUNTED


def test_headers_go_before_a_count(tmp_path):
    folder = folder_of(tmp_path, SMALL, *tensors_of(spec_of(SMALL)))

    _, weights = read_model(folder, count=counts)

    assert weights.source == "safetensors headers"
    assert parameter_count(weights.tensors) == parameter_count(tensors_of(spec_of(SMALL)))


def test_a_count_goes_before_arithmetic(tmp_path):
    _, weights = read_model(folder_of(tmp_path, SMALL), count=counts)

    assert (weights.source, weights.tensors) == ("meta device", COUNTED)


@pytest.mark.parametrize("error", [MissingExtraError, ModelError])
def test_arithmetic_stands_in_where_a_count_fails(tmp_path, error):
    def fails(_folder: Path) -> tuple[Tensor, ...]:
        raise error("no")

    _, weights = read_model(folder_of(tmp_path, SMALL), count=fails)

    assert weights.source == "arithmetic"


def test_an_unknown_family_without_files_or_torch_is_an_error(tmp_path):
    with pytest.raises(ModelFilesError, match="'strange'"):
        read_model(folder_of(tmp_path, {**SMALL, "model_type": "strange"}))


def refuses(_folder: Path) -> tuple[Tensor, ...]:
    raise ModelError("transformers does not know it")


def test_a_family_that_nothing_knows_is_planned_like_llama_with_a_remark(tmp_path):
    config = {**SMALL, "model_type": "strange"}

    _, weights = read_model(folder_of(tmp_path, config), count=refuses)

    least = parameter_count(tensors_of(spec_of(SMALL)))
    assert least < parameter_count(weights.tensors) < 1.02 * least
    assert "strange" in weights.remarks[0]


@pytest.mark.parametrize(
    "more",
    [
        {"intermediate_size": None},
        {"mamba_n_heads": 4, "mamba_d_head": 32, "mamba_d_state": 16},
    ],
)
def test_a_family_that_nothing_knows_and_that_names_too_little_is_refused(tmp_path, more):
    config = {**SMALL, "model_type": "strange", **more}

    with pytest.raises(ModelFilesError, match="'strange'"):
        read_model(folder_of(tmp_path, config), count=refuses)


# The sizes of InternVL3-8B and deepseek-vl2, and the parameters that their cards name.
INTERNVL = {
    "model_type": "internvl_chat",
    "llm_config": {
        "model_type": "qwen2",
        "hidden_size": 3584,
        "intermediate_size": 18944,
        "num_hidden_layers": 28,
        "num_attention_heads": 28,
        "num_key_value_heads": 4,
        "vocab_size": 151674,
    },
    "vision_config": {
        "hidden_size": 1024,
        "intermediate_size": 4096,
        "num_hidden_layers": 24,
        "patch_size": 14,
        "image_size": 448,
    },
}
DEEPSEEK_VL = {
    "model_type": "deepseek_vl_v2",
    "language_config": {
        "model_type": "deepseek_v2",
        "hidden_size": 2560,
        "intermediate_size": 12288,
        "moe_intermediate_size": 1536,
        "n_routed_experts": 72,
        "n_shared_experts": 2,
        "num_experts_per_tok": 6,
        "num_hidden_layers": 30,
        "num_attention_heads": 32,
        "kv_lora_rank": 512,
        "qk_nope_head_dim": 128,
        "qk_rope_head_dim": 64,
        "v_head_dim": 128,
        "first_k_dense_replace": 1,
        "vocab_size": 129280,
    },
    "vision_config": {"layers": 27, "mlp_ratio": 3.7362, "patch_size": 14, "width": 1152},
}


@pytest.mark.parametrize(
    ("config", "count", "seen"),
    [(INTERNVL, 7.94e9, 0.33e9), (DEEPSEEK_VL, 27.5e9, 0.43e9)],
    ids=["InternVL3-8B", "deepseek-vl2"],
)
def test_a_whole_that_nothing_knows_is_planned_by_its_parts_with_a_remark(
    tmp_path, config, count, seen
):
    _, weights = read_model(folder_of(tmp_path, config), count=refuses)

    vision = [tensor for tensor in weights.tensors if tensor.role == "vision"]
    assert parameter_count(weights.tensors) == pytest.approx(count, rel=0.01)
    assert parameter_count(tuple(vision)) == pytest.approx(seen, rel=0.05)
    assert config["model_type"] in weights.remarks[0]


# The sizes of Ling-lite-1.5, whose card names 16.8 billion parameters.
LING = {
    "model_type": "bailing_moe",
    "hidden_size": 2048,
    "intermediate_size": 5632,
    "num_hidden_layers": 28,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "vocab_size": 126464,
    "num_experts": 64,
    "moe_intermediate_size": 1408,
}


@pytest.mark.parametrize(
    "shared",
    [
        {"num_shared_experts": 2},
        {"moe_num_shared_experts": 2},
        {"num_shared_expert": [2] * 28},
        {"shared_expert_intermediate_size": 2816},
    ],
    ids=str,
)
def test_the_shared_experts_of_an_unknown_family_are_counted(tmp_path, shared):
    _, weights = read_model(folder_of(tmp_path, {**LING, **shared}), count=refuses)

    assert parameter_count(weights.tensors) == pytest.approx(16.8e9, rel=0.002)


def test_parts_that_are_not_sized_are_named_in_the_remark(tmp_path):
    config = {**SMALL, "model_type": "strange", "vision_config": {"name": "a tower of mine"}}

    _, weights = read_model(folder_of(tmp_path, config), count=refuses)

    assert "without its other parts" in weights.remarks[0]


def test_layers_behind_the_last_and_a_tied_heads_copy_are_not_loaded(tmp_path):
    extra = (
        Tensor(name="model.layers.2.mlp.up_proj.weight", shape=(9, 9)),
        Tensor(name="lm_head.weight", shape=(300, 64)),
    )
    tied = {**SMALL, "tie_word_embeddings": True}
    expected = tensors_of(spec_of(tied))

    _, weights = read_model(folder_of(tmp_path, tied, *expected, *extra))

    assert {tensor.name for tensor in weights.tensors} == {tensor.name for tensor in expected}


def test_an_encoder_with_more_layers_than_the_decoder_is_loaded_whole(tmp_path):
    config = {
        "model_type": "whisper",
        "is_encoder_decoder": True,
        "d_model": 64,
        "encoder_layers": 4,
        "decoder_layers": 2,
        "num_hidden_layers": 4,
        "decoder_attention_heads": 4,
        "vocab_size": 300,
    }
    tensors = [
        Tensor(name=f"model.{part}.layers.{layer}.fc1.weight", shape=(64, 64))
        for part, layers in (("encoder", 4), ("decoder", 2))
        for layer in range(layers)
    ]

    spec, weights = read_model(folder_of(tmp_path, config, *tensors))

    assert spec.layers == 2
    assert len(weights.tensors) == 6


@pytest.mark.parametrize("name", ["mtp.layers.0.mlp.up_proj.weight", "model.mtp.0.fc.weight"])
def test_what_only_predicts_ahead_is_not_loaded(tmp_path, name):
    expected = tensors_of(spec_of(SMALL))
    extra = Tensor(name=name, shape=(9, 9))

    _, weights = read_model(folder_of(tmp_path, SMALL, *expected, extra))

    assert len(weights.tensors) == len(expected)


@pytest.mark.parametrize(
    "method",
    ["modelopt", "torchao", "quark", "fbgemm_fp8", "hqq", "aqlm", "exl2", "bitnet", "magic"],
)
def test_headers_tell_the_sizes_of_any_quantization(tmp_path, method):
    config = {**SMALL, "quantization_config": {"quant_method": method}}
    stored = [
        Tensor(name="model.layers.0.mlp.up_proj.weight", shape=(96, 32), dtype="uint8"),
        Tensor(name="model.layers.0.mlp.up_proj.weight_scale", shape=(96, 4), dtype="float8"),
        Tensor(name="model.norm.weight", shape=(64,), dtype="bfloat16"),
    ]

    spec, weights = read_model(folder_of(tmp_path, config, *stored))

    served = served_tensors(spec, weights, dtype="bfloat16", quantization=None)
    assert sum(part.bytes_in("bfloat16") for part in served) == 96 * 32 + 96 * 4 + 64 * 2
    assert not weights.remarks


def test_an_unknown_quantization_without_files_is_planned_in_full_with_a_remark(tmp_path):
    config = {**SMALL, "quantization_config": {"quant_method": "magic", "bits": 2}}

    spec, weights = read_model(folder_of(tmp_path, config))

    served = served_tensors(spec, weights, dtype="bfloat16", quantization=None)
    full = 2 * parameter_count(tensors_of(spec_of(SMALL)))
    assert sum(part.bytes_in("bfloat16") for part in served) == full
    assert "'magic'" in weights.remarks[0]


MODELOPT = {"quantization": {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}}


def test_modelopts_file_beside_config_json_is_read(tmp_path):
    folder = folder_of(tmp_path, SMALL)
    full = sum(part.bytes_in("bfloat16") for part in read_model(folder)[1].tensors)
    (folder / "hf_quant_config.json").write_text(json.dumps(MODELOPT))

    spec, weights = read_model(folder)

    served = served_tensors(spec, weights, dtype="bfloat16", quantization=None)
    assert spec.quantization
    assert spec.quantization.label == "modelopt"
    assert sum(part.bytes_in("bfloat16") for part in served) < 0.8 * full
    assert any("FP8 KV cache" in remark for remark in spec.remarks)


def test_modelopts_file_on_a_hub_is_read():
    files = {
        "/owner/model/resolve/main/config.json": json.dumps(SMALL).encode(),
        "/owner/model/resolve/main/hf_quant_config.json": json.dumps(MODELOPT).encode(),
    }
    with range_server(RangeServer(files=files)) as server:
        spec, _ = read_hub_model("owner/model", endpoint=server.url)

    assert spec.quantization
    assert spec.quantization.method == "fp8"


def test_what_a_config_leaves_out_is_asked_for(tmp_path):
    config = {"model_type": "llama", "vocab_size": 300}
    asked: list[Path] = []

    def complete(folder: Path) -> dict[str, object]:
        asked.append(folder)
        return SMALL

    spec, weights = read_model(folder_of(tmp_path, config), complete=complete)
    # A remark that no class can answer is no reason to ask.
    stored = {"quant_algo": "FP8", "kv_cache_quant_algo": "FP8"}
    other, _ = read_model(
        folder_of(tmp_path, {**SMALL, "quantization_config": stored}), complete=complete
    )

    assert asked == [tmp_path]
    assert other.remarks
    assert parameter_count(weights.tensors) == parameter_count(tensors_of(spec_of(SMALL)))
    assert spec.lacks == ()


def test_an_index_alone_says_the_total_of_a_family_that_nothing_else_knows(tmp_path):
    (tmp_path / INDEX_NAME).write_text(
        json.dumps({"metadata": {"total_size": 7700}, "weight_map": {"a": "a.safetensors"}})
    )

    _, weights = read_model(folder_of(tmp_path, {**SMALL, "model_type": "strange"}))

    assert weights.source == "safetensors index"
    assert sum(tensor.bytes_in("bfloat16") for tensor in weights.tensors) == 7700
    assert [tensor.layer for tensor in weights.tensors] == [0, 1]


def test_a_model_on_a_hub_is_known_by_its_headers():
    header = safetensors_header(list(tensors_of(spec_of(SMALL))))
    files = {
        "/owner/model/resolve/main/config.json": json.dumps(SMALL).encode(),
        "/owner/model/resolve/main/model.safetensors": header,
    }
    with range_server(RangeServer(files=files)) as server:
        spec, weights = read_hub_model("owner/model", endpoint=server.url)

    assert spec.layers == 2
    assert weights.source == "safetensors headers"


def test_a_model_on_a_hub_without_safetensors_is_told_by_arithmetic():
    files = {"/owner/model/resolve/main/config.json": json.dumps(SMALL).encode()}
    with range_server(RangeServer(files=files)) as server:
        _, weights = read_hub_model("owner/model", endpoint=server.url)
        _, counted = read_hub_model("owner/model", endpoint=server.url, count=counts)

    assert (weights.source, counted.source) == ("arithmetic", "meta device")


def test_arithmetic_on_a_quantized_config_gives_what_its_files_hold(tmp_path):
    config = {**SMALL, "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32}}
    spec = spec_of(config)
    full = tensors_of(spec)
    assert spec.quantization
    files = quantized(full, spec.quantization)

    _, bare = read_model(folder_of(tmp_path, config))
    told = served_tensors(spec, bare, dtype="bfloat16", quantization=None)
    _, whole = read_model(folder_of(tmp_path, config, *files))
    read = served_tensors(spec, whole, dtype="bfloat16", quantization=None)

    assert sum(part.bytes_in("bfloat16") for part in told) == sum(
        part.bytes_in("bfloat16") for part in read
    )


def test_deepseek_v3_is_as_large_as_its_files():
    spec = spec_named("DeepSeek-V3")
    assert spec.quantization

    tensors = quantized(tensors_of(spec), spec.quantization)

    total = sum(tensor.bytes_in("bfloat16") for tensor in tensors)
    # 688,586,727,753 bytes in the index, of which 14 billion numbers are a 62nd layer's.
    assert total / 1e9 == pytest.approx(673, rel=0.005)


def test_numbers_take_the_asked_precision_and_scales_keep_theirs():
    spec = spec_named("Llama-3.1-8B-Instruct")
    told = Weights(tensors=tensors_of(spec), source="arithmetic", is_stored=False)

    served = served_tensors(spec, told, dtype="float32", quantization=named_quantization("fp8"))

    kinds = {tensor.name.rpartition(".")[2]: tensor.dtype for tensor in served}
    assert kinds == {"weight": "float32", "weight_scale": "float32"}
    assert {tensor.dtype for tensor in served if tensor.role == "mlp"} == {"float8", "float32"}


def test_a_quantized_model_cannot_be_quantized_in_another_way(tmp_path):
    config = {**SMALL, "quantization_config": {"quant_method": "awq", "bits": 4, "group_size": 32}}
    spec, weights = read_model(folder_of(tmp_path, config))

    with pytest.raises(ArgumentError, match=r"(?i)\bawq\b.*\bbitsandbytes\b") as caught:
        served_tensors(
            spec, weights, dtype="bfloat16", quantization=named_quantization("bitsandbytes")
        )

    assert caught.value.param == "quantization"
