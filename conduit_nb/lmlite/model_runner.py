"""One forward over one pack.

Layer 3: torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import psutil
import torch

from conduit_nb.errors import ModelError
from conduit_nb.lmlite.attention import NAME
from conduit_nb.lmlite.guided import Masks
from conduit_nb.lmlite.kv_cache import KvCache
from conduit_nb.lmlite.loading import LoadedModel
from conduit_nb.lmlite.logprobs import Chosen
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.sampler import choose_tokens
from conduit_nb.lmlite.scheduler import Plan, Row, Slice

CACHE_SHARE = 0.25
"""Share of the free memory that the cache of one model may take."""

PROBE_TOKENS = 24
PROBE_PAGES = 4
PROBE_ROWS = ((0, [0, 1]), (1, [3, 2]))
FAILURES = (RuntimeError, TypeError, ValueError, AttributeError, KeyError, IndexError)
"""What the code of a model may raise that was not made for packs."""

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 0.02}


class ModelRunner:
    """A loaded model with its cache; used by one thread at a time."""

    def __init__(self, loaded: LoadedModel, *, pages: int) -> None:
        self._loaded = loaded
        self._model: Any = loaded.model  # transformers types its models in part only
        self._cache = KvCache(
            layers=loaded.layers,
            kv_heads=loaded.kv_heads,
            head_dim=loaded.head_dim,
            pages=max(pages, PROBE_PAGES),
            dtype=loaded.dtype,
            device=loaded.device,
        )
        self._masks = Masks(loaded.vocab_size)

    @torch.inference_mode()
    def run(self, plan: Plan, replies: Mapping[Row, Reply]) -> dict[Row, Chosen]:
        """Do one step; return the next token of every row that wants one."""
        for copy in plan.copies:
            self._cache.copy(copy)
        logits = self._forward(plan)
        rows = [part.row for part in plan.slices if part.samples]
        if not rows:
            return {}
        tokens = choose_tokens(logits, [replies[row] for row in rows], self._masks)
        return dict(zip(rows, tokens, strict=True))

    @torch.inference_mode()
    def check(self) -> None:
        """Compare a pack of two rows, read in pieces, with the model's own attention.

        Raises ModelError where they differ or one fails: better no text than wrong text.
        """
        try:
            difference = self._difference()
        except FAILURES as err:
            reason = (str(err).strip().splitlines() or [type(err).__name__])[0]
            raise self._unserved(f"its first text failed: {reason}") from err
        if not difference <= TOLERANCE[self._loaded.dtype]:  # a NaN is no agreement either
            raise self._unserved(f"packed and alone it answers differently (by {difference:.2g})")

    def _difference(self) -> float:
        """Return how far the last logits of a probe are from the model's own, relatively."""
        end = PROBE_TOKENS
        tokens = [(7 * index) % self._loaded.vocab_size for index in range(end)]
        rows = [Row(number=number, tokens=tokens, pages=pages) for number, pages in PROBE_ROWS]
        packed = torch.empty(0)
        for cut in ((0, end // 2), (end // 2, end - 1), (end - 1, end)):
            slices = [Slice(row=row, start=cut[0], end=cut[1], samples=True) for row in rows]
            packed = self._forward(Plan(copies=[], slices=slices)).float()
        self._model.set_attn_implementation("eager")
        alone = torch.tensor([tokens], device=self._loaded.device)
        own = self._model(input_ids=alone, use_cache=False).logits[0, -1:].float()
        self._model.set_attn_implementation(NAME)
        return ((packed - own).abs().max() / own.abs().max()).item()

    def _unserved(self, why: str) -> ModelError:
        return ModelError(
            f"A model of type {self._model.config.model_type!r} cannot be served yet: {why}.",
            hint="Choose a Llama-like model with full attention, or another runtime.",
        )

    def _forward(self, plan: Plan) -> torch.Tensor:
        """Return logits `[sampling rows, vocab]`."""
        step = self._cache.step(plan.slices)
        self._cache.begin(step)
        output = self._model(
            input_ids=step.input_ids,
            position_ids=step.position_ids,
            past_key_values=self._cache,
            use_cache=True,
            logits_to_keep=step.sampled,
            lmlite_step=step,
        )
        return output.logits[0]


def pages_that_fit(loaded: LoadedModel) -> int:
    """Return how many pages a cache may have by the memory that is free now."""
    page_bytes = KvCache.bytes_per_page(
        layers=loaded.layers,
        kv_heads=loaded.kv_heads,
        head_dim=loaded.head_dim,
        dtype=loaded.dtype,
    )
    if loaded.device.type == "cuda":
        free_bytes, _ = torch.cuda.mem_get_info(loaded.device)
    else:
        free_bytes = psutil.virtual_memory().available
    return max(int(CACHE_SHARE * free_bytes) // page_bytes, PROBE_PAGES)
