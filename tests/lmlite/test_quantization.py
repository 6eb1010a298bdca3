"""lmlite/quantization.py: a quarter of the memory, nearly the same numbers, alone or in a batch."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.errors import ArgumentError
from conduit_nb.lmlite.blocked_linear import BlockedLinear
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.memory_budget import LoadOptions, estimate
from conduit_nb.lmlite.model_loader import load_model
from conduit_nb.lmlite.quantization import Int8Linear, quantize_weights
from tests.lmlite.conftest import DEVICE
from tests.lmlite.generation import PROMPTS, request, write, write_all

FAMILIES = ("llama", "qwen2", "gemma2", "gpt2", "mixtral", "mamba")


@pytest.fixture
def linear() -> torch.nn.Linear:
    torch.manual_seed(0)
    return torch.nn.Linear(96, 50)


@pytest.mark.parametrize("shape", [(96,), (1, 96), (1, 0, 96), (2, 5, 96), (129, 96)], ids=str)
@torch.inference_mode()
def test_the_result_is_nearly_that_of_the_plain_layer(linear, shape):
    states = torch.randn(shape)

    result = Int8Linear(linear)(states)
    plain = linear(states)

    assert result.shape == plain.shape
    assert (result - plain).norm() <= 0.02 * plain.norm()


@torch.inference_mode()
def test_a_token_among_others_gives_bit_for_bit_what_it_gives_alone(linear):
    layer = Int8Linear(linear)
    tokens = torch.randn(40, 96) * torch.logspace(-3, 4, 40).unsqueeze(1)  # of very unlike sizes

    together = layer(tokens)
    alone = torch.cat([layer(token.unsqueeze(0)) for token in tokens])

    assert torch.equal(together, alone)


@torch.inference_mode()
def test_an_input_of_zeros_gives_the_bias(linear):
    assert torch.equal(Int8Linear(linear)(torch.zeros(3, 96)), linear.bias.expand(3, 50))


def test_the_weights_can_still_be_read(linear):
    weight = Int8Linear(linear).weight

    steps = linear.weight.abs().amax(1, keepdim=True) / 127
    assert ((weight - linear.weight).abs() <= steps * 0.501).all()


@torch.inference_mode()
def test_half_precision_comes_back_as_it_came():
    layer = Int8Linear(torch.nn.Linear(32, 8, dtype=torch.bfloat16))

    assert layer(torch.randn(2, 32, dtype=torch.bfloat16)).dtype == torch.bfloat16


@torch.inference_mode()
def test_every_linear_layer_is_replaced_and_an_embedding_that_shares_weights_is_not():
    table, head = torch.nn.Embedding(50, 24), torch.nn.Linear(24, 50, bias=False)
    head.weight = table.weight
    before = table.weight.clone()
    inside = torch.nn.Sequential(torch.nn.Linear(24, 24), torch.nn.LayerNorm(24))
    model = torch.nn.Sequential(table, inside, head)

    quantize_weights(model)

    kinds = [type(part) for part in model.modules() if not list(part.children())]
    assert kinds == [torch.nn.Embedding, Int8Linear, torch.nn.LayerNorm, Int8Linear]
    assert torch.equal(table.weight, before)


def test_on_another_device_it_is_refused():
    with pytest.raises(ArgumentError, match=r"'int8'.*\bCPU\b.*\bmeta\b") as caught:
        quantize_weights(torch.nn.Linear(4, 4, device="meta"))

    assert caught.value.param == "quantization"


@pytest.mark.skipif(DEVICE != "cpu", reason="8-bit weights are served on the CPU")
@pytest.mark.parametrize("family", FAMILIES)
async def test_a_text_among_others_is_the_text_alone(tiny_model, load_engine, family: str):
    folder = tiny_model(family)
    engine = load_engine(folder, quantization="int8", max_concurrency=8)
    again = load_engine(folder, quantization="int8", max_concurrency=8, prefix_cache_tokens=0)
    requests = [
        request(engine.encode_chat([{"role": "user", "content": text}]), 24) for text in PROMPTS
    ]

    together = await write_all(engine, requests)
    alone = [await write(again, one) for one in requests]

    assert [one.text for one in together] == [one.text for one in alone]


@pytest.mark.skipif(DEVICE != "cpu", reason="8-bit weights are served on the CPU")
def test_the_engine_has_eight_bits_and_batches_its_sequences(tiny_model_folder, load_engine):
    engine = load_engine(tiny_model_folder, quantization="int8")
    kinds = {type(part) for part in engine._worker._runner._loaded.model.modules()}

    assert Int8Linear in kinds
    assert not kinds & {torch.nn.Linear, BlockedLinear}
    assert engine.attention == "packed"


def test_it_is_planned_with_a_byte_a_weight(embedded_folder_facts):
    folder, numbers, vocabulary = embedded_folder_facts
    whole = estimate("m", folder, LoadOptions(device="cpu"))
    eight = estimate("m", folder, LoadOptions(device="cpu", quantization="int8"))

    assert whole.weight_bytes == pytest.approx(4 * (numbers + vocabulary), rel=0.01)
    # The embedding keeps four bytes, its copy for the head has one.
    assert eight.weight_bytes == pytest.approx(numbers + 4 * vocabulary, rel=0.02)
    assert eight.need.min_cache_bytes == whole.need.min_cache_bytes


@pytest.mark.parametrize("family", ["llama", "mixtral", "gpt2"])
def test_what_is_planned_is_what_is_held(tiny_model, family: str):
    folder = tiny_model(family)
    model = load_model(folder, EngineConfig(device="cpu", threads=1, quantization="int8")).model
    held = {id(one): one.nbytes for one in model.parameters()}
    for part in model.modules():
        if isinstance(part, Int8Linear):
            held[id(part)] = part._integers.nbytes + part._scales.nbytes

    planned = estimate("m", folder, LoadOptions(device="cpu", quantization="int8")).weight_bytes

    assert planned == pytest.approx(sum(held.values()), rel=0.02)


@pytest.fixture
def embedded_folder_facts(tmp_path: Path) -> tuple[Path, int, int]:
    """Return a folder with the embedded model's config, its numbers, and those of its table."""
    config = {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": 576,
        "intermediate_size": 1536,
        "num_hidden_layers": 30,
        "num_attention_heads": 9,
        "num_key_value_heads": 3,
        "vocab_size": 49152,
        "max_position_embeddings": 8192,
        "tie_word_embeddings": True,
    }
    (tmp_path / "config.json").write_text(json.dumps(config))
    return tmp_path, 134_515_008, 49152 * 576


def test_what_is_stored_in_fewer_bits_already_is_refused(tmp_path, tiny_model_folder):
    shutil.copytree(tiny_model_folder, tmp_path, dirs_exist_ok=True)
    config = json.loads((tmp_path / "config.json").read_text())
    config["quantization_config"] = {"quant_method": "gptq", "bits": 4, "group_size": 32}
    (tmp_path / "config.json").write_text(json.dumps(config))

    with pytest.raises(ArgumentError, match=r"(?i)\bgptq\b.*\bint8\b") as caught:
        estimate("packed", tmp_path, LoadOptions(device="cpu", quantization="int8"))

    assert caught.value.param == "quantization"
