"""lmlite/count_parameters.py: weights counted on the meta device, and arithmetic beside them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from conduit_nb.errors import MissingExtraError, ModelError
from conduit_nb.lmlite.count_parameters import counted_tensors, main, meta_model, saved_tensors
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.spec import spec_of
from conduit_nb.models.tensors import parameter_count
from tests.models.published import NAMES, config_of

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

    with pytest.raises(ModelError, match="strange"):
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
