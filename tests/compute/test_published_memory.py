"""Plans against published measurements: what vLLM said that it took on H100s.

Weights ("Model loading took"), activations ("torch peak memory increase"), memory outside of torch
and CUDA graphs of vLLM 0.19.0: github.com/llm-d-incubation/llm-d-planner, `accuracy/` (report and
logs; weights of runs without a log are its figures with its own error taken out). gpt-oss alone and
Qwen3-0.6B, 14B, 32B: github.com/llm-d/llm-d-benchmark,
`config_explorer/empirical-vllm-memory-results.md`. opt-125m: vLLM's tracker.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from conduit_nb.compute.vram import GIB
from tests.compute.planned import FP8_DYNAMIC, GPTQ, W8A8, plan_of


@dataclass(frozen=True, kw_only=True)
class Run:
    """One measured run: GiB on the first device."""

    name: str
    weights: float
    activations: float | None = None
    outside: float | None = None
    graphs: float = 0.0
    asked: dict[str, Any]

    def __str__(self) -> str:
        asked = (f"{key}={str(value)[:12]}" for key, value in self.asked.items())
        return " ".join([self.name, *asked])


def run(name: str, weights: float, *taken: float, graphs: float = 0.0, **asked: Any) -> Run:
    activations, outside = taken or (None, None)
    return Run(
        name=name,
        weights=weights,
        activations=activations,
        outside=outside,
        graphs=graphs,
        asked=asked,
    )


LLAMA, QWEN = "Llama-3.1-8B-Instruct", "Qwen2.5-7B-Instruct"
RUNS = [
    run(LLAMA, 14.99, 1.89, 0.25, graphs=0.91),
    run(LLAMA, 7.51, 1.89, 2.07, tensor_parallel=2),
    run(LLAMA, 3.77, 1.89, 2.13, tensor_parallel=4),
    run(LLAMA, 7.51, 1.10, 0.07, pipeline_parallel=2),
    run(LLAMA, 4.26, 1.05, 0.07, pipeline_parallel=4),
    run(LLAMA, 8.49, 1.89, 0.25, quantization="fp8"),
    run(LLAMA, 29.98, 2.21, 0.25, dtype="float32"),
    run(LLAMA, 8.49, 1.89, 0.25, quantized_as=W8A8),
    run(LLAMA, 5.37, 1.89, 0.25, quantized_as=GPTQ),
    run(QWEN, 14.25, 2.21, 0.24),
    run(QWEN, 7.12, 2.21, 2.06, tensor_parallel=2),
    run(QWEN, 3.55, 2.21, 2.13, tensor_parallel=4),
    run(QWEN, 8.15, 2.21, 0.24, quantized_as=FP8_DYNAMIC),
    run("Llama-3.3-70B", 33.88, 1.96, 2.10, tensor_parallel=2, quantized_as=FP8_DYNAMIC),
    run(
        "Llama-3.3-70B",
        *(16.96, 1.97, 2.21),
        graphs=1.66,
        tensor_parallel=4,
        quantized_as=FP8_DYNAMIC,
    ),
    run("Llama-3.3-70B", 67.72, quantized_as=FP8_DYNAMIC),
    run("Qwen2.5-72B", 67.80, 2.29, 2.10, tensor_parallel=2),
    run("Qwen3-8B", 15.27, 2.21, 0.25),
    run("Qwen3-14B", 27.52, 2.23, 0.25),
    run("Qwen3-32B", 61.03),
    run("Qwen3-0.6B", 1.12),
    run("CodeLlama-7b", 12.56, 0.77, 0.25),
    run("DeepSeek-V2-Lite", 29.43, 1.93, 0.26),
    run("Qwen1.5-MoE-A2.7B", 26.67, 2.47, 0.25, graphs=1.10),
    run("Qwen3-30B-A3B", 56.88, 2.68, 0.27),
    run("Mixtral-8x7B-v0.1", 43.51, 1.21, 2.07, tensor_parallel=2),
    run("gemma-2-2b", 4.90, 3.62, 0.24, graphs=0.71),
    run("gemma-2-9b", 17.22, 3.65, 0.25),
    run("gemma-2-27b", 50.73, 3.66, 0.26),
    run("gemma-7b", 15.91, 3.63, 0.25),
    run("gemma-3-4b-it", 8.58, 3.89, 0.25, graphs=0.67),
    run("gemma-3-12b-it", 23.30, 3.94, 0.25),
    run("gemma-3-27b-it", 51.45, 3.99, 0.26, graphs=1.14),
    run("granite-3.1-2b-instruct", 4.74, 0.75, 0.46, graphs=0.84),
    run("granite-3.1-8b-instruct", 15.25, 0.85, 0.46),
    run("phi-2", 5.19, 0.79, 0.24),
    run("phi-4", 27.39, 1.52, 0.25),
    run("gpt-oss-20b", 13.47),
    run("gpt-oss-20b", 7.01, 2.87, 2.07, tensor_parallel=2),
    run("gpt-oss-120b", 64.38),
    run("opt-125m", 0.2389),
]
MEASURED = [run for run in RUNS if run.activations is not None]


@pytest.mark.parametrize("measured", RUNS, ids=str)
def test_weights_are_within_a_hundredth(measured: Run):
    plan = plan_of(measured.name, **measured.asked)

    assert plan.devices[0].weights_bytes / GIB == pytest.approx(measured.weights, rel=0.01)


@pytest.mark.parametrize("measured", MEASURED, ids=str)
def test_no_part_is_less_than_was_measured(measured: Run):
    device = plan_of(measured.name, **measured.asked).devices[0]

    assert device.activation_bytes / GIB >= (measured.activations or 0)
    assert device.overhead_bytes / GIB >= (measured.outside or 0) + measured.graphs


@pytest.mark.parametrize("measured", [run for run in MEASURED if run.graphs], ids=str)
def test_the_total_is_at_most_a_tenth_more_than_was_measured(measured: Run):
    device = plan_of(measured.name, **measured.asked).devices[0]
    taken = measured.weights + (measured.activations or 0) + (measured.outside or 0)
    planned = (device.total_bytes - device.kv_bytes) / GIB

    assert measured.weights > 0
    assert taken + measured.graphs <= planned <= 1.1 * (taken + measured.graphs)


# "Available KV cache memory" / "GPU KV cache size" of the same runs, exactly: the pages' own sizes.
@pytest.mark.parametrize(
    ("name", "asked", "token_bytes"),
    [
        (LLAMA, {}, 131_072),
        (LLAMA, {"kv_dtype": "fp8"}, 65_536),
        (LLAMA, {"dtype": "float32"}, 262_144),
        (LLAMA, {"tensor_parallel": 4}, 32_768),
        (QWEN, {}, 57_344),
        (QWEN, {"kv_dtype": "fp8"}, 28_672),
        ("CodeLlama-7b", {}, 524_288),
        ("DeepSeek-V2-Lite", {}, 31_104),
        ("DeepSeek-V2-Lite", {"tensor_parallel": 2}, 31_104),
        ("gemma-2-2b", {}, 106_496),
        ("gemma-3-4b-it", {}, 143_360),
        ("gemma-3-27b-it", {}, 573_440),
        ("gpt-oss-20b", {}, 49_152),
        ("Qwen3-Next-80B-A3B", {}, 24_576),
        ("DeepSeek-V3", {}, 70_272),
    ],
)
def test_a_token_takes_what_was_measured(name: str, asked: dict[str, Any], token_bytes: int):
    assert plan_of(name, **asked).devices[0].kv_bytes_per_token == token_bytes


# SGLang's log of Qwen3-235B-A22B on four H100s (vllm-project/vllm issue 21348): 367,404 tokens in
# 8.23 GiB of keys and as much of values.
def test_sglang_keeps_as_many_tokens_as_its_log_says():
    device = plan_of("Qwen3-235B-A22B", runtime="sglang", tensor_parallel=4).devices[0]

    assert 367_404 * device.kv_bytes_per_token / GIB == pytest.approx(2 * 8.23, rel=0.002)


# llama.cpp's log for Llama 3.1 8B Q4_K_M: "model size = 4.58 GiB", KV of 8,192 tokens 1024 MiB.
def test_llama_cpp_takes_what_its_log_says():
    device = plan_of(
        LLAMA, runtime="llama.cpp", quantization="gguf:Q4_K_M", max_model_len=8192
    ).devices[0]

    assert device.weights_bytes / GIB == pytest.approx(4.58, rel=0.005)
    assert device.kv_bytes == 1024 << 20
