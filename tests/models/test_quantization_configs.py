"""models/quantization_configs.py: how each tool says that weights are stored in fewer bits."""

from __future__ import annotations

from typing import Any

import pytest

from conduit_nb.models.quantization import Quantization, quantized
from conduit_nb.models.quantization_configs import quantization_of, with_modelopt_file
from conduit_nb.models.tensors import Tensor

LINEAR = Tensor(name="model.layers.0.self_attn.q_proj.weight", shape=(4096, 4096))
EXPERT = Tensor(name="model.layers.0.mlp.experts.down_proj", shape=(8, 4096, 4096))


def read(config: dict[str, Any]) -> Quantization:
    found = quantization_of(config)
    assert found
    return found


def bytes_a_weight(config: dict[str, Any], tensor: Tensor = LINEAR) -> float:
    stored = quantized([tensor], read(config))
    return sum(part.bytes_in("bfloat16") for part in stored) / tensor.elements


def section(**fields: object) -> dict[str, Any]:
    return {"quantization_config": fields}


def group(**weights: object) -> dict[str, Any]:
    return {"group_0": {"targets": ["Linear"], "weights": weights}}


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        # ModelOpt: NVFP4 has a scale of one byte for 16 numbers.
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, 0.5 + 1 / 16),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 32}, 0.5 + 1 / 32),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, 1),
        ({"quant_algo": "FP8", "producer": {"name": "modelopt"}}, 1),
        ({"quant_method": "modelopt", "quant_algo": "W4A16_AWQ"}, 0.5 + 2 / 128),
        ({"quant_method": "modelopt", "quant_algo": "MXFP8"}, 1 + 1 / 32),
        # compressed-tensors
        (
            {
                "quant_method": "compressed-tensors",
                "format": "nvfp4-pack-quantized",
                "config_groups": group(num_bits=4, type="float", group_size=16),
            },
            0.5 + 1 / 16,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "format": "mxfp4-pack-quantized",
                "config_groups": group(num_bits=4, type="float", group_size=32),
            },
            0.5 + 1 / 32,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": group(num_bits=4, type="int", strategy="group", group_size=32),
            },
            0.5 + 2 / 32,
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": group(num_bits=8, type="float", strategy="channel"),
            },
            1,
        ),
        # torchao
        ({"quant_method": "torchao", "quant_type": "int4_weight_only"}, 0.5 + 4 / 128),
        (
            {
                "quant_method": "torchao",
                "quant_type": {
                    "default": {"_type": "Int4WeightOnlyConfig", "_data": {"group_size": 64}}
                },
            },
            0.5 + 4 / 64,
        ),
        (
            {
                "quant_method": "torchao",
                "quant_type": {
                    "default": {"_type": "Float8DynamicActivationFloat8WeightConfig"},
                },
            },
            1,
        ),
        ({"quant_method": "torchao", "quant_type": "int8_weight_only"}, 1),
        # Quark
        (
            {
                "quant_method": "quark",
                "global_quant_config": {"weight": {"dtype": "fp8_e4m3", "qscheme": "per_tensor"}},
            },
            1,
        ),
        (
            {
                "quant_method": "quark",
                "global_quant_config": {
                    "weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}
                },
            },
            0.5 + 1 / 32,
        ),
        ({"quant_method": "fbgemm_fp8"}, 1),
        ({"quant_method": "ptpc_fp8"}, 1),
        (
            {
                "quant_method": "hqq",
                "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}},
            },
            0.5 + 4 / 64,
        ),
        ({"quant_method": "exl2", "bits": 4.25}, 4.25 / 8),
        ({"quant_method": "bitnet"}, 0.25),
        (
            {
                "quant_method": "aqlm",
                "num_codebooks": 1,
                "nbits_per_codebook": 16,
                "in_group_size": 8,
            },
            0.25 + 2**16 * 8 * 2 / 4096**2,
        ),
        ({"quant_method": "eetq"}, 1),
        ({"quant_method": "fp_quant", "forward_dtype": "mxfp4"}, 0.5 + 1 / 32),
        ({"quant_method": "quanto", "weights": "int4"}, 0.5 + 4 / 128),
        ({"quant_method": "auto-round", "bits": 4, "group_size": 128}, 0.5 + 2.5 / 128),
        ({"quant_method": "intel/auto-round", "bits": 4, "group_size": 128}, 0.5 + 2.5 / 128),
        ({"quant_method": "mxfp8"}, 1 + 1 / 32),
        ({"bits": 4, "group_size": 64}, 0.5 + 4 / 64),  # MLX
    ],
)
def test_each_tool_says_what_a_weight_takes(fields, size):
    assert bytes_a_weight(section(**fields)) == pytest.approx(size, rel=0.005)


def test_mlx_says_it_in_a_field_of_its_own():
    assert bytes_a_weight({"quantization": {"bits": 8, "group_size": 64}}) == 1 + 4 / 64


def test_routed_experts_may_have_fewer_bits_than_the_rest():
    config = {
        "expert_dtype": "fp4",
        **section(quant_method="fp8", weight_block_size=[128, 128]),
    }

    assert bytes_a_weight(config, EXPERT) == 0.5 + 1 / 32
    assert bytes_a_weight(config) == pytest.approx(1, rel=0.001)


def test_mixed_precision_is_read_layer_by_layer():
    config = section(
        quant_method="modelopt",
        quant_algo="MIXED_PRECISION",
        quantized_layers={
            "language_model.model.layers.0.self_attn.q_proj": {"quant_algo": "FP8"},
            "model.layers.0.block_sparse_moe.experts.0.w1": {"quant_algo": "NVFP4"},
        },
    )
    other = Tensor(name="model.layers.1.self_attn.q_proj.weight", shape=(64, 64))

    assert bytes_a_weight(config) == pytest.approx(1, rel=0.001)
    assert bytes_a_weight(config, EXPERT) == pytest.approx(0.5 + 1 / 16, rel=0.001)
    assert bytes_a_weight(config, other) == 2


def test_groups_hold_for_the_layers_that_they_name():
    config = section(
        quant_method="compressed-tensors",
        config_groups={
            "group_0": {
                "targets": ["re:.*self_attn.*"],
                "weights": {"num_bits": 8, "type": "float", "strategy": "channel"},
            },
            "group_1": {
                "targets": ["model.layers.0.mlp.down_proj", "lm_head"],
                "weights": {"num_bits": 4, "type": "float", "group_size": 16},
            },
        },
    )
    down = Tensor(name="model.layers.0.mlp.down_proj.weight", shape=(64, 64))
    head = Tensor(name="lm_head.weight", shape=(64, 64))
    up = Tensor(name="model.layers.0.mlp.up_proj.weight", shape=(64, 64))

    assert bytes_a_weight(config) == pytest.approx(1, rel=0.005)
    assert bytes_a_weight(config, down) == pytest.approx(0.5 + 1 / 16, rel=0.005)
    assert bytes_a_weight(config, head) == pytest.approx(0.5 + 1 / 16, rel=0.005)
    assert bytes_a_weight(config, up) == 2


@pytest.mark.parametrize(
    "ignored",
    [
        "model.layers.0.self_attn.q_proj",
        "language_model.model.layers.0.self_attn*",
        "model.language_model.layers.0*",
        "*self_attn*",
        "re:.*self_attn.*",
        "q_proj",
    ],
)
def test_what_is_left_alone_is_known_whatever_its_stack_is_called(ignored):
    assert (
        bytes_a_weight(
            section(quant_method="modelopt", quant_algo="NVFP4", exclude_modules=[ignored])
        )
        == 2
    )


def test_modelopts_own_file_says_what_config_json_does_not():
    content = {
        "producer": {"name": "modelopt"},
        "quantization": {
            "quant_algo": "FP8",
            "kv_cache_quant_algo": "FP8",
            "exclude_modules": ["lm_head"],
        },
    }
    found = quantization_of(with_modelopt_file({"model_type": "llama"}, content))

    assert found
    assert (found.method, found.has_fp8_kv, found.ignored) == ("fp8", True, ("lm_head",))
    own = section(quant_method="awq", bits=4)
    assert with_modelopt_file(own, content) == own


@pytest.mark.parametrize("content", [None, [], {}, {"quantization": "FP8"}])
def test_a_file_that_says_nothing_changes_nothing(content):
    assert with_modelopt_file({"model_type": "llama"}, content) == {"model_type": "llama"}


@pytest.mark.parametrize(
    "fields",
    [
        {"quant_method": "magic", "bits": 2},
        {"quant_method": "vptq"},
        {"quant_method": "modelopt", "quant_algo": "MAGIC"},
        {"quant_method": "torchao", "quant_type": "magic"},
        {"quant_method": "quark"},
    ],
)
def test_a_method_that_is_not_known_is_planned_in_full(fields):
    found = read(section(**fields))

    assert (found.method, found.label) == ("unknown", fields["quant_method"])
    assert quantized([LINEAR], found) == (LINEAR,)


def test_a_config_without_quantization_has_none():
    assert quantization_of({"quantization_config": None}) is None
    assert quantization_of({"quantization_config": {}}) is None
