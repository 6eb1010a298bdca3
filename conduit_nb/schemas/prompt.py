"""The prompt that asks a model for a record: instruction, types as MDL, the record as JSON.

Knows the words around a schema; which model reads them, it does not know. Layer 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from conduit_nb.errors import ArgumentError
from conduit_nb.schemas.schema import Schema

In = TypeVar("In")
Out = TypeVar("Out")


def prompt_messages(
    *,
    instruction: str,
    input: Schema[In] | None,  # noqa: A002  # the word that blocks use for it
    output: Schema[Out],
    record: In,
    examples: Sequence[tuple[In, Out]] = (),
) -> list[dict[str, Any]]:
    """Return the chat: what to do and the types, the examples as turns, then `record`.

    Where `input` is None, the record is plain text. Raises ValidationError where a record or an
    example does not fit its schema, SchemaError where a model cannot write the output.
    """
    output.require_model_output()
    messages = [{"role": "system", "content": _system(instruction, input, output)}]
    for given, wanted in examples:
        messages.append({"role": "user", "content": _asked(input, given)})
        messages.append({"role": "assistant", "content": output.encode(wanted)})
    messages.append({"role": "user", "content": _asked(input, record)})
    return messages


def _system(instruction: str, input_: Schema[Any] | None, output: Schema[Any]) -> str:
    parts = [instruction.strip()] if instruction.strip() else []
    if input_ is not None:
        about = f" {' '.join(input_.instruction.split())}" if input_.instruction else ""
        parts.append(f"Input:{about}\n{input_.mdl}")
    parts.append(f"Output (JSON):\n{output.mdl}")
    return "\n\n".join(parts)


def _asked(input_: Schema[Any] | None, record: Any) -> str:
    if input_ is not None:
        return input_.encode(record)
    if not isinstance(record, str):
        raise ArgumentError(
            f"Without an input schema the record is a str, not {type(record).__name__}.",
            hint="Pass a dataclass record, or text.",
        )
    return record
