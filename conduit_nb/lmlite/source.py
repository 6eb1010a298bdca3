"""What a pool of models asks of whoever loads them: which model, what it needs, and its engine.

Knows no torch.
Layer 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from conduit_nb.lmlite.memory_budget import Estimate
from conduit_nb.lmlite.placement import Place
from conduit_nb.models.config import DType, WeightQuantization
from conduit_nb.models.files import Progress

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import Engine  # loads torch, which this file does not need


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelKey:
    """What tells one loaded model from another."""

    model_id: str
    revision: str | None = None
    dtype: DType = "auto"
    quantization: WeightQuantization | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model that is on this machine: where, and what it needs."""

    folder: Path
    estimate: Estimate


class Source(Protocol):
    """Where engines come from. `find`, `load` and `release` block; they are called in threads."""

    @property
    def kind(self) -> str:
        """The kind of the devices: "cpu", "cuda" or "mps"."""
        ...

    def budgets(self) -> Mapping[str, int]:
        """Return what the models on each device may take together, in bytes; quick."""
        ...

    def find(self, key: ModelKey, max_model_len: int | None, progress: Progress) -> Found:
        """Return where the model is and what it needs for a context of that length."""
        ...

    def load(self, key: ModelKey, found: Found, place: Place) -> Engine:
        """Return an engine at its place."""
        ...

    def release(self) -> None:
        """Give back the memory of engines that nobody has any more."""
        ...
