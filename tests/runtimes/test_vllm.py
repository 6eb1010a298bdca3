"""runtimes/vllm.py: how vLLM is started, and what it is not asked for."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.compute.offerings import hardware_of
from conduit_nb.compute.overheads import overheads_of
from conduit_nb.errors import ArgumentError, MissingExtraError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.runtimes.base import ServerRequest
from conduit_nb.runtimes.vllm import VERSION, VllmRuntime

MODEL = LmLiteModelConfig(
    "Qwen/Qwen3-8B", max_model_len=8192, max_model_concurrency=16, dtype="bfloat16", revision="abc"
)


def asked(**change: Any) -> ServerRequest:
    given: dict[str, Any] = {"name": "n", "models": (MODEL,), "place": "container", "devices": 2}
    return ServerRequest(**{**given, **change})


def option(command: tuple[str, ...], name: str) -> str | None:
    return command[command.index(name) + 1] if name in command else None


def test_everything_that_a_config_says_is_an_option():
    spec = VllmRuntime().launch_spec(asked(tensor_parallel=2, pipeline_parallel=3))

    assert spec.command[:3] == ("vllm", "serve", "Qwen/Qwen3-8B")
    assert {
        name: option(spec.command, name)
        for name in (
            "--served-model-name",
            "--port",
            "--revision",
            "--dtype",
            "--max-model-len",
            "--max-num-seqs",
            "--tensor-parallel-size",
            "--pipeline-parallel-size",
        )
    } == {
        "--served-model-name": "Qwen/Qwen3-8B",
        "--port": "{port}",
        "--revision": "abc",
        "--dtype": "bfloat16",
        "--max-model-len": "8192",
        "--max-num-seqs": "16",
        "--tensor-parallel-size": "2",
        "--pipeline-parallel-size": "3",
    }
    assert spec.devices == 2


def test_what_a_config_leaves_open_is_left_to_vllm():
    spec = VllmRuntime().launch_spec(asked(models=(LmLiteModelConfig("a/b"),)))

    for name in ("--revision", "--max-model-len", "--max-num-seqs", "--tensor-parallel-size"):
        assert name not in spec.command


@pytest.mark.parametrize(
    ("dtype", "devices", "asked_for"),
    [("auto", 0, "float32"), ("auto", 1, "auto"), ("bfloat16", 0, "bfloat16")],
)
def test_on_a_cpu_numbers_are_those_that_lmlite_takes_there(
    dtype: str, devices: int, asked_for: str
):
    config = LmLiteModelConfig("a/b", dtype=dtype)
    spec = VllmRuntime().launch_spec(asked(models=(config,), devices=devices))

    assert option(spec.command, "--dtype") == asked_for


def test_replies_are_compact_json_by_the_grammar_engine_that_we_use_ourselves():
    guided = option(VllmRuntime().launch_spec(asked()).command, "--structured-outputs-config")

    assert json.loads(guided or "") == {"backend": "guidance", "disable_any_whitespace": True}


def test_the_image_is_of_the_version_whose_memory_is_planned():
    assert overheads_of("vllm", VERSION).version in VERSION
    assert VllmRuntime().launch_spec(asked()).image == f"docker.io/vllm/vllm-openai:v{VERSION}"
    assert VllmRuntime().launch_spec(asked(version="0.20.1")).image == (
        "docker.io/vllm/vllm-openai:v0.20.1"
    )
    assert VllmRuntime().launch_spec(asked(image="me/mine:1")).image == "me/mine:1"


def test_a_command_of_ones_own_replaces_its_with_the_model_put_in():
    spec = VllmRuntime().launch_spec(asked(command=("serve", "--it={model}", "{port}")))

    assert spec.command == ("serve", "--it=Qwen/Qwen3-8B", "{port}")


def test_the_key_goes_by_its_name_and_is_no_part_of_the_command(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HF_TOKEN", "hf_secret")

    spec = VllmRuntime().launch_spec(asked())

    assert spec.key_name == "VLLM_API_KEY"
    assert spec.secrets == ("VLLM_API_KEY",)
    assert "hf_secret" not in repr(spec)


@pytest.mark.parametrize(
    "config",
    [
        LmLiteModelConfig("a/b", quantization="int8"),
        LmLiteModelConfig("a/b", model_batch_execute_timeout_ms=5),
    ],
    ids=["quantization", "model_batch_execute_timeout_ms"],
)
def test_a_field_that_vllm_lacks_is_an_error_that_names_it(
    config: LmLiteModelConfig, request: pytest.FixtureRequest
):
    with pytest.raises(ArgumentError) as caught:
        VllmRuntime().check([config])

    assert caught.value.param == request.node.callspec.id


def test_a_server_has_one_model():
    with pytest.raises(ArgumentError, match=r"\b2\b") as caught:
        VllmRuntime().launch_spec(asked(models=(MODEL, LmLiteModelConfig("a/b"))))

    assert caught.value.param == "models"


@pytest.mark.parametrize(
    ("name", "gib", "runs"), [("L4", 22.0, True), ("MI300X", 191.0, True), (None, 32.0, False)]
)
def test_it_runs_on_nvidia_and_amd_and_on_no_cpu(name: str | None, gib: float, runs: bool):
    assert (VllmRuntime().why_not(hardware_of(name, gib)) is None) is runs


def test_on_this_machine_it_needs_an_environment_of_its_own(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CONDUIT_VLLM_PYTHON", raising=False)
    with pytest.raises(MissingExtraError, match="vLLM") as caught:
        VllmRuntime().launch_spec(asked(place="process", devices=0))

    assert "CONDUIT_VLLM_PYTHON" in caught.value.hint


def test_in_that_environment_it_serves_a_folder_under_the_models_id(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setenv("CONDUIT_VLLM_PYTHON", "/usr/lib/vllm/bin/python")

    spec = VllmRuntime().launch_spec(asked(place="process", devices=0, model_folder="/m"))

    assert spec.command[:3] == (
        "/usr/lib/vllm/bin/python",
        "-m",
        "vllm.entrypoints.openai.api_server",
    )
    assert option(spec.command, "--model") == "/m"
    assert option(spec.command, "--served-model-name") == "Qwen/Qwen3-8B"
    assert option(spec.command, "--host") == "127.0.0.1"
    assert spec.image is None
