"""The reference that a runner is compared with: a model's own logits for a short text."""

from __future__ import annotations

import inspect
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers import DynamicCache

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.kv_cache import LayerShape
from conduit_nb.lmlite.model_loader import LoadedModel, first_line

KNOWN_LAYERS = {"full_attention", "sliding_attention"}
"""Kinds of layers that a short text shows as they are; sparse ones choose among many tokens."""

ONE_AT_A_TIME = "Its sequences are served one at a time instead, which is slower."

PROBE_TOKENS = 24
PROBE_WINDOW = 10
"""While it is probed, a model that looks at its last thousands of tokens looks at so many."""

FAILURES = (
    RuntimeError,
    TypeError,
    ValueError,
    AttributeError,
    LookupError,
    AssertionError,
)
"""What the code of a model may raise that was not made for what is done with it."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}
INT8_TOLERANCE = 0.05
"""The last bit of an input decides to which integer it is rounded, in every layer."""


def probe_tokens(loaded: LoadedModel) -> list[int]:
    """Return a text that means nothing and has no token twice, where the vocabulary allows."""
    return [(7 * index + 5) % loaded.vocab_size for index in range(PROBE_TOKENS)]


def differ(loaded: LoadedModel, logits: torch.Tensor, own: torch.Tensor) -> float | None:
    """Return how far logits `[..., vocab]` are from the model's own, relatively; None where near.

    A NaN is no agreement either.
    """
    far = ((logits.float() - own.float()).abs().max() / own.float().abs().max()).item()
    near = INT8_TOLERANCE if loaded.is_quantized else TOLERANCE[loaded.dtype]
    return None if far <= near else far


def layer_shapes(loaded: LoadedModel) -> tuple[LayerShape, ...]:
    """Return what each layer keeps of a token, read off a cache that the model filled.

    Raises ModelError where it keeps something else than keys and values of all tokens.
    """
    model: Any = loaded.model
    kinds = set(getattr(model.config.get_text_config(), "layer_types", None) or ())
    if kinds - KNOWN_LAYERS:
        others = ", ".join(sorted(map(str, kinds - KNOWN_LAYERS)))
        raise ModelError(f"Layers of the kind {others} cannot be batched.", hint=ONE_AT_A_TIME)
    cache = DynamicCache(config=model.config)
    tokens = torch.tensor([probe_tokens(loaded)[:2]], device=loaded.device)
    try:
        model(input_ids=tokens, past_key_values=cache, use_cache=True)
    except FAILURES as err:
        raise ModelError(
            f"The model failed with a cache: {first_line(err)}", hint=ONE_AT_A_TIME
        ) from err
    layers: list[Any] = cache.layers
    shapes: list[LayerShape] = []
    for layer in layers:
        keys, values = getattr(layer, "keys", None), getattr(layer, "values", None)
        if not isinstance(keys, torch.Tensor) or not isinstance(values, torch.Tensor):
            raise ModelError("Not all of its layers keep keys and values.", hint=ONE_AT_A_TIME)
        shapes.append(
            LayerShape(heads=keys.shape[1], key_dim=keys.shape[-1], value_dim=values.shape[-1])
        )
    if not shapes:
        raise ModelError("None of its layers keeps anything.", hint=ONE_AT_A_TIME)
    return tuple(shapes)


def accepted(model: Any) -> frozenset[str]:
    """Return the names of what the model's forward takes."""
    return frozenset(inspect.signature(model.forward).parameters)


@contextmanager
def short_windows(loaded: LoadedModel) -> Generator[None]:
    """Let attention that slides slide over so few tokens that a short text shows it."""
    model: Any = loaded.model
    config = model.config.get_text_config()
    window = getattr(config, "sliding_window", None)
    if not isinstance(window, int) or window <= PROBE_WINDOW:
        yield
        return
    config.sliding_window = PROBE_WINDOW
    try:
        yield
    finally:
        config.sliding_window = window


@contextmanager
def attending(model: Any, name: str) -> Generator[None]:
    """Let the model attend by the function of that name."""
    before = model.config._attn_implementation
    model.set_attn_implementation(name)
    try:
        if model.config.get_text_config()._attn_implementation != name:
            raise ModelError(
                f"The attention of {type(model).__name__} cannot be replaced.", hint=ONE_AT_A_TIME
            )
        yield
    finally:
        model.set_attn_implementation(before)


def own_logits(loaded: LoadedModel, tokens: Sequence[int]) -> torch.Tensor:
    """Return the logits `[1, vocab]` after `tokens`, all read at once and alone."""
    model: Any = loaded.model
    ids = torch.tensor([list(tokens)], device=loaded.device)
    return model(input_ids=ids, use_cache=False).logits[0, -1:]
