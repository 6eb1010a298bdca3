"""The weights of any model that transformers knows, counted on torch's meta device: no memory.

    python -m conduit_nb.lmlite.count_parameters FOLDER   a JSON list of [name, shape]
    … --config FOLDER   its config.json with the defaults of its class, without torch

It takes seconds and imports what a stranger's config.json names (of transformers, never of the
folder): hence a process of its own.
Loads torch only in that process.
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from conduit_nb.child_environment import server_environment
from conduit_nb.errors import MissingExtraError, ModelError
from conduit_nb.models.spec import read_config, text_part
from conduit_nb.models.tensors import Tensor

TIMEOUT_S = 300.0
UNSUPPORTED, MISSING_PACKAGE = 3, 4
_SEQUENCE_CLASSES = ("AutoModelForSeq2SeqLM", "AutoModelForSpeechSeq2Seq")
_AUTO_CLASSES = ("AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModel")


def counted_tensors(folder: Path) -> tuple[Tensor, ...]:
    """Return the weights of the model whose config.json lies in `folder`; tied ones once.

    Blocks for seconds: it runs a process. Raises MissingExtraError where torch is not installed,
    ModelError where transformers does not know such a model.
    """
    process = _run(folder)
    if process.returncode == 0:
        return tuple(_tensors(process.stdout))
    reason = _last_line(process)
    if process.returncode == MISSING_PACKAGE:
        raise MissingExtraError(reason, hint='pip install "conduit-nb[lmlite]"')
    raise ModelError(
        f"The parameters of the model in {folder} cannot be counted: {reason[:300]}",
        hint="Put the model's safetensors, or their index, next to its config.json.",
    )


def completed_config(folder: Path) -> Mapping[str, Any] | None:
    """Return the config.json in `folder` with the defaults of transformers' class of its type.

    Blocks for seconds the first time: it runs a process, and caches the result. None where
    transformers is not installed or does not know the type.
    """
    return _with_defaults((folder / "config.json").read_bytes())


@functools.lru_cache(maxsize=64)  # a list of offerings plans the same model again and again
def _with_defaults(content: bytes) -> Mapping[str, Any] | None:
    with tempfile.TemporaryDirectory(prefix="conduit-config-") as name:
        (Path(name) / "config.json").write_bytes(content)
        process = _run(Path(name), "--config")
    return cast("dict[str, Any]", json.loads(process.stdout)) if process.returncode == 0 else None


def _run(folder: Path, *options: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(  # noqa: S603  # our own interpreter and module
            # -P: a torch.py in the folder where the user stands is not the torch that is meant.
            [
                *(sys.executable, "-P", "-m", "conduit_nb.lmlite.count_parameters"),
                *(*options, str(folder)),
            ],
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
            hint="Put the model's safetensors, or their index, next to its config.json.",
        ) from err


def _last_line(process: subprocess.CompletedProcess[str]) -> str:
    lines = reversed(process.stderr.splitlines())
    return next((line for line in lines if line.strip()), "It wrote no message.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; what goes wrong goes to stderr."""
    parser = argparse.ArgumentParser(
        prog="python -m conduit_nb.lmlite.count_parameters",
        description="Count a model's parameters by its config.json, without its weights.",
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--config", action="store_true")
    options = parser.parse_args(arguments)
    folder: Path = options.folder
    if options.config and __name__ == "__main__":
        # transformers would load it for nothing, which is most of the time that this takes.
        sys.modules["torch"] = cast("Any", None)
    try:
        torch: Any = None if options.config else importlib.import_module("torch")
        transformers: Any = importlib.import_module("transformers")
    except ModuleNotFoundError as err:
        print(f"Counting the parameters of a model needs {err.name}.", file=sys.stderr)
        return MISSING_PACKAGE
    transformers.utils.logging.set_verbosity_error()
    try:
        if options.config:
            json.dump(_config_with_defaults(transformers, folder), sys.stdout)
            return 0
        model = meta_model(torch, transformers, folder)
    except (OSError, RuntimeError, *_refusals()) as err:
        print(str(err).splitlines()[0] if str(err) else type(err).__name__, file=sys.stderr)
        return UNSUPPORTED
    json.dump([[name, list(tensor.shape)] for name, tensor in saved_tensors(model)], sys.stdout)
    return 0


def meta_model(torch: Any, transformers: Any, folder: Path) -> Any:
    """Return the model without any weights, in full precision whatever its files are in."""
    config = _read_config(transformers, folder)
    for part in (config, config.get_text_config()):
        if getattr(part, "quantization_config", None) is not None:
            del part.quantization_config
    refused: ValueError | None = None
    with torch.device("meta"):
        if (named := _named_class(transformers, config)) is not None:
            return named(config)
        for name in _auto_classes(config):
            try:
                return getattr(transformers, name).from_config(config, trust_remote_code=False)
            except ValueError as err:  # not a configuration for this class
                refused = refused or err
    assert refused is not None
    raise refused


def _named_class(transformers: Any, config: Any) -> Any:
    """Return the class that config.json names where transformers has it: it knows all the parts.

    An encoder and a decoder also have a class of the decoder alone, which counts too little.
    """
    for name in getattr(config, "architectures", None) or ():
        found = getattr(transformers, str(name), None)
        if isinstance(found, type) and issubclass(found, transformers.PreTrainedModel):
            return cast("Any", found)
    return None


def _auto_classes(config: Any) -> tuple[str, ...]:
    """Return the classes to try where no known one is named: those with more parts first."""
    if getattr(config, "is_encoder_decoder", False):
        return (*_SEQUENCE_CLASSES, *_AUTO_CLASSES)
    if config.get_text_config() is not config:
        return ("AutoModelForImageTextToText", *_AUTO_CLASSES)
    return _AUTO_CLASSES


def _refusals() -> tuple[type[Exception], ...]:
    """Return what transformers raises for a configuration that it does not know or accept."""
    errors: Any = importlib.import_module("huggingface_hub.errors")
    strict = getattr(errors, "StrictDataclassError", ValueError)
    return (ValueError, KeyError, TypeError, AttributeError, strict)


def _read_config(transformers: Any, folder: Path) -> Any:
    return transformers.AutoConfig.from_pretrained(
        folder, local_files_only=True, trust_remote_code=False
    )


def _config_with_defaults(transformers: Any, folder: Path) -> dict[str, Any]:
    """Return the configuration with its class' defaults; of an unknown whole its language part."""
    try:
        config = _read_config(transformers, folder)
    except _refusals():
        text_config = text_part(read_config(folder / "config.json"))
        known = transformers.models.auto.configuration_auto.CONFIG_MAPPING
        if str(text_config.get("model_type")) not in known:
            raise
        config = known[text_config["model_type"]].from_dict(dict(text_config))
    return cast("dict[str, Any]", json.loads(config.to_json_string(use_diff=False)))


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
    gc.disable()  # it takes a fifth of the time and finds next to nothing
    sys.exit(main())
