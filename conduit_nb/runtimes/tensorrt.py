"""How TensorRT-LLM is started: `trtllm-serve` in NVIDIA's published image.

Layer 3: knows the program's command line, imports nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import Hardware
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect
from conduit_nb.runtimes.base import Place, ServerRequest
from conduit_nb.runtimes.checks import only_model, refuse_fields

VERSION = "1.2.1"
IMAGE = "nvcr.io/nvidia/tensorrt-llm/release:{version}"
LACKING = {
    "quantization": "Name a model that is stored in fewer bits (FP8, NVFP4, AWQ).",
    "model_batch_execute_timeout_ms": "Leave it out: TensorRT-LLM batches in flight.",
}
# What the server reads of its options it reads from a file (JSON is YAML, too), which the shell
# writes first: `trtllm-serve` has no option for guided decoding, the dtype or the revision.
START = 'printf %s "$CONDUIT_TRTLLM_CONFIG" > /tmp/conduit.yaml && exec "$@"'


class TensorRtRuntime:
    """Serves one model with TensorRT-LLM's PyTorch backend on NVIDIA GPUs.

    Its server knows no key of its own: the guard in front of it asks for it.
    """

    name = "tensorrt"
    dialect: Dialect = "tensorrt"
    models_per_server: int | None = 1
    places: tuple[Place, ...] = ("container",)
    command_places: tuple[Place, ...] = ("container",)

    def check(self, models: Sequence[LmLiteModelConfig]) -> None:
        """Raise ArgumentError where a config asks for what TensorRT-LLM lacks."""
        refuse_fields("TensorRT-LLM", models, LACKING)

    def why_not(self, hardware: Hardware) -> str | None:
        """Say why TensorRT-LLM cannot run on such hardware, None where it can."""
        if hardware.is_cpu:
            return "TensorRT-LLM needs an NVIDIA GPU"
        vendor = hardware.accelerator.vendor if hardware.accelerator else "NVIDIA"
        return None if vendor == "NVIDIA" else f"TensorRT-LLM does not run on {vendor}"

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        """Say how trtllm-serve is started for the request's one model."""
        model = only_model("TensorRT-LLM", request.models)
        self.check([model])
        limits = {
            "--max_seq_len": model.max_model_len,
            "--max_batch_size": model.max_model_concurrency,
        }
        command = (
            *("sh", "-c", START, "trtllm-serve"),
            *("trtllm-serve", model.model_id, "--host", "127.0.0.1", "--port", "{port}"),
            *("--tp_size", str(request.tensor_parallel)),
            *("--pp_size", str(request.pipeline_parallel)),
            *(part for name, value in limits.items() if value for part in (name, str(value))),
            *("--extra_llm_api_options", "/tmp/conduit.yaml"),  # noqa: S108  # in the container
        )
        config: dict[str, str] = {"guided_decoding_backend": "xgrammar", "dtype": model.dtype}
        if model.revision is not None:
            config["revision"] = model.revision
        return LaunchSpec(
            name=request.name,
            command=request.command_for(model) or command,
            environment={
                "CONDUIT_TRTLLM_CONFIG": json.dumps(config),
                "HF_HUB_DISABLE_TELEMETRY": "1",
            },
            secrets=("CONDUIT_API_KEY",),
            dialect=self.dialect,
            image=request.image or IMAGE.format(version=request.version or VERSION),
            devices=request.devices,
            disk_gib=request.disk_gib,
        )
