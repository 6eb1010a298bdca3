"""What a run was and cost: the model and where it ran, tokens, seconds, dollars, the schema.

A receipt stands in the notebook beside the result, and in a file of the installation, from which
later runs are estimated. Knows JSON and files; no display.
Layer 4.
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
LONGEST_BYTES = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt(Displayed):
    """One run over rows. What nobody could say is None; `usd` is what the servers cost meanwhile.

    `start_seconds` of its `seconds` passed before the server and its model were ready.
    `schema_hash` is that of what was filled, in the form in which the model was held to it.
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
    """Return what tells a schema from others: equal where a model is held to the same."""
    told = json.dumps([schema.json_schema, schema.instruction], separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def keep_receipt(receipt: Receipt) -> None:
    """Put a receipt under the last ones of this installation; in time the oldest go."""
    path = settings.state_dir() / FILE_NAME
    make_private_folder(path.parent, knob="CONDUIT_STATE_DIR")
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600), "ab") as file:
            file.write(_line(receipt))  # one write: notebooks may do so at the same time
            is_long = file.tell() > KEPT * LONGEST_BYTES
    except OSError as err:
        raise to_storage_error(err, path, knob="CONDUIT_STATE_DIR") from err
    if is_long:
        lines = b"".join(_line(one) for one in read_receipts()[-KEPT:])
        write_private_file(path, lines, knob="CONDUIT_STATE_DIR")


def _line(receipt: Receipt) -> bytes:
    return json.dumps(dataclasses.asdict(receipt)).encode() + b"\n"


def read_receipts() -> list[Receipt]:
    """Return the last receipts of this installation, the newest last."""
    try:
        text = (settings.state_dir() / FILE_NAME).read_text("utf-8", errors="replace")
    except OSError:
        return []
    found: list[Receipt] = []
    for line in text.splitlines():
        try:
            receipt = to_receipt(json.loads(line))
        except ValueError:
            continue
        found += [] if receipt is None else [receipt]
    return found


def read_notebook(path: Path) -> list[Receipt]:
    """Return the receipts in a notebook's file, in the order of its cells; no kernel is needed."""
    try:
        document: object = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as err:
        raise StorageError(
            f"{path} cannot be read as a notebook ({type(err).__name__}).",
            hint="Name a saved .ipynb file.",
        ) from err
    receipts = (to_receipt(found) for found in _receipts_in(document))
    return [receipt for receipt in receipts if receipt is not None]


def to_receipt(told: object) -> Receipt | None:
    """Read a receipt out of JSON; None where it is none. What a later Conduit adds is ignored."""
    if not isinstance(told, dict):
        return None
    values = cast("dict[str, Any]", told)
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
    """Yield what stands under our name, wherever in the document."""
    if isinstance(part, list):
        for item in cast("list[object]", part):
            yield from _receipts_in(item)
    elif isinstance(part, dict):
        for name, value in cast("dict[str, object]", part).items():
            if name == MIME:
                yield value
            elif name in ("cells", "outputs", "data"):
                yield from _receipts_in(value)
