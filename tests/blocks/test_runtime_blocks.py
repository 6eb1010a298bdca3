"""blocks/runtime_blocks.py: blocks of different runtimes differ in their name only."""

from __future__ import annotations

import inspect
from dataclasses import dataclass

import pytest

from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.runtime_blocks import (
    NAMED,
    CustomBlock,
    LMLiteBlock,
    TensorRtBlock,
    VllmBlock,
    block_type,
)
from conduit_nb.client import Endpoint
from conduit_nb.compute.request import Replicas
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect
from tests.loop_host import loop_host
from tests.openai_server import openai_server

MODEL = LmLiteModelConfig("a/b", max_model_len=100)


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    good: bool


@pytest.mark.parametrize("block", NAMED.values(), ids=list(NAMED))
def test_every_block_is_made_and_called_alike(block: type[LMLiteBlock]):
    assert inspect.signature(block) == inspect.signature(LMLiteBlock)
    assert block([MODEL]).name == block.__name__


def test_the_runtime_is_part_of_what_is_deployed():
    with loop_host() as host, use_host(host), openai_server() as server:
        host.endpoints = [Endpoint(server.url)]
        VllmBlock([MODEL], replicas=(1, 3), gpu="L4", gpu_count=2, tensor_parallel=2, max_usd=1.5)(
            messages=[{"role": "user", "content": "hi"}]
        )

    wanted = host.requests[0]
    assert (wanted.runtime, wanted.gpu, wanted.gpu_count, wanted.tensor_parallel) == (
        "vllm",
        "L4",
        2,
        2,
    )
    assert (wanted.replicas, wanted.max_usd) == (Replicas(1, 3), 1.5)
    assert not wanted.is_shared


def test_a_field_that_the_runtime_lacks_is_an_error_when_the_block_is_made():
    with pytest.raises(ArgumentError, match="quantization"):
        VllmBlock([LmLiteModelConfig("a/b", quantization="int8")])
    with pytest.raises(ArgumentError, match="batch"):
        TensorRtBlock([LmLiteModelConfig("a/b", model_batch_execute_timeout_ms=3)])

    LMLiteBlock([LmLiteModelConfig("a/b", quantization="int8")])
    CustomBlock([LmLiteModelConfig("a/b", quantization="int8")])


@pytest.mark.parametrize(("dialect", "key"), [("openai", "json_schema"), ("tensorrt", "json")])
def test_a_record_is_asked_for_in_the_words_of_the_server(dialect: Dialect, key: str):
    with (
        loop_host() as host,
        use_host(host),
        openai_server(answer=lambda _: '{"good":true}') as server,
    ):
        host.endpoints = [Endpoint(server.url, dialect=dialect)]
        verdict = VllmBlock([MODEL])(input=Review("fine"), output=Verdict)
        asked = server.requests[0]["response_format"]

    assert verdict == Verdict(good=True)
    assert asked["type"] == key
    schema = asked["schema"] if key == "json" else asked["json_schema"]["schema"]
    assert schema["properties"]["good"] == {"type": "boolean"}
    assert "x-guidance" not in schema


def test_a_runtime_that_is_registered_elsewhere_has_a_block_too():
    assert block_type("vllm") is VllmBlock
    assert block_type("mine").runtime == "mine"
    with pytest.raises(ArgumentError, match="'mine'") as caught:
        block_type("mine")([MODEL])
    assert caught.value.param == "runtime"
