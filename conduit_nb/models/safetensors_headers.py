"""Read the tensors of safetensors files from their headers, in a folder or on a hub.

A header is a few kilobytes at the start of each file; on a hub it is fetched by a range request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote

import httpx2

from conduit_nb import http_clients
from conduit_nb.credentials import HUB
from conduit_nb.errors import ModelFilesError, ModelNotFoundError
from conduit_nb.models.files import FETCH_AGAIN, INDEX_NAME, MAX_HEADER_BYTES
from conduit_nb.models.huggingface import (
    FORBIDDEN,
    NOT_FOUND,
    UNAUTHORIZED,
    access_hint,
    hub_token,
    hub_url,
    quoted,
    refuse_ggufs,
    refused_token,
)
from conduit_nb.models.tensors import Tensor, TensorDtype

LENGTH_BYTES = 8
PARTIAL_CONTENT = 206
TIMEOUT_S = 15.0
AT_ONCE = 8
MAX_JSON_BYTES = 100_000_000
SINGLE_NAME = "model.safetensors"

_SHARD = re.compile(r"[\w][\w.\-]*\.safetensors")
_CONSOLIDATED = re.compile(r"consolidated.*|adapter_model.*")
_DTYPES: Mapping[str, TensorDtype] = {
    "F64": "float64",
    "F32": "float32",
    "BF16": "bfloat16",
    "F16": "float16",
    "F8_E4M3": "float8",
    "F8_E5M2": "float8",
    "F8_E8M0": "uint8",
    "F4": "uint8",
    "I64": "int64",
    "U64": "int64",
    "I32": "int32",
    "U32": "int32",
    "I16": "int16",
    "U16": "int16",
    "I8": "int8",
    "U8": "uint8",
    "BOOL": "bool",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Index:
    """The content of model.safetensors.index.json: the files, and the bytes of all tensors."""

    files: tuple[str, ...]
    total_bytes: int | None


def folder_tensors(folder: Path) -> tuple[Tensor, ...] | None:
    """Return the tensors of the safetensors files in `folder`, None where one is missing.

    Raises ModelFilesError where a header is broken.
    """
    index = folder_index(folder)
    names = (
        index.files
        if index
        else tuple(
            path.name
            for path in sorted(folder.glob("*.safetensors"))
            if not _CONSOLIDATED.fullmatch(path.name)
        )
    )
    paths = [folder / name for name in names]
    if not paths or not all(path.is_file() for path in paths):
        return None
    return tuple(tensor for path in paths for tensor in _tensors(_header(path), str(path)))


def folder_index(folder: Path) -> Index | None:
    """Return the index in `folder`, None where there is none."""
    path = folder / INDEX_NAME
    if not path.is_file():
        return None
    try:
        return _index(json.loads(path.read_bytes()), str(path))
    except (OSError, ValueError, RecursionError) as err:
        raise ModelFilesError(f"{path} cannot be read: {err}.", hint=FETCH_AGAIN) from err


class HubHeaders:
    """Reads the headers of a model's files on a hub; use as a context manager.

    `endpoint` is the hub's address (HF_ENDPOINT, else the public one). Methods raise
    ModelNotFoundError where the hub has no such model, denies access or cannot be reached.
    """

    def __init__(
        self, model_id: str, *, revision: str | None = None, endpoint: str | None = None
    ) -> None:
        base = endpoint or hub_url()
        self._model_id = model_id
        self._about = f"{base.rstrip('/')}/api/models/{quote(model_id)}/revision/{quoted(revision)}"
        self._root = f"{base.rstrip('/')}/{quote(model_id)}/resolve/{quoted(revision)}"
        token = hub_token()
        self._has_token = token is not None
        self._client = http_clients.client(
            self._root,
            follow_redirects=True,
            timeout=TIMEOUT_S,
            headers={"Authorization": f"Bearer {token}"} if token else {},
        )

    def __enter__(self) -> HubHeaders:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the connections."""
        self._client.close()

    def config(self) -> Mapping[str, Any]:
        """Return the model's config.json."""
        content = self._json("config.json")
        if content is None:
            refuse_ggufs(self._model_id, self._names())
            raise ModelNotFoundError(
                f"{self._model_id} has no config.json at {self._root}.",
                reason="missing",
                hint=f"Check the spelling. For a private model: {HUB.cure}",
            )
        return content

    def tensors(self) -> tuple[Tensor, ...] | None:
        """Return the tensors of all its safetensors files, None where it has none."""
        content = self._json(INDEX_NAME)
        files = (SINGLE_NAME,) if content is None else _index(content, self._root).files
        with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="conduit-headers") as threads:
            headers = list(threads.map(self._header, files))
        if None in headers:
            return None
        return tuple(
            tensor
            for name, header in zip(files, headers, strict=True)
            for tensor in _tensors(header or b"", f"{self._root}/{name}")
        )

    def json_file(self, name: str) -> Mapping[str, Any] | None:
        """Return the object in a small file of the model's, None where it has none."""
        return self._json(name)

    def _names(self) -> list[str]:
        """Return the names of the model's files, none where the hub does not list them."""
        try:
            answer = self._client.get(self._about)
            content: object = answer.json() if answer.is_success else {}
        except (httpx2.HTTPError, ValueError, RecursionError):
            return []
        about = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
        files: object = about.get("siblings")
        return [
            str(cast("dict[str, Any]", one).get("rfilename"))
            for one in (cast("list[object]", files) if isinstance(files, list) else ())
            if isinstance(one, dict)
        ]

    def _json(self, name: str) -> Mapping[str, Any] | None:
        text = self._range(name, 0, MAX_JSON_BYTES)
        if text is None:
            return None
        try:
            content: object = json.loads(text)
        except (ValueError, RecursionError) as err:
            raise ModelFilesError(
                f"{self._root}/{name} is not JSON: {err}.", hint="Name another revision."
            ) from err
        return cast("dict[str, Any]", content) if isinstance(content, dict) else None

    def _header(self, name: str) -> bytes | None:
        beginning = self._range(name, 0, LENGTH_BYTES)
        if beginning is None:
            return None
        length = _header_length(beginning, f"{self._root}/{name}")
        return self._range(name, LENGTH_BYTES, length)

    def _range(self, name: str, start: int, length: int) -> bytes | None:
        """Return up to `length` bytes from `start`, None where the file does not exist.

        A server without range requests sends the file from its start: reading stops in time.
        """
        headers = {"Range": f"bytes={start}-{start + length - 1}", "Accept-Encoding": "identity"}
        try:
            with self._client.stream(
                "GET", f"{self._root}/{quote(name)}", headers=headers
            ) as answer:
                if answer.status_code == NOT_FOUND:
                    return None
                answer.raise_for_status()
                is_range = answer.status_code == PARTIAL_CONTENT
                skipped = 0 if is_range else start
                read = b""
                for chunk in answer.iter_bytes():
                    read += chunk
                    if len(read) >= skipped + length:
                        break
        except httpx2.HTTPStatusError as err:
            status = err.response.status_code
            if status == UNAUTHORIZED and self._has_token:
                raise refused_token(self._model_id) from err
            refuses = status in (UNAUTHORIZED, FORBIDDEN)
            raise ModelNotFoundError(
                f"The hub answered {status} for {name} of {self._model_id}.",
                reason="access" if refuses else "unreachable",
                hint=access_hint(self._model_id)
                if refuses
                else "Try again later, or plan from a folder.",
            ) from err
        except httpx2.HTTPError as err:
            raise ModelNotFoundError(
                f"{self._root} cannot be reached: {str(err) or type(err).__name__}.",
                reason="unreachable",
                hint="Plan from a folder with the model's config.json instead.",
            ) from err
        return read[skipped : skipped + length]


def _header(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_header_length(file.read(LENGTH_BYTES), str(path)))
    except OSError as err:
        raise ModelFilesError(
            f"{path} cannot be read: {err.strerror}.", hint="Check its permissions."
        ) from err


def _header_length(beginning: bytes, where: str) -> int:
    length = int.from_bytes(beginning, "little")
    if len(beginning) < LENGTH_BYTES or not 0 < length <= MAX_HEADER_BYTES:
        raise ModelFilesError(f"{where} is no safetensors file, or cut short.", hint=FETCH_AGAIN)
    return length


def _tensors(header: bytes, where: str) -> Iterator[Tensor]:
    try:
        content: object = json.loads(header)
    except (ValueError, RecursionError) as err:
        raise ModelFilesError(f"{where} has a broken header: {err}.", hint=FETCH_AGAIN) from err
    for name, entry in cast(
        "dict[str, object]", content if isinstance(content, dict) else {}
    ).items():
        if name == "__metadata__":
            continue
        match entry:
            case {"dtype": str(dtype), "shape": list()} if dtype in _DTYPES:
                numbers = cast("dict[str, list[int]]", entry)["shape"]
                if dtype == "F4" and numbers:
                    numbers = [*numbers[:-1], numbers[-1] // 2]
                yield Tensor(name=name, shape=tuple(numbers), dtype=_DTYPES[dtype])
            case _:
                raise ModelFilesError(f"{where} does not say what {name!r} is.", hint=FETCH_AGAIN)


def _index(content: object, where: str) -> Index:
    fields = cast("dict[str, Any]", content) if isinstance(content, dict) else {}
    names = fields.get("weight_map")
    if not isinstance(names, dict) or not names:
        raise ModelFilesError(f"{where} names no files.", hint=FETCH_AGAIN)
    files = sorted({str(name) for name in cast("dict[str, object]", names).values()})
    if not all(_SHARD.fullmatch(name) for name in files):
        outside = next(name for name in files if not _SHARD.fullmatch(name))
        raise ModelFilesError(
            f"{where} names {outside!r}, outside of its folder.", hint=FETCH_AGAIN
        )
    metadata: object = fields.get("metadata")
    total = cast("dict[str, Any]", metadata).get("total_size") if isinstance(metadata, dict) else 0
    return Index(
        files=tuple(files),
        total_bytes=int(total) if isinstance(total, int | float) and total > 0 else None,
    )
