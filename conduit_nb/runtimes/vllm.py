"""How vLLM is started: `vllm serve` in its published image, or in an environment of this machine.

Layer 3: knows the program's command line, imports nothing of it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from conduit_nb import settings
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import Hardware
from conduit_nb.errors import MissingExtraError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect
from conduit_nb.runtimes.base import Place, ServerRequest
from conduit_nb.runtimes.checks import only_model, refuse_fields

VERSION = "0.19.0"
"""The release whose memory is known (compute/overheads.py)."""
IMAGE = "docker.io/vllm/vllm-openai:v{version}"
# Compact JSON: with free whitespace small models write newlines until their tokens are gone.
GUIDED = json.dumps({"backend": "guidance", "disable_any_whitespace": True})
LACKING = {
    "quantization": "Name a model that is stored in fewer bits (FP8, GPTQ, AWQ).",
    "model_batch_execute_timeout_ms": "Leave it out: vLLM batches whatever waits at each step.",
}
KEY_NAME = "VLLM_API_KEY"


class VllmRuntime:
    """Serves one model of Hugging Face's with continuous batching on NVIDIA and AMD GPUs."""

    name = "vllm"
    dialect: Dialect = "openai"
    models_per_server: int | None = 1
    places: tuple[Place, ...] = ("container", "process")
    command_places: tuple[Place, ...] = ("container",)

    def check(self, models: Sequence[LmLiteModelConfig]) -> None:
        """Raise ArgumentError where a config asks for what vLLM lacks."""
        refuse_fields("vLLM", models, LACKING)

    def why_not(self, hardware: Hardware) -> str | None:
        """Say why vLLM's image cannot run on such hardware, None where it can."""
        if hardware.is_cpu:
            return "vLLM's own image needs a GPU (image= may name a CPU build)"
        vendor = hardware.accelerator.vendor if hardware.accelerator else "NVIDIA"
        return None if vendor in ("NVIDIA", "AMD") else f"vLLM does not run on {vendor}"

    def launch_spec(self, request: ServerRequest) -> LaunchSpec:
        """Say how vLLM is started for the request's one model."""
        model = only_model("vLLM", request.models)
        self.check([model])
        options = (
            *("--served-model-name", model.model_id),
            *("--port", "{port}"),
            *_given("--revision", model.revision),
            *("--dtype", _dtype(model, request.devices)),
            *_given("--max-model-len", model.max_model_len),
            *_given("--max-num-seqs", model.max_model_concurrency),
            *_split("--tensor-parallel-size", request.tensor_parallel),
            *_split("--pipeline-parallel-size", request.pipeline_parallel),
            *("--structured-outputs-config", GUIDED),
            # A model's own generation_config must not change what Conduit asks for.
            *("--generation-config", "vllm"),
        )
        if request.place == "process":
            return self._process(request, model, options)
        return LaunchSpec(
            name=request.name,
            command=request.command_for(model)
            or ("vllm", "serve", model.model_id, "--host", "127.0.0.1", *options),
            environment=_environment(),
            secrets=(KEY_NAME,),
            key_name=KEY_NAME,
            dialect=self.dialect,
            has_entrypoint=True,
            image=request.image or IMAGE.format(version=request.version or VERSION),
            devices=request.devices,
            disk_gib=request.disk_gib,
        )

    def _process(
        self, request: ServerRequest, model: LmLiteModelConfig, options: tuple[str, ...]
    ) -> LaunchSpec:
        python = settings.vllm_python()
        if python is None:
            raise MissingExtraError(
                "vLLM runs in an environment of its own, and none is named.",
                hint="Set CONDUIT_VLLM_PYTHON to the Python of an environment that has vLLM, or "
                "use compute_provider='docker'.",
            )
        return LaunchSpec(
            name=request.name,
            command=(
                *(str(python), "-m", "vllm.entrypoints.openai.api_server"),
                *("--model", request.model_folder or model.model_id, "--host", "127.0.0.1"),
                *options,
            ),
            environment=_environment(),
            secrets=(KEY_NAME,),
            key_name=KEY_NAME,
            dialect=self.dialect,
        )


def _dtype(model: LmLiteModelConfig, devices: int) -> str:
    """Return the dtype to ask for; on a CPU "auto" is float32, as it is in LmLite.

    vLLM's own "auto" makes bfloat16 of float32, and on some CPUs (AMD with avx512_bf16, vLLM 0.32)
    a small model then writes nonsense.
    """
    return "float32" if model.dtype == "auto" and devices == 0 else model.dtype


def _given(option: str, value: object) -> tuple[str, ...]:
    return () if value is None else (option, str(value))


def _split(option: str, parts: int) -> tuple[str, ...]:
    return () if parts == 1 else (option, str(parts))


def _environment() -> dict[str, str]:
    told = {"VLLM_NO_USAGE_STATS": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
    return {**told, "HF_HUB_OFFLINE": "1"} if settings.offline() else told
