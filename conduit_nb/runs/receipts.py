"""Receipts of runs: the model and where it ran, tokens, seconds, cost, the schema.

A receipt is stored in the notebook beside the result, and in a file of the installation, from
which later runs are estimated. Knows JSON and files; no display.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from conduit_nb import settings
from conduit_nb.displayed import Displayed
from conduit_nb.errors import StorageError
from conduit_nb.private_files import (
    make_private_folder,
    to_storage_error,
    write_private_file,
)
from conduit_nb.schemas import Schema

MIME = "application/vnd.conduit.receipt+json"
FILE_NAME = "receipts.jsonl"
KEPT = 500
MAX_RECEIPT_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Displayed):
    """One run over rows. Unknown values are None; `usd` is the cost of the servers meanwhile.

    `start_seconds` of its `seconds` passed before the server and its model were ready.
    `schema_hash` identifies the output schema (see the function `schema_hash`).
    """

    title: str
    model: str
    rows: int
    done: int
    failed: int
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    started_at: str
    schema_hash: str
    revision: str | None = None
    runtime: str | None = None
    runtime_version: str | None = None
    provider: str | None = None
    deployment: str | None = None
    device: str | None = None
    usd: float | None = None
    is_stopped: bool = False
    start_seconds: float = 0.0


def schema_hash(schema: Schema[Any]) -> str:
    """Return a hash of a schema's JSON Schema and instruction: of what constrains the model."""
    text = json.dumps([schema.json_schema, schema.instruction], separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def keep_receipt(receipt: Receipt) -> None:
    """Append a receipt to this installation's file; the oldest beyond KEPT are dropped in time."""
    path = settings.state_dir() / FILE_NAME
    make_private_folder(path.parent, knob="CONDUIT_STATE_DIR")
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
            file.write(_line(receipt))  # one write: notebooks may do so at the same time
            is_long = file.tell() > KEPT * MAX_RECEIPT_BYTES
    except OSError as err:
        raise to_storage_error(err, path, knob="CONDUIT_STATE_DIR") from err
    if is_long:
        lines = b"".join(_line(one) for one in read_receipts()[-KEPT:])
        write_private_file(path, lines, knob="CONDUIT_STATE_DIR")


def _line(receipt: Receipt) -> bytes:
    return json.dumps(dataclasses.asdict(receipt)).encode() + b"\n"


def read_receipts() -> list[Receipt]:
    """Return the last receipts of this installation, the newest last; broken lines are skipped."""
    try:
        text = (settings.state_dir() / FILE_NAME).read_text("utf-8", errors="replace")
    except OSError:
        return []
    receipts: list[Receipt] = []
    for line in text.splitlines():
        try:
            receipt = to_receipt(json.loads(line))
        except ValueError:
            continue
        receipts += [] if receipt is None else [receipt]
    return receipts


def read_notebook(path: Path) -> list[Receipt]:
    """Return the receipts in a notebook file, in cell order. Raises StorageError."""
    try:
        document: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise StorageError(
            f"{path} cannot be read as a notebook ({type(err).__name__}).",
            hint="Name a saved .ipynb file.",
        ) from err
    receipts = (to_receipt(one) for one in _receipts_in(document))
    return [receipt for receipt in receipts if receipt is not None]


def to_receipt(value: object) -> Receipt | None:
    """Return a receipt from its JSON value, None where it is not one.

    Unknown fields are ignored: a later Conduit may add some.
    """
    if not isinstance(value, dict):
        return None
    values = cast("dict[str, Any]", value)
    names = {field.name for field in dataclasses.fields(Receipt)}
    try:
        receipt = Receipt(**{name: value for name, value in values.items() if name in names})
    except TypeError:
        return None
    return (
        receipt if all(_is_kind(receipt, field) for field in dataclasses.fields(receipt)) else None
    )


_KINDS: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (int, float),
    "bool": (bool,),
    "str | None": (str, type(None)),
    "float | None": (int, float, type(None)),
}


def _is_kind(receipt: Receipt, field: dataclasses.Field[Any]) -> bool:
    return isinstance(getattr(receipt, field.name), _KINDS[str(field.type)])


def _receipts_in(part: object) -> Iterator[object]:
    """Yield the values under Conduit's MIME type, anywhere in a notebook document."""
    if isinstance(part, list):
        for item in cast("list[object]", part):
            yield from _receipts_in(item)
    elif isinstance(part, dict):
        for name, value in cast("dict[str, object]", part).items():
            if name == MIME:
                yield value
            elif name in ("cells", "outputs", "data"):
                yield from _receipts_in(value)
