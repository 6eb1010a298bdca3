from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.attention import NAME, register_attention
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.kv_cache import LayerShape
from conduit_nb.lmlite.model_loader import LoadedModel, load_model
from conduit_nb.lmlite.probe import (
    PROBE_WINDOW,
    attending,
    differ,
    layer_shapes,
    own_logits,
    probe_tokens,
    short_windows,
)

CPU = EngineConfig(device="cpu", threads=1)


@pytest.fixture
def load(tiny_model: Callable[..., Path]) -> Callable[..., LoadedModel]:
    def loaded(family: str, **options: Any) -> LoadedModel:
        return load_model(tiny_model(family, **options), CPU)

    return loaded


def test_what_a_layer_keeps_is_read_off_the_model(load: Callable[..., LoadedModel]):
    assert layer_shapes(load("llama")) == (LayerShape(heads=2, key_dim=8, value_dim=8),) * 3
    assert layer_shapes(load("gpt2")) == (LayerShape(heads=6, key_dim=8, value_dim=8),) * 3
    (first, *_) = layer_shapes(load("gemma3"))  # whose configuration has it one level below
    assert first == LayerShape(heads=2, key_dim=8, value_dim=8)


@pytest.mark.parametrize("family", ["mamba", "qwen3_next", "lfm2", "llama4_text"])
def test_layers_that_keep_something_else_are_named(load: Callable[..., LoadedModel], family: str):
    with pytest.raises(ModelError, match=r"\b(linear_attention|conv|chunked_attention)\b"):
        layer_shapes(load(family))


@torch.inference_mode()
def test_a_wide_window_is_narrowed_while_it_is_probed(load: Callable[..., LoadedModel]):
    loaded = load("mistral", sliding_window=4096)
    tokens = probe_tokens(loaded)
    wide = own_logits(loaded, tokens)

    with short_windows(loaded):
        assert loaded.model.config.sliding_window == PROBE_WINDOW < len(tokens)
        narrow = own_logits(loaded, tokens)

    assert differ(loaded, narrow, wide) is not None
    assert differ(loaded, own_logits(loaded, tokens), wide) is None


def test_numbers_that_are_none_agree_with_nothing(load: Callable[..., LoadedModel]):
    logits = torch.ones(1, 4)

    assert differ(load("llama"), logits, logits) is None
    assert differ(load("llama"), logits * torch.nan, logits) is not None


def test_a_model_attends_as_before_when_the_comparison_is_over(load: Callable[..., LoadedModel]):
    model = load("llama").model
    register_attention()
    before = model.config._attn_implementation

    with attending(model, NAME):
        assert model.config._attn_implementation == NAME
    assert model.config._attn_implementation == before != NAME


def test_attention_that_cannot_be_replaced_is_an_error(load: Callable[..., LoadedModel]):
    register_attention()

    with (
        pytest.raises(ModelError, match="BloomForCausalLM"),
        attending(load("bloom").model, NAME),
    ):
        raise AssertionError("was not refused")
