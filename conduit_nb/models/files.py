"""A model's files on this machine, and the checks that they are complete and safe to load.

Reads headers only, never weights.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal, cast

from conduit_nb.errors import ModelFilesError

Progress = Callable[[str], None]
"""Called with lines of text for people, from any thread."""

INDEX_NAME = "model.safetensors.index.json"
TOKENIZER_FILES = (("tokenizer.json",), ("tokenizer.model",), ("vocab.json", "merges.txt"))
UNSAFE_SUFFIXES = (".bin", ".pt", ".pth", ".ckpt")
FETCH_AGAIN = "Fetch the model again, or name another folder."
GGUF_MAGIC = b"GGUF"
GGUF_VERSIONS = (2, 3)
MAX_HEADER_BYTES = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFiles:
    """The location of a model's files. `gguf_name` is the file in `folder` where it is a GGUF.

    `revision` is the commit of a model from a hub. `fingerprint` changes with the content; it is
    the key under which a conversion of the files is cached.
    """

    model_id: str
    revision: str | None
    folder: Path
    format: Literal["safetensors", "gguf"]
    gguf_name: str | None = None
    fingerprint: str = ""


def silent(_line: str) -> None:
    """Ignore progress."""


def check_model_folder(folder: Path) -> None:
    """Raise ModelFilesError, which names what is missing or broken, unless `folder` is complete."""
    missing: list[str] = []
    if not (folder / "config.json").is_file():
        missing.append("config.json")
    if not any(all((folder / name).is_file() for name in names) for names in TOKENIZER_FILES):
        missing.append("tokenizer.json")
    weights = _weight_files(folder)
    if not weights:
        _refuse_unsafe(folder)
        missing.append("*.safetensors")
    missing += [path.name for path in weights if not path.is_file()]
    if missing:
        raise ModelFilesError(
            f"{folder} is no whole model: it lacks {', '.join(missing)}.", hint=FETCH_AGAIN
        )
    for path in weights:
        check_safetensors(path)


def check_safetensors(path: Path) -> None:
    """Raise ModelFilesError unless the header of `path` is valid and matches the file's size.

    This detects interrupted copies; the weights themselves are not read.
    """
    with _open(path) as file:
        size = path.stat().st_size
        header_bytes = int.from_bytes(file.read(8), "little")
        if size < 8 or not 0 < header_bytes <= min(size - 8, MAX_HEADER_BYTES):
            raise ModelFilesError(f"{path} is no safetensors file, or cut short.", hint=FETCH_AGAIN)
        text = file.read(header_bytes)
    ends = _tensor_ends(path, text)
    expected = 8 + header_bytes + max(ends, default=0)
    if size != expected:
        raise ModelFilesError(
            f"{path} has {size:,} bytes; its header speaks of {expected:,}.", hint=FETCH_AGAIN
        )


def check_gguf(path: Path) -> None:
    """Raise ModelFilesError unless `path` starts as a GGUF file does.

    The rest is checked by the conversion, in a process of its own.
    """
    with _open(path) as file:
        magic, version = file.read(4), int.from_bytes(file.read(4), "little")
    if magic != GGUF_MAGIC or version not in GGUF_VERSIONS:
        raise ModelFilesError(
            f"{path} is no GGUF file of version {' or '.join(map(str, GGUF_VERSIONS))}.",
            hint="Check that the download is complete.",
        )


def _weight_files(folder: Path) -> list[Path]:
    """Return the safetensors files that make up the model, including missing ones."""
    index = folder / INDEX_NAME
    if not index.is_file():
        return sorted(folder.glob("*.safetensors"))
    try:
        content: object = json.loads(index.read_bytes())
    except (OSError, ValueError, RecursionError) as err:
        raise ModelFilesError(f"{index} cannot be read: {err}.", hint=FETCH_AGAIN) from err
    shards = (
        cast("dict[str, object]", content).get("weight_map") if isinstance(content, dict) else 0
    )
    if not isinstance(shards, dict) or not shards:
        raise ModelFilesError(f"{index} names no files.", hint=FETCH_AGAIN)
    names = sorted({str(name) for name in cast("dict[str, object]", shards).values()})
    outside = next((name for name in names if Path(name).name != name), None)
    if outside is not None:
        raise ModelFilesError(
            f"{index} names {outside!r}, outside of its folder.", hint=FETCH_AGAIN
        )
    return [folder / name for name in names]


def _refuse_unsafe(folder: Path) -> None:
    unsafe = sorted(path.name for path in folder.glob("*") if path.suffix in UNSAFE_SUFFIXES)
    if unsafe:
        raise ModelFilesError(
            f"{folder} has weights only as {unsafe[0]}: such files can run code when loaded.",
            hint="Use a model with safetensors files, or convert it yourself with save_pretrained.",
        )


def _tensor_ends(path: Path, header: bytes) -> list[int]:
    try:
        content: object = json.loads(header)
    except (ValueError, RecursionError) as err:
        raise ModelFilesError(f"{path} has a broken header: {err}.", hint=FETCH_AGAIN) from err
    if not isinstance(content, dict):
        raise ModelFilesError(f"{path} has a broken header.", hint=FETCH_AGAIN)
    ends: list[int] = []
    for name, tensor in cast("dict[str, object]", content).items():
        if name == "__metadata__":
            continue
        match tensor:
            case {"data_offsets": [int(), int(end)]}:
                ends.append(end)
            case _:
                raise ModelFilesError(f"{path} does not say where {name!r} lies.", hint=FETCH_AGAIN)
    return ends


def _open(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err.strerror}.", hint="Check its permissions."
        ) from err
