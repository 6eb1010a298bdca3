"""The facts of a model, read from its config.json. Pure: files in, facts out, no torch.

Layer 1.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from conduit_nb.errors import ModelFilesError

# How the architectures call the longest text that they were made for, the usual name first.
CONTEXT_FIELDS = (
    "max_position_embeddings",
    "n_positions",
    "n_ctx",
    "max_seq_len",
    "max_sequence_length",
    "seq_length",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelSpec:
    """What config.json says. `context_tokens` is None where it sets no limit."""

    model_type: str
    architectures: tuple[str, ...]
    context_tokens: int | None
    vocab_tokens: int | None


def read_spec(folder: Path) -> ModelSpec:
    """Return the facts of the model in `folder`.

    Raises ModelFilesError where config.json is missing or is no model's.
    """
    config = _read_config(folder / "config.json")
    text = _text_part(config)
    architectures = config.get("architectures")
    return ModelSpec(
        model_type=str(config.get("model_type", "")),
        architectures=tuple(str(name) for name in cast("list[object]", architectures))
        if isinstance(architectures, list)
        else (),
        context_tokens=next(
            (number for name in CONTEXT_FIELDS if (number := _positive(text, name)) is not None),
            None,
        ),
        vocab_tokens=_positive(text, "vocab_size"),
    )


def context_tokens(folder: Path) -> int | None:
    """Return how many tokens the model reads and writes at most, None where it does not say."""
    return read_spec(folder).context_tokens


def _read_config(path: Path) -> Mapping[str, Any]:
    try:
        config: object = json.loads(path.read_bytes())
    except FileNotFoundError as err:
        raise ModelFilesError(
            f"{path.parent} has no config.json.", hint="Name a folder that holds a whole model."
        ) from err
    except (ValueError, RecursionError) as err:
        raise ModelFilesError(
            f"{path} is not JSON: {err}.", hint="Fetch the model again, or repair the file."
        ) from err
    except OSError as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err.strerror}.", hint="Check its permissions."
        ) from err
    if not isinstance(config, dict):
        raise ModelFilesError(
            f"{path} holds no JSON object.", hint="Fetch the model again, or repair the file."
        )
    return cast("dict[str, Any]", config)


def _text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return where the language model's numbers stand: models that also see nest them."""
    nested = config.get("text_config")
    return cast("dict[str, Any]", nested) if isinstance(nested, dict) else config


def _positive(config: Mapping[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
