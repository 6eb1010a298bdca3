"""What plans say of every language model that transformers knows, against transformers' own cache.

    python benchmarks/plan_coverage.py [--full] [MODEL_TYPE]...

Each model type is built with the defaults of its configuration class on torch's meta device, reads
8 and 16 tokens there, and the numbers that its cache holds are compared with what the plan counts
for its layers: of each token, and of a request's state. Printed are the ratio of those that agree
within 2 %, and every type that does not. Minutes; without `--full` each eighth type only. Some
types cannot run on the meta device (they look into their tensors): those are counted, not compared.
"""

from __future__ import annotations

import argparse
import json
import signal
import warnings
from collections.abc import Sequence
from typing import Any

from conduit_nb.models.layer_caches import CachePart
from conduit_nb.models.spec import ModelSpec, spec_of

SHORT, LONG = 8, 16
TIMEOUT_S = 60
NEAR = 0.02
CLASSES = ("AutoModelForCausalLM", "AutoModelForImageTextToText", "AutoModelForSeq2SeqLM")
# transformers keeps another form than runtimes do: keys beside the same values (DeepSeek V4),
# latents where vLLM keeps keys and values made of them (MiniCPM 3), no cross attention in a decoder
# alone (MVP, ProphetNet, BigBird-Pegasus).
KNOWN = {"deepseek_v4", "minicpm3", "mvp", "prophetnet", "bigbird_pegasus"}


class SlowError(Exception):
    """A model took too long."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare all types, or those that are named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--full", action="store_true")
    parser.add_argument("types", nargs="*")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")
    import torch  # noqa: PLC0415  # seconds: only after the arguments are known to be right
    import transformers  # noqa: PLC0415  # the same

    transformers.utils.logging.set_verbosity_error()
    torch.set_default_dtype(torch.bfloat16)  # experts are multiplied in it only
    signal.signal(signal.SIGALRM, _too_slow)
    types = options.types or sorted(transformers.CONFIG_MAPPING)[:: 1 if options.full else 8]
    alike = compared = silent = 0
    for model_type in types:
        held = _held(torch, transformers, model_type)
        if held is None:
            silent += 1
            continue
        config, of_token, of_request = held
        spec = spec_of(config, defaults=config)
        planned = _planned(spec)
        compared += 1
        if all(_is_near(*pair) for pair in zip(planned, (of_token, of_request), strict=True)):
            alike += 1
            continue
        known = " (known)" if model_type in KNOWN else ""
        print(f"{model_type}{known}: {planned} planned, {(of_token, of_request)} in the cache")
        for remark in spec.remarks:
            print(f"    {remark}")
    print(f"{alike} of {compared} alike ({alike / max(compared, 1):.0%}); {silent} not comparable")


def _held(torch: Any, transformers: Any, model_type: str) -> tuple[dict[str, Any], int, int] | None:
    """Return a type's configuration, and the numbers that its cache holds of a token and a text."""
    signal.alarm(TIMEOUT_S)
    try:
        config = transformers.CONFIG_MAPPING[model_type]()
        if (model := _built(torch, transformers, config)) is None:
            return None
        short, long = (_cache(torch, model, tokens) for tokens in (SHORT, LONG))
    except (SlowError, ArithmeticError, AttributeError, ImportError, LookupError) as err:
        return _skipped(model_type, err)
    except (RuntimeError, TypeError, ValueError) as err:
        return _skipped(model_type, err)
    finally:
        signal.alarm(0)
    if short is None or long is None:
        return None
    content = json.loads(config.to_json_string(use_diff=False))
    return content, (long[0] - short[0]) // (LONG - SHORT), long[1]


def _skipped(model_type: str, err: Exception) -> None:
    lines = str(err).splitlines()
    print(f"    {model_type} not compared: {type(err).__name__} {lines[0][:80] if lines else ''}")


def _built(torch: Any, transformers: Any, config: Any) -> Any:
    for name in CLASSES:
        try:
            with torch.device("meta"):
                return getattr(transformers, name).from_config(config)
        except ValueError:
            continue
    return None


def _cache(torch: Any, model: Any, tokens: int) -> tuple[int, int] | None:
    """Return the numbers of keys and values after so many tokens, and of states."""
    ids = torch.zeros((1, tokens), dtype=torch.long, device="meta")
    inputs = {"input_ids": ids, "use_cache": True}
    if model.config.is_encoder_decoder:
        inputs["decoder_input_ids"] = ids
    with torch.no_grad():
        given = model(**inputs)
    cache = getattr(given, "past_key_values", None) or getattr(given, "cache_params", None)
    if cache is None:
        return None
    caches = [getattr(cache, f"{part}_attention_cache", None) for part in ("self", "cross")]
    layers = [layer for one in caches if one is not None for layer in one.layers]
    layers = layers or list(cache.layers)
    keys = sum(_numbers(layer, "keys") + _numbers(layer, "values") for layer in layers)
    states = (_numbers(layer, f"{name}_states") for layer in layers for name in _STATES)
    return keys, sum(states)


_STATES = ("conv", "recurrent")


def _numbers(layer: Any, name: str) -> int:
    value = getattr(layer, name, None)
    parts = value.values() if isinstance(value, dict) else [value]
    return sum(part.numel() for part in parts if hasattr(part, "numel"))


def _planned(spec: ModelSpec) -> tuple[int, int]:
    """Return the numbers of a token and of a state, as transformers keeps them."""
    parts = [part for layer in spec.caches for part in layer]
    tokens = sum(_of_token(part) for part in parts if part.fixed_tokens is None)
    return int(tokens), sum(
        part.conv_width * (part.conv_inputs + 1) + part.state_numbers
        for part in parts
        if part.kind == "state"
    )


def _of_token(part: CachePart) -> float:
    return part.numbers * (1 if part.is_shared else part.kv_heads) / part.stride


def _is_near(ours: float, theirs: float) -> bool:
    return abs(ours - theirs) <= NEAR * max(theirs, 1)


def _too_slow(*_: object) -> None:
    raise SlowError


if __name__ == "__main__":
    main()
