"""lmlite/count_parameters.py: weights counted on the meta device, and arithmetic next to them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conduit_nb.compute.planning import plan
from conduit_nb.errors import MissingExtraError, ModelError
from conduit_nb.lmlite.count_parameters import (
    completed_config,
    counted_tensors,
    main,
    meta_model,
    saved_tensors,
)
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.quantization import quantized
from conduit_nb.models.spec import spec_of
from conduit_nb.models.tensors import Tensor, parameter_count
from conduit_nb.plans.reading import read_planned
from tests.models.published import KINDS, NAMES, config_of, kind_config, safetensors_header

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")


@pytest.mark.parametrize("name", NAMES)
def test_arithmetic_counts_what_transformers_has_in_its_true_size(name: str, tmp_path: Path):
    config = config_of(name)
    (tmp_path / "config.json").write_text(json.dumps(config))

    counted = saved_tensors(meta_model(torch, transformers, tmp_path))

    assert parameter_count(tensors_of(spec_of(config))) == sum(
        tensor.numel() for _, tensor in counted
    )


def counted(name: str, tmp_path: Path) -> list[Tensor]:
    (tmp_path / "config.json").write_text(json.dumps(kind_config(name)))
    saved = saved_tensors(meta_model(torch, transformers, tmp_path))
    return [Tensor(name=name, shape=tuple(tensor.shape)) for name, tensor in saved]


# An encoder and a decoder, of which transformers also has the decoder alone. Published: 406M, 39M,
# 60.5M, 151M; whisper-tiny's head is its embedding.
@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("bart-large", 406_341_721),
        ("whisper-tiny", 37_760_640),
        ("t5-small", 60_506_624),
        ("clip-vit-base-patch32", 151_277_313),
    ],
)
def test_all_parts_of_a_model_are_counted(name: str, parameters: int, tmp_path: Path):
    assert parameter_count(tuple(counted(name, tmp_path))) == parameters


# Bytes of the stored weights: linear layers x bytes of their form + the rest x 2.
# DeepSeek-V4-Flash: 277.0e9 numbers of routed experts x (1/2 + 1/32) and 7.3e9 others, of which
# fp8's are one byte. Kimi-K2.5: 1,014.7e9 of experts x (1/2 + 2/32) and 12.2e9 x 2, its page says
# 595 GB. Nemotron 3 Nano: 30.1e9 x (1/2 + 1/16), the excluded attention, heads and embeddings x 2.
@pytest.mark.parametrize(
    ("name", "gigabytes"),
    [("DeepSeek-V4-Flash", 155.6), ("Kimi-K2.5", 595), ("Nemotron-3-Nano-30B-A3B-NVFP4", 19.3)],
)
def test_a_counted_model_takes_what_its_quantization_makes_of_it(
    name: str, gigabytes: float, tmp_path: Path
):
    quantization = spec_of(kind_config(name)).quantization
    assert quantization

    stored = quantized(counted(name, tmp_path), quantization)

    total = sum(part.bytes_in("bfloat16") for part in stored)
    assert total / 1e9 == pytest.approx(gigabytes, rel=0.02)


def test_what_a_config_leaves_out_has_the_defaults_of_its_class(tmp_path: Path):
    text = (KINDS / "llava-1.5-7b-hf.json").read_text()
    (tmp_path / "config.json").write_text(text)
    config = json.loads(text)
    assert "layers" in spec_of(config).lacks

    defaults = completed_config(tmp_path)
    completed = spec_of(config, defaults=defaults)

    assert completed_config(tmp_path) is defaults  # computed once

    assert (completed.layers, completed.hidden_size, completed.kv_heads) == (32, 4096, 32)
    assert (completed.inner_size, completed.context_tokens, completed.lacks) == (11_008, 4096, ())


def test_a_model_whose_config_leans_on_defaults_is_planned(tmp_path: Path):
    text = (KINDS / "llava-1.5-7b-hf.json").read_text()  # as above, whose defaults are known by now
    (tmp_path / "config.json").write_text(text)
    head = safetensors_header({"language_model.lm_head.weight": ("BF16", [32_064, 4096])})
    (tmp_path / "model.safetensors").write_bytes(head)  # else its weights are counted, in 10 s

    model = read_planned(str(tmp_path), dtype="bf16")

    assert model.spec.layers == 32
    # 2 x KV heads x head size x 2 bytes x layers
    assert plan([model], runtime="vllm").kv_bytes_per_token == 2 * 32 * 128 * 2 * 32 == 524_288


@pytest.mark.parametrize(
    "config",
    [
        # the whole is not known, its language model is
        {"model_type": "strange_vl", "llm_config": {"model_type": "qwen2", "hidden_size": 64}},
        # the vision part is not accepted
        {
            "model_type": "llava",
            "text_config": {"model_type": "llama"},
            "vision_config": {"model_type": "clip_vision_model", "hidden_size": 1023},
        },
    ],
)
def test_the_language_model_of_a_whole_that_is_not_known_is_completed(
    config: dict[str, object], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    (tmp_path / "config.json").write_text(json.dumps(config))

    assert main(["--config", str(tmp_path)]) == 0
    completed = json.loads(capsys.readouterr().out)
    assert completed["num_hidden_layers"] == 32


def test_a_type_that_transformers_does_not_know_is_not_completed(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "strange"}')

    assert main(["--config", str(tmp_path)]) != 0


def test_a_family_that_arithmetic_does_not_know_is_counted(tmp_path: Path):
    config = {
        "model_type": "olmo2",
        "hidden_size": 64,
        "intermediate_size": 96,
        "num_hidden_layers": 2,
        "num_attention_heads": 4,
        "vocab_size": 300,
        "quantization_config": {"quant_method": "gptq", "bits": 4, "group_size": 32},
    }
    (tmp_path / "config.json").write_text(json.dumps(config))

    tensors = counted_tensors(tmp_path)

    shapes = {tensor.name: tensor.shape for tensor in tensors}
    assert shapes["model.layers.1.self_attn.q_norm.weight"] == (64,)
    assert parameter_count(tensors) == 2 * 300 * 64 + 2 * (4 * 64**2 + 3 * 64 * 96 + 4 * 64) + 64


def test_a_model_that_transformers_does_not_know_is_refused_by_name(tmp_path: Path):
    (tmp_path / "config.json").write_text('{"model_type": "strange"}')

    with pytest.raises(ModelError, match=r"\bstrange\b"):
        counted_tensors(tmp_path)


def test_the_command_writes_names_and_shapes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "config.json").write_text(json.dumps(config_of("gpt2")))

    assert main([str(tmp_path)]) == 0
    assert ["transformer.wpe.weight", [1024, 768]] in json.loads(capsys.readouterr().out)


def test_without_torch_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "sitecustomize.py").write_text("import sys\nsys.modules['torch'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")

    with pytest.raises(MissingExtraError, match="torch"):
        counted_tensors(tmp_path)


def test_the_process_that_counts_knows_no_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    seen = tmp_path / "seen"
    write = f"import os\nopen({str(seen)!r}, 'w').write(repr(dict(os.environ)))\n"
    (tmp_path / "sitecustomize.py").write_text(f"{write}import sys\nsys.modules['torch'] = None\n")
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    for name in ("HF_TOKEN", "RUNPOD_API_KEY", "CONDUIT_DB_URI"):
        monkeypatch.setenv(name, "of the user alone")

    with pytest.raises(MissingExtraError, match="torch"):
        counted_tensors(tmp_path)

    assert "of the user alone" not in seen.read_text()
