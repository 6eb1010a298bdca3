"""runtimes/tensorrt.py: how trtllm-serve is started."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.compute.offerings import hardware_of
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.runtimes.base import ServerRequest
from conduit_nb.runtimes.tensorrt import START, TensorRtRuntime

MODEL = LmLiteModelConfig("a/b", max_model_len=4096, max_model_concurrency=8, dtype="float16")


def asked(**change: Any) -> ServerRequest:
    given: dict[str, Any] = {"name": "n", "models": (MODEL,), "place": "container", "devices": 2}
    return ServerRequest(**{**given, **change})


def test_what_a_config_says_are_options_or_stand_in_the_servers_file():
    spec = TensorRtRuntime().launch_spec(
        asked(
            models=(LmLiteModelConfig("a/b", 4096, 8, dtype="float16", revision="r"),),
            tensor_parallel=2,
        )
    )

    text = " ".join(spec.command)
    assert "trtllm-serve a/b --host 127.0.0.1 --port {port} --tp_size 2 --pp_size 1" in text
    assert "--max_seq_len 4096 --max_batch_size 8" in text
    assert json.loads(spec.environment["CONDUIT_TRTLLM_CONFIG"]) == {
        "guided_decoding_backend": "xgrammar",
        "dtype": "float16",
        "revision": "r",
    }


def test_the_file_is_written_before_the_server_starts(tmp_path: Path):
    config = '{"dtype": "auto", "it\'s": "$HOME"}'
    start = START.replace("/tmp/conduit.yaml", str(tmp_path / "conduit.yaml"))

    done = subprocess.run(
        ["sh", "-c", start, "x", "cat", str(tmp_path / "conduit.yaml")],
        env={"CONDUIT_TRTLLM_CONFIG": config, "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout == config


def test_schemas_are_told_in_its_own_words():
    assert TensorRtRuntime().launch_spec(asked()).dialect == "tensorrt"


@pytest.mark.parametrize(
    ("name", "gib", "runs"), [("L4", 22.0, True), ("MI300X", 191.0, False), (None, 32.0, False)]
)
def test_it_runs_on_nvidia_only(name: str | None, gib: float, runs: bool):
    assert (TensorRtRuntime().why_not(hardware_of(name, gib)) is None) is runs


def test_a_field_that_it_lacks_is_an_error_that_names_it():
    with pytest.raises(ArgumentError) as caught:
        TensorRtRuntime().check([LmLiteModelConfig("a/b", quantization="int8")])

    assert caught.value.param == "quantization"


def test_an_image_and_a_command_of_ones_own_replace_its():
    spec = TensorRtRuntime().launch_spec(
        asked(image="me/trt:1", command=("go", "{model}", "{port}"))
    )

    assert (spec.image, spec.command) == ("me/trt:1", ("go", "a/b", "{port}"))
