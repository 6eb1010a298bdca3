"""Chooses how a model runs: its sequences batched where that is right, else one at a time."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Literal, Protocol

import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.devices import free_bytes
from conduit_nb.lmlite.fallback_runner import FallbackRunner
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS, KvCache
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.model_loader import LoadedModel
from conduit_nb.lmlite.model_runner import ModelRunner
from conduit_nb.lmlite.placement import CACHE_SHARE
from conduit_nb.lmlite.probe import layer_shapes
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.scheduler import Batch, Sequence

MIN_PAGES = 4

Attention = Literal["packed", "fallback"]

logger = logging.getLogger(__name__)


class Runner(Protocol):
    """Does steps with a model; used by one thread at a time."""

    @property
    def attention(self) -> Attention:
        """Whether sequences run in one forward and share prefixes ("packed"), or one at a time."""
        ...

    def run(self, batch: Batch, replies: Mapping[Sequence, Reply]) -> dict[Sequence, SampledToken]:
        """Do one step; return the next token of every sequence that samples one."""
        ...

    def follow(
        self, drafted: Mapping[Sequence, int], replies: Mapping[Sequence, Reply]
    ) -> dict[Sequence, SampledToken]:
        """Return the token behind so many of the drafted ones, for sequences of the last step."""
        ...

    def forget(self, sequence: Sequence) -> None:
        """Free what is held for a sequence that has left. Idempotent."""
        ...


def choose_runner(
    loaded: LoadedModel, config: EngineConfig, context_tokens: int
) -> tuple[Runner, int]:
    """Return a runner that writes what the model writes, and how many pages its sequences may hold.

    It batches where that agrees with the model's own attention. Raises ModelError where neither
    that nor the fallback writes what transformers' `generate` writes.
    """
    max_pages = config.max_concurrency * -(-context_tokens // PAGE_TOKENS)
    try:
        return _batched_runner(loaded, config, max_pages, context_tokens)
    except ModelError as err:
        logger.warning("fallback model=%s why=%s", loaded.architecture, err)
    fallback = FallbackRunner(loaded)
    fallback.start()
    per_token, per_sequence = fallback.cache_bytes()
    pages = max_pages
    if config.cache_tokens is not None:
        pages = min(max_pages, config.cache_tokens // PAGE_TOKENS)
    elif per_token:
        room = _cache_bytes(loaded.device, config) - config.max_concurrency * per_sequence
        pages = min(max_pages, max(room // (per_token * PAGE_TOKENS), MIN_PAGES))
    return fallback, pages


def _batched_runner(
    loaded: LoadedModel, config: EngineConfig, max_pages: int, context_tokens: int
) -> tuple[Runner, int]:
    if context_tokens > loaded.stable_rope_tokens:
        raise ModelError(
            f"Beyond {loaded.stable_rope_tokens:,} tokens it rotates the keys of all tokens"
            f" differently, and max_model_len is {context_tokens:,}.",
            hint=f"Set max_model_len to {loaded.stable_rope_tokens} to have its sequences batched.",
        )
    layers = layer_shapes(loaded)
    if config.cache_tokens is not None:
        pages = min(max_pages, config.cache_tokens // PAGE_TOKENS)
    else:
        page_bytes = KvCache.bytes_per_page(layers, loaded.dtype)
        pages = min(max_pages, max(_cache_bytes(loaded.device, config) // page_bytes, MIN_PAGES))
    runner = ModelRunner(loaded, layers, pages=pages)
    runner.start()
    return runner, pages


def _cache_bytes(device: torch.device, config: EngineConfig) -> int:
    """Return what a model's cache may take: what was planned for it, or of what is free now."""
    if config.cache_bytes is not None:
        return config.cache_bytes
    return int(CACHE_SHARE * free_bytes(device))
