"""models/layouts.py: weights by arithmetic, against published counts."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ModelFilesError
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.spec import spec_of
from conduit_nb.models.tensors import parameter_count
from tests.models.published import config_of, kind_config, spec_named

# What the models' own pages, or papers, say; transformers' models say the same of all of them.
PUBLISHED = {
    "Llama-3.1-8B-Instruct": 8_030_261_248,
    "Mistral-7B-v0.1": 7_241_732_096,
    "Mixtral-8x7B-v0.1": 46_702_792_704,
    "Qwen2.5-7B-Instruct": 7_615_616_512,
    "Qwen1.5-MoE-A2.7B": 14_315_784_192,
    "Qwen3-8B": 8_190_735_360,
    "Qwen3-0.6B": 596_049_920,
    "Qwen3-30B-A3B": 30_532_122_624,
    "gemma-2-2b": 2_614_341_888,
    "gemma-3-1b": 999_885_952,
    "gemma-3-4b-it": 4_300_079_472,
    "phi-4": 14_659_507_200,
    "phi-2": 2_779_683_840,
    "DeepSeek-V2-Lite": 15_706_484_224,
    "gpt2": 124_439_808,
    "opt-125m": 125_239_296,
    "SmolLM3-3B": 3_075_098_624,
}


@pytest.mark.parametrize(("name", "published"), PUBLISHED.items())
def test_a_models_parameters_are_those_that_were_published(name, published):
    assert parameter_count(tensors_of(spec_named(name))) == published


# Families without a class in transformers 5.23, or like a known one. Counted on torch's meta device
# where it has them (DeepSeek-V3.2, dbrx, Mixtral, Llama, Qwen3); by hand, or as their pages say.
ALIKE = {
    "Kimi-K2-Instruct": 1_026_408_232_448,  # its page: 1T; DeepSeek-V3's layout counts the same
    "DeepSeek-V3.2": 671_877_944_064,
    "dbrx-instruct": 131_596_523_520,  # its page: 132B
    "Mixtral-8x22B-v0.1": 140_620_634_112,
    "Llama-3.1-405B": 405_853_388_800,
    "Qwen3-235B-A22B-NVFP4": 235_093_634_560,
    "Phi-3.5-vision-instruct": 4_146_621_440,  # its page: 4.2B
    "internlm2-7b": 7_737_708_544,  # its page: 7B (7.74)
    "EXAONE-3.0-7.8B-Instruct": 7_818_448_896,  # its page: 7.8B
    "chatglm3-6b": 6_243_454_976,  # its page: 6B (6.24)
    "MiMo-7B-Base": 7_622_619_136,  # its page: 7B, without the layer that predicts ahead
    "MiniMax-M1-80k": 456_089_655_296,  # its page: 456B
    "Llama-3_3-Nemotron-Super-49B-v1": 49_867_399_168,  # its page: 49.9B
}


@pytest.mark.parametrize(("name", "parameters"), ALIKE.items())
def test_a_layout_like_a_known_one_is_computed(name, parameters):
    assert parameter_count(tensors_of(spec_of(kind_config(name)))) == parameters


@pytest.mark.parametrize(
    ("name", "billions"),
    [("DeepSeek-V3", 671), ("gpt-oss-120b", 116.8), ("Qwen3-235B-A22B", 235.1)],
)
def test_a_large_mixture_has_as_many_billions_as_its_paper_says(name, billions):
    assert parameter_count(tensors_of(spec_named(name))) / 1e9 == pytest.approx(billions, abs=0.1)


def test_every_tensor_has_a_name_of_its_own():
    tensors = tensors_of(spec_named("Qwen3-Next-80B-A3B"))

    assert len({tensor.name for tensor in tensors}) == len(tensors)


def test_a_tied_head_is_no_tensor_of_its_own():
    config = config_of("Qwen3-8B")
    tied = spec_of({**config, "tie_word_embeddings": True})

    free = parameter_count(tensors_of(spec_of(config)))

    assert free - parameter_count(tensors_of(tied)) == 151936 * 4096


def test_a_family_that_is_not_known_is_refused_by_name():
    with pytest.raises(ModelFilesError, match="'strange'") as caught:
        tensors_of(spec_of({"model_type": "strange", "num_hidden_layers": 2}))

    assert "safetensors" in caught.value.hint


def test_a_model_that_also_sees_is_not_told_by_its_language_part_alone():
    config = {
        "model_type": "llava",
        "text_config": config_of("Llama-3.1-8B-Instruct"),
        "vision_config": {},
    }

    with pytest.raises(ModelFilesError, match="'llava'") as caught:
        tensors_of(spec_of(config))

    assert "safetensors" in caught.value.hint


def test_a_number_that_lacks_is_named():
    config = config_of("Llama-3.1-8B-Instruct")
    del config["intermediate_size"]

    with pytest.raises(ModelFilesError, match="intermediate_size"):
        tensors_of(spec_of(config))


@pytest.mark.parametrize(
    ("name", "count", "shapes"),
    [
        ("falcon-7b", 6_921_720_704, {"transformer.h.0.input_layernorm.weight": (4544,)}),
        ("falcon-40b", 41_303_293_952, {"transformer.h.0.ln_mlp.weight": (8192,)}),
        ("falcon-rw-1b", 1_311_625_216, {"transformer.h.0.mlp.dense_4h_to_h.bias": (2048,)}),
        ("opt-350m", 331_196_416, {"model.decoder.project_in.weight": (1024, 512)}),
        ("gpt2", 124_439_808, {"transformer.h.11.attn.c_attn.weight": (768, 2304)}),
        ("phi-2", 2_779_683_840, {"lm_head.bias": (51200,)}),
    ],
)
def test_each_form_has_its_own_tensors(name, count, shapes):
    tensors = tensors_of(spec_named(name))

    assert parameter_count(tensors) == count
    assert shapes.items() <= {tensor.name: tensor.shape for tensor in tensors}.items()


def test_a_vision_tower_stands_beside_the_language_model():
    tensors = tensors_of(spec_named("gemma-3-4b-it"))

    seen = sum(tensor.elements for tensor in tensors if tensor.role == "vision")

    assert seen == pytest.approx(420_000_000, rel=0.01)
