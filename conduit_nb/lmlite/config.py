"""Which model an engine loads, and how it runs: device, precision, limits, threads. No torch."""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import DType, WeightQuantization

OPTIONAL = ("max_model_len", "threads", "cache_tokens", "cache_bytes", "prefix_cache_tokens")
"""Limits that the engine chooses itself where they are None."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """What tells one loaded model from another."""

    model_id: str
    revision: str | None = None
    dtype: DType = "auto"
    quantization: WeightQuantization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineConfig:
    """What one engine may use.

    `device` None takes CUDA or MPS where there is one, else the CPU; `dtype` "auto" is float32 on
    the CPU and the model's own elsewhere. `quantization` is what is done to linear layers.
    `max_concurrency` bounds the sequences of a batch: further requests wait in order.
    `max_model_len` lowers the model's own limit of prompt plus reply in tokens and cannot raise it.
    `threads` None takes the physical cores (CPU only).
    `batch_timeout_ms` is how long a request that finds the engine idle waits for others to batch
    with. `prefill_tokens` bounds the prompt tokens of one step: longer prompts are prefilled in
    chunks. `cache_tokens` is how many tokens of all sequences the KV cache holds; None takes what
    full contexts need, at most `cache_bytes`, or without those half of the free memory. Where it
    runs out, the youngest sequence is preempted. `prefix_cache_tokens` is how many of them may
    belong to past sequences, kept for later ones with the same prefix; None takes an eighth on the
    CPU, elsewhere whatever running sequences leave free. 0 keeps nothing. `drafts` turns on
    speculative decoding by n-gram lookup; the text is the same.

    Raises ArgumentError where a value cannot be meant.
    """

    device: str | None = None
    dtype: DType = "auto"
    quantization: WeightQuantization | None = None
    max_concurrency: int = 32
    max_model_len: int | None = None
    threads: int | None = None
    batch_timeout_ms: int = 5
    prefill_tokens: int = 512
    cache_tokens: int | None = None
    cache_bytes: int | None = None
    prefix_cache_tokens: int | None = None
    drafts: bool = True

    def __post_init__(self) -> None:
        for name, minimum in (
            ("max_concurrency", 1),
            ("max_model_len", 2),
            ("threads", 1),
            ("batch_timeout_ms", 0),
            ("prefill_tokens", 1),
            ("cache_tokens", 64),
            ("cache_bytes", 0),
            ("prefix_cache_tokens", 0),
        ):
            value: object = getattr(self, name)
            if value is None and name in OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ArgumentError(
                    f"{name}={value!r} is not a whole number of at least {minimum}.",
                    param=name,
                    hint=f"Leave {name} out to get the default.",
                )
        if self.dtype not in ("auto", "float32", "bfloat16", "float16"):
            raise ArgumentError(
                f"dtype={self.dtype!r} is not known.",
                param="dtype",
                hint="Use 'auto', 'float32', 'bfloat16' or 'float16'.",
            )
