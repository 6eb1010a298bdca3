"""runners.py: which way a model is run, and with how many pages."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS
from conduit_nb.lmlite.model_loader import load_model
from conduit_nb.lmlite.runners import choose_runner
from tests.lmlite.conftest import LoadEngine


def test_an_engine_says_how_it_attends(tiny_model: Callable[..., Path], load_engine: LoadEngine):
    engines: list[Engine] = [load_engine(tiny_model("llama")), load_engine(tiny_model("bloom"))]

    assert [engine.attention for engine in engines] == ["packed", "fallback"]


def test_the_log_says_why_a_model_is_not_batched(
    tiny_model: Callable[..., Path], load_engine: LoadEngine, caplog: pytest.LogCaptureFixture
):
    with caplog.at_level(logging.WARNING, logger="conduit_nb.lmlite"):
        load_engine(tiny_model("llama"))
        assert "fallback" not in caplog.text
        load_engine(tiny_model("mamba"))

    assert "MambaForCausalLM" in caplog.text
    assert "linear_attention" in caplog.text


def test_an_engine_compares_itself_with_the_models_own_attention_before_it_serves(
    tiny_model_folder: Path, load_engine: LoadEngine, monkeypatch: pytest.MonkeyPatch
):
    # A model whose own attention does something that ours does not get.
    from transformers.models.llama import modeling_llama

    own = modeling_llama.eager_attention_forward

    def scaled_twice(*arguments: Any, **options: Any) -> Any:
        return own(*arguments, **options | {"scaling": 2 * options["scaling"]})

    monkeypatch.setattr(modeling_llama, "eager_attention_forward", scaled_twice)

    assert load_engine(tiny_model_folder).attention == "fallback"


def test_without_a_limit_of_ones_own_the_short_rotation_bounds_the_context(
    tiny_model: Callable[..., Path], load_engine: LoadEngine
):
    engine = load_engine(tiny_model("phi3"))

    assert (engine.attention, engine.context_tokens) == ("packed", 256)


@pytest.mark.parametrize("family", ["llama", "bloom", "mamba"])
def test_there_are_pages_for_full_contexts_or_as_many_as_were_allowed(
    tiny_model: Callable[..., Path], family: str
):
    def pages(**options: Any) -> int:
        config = EngineConfig(device="cpu", threads=1, max_concurrency=3, **options)
        return choose_runner(load_model(tiny_model(family), config), config, 100)[1]

    assert pages() == 3 * 7
    assert pages(cache_tokens=5 * PAGE_TOKENS) == 5
