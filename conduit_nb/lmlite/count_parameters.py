"""The weights of any model that transformers knows, counted on torch's meta device: no memory.

    python -m conduit_nb.lmlite.count_parameters FOLDER   a JSON list of [name, shape]

It takes seconds and imports what a stranger's config.json names (of transformers, never of the
folder): hence a process of its own.
Layer 3. Loads torch only in that process.
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, cast

from conduit_nb.child_environment import server_environment
from conduit_nb.errors import MissingExtraError, ModelError
from conduit_nb.models.tensors import Tensor

TIMEOUT_S = 300.0
CANNOT, LACKS = 3, 4
_AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModel")


def counted_tensors(folder: Path) -> tuple[Tensor, ...]:
    """Return the weights of the model whose config.json lies in `folder`; tied ones once.

    Blocks for seconds: it runs a process. Raises MissingExtraError where torch is not installed,
    ModelError where transformers does not know such a model.
    """
    try:
        ran = subprocess.run(  # noqa: S603  # our own interpreter and module
            # -P: a torch.py in the folder where the user stands is not the torch that is meant.
            [sys.executable, "-P", "-m", "conduit_nb.lmlite.count_parameters", str(folder)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={
                **server_environment(with_hub_token=False),
                "HF_HUB_OFFLINE": "1",
                "CUDA_VISIBLE_DEVICES": "",
                "PYTHONIOENCODING": "utf-8",
            },
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as err:
        raise ModelError(
            f"Counting the parameters of {folder} took more than {TIMEOUT_S:.0f} s.",
            hint="Put the model's safetensors, or their index, beside its config.json.",
        ) from err
    if ran.returncode == 0:
        return tuple(_tensors(ran.stdout))
    said = next((line for line in reversed(ran.stderr.splitlines()) if line.strip()), "no word")
    if ran.returncode == LACKS:
        raise MissingExtraError(said, hint='pip install "conduit-nb[lmlite]"')
    raise ModelError(
        f"The parameters of the model in {folder} cannot be counted: {said[:300]}",
        hint="Put the model's safetensors, or their index, beside its config.json.",
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what goes wrong goes to stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m conduit_nb.lmlite.count_parameters",
        description="Count a model's parameters by its config.json, without its weights.",
    )
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args(arguments).folder
    try:
        torch: Any = importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
    except ModuleNotFoundError as err:
        print(f"Counting the parameters of a model needs {err.name}.", file=sys.stderr)
        return LACKS
    transformers.utils.logging.set_verbosity_error()
    try:
        model = meta_model(torch, transformers, folder)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RuntimeError) as err:
        print(str(err).splitlines()[0] if str(err) else type(err).__name__, file=sys.stderr)
        return CANNOT
    json.dump([[name, list(tensor.shape)] for name, tensor in saved_tensors(model)], sys.stdout)
    return 0


def meta_model(torch: Any, transformers: Any, folder: Path) -> Any:
    """Return the model without any weights, in full precision whatever its files are in."""
    config = transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )
    for part in (config, config.get_text_config()):
        if getattr(part, "quantization_config", None) is not None:
            del part.quantization_config
    refused: ValueError | None = None
    for name in _AUTO_CLASSES:
        try:
            with torch.device("meta"):
                return getattr(transformers, name).from_config(config, trust_remote_code=False)
        except ValueError as err:  # not a configuration for this class
            refused = refused or err
    assert refused is not None
    raise refused


def saved_tensors(model: Any) -> Iterator[tuple[str, Any]]:
    """Yield what a checkpoint holds: parameters, each once, and buffers that are saved."""
    yield from model.named_parameters()
    for module_name, module in model.named_modules():
        for name, buffer in module.named_buffers(recurse=False):
            if name not in module._non_persistent_buffers_set:
                yield f"{module_name}.{name}", buffer


def _tensors(text: str) -> Iterator[Tensor]:
    for name, shape in cast("list[tuple[str, list[int]]]", json.loads(text)):
        yield Tensor(name=name, shape=tuple(shape))


if __name__ == "__main__":
    sys.exit(main())
