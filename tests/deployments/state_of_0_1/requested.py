"""What was deployed before the state was frozen, in the words of `conduit_nb.deploy`, by name.

Together they set every option: the frozen requests have no field that was left out by chance.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from conduit_nb import DeploymentConstraint, LmLiteModelConfig

PROGRAM = "/srv/model-server"
"""The model server of every deployment, in an image and on the machine that was frozen."""
IMAGE: dict[str, Any] = {
    "runtime": "custom",
    "image": "registry.example/model-server:1",
    "command": (PROGRAM, "--model", "{model}", "--port", "{port}"),
}


@dataclass(frozen=True, kw_only=True)
class Requested:
    """One call of `deploy`; `bounds` are the options that are no part of what a deployment is."""

    models: tuple[str | LmLiteModelConfig, ...]
    options: dict[str, Any]
    bounds: dict[str, Any] = field(default_factory=dict)


REQUESTED = {
    "chat": Requested(
        models=(
            LmLiteModelConfig(
                "example/chat-7b",
                max_model_len=4096,
                max_model_concurrency=16,
                dtype="bfloat16",
                revision="v1.5",
            ),
        ),
        options={
            **IMAGE,
            "provider": "runpod",
            "gpu": "L40S",
            "gpu_count": 1,
            "replicas": 2,
            "constraint": DeploymentConstraint(
                enterprise=True,
                single_device=True,
                max_usd_per_hour=1.0,
                regions=("US-*",),
                providers=("runpod",),
                min_availability="low",
                interruptible=False,
            ),
        },
        bounds={"max_usd": 5.0, "hours": 1},
    ),
    "batch": Requested(
        models=(LmLiteModelConfig("example/batch-70b", quantization="int8"),),
        options={
            **IMAGE,
            "provider": None,
            "gpu": "RTX4090",
            "gpu_count": 2,
            "tensor_parallel": 2,
            "pipeline_parallel": 1,
            "replicas": (1, 4),
        },
        bounds={"max_usd": 4.0, "hours": 2},
    ),
    "here": Requested(
        models=("HuggingFaceTB/SmolLM2-135M-Instruct",),
        options={"runtime": "vllm", "runtime_version": "0.19.0", "provider": "local"},
        bounds={"hours": 1.5},
    ),
    "ended": Requested(
        models=("example/ended",),
        options={**IMAGE, "provider": "runpod"},
    ),
}
