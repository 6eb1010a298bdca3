"""How long a text a model reads and writes, derived from config.json as vLLM derives it.

vLLM, `config/model.py`, `_get_and_verify_max_len`: scaled rotations multiply the positions that the
model was trained on, except where the file counts them already.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, cast

from conduit_nb.models.fields import CONTEXT, first, positive

# Kinds of scaling whose factor `max_position_embeddings` holds already.
_COUNTED = frozenset({"su", "longrope", "llama3"})
# The first positions of these are never used: a text of 514 positions has 512 tokens.
_PADDED = frozenset(
    {"roberta", "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod"}
    | {"data2vec-text", "mpnet", "longformer", "ibert"}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ContextLength:
    """`tokens` is the longest text, `positions` the number in the file; None where it has none."""

    tokens: int | None
    positions: int | None
    remarks: tuple[str, ...] = ()


def context_length(config: Mapping[str, Any]) -> ContextLength:
    """Return the longest text of the language model in `config`."""
    positions = _positions(config)
    tokens, remarks = positions, ()
    if config.get("model_type") in _PADDED and positions and _is_power_of_two(positions - 2):
        tokens = positions - 2
    for scaling in rope_scalings(config):
        kind, factor = scaling_kind(scaling), _factor(scaling)
        original = positive(scaling, "original_max_position_embeddings") or positive(
            config, "original_max_position_embeddings"
        )
        if kind == "yarn" and not _is_gemma3(config):
            base = original or positions
            tokens = int(base * factor) if base else None
        elif kind == "longrope" and original and positions and original < positions:
            remarks = (
                f"vLLM serves {original:,} tokens of this model unless max_model_len is set.",
            )
        elif kind not in _COUNTED and kind != "longrope" and not _is_gemma3(config) and positions:
            tokens = max(tokens or 0, int(positions * factor))
    return ContextLength(tokens=tokens, positions=positions, remarks=remarks)


def rope_scalings(config: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """Yield how positions are scaled: once, or for each kind of layer."""
    for name in ("rope_scaling", "rope_parameters"):
        said = config.get(name)
        if not isinstance(said, dict) or not said:
            continue
        fields = cast("dict[str, Any]", said)
        nested = [cast("dict[str, Any]", one) for one in fields.values() if isinstance(one, dict)]
        yield from nested or [fields]
        return


def scaling_kind(scaling: Mapping[str, Any]) -> str:
    """Return the kind of a scaling by its new or its old name."""
    kind = str(scaling.get("rope_type") or scaling.get("type") or "default")
    return "longrope" if kind == "su" else kind


def _factor(scaling: Mapping[str, Any]) -> float:
    factor = scaling.get("factor")
    is_number = isinstance(factor, int | float) and not isinstance(factor, bool)
    return float(cast("float", factor)) if is_number else 1.0


def _is_power_of_two(number: int) -> bool:
    return number > 0 and number & (number - 1) == 0


def _is_gemma3(config: Mapping[str, Any]) -> bool:
    return "gemma3" in str(config.get("model_type", ""))


def _positions(config: Mapping[str, Any]) -> int | None:
    """Return the positions; of Whisper those of what it writes, not of what it hears."""
    if config.get("model_type") == "whisper":
        return positive(config, "max_target_positions")
    return first(config, *CONTEXT)
