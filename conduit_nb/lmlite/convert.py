"""GGUF files become safetensors, once: in a process of its own, kept in our cache.

    python -m conduit_nb.lmlite.convert --embedded          fetch and convert ahead of time
    python -m conduit_nb.lmlite.convert --model ID          the same for any model
    python -m conduit_nb.lmlite.convert FOLDER NAME TARGET  what `converted` starts

A conversion needs torch, gigabytes for a while, and may meet a hostile file: hence its own
process. It is written as float32, which holds every value of every GGUF; an engine loads it in
the precision that it runs in.
Loads torch only where a conversion really happens.
"""

from __future__ import annotations

import argparse
import collections
import importlib
import json
import os
import re
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from conduit_nb.child_environment import server_environment
from conduit_nb.errors import (
    ConduitError,
    MissingExtraError,
    ModelError,
    ModelFilesError,
    StorageError,
)
from conduit_nb.lmlite.heavy_imports import heavy_imports
from conduit_nb.models.cache import (
    converted_folder,
    is_whole,
    made_once,
    require_space,
    storage_error,
)
from conduit_nb.models.files import ModelFiles, Progress, check_model_folder, silent
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model

FLOAT32_BYTES = 4
KEPT_LINES = 20
STORAGE_ERRNO = re.compile(r"os error (\d+)")
END_WITH_PARENT = "--end-with-parent"
PARENT_GONE = 3
# What a conversion's process may report; anything else that ends it is the file's fault.
REPORTED = {kind.code: kind for kind in (MissingExtraError, ModelFilesError, StorageError)}


def converted(files: ModelFiles, *, progress: Progress = silent) -> Path:
    """Return a folder with the model as safetensors, converting it where that is still to do.

    Blocks for half a minute or more where it converts. Two processes at once convert only once.

    Raises ModelFilesError where the GGUF is broken, StorageError where the cache cannot take it.
    """
    if files.format == "safetensors":
        return files.folder
    assert files.gguf_name is not None
    target = converted_folder(files)
    if not is_whole(target, check_model_folder):
        _run(files.folder / files.gguf_name, target, progress)
    return target


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command: the model's folder goes to stdout, what happens to stderr."""
    parser = _parser()
    chosen = parser.parse_args(arguments)
    model_id: str | None = EMBEDDED_MODEL_ID if chosen.embedded else chosen.model
    paths: list[str] = chosen.paths
    if len(paths) != (3 if model_id is None else 0) or (chosen.embedded and chosen.model):
        parser.error("give --embedded, or --model ID, or FOLDER NAME TARGET")
    if model_id is None:
        if chosen.end_with_parent:
            threading.Thread(target=_end_with_parent, daemon=True).start()
        return _convert_and_report(Path(paths[0]) / paths[1], Path(paths[2]))
    try:
        files = find_model(model_id, revision=chosen.revision, progress=_report)
        folder = converted(files, progress=_report)
    except ConduitError as err:
        print(f"{type(err).__name__}: {err}\n  {err.hint}", file=sys.stderr)
        return 1
    print(folder)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m conduit_nb.lmlite.convert",
        description="Make a model ready to be served: find it, fetch it, convert it.",
    )
    parser.add_argument("paths", nargs="*", metavar="FOLDER NAME TARGET", help="one GGUF file")
    parser.add_argument("--embedded", action="store_true", help=f"the model {EMBEDDED_MODEL_ID}")
    parser.add_argument("--model", metavar="ID", help="a model's id, folder or .gguf file")
    parser.add_argument("--revision", help="a commit, tag or branch on the hub")
    parser.add_argument(END_WITH_PARENT, action="store_true", help=argparse.SUPPRESS)
    return parser


def _report(line: str) -> None:
    print(f"  {line}", file=sys.stderr, flush=True)


def _run(gguf: Path, target: Path, progress: Progress) -> None:
    """Run a conversion in a process that ends when we do, however that comes about."""
    output: collections.deque[str] = collections.deque(maxlen=KEPT_LINES)
    process = subprocess.Popen(  # noqa: S603  # our own interpreter and module
        # -P: a torch.py in the folder where the user stands is not the torch that is meant.
        [
            *(sys.executable, "-P", "-m", "conduit_nb.lmlite.convert", END_WITH_PARENT),
            *(str(gguf.parent), gguf.name, str(target)),
        ],
        stdin=subprocess.PIPE,  # closed by our end, whatever ends us
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={
            **server_environment(with_hub_token=False),
            "HF_HUB_OFFLINE": "1",
            "PYTHONIOENCODING": "utf-8",
        },
        text=True,
        encoding="utf-8",
        errors="replace",
    )
    failure: ConduitError | None = None
    try:
        assert process.stdout is not None
        for line in process.stdout:
            match _message(line):
                case {"progress": str(text)}:
                    progress(text)
                case {"error": str(code), "message": str(text), "hint": str(hint)}:
                    failure = REPORTED[code](text, hint=hint)
                case _:
                    output.append(line.strip())
        code = process.wait()
    finally:
        process.kill()
        process.communicate()
    if failure is not None:
        raise failure
    if code != 0:
        raise _unreported(gguf, code, output)


def _message(line: str) -> dict[str, Any]:
    if not line.startswith("{"):
        return {}
    try:
        content: object = json.loads(line)
    except ValueError:
        return {}
    return cast("dict[str, Any]", content) if isinstance(content, dict) else {}


def _unreported(gguf: Path, code: int, output: Sequence[str]) -> ModelError:
    if code < 0:
        return ModelError(
            f"The conversion of {gguf.name} was ended by signal {-code}.",
            hint="Without a person behind it that is a lack of memory: free some, then try again.",
        )
    last = next((line for line in reversed(output) if line), "it wrote no output")
    return ModelFilesError(
        f"{gguf} cannot be converted: {last[:300]}",
        hint="It is broken, cut short, or of a kind that transformers cannot read: fetch it again, "
        "or name a model with safetensors files.",
    )


def _convert_and_report(gguf: Path, target: Path) -> int:
    """Convert, and report progress in lines of JSON to the process that started us."""

    def report(line: str) -> None:
        print(json.dumps({"progress": line}), flush=True)

    try:
        with made_once(target, check_model_folder, progress=report) as making:
            if making is not None:
                _convert(gguf, making, report)
    except (MissingExtraError, ModelFilesError, StorageError) as err:
        print(json.dumps({"error": err.code, "message": str(err), "hint": err.hint}), flush=True)
        return 1
    return 0


def _convert(gguf: Path, making: Path, progress: Progress) -> None:
    # Not imported at the top: a process that only waits for another, or finds the work done,
    # must not spend seconds on them; and the parent of this process never needs them.
    try:
        from gguf import GGUFReader
        from safetensors import SafetensorError

        transformers: Any = importlib.import_module("transformers")
    except ModuleNotFoundError as err:
        raise MissingExtraError(
            f"Converting a GGUF file needs {err.name}.", hint='pip install "conduit-nb[lmlite]"'
        ) from err
    transformers.utils.logging.disable_progress_bar()
    progress(f"reading {gguf.name}")
    numbers = sum(int(tensor.n_elements) for tensor in GGUFReader(gguf).tensors)
    require_space(making, numbers * FLOAT32_BYTES, what=f"Converting {gguf.name}")
    progress(f"converting {gguf.name} ({numbers:,} numbers)")
    with heavy_imports():  # transformers loads its parts, and torch, when they are first used
        auto_model, auto_tokenizer = transformers.AutoModelForCausalLM, transformers.AutoTokenizer
    model = auto_model.from_pretrained(
        gguf.parent,
        gguf_file=gguf.name,
        quantization_config=transformers.GgufConfig(dequantize=True),
        dtype="float32",
        trust_remote_code=False,
    )
    tokenizer = auto_tokenizer.from_pretrained(
        gguf.parent, gguf_file=gguf.name, trust_remote_code=False
    )
    progress(f"writing {numbers * FLOAT32_BYTES:,} bytes")
    try:
        model.save_pretrained(making)
        tokenizer.save_pretrained(making)
    except (OSError, SafetensorError) as err:
        raise _storage_error(err, making) from err


def _storage_error(err: Exception, folder: Path) -> StorageError:
    """Return the error for a failed write; safetensors (in Rust) has the errno in its message."""
    if not isinstance(err, OSError) or err.errno is None:
        number = STORAGE_ERRNO.search(str(err))
        if number is None:
            return StorageError(
                f"{folder} cannot be written: {err}.",
                hint="Check the disk, or set CONDUIT_CACHE_DIR to another folder.",
            )
        err = OSError(int(number[1]), os.strerror(int(number[1])), str(folder))
    return storage_error(err, folder)


def _end_with_parent() -> None:
    """End this process when its stdin closes, which happens when the parent is gone."""
    # Not sys.stdin: its lock, held by this thread, would abort the interpreter at its end.
    while os.read(0, 1):
        pass
    os._exit(PARENT_GONE)


if __name__ == "__main__":
    sys.exit(main())
