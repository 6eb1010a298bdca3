"""models/quantization.py: what config.json says of fewer bits, and what is stored then."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.models.quantization import (
    Quantization,
    named_quantization,
    quantized,
)
from conduit_nb.models.quantization_configs import quantization_of
from conduit_nb.models.tensors import Tensor

LINEAR = Tensor(name="model.layers.0.mlp.down_proj.weight", shape=(4096, 14336))


def stored(quantization: Quantization, tensor: Tensor = LINEAR) -> dict[str, tuple[object, ...]]:
    return {
        part.name.removeprefix("model.layers.0.mlp.down_proj."): (part.dtype, *part.shape)
        for part in quantized([tensor], quantization)
    }


def section(**fields: object) -> Quantization:
    found = quantization_of({"quantization_config": fields})
    assert found
    return found


def test_gptq_packs_along_the_inputs_and_keeps_the_order_of_groups():
    quantization = section(quant_method="gptq", bits=4, group_size=128, desc_act=True)

    assert stored(quantization) == {
        "qweight": ("int32", 14336 // 8, 4096),
        "qzeros": ("int32", 112, 4096 // 8),
        "scales": ("float16", 112, 4096),
        "g_idx": ("int32", 14336),
    }


def test_gptq_of_eight_bits_without_groups_has_one_scale_for_each_output():
    quantization = section(quant_method="gptq", bits=8, group_size=-1)

    assert stored(quantization)["qweight"] == ("int32", 14336 // 4, 4096)
    assert stored(quantization)["scales"] == ("float16", 1, 4096)


def test_awq_packs_along_the_outputs():
    quantization = section(quant_method="awq", bits=4, group_size=128)

    assert stored(quantization) == {
        "qweight": ("int32", 14336, 4096 // 8),
        "qzeros": ("int32", 112, 4096 // 8),
        "scales": ("float16", 112, 4096),
    }


def test_fp8_has_a_scale_for_each_block_of_128():
    quantization = section(quant_method="fp8", weight_block_size=[128, 128])

    assert stored(quantization) == {
        "weight": ("float8", 4096, 14336),
        "weight_scale_inv": ("float32", 32, 112),
    }


def test_fp8_as_a_runtime_makes_it_has_one_scale_and_leaves_the_head_alone():
    quantization = named_quantization("fp8")
    head = Tensor(name="lm_head.weight", shape=(128, 64))

    assert stored(quantization)["weight_scale"] == ("float32", 1)
    assert quantized([head], quantization) == (head,)


@pytest.mark.parametrize(
    ("weights", "form", "expected"),
    [
        (
            {"num_bits": 8, "type": "float", "strategy": "channel"},
            "float-quantized",
            {"weight": ("float8", 4096, 14336), "weight_scale": ("float32", 4096)},
        ),
        (
            {"num_bits": 8, "type": "int", "strategy": "channel"},
            "int-quantized",
            {"weight": ("int8", 4096, 14336), "weight_scale": ("float32", 4096)},
        ),
        (
            {"num_bits": 4, "type": "int", "strategy": "group", "group_size": 128},
            "pack-quantized",
            {
                "weight_packed": ("int32", 4096, 1792),
                "weight_scale": (None, 4096, 112),
                "weight_shape": ("int64", 2),
            },
        ),
    ],
)
def test_compressed_tensors_says_it_group_by_group(weights, form, expected):
    quantization = section(
        quant_method="compressed-tensors",
        format=form,
        config_groups={"group_0": {"weights": weights}},
        ignore=["lm_head"],
    )

    assert stored(quantization) == expected


def test_nf4_takes_half_a_byte_and_a_nested_scale_a_block():
    parts = quantized(
        [LINEAR], section(quant_method="bitsandbytes", bnb_4bit_use_double_quant=True)
    )

    numbers = LINEAR.elements
    taken = sum(part.bytes_in("bfloat16") for part in parts)
    assert taken == numbers // 2 + numbers // 64 + 4 * numbers // 64 // 256 + 4 * 272


def test_nf4_without_nesting_has_scales_in_full():
    parts = quantized([LINEAR], section(quant_method="bitsandbytes", load_in_4bit=True))

    assert {part.name.rpartition(".")[2]: part.dtype for part in parts}["absmax"] == "float32"


def test_eight_bits_of_bitsandbytes_have_a_scale_for_each_output():
    quantization = section(quant_method="bitsandbytes", load_in_8bit=True)

    assert stored(quantization) == {
        "weight": ("int8", 4096, 14336),
        "weight.SCB": ("float32", 4096),
    }


def test_mxfp4_packs_experts_only_in_blocks_of_32():
    quantization = section(quant_method="mxfp4")
    experts = Tensor(name="model.layers.0.mlp.experts.down_proj", shape=(32, 2880, 2880))

    assert quantized([LINEAR], quantization) == (LINEAR,)
    assert {part.name[-7:]: part.shape for part in quantized([experts], quantization)} == {
        "_blocks": (32, 2880, 1440),
        "_scales": (32, 2880, 90),
    }


@pytest.mark.parametrize(
    "name",
    [
        "model.embed_tokens.weight",
        "lm_head.weight",
        "model.norm.weight",
        "model.layers.0.mlp.gate.weight",
        "model.layers.0.linear_attn.conv1d.weight",
        "model.visual.blocks.0.attn.proj.weight",
    ],
)
def test_what_is_delicate_keeps_its_precision(name):
    tensor = Tensor(name=name, shape=(64, 64, 4) if "conv" in name else (64, 64))

    assert quantized([tensor], named_quantization("fp8")) == (tensor,)


@pytest.mark.parametrize(
    "ignored",
    ["mlp.down_proj", "model.layers.0.mlp.down_proj", "model.layers.*.mlp", "re:.*down_proj"],
)
def test_what_is_to_be_left_alone_is_named_or_matched(ignored):
    quantization = section(quant_method="fp8", modules_to_not_convert=[ignored])

    assert quantized([LINEAR], quantization) == (LINEAR,)


def test_a_method_that_is_asked_for_and_not_known_is_refused_by_name():
    with pytest.raises(ArgumentError, match="'magic'") as caught:
        named_quantization("magic")

    assert caught.value.param == "quantization"


def test_a_gguf_mixture_is_named_behind_a_colon():
    assert named_quantization("gguf:q5_k_m").level == "Q5_K_M"
