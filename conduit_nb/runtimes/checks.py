"""Checks that several runtimes make of what they are asked for.

Layer 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig


def refuse_fields(
    runtime: str, models: Sequence[LmLiteModelConfig], lacking: Mapping[str, str]
) -> None:
    """Raise ArgumentError where a config sets a field that the runtime lacks.

    `lacking` says of each such field what to do instead.
    """
    for model in models:
        for field, instead in lacking.items():
            value = getattr(model, field)
            if value is not None:
                raise ArgumentError(
                    f"{runtime} has nothing like {field}, and {model.model_id} sets it to"
                    f" {value!r}.",
                    param=field,
                    hint=f"{instead} Or serve it with LmLite.",
                )


def only_model(runtime: str, models: Sequence[LmLiteModelConfig]) -> LmLiteModelConfig:
    """Return the one model of a server that has one."""
    if len(models) != 1:
        raise ArgumentError(
            f"A server of {runtime} has one model, and {len(models)} are asked of it.",
            param="models",
            hint="Ask for each in a deployment of its own; a block with several models does.",
        )
    return models[0]
