"""Published models as they are asked to be served."""

from __future__ import annotations

from typing import Any

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import Plan, PlannedModel
from conduit_nb.models.layouts import tensors_of
from conduit_nb.models.spec import spec_of
from conduit_nb.models.weights import Weights
from tests.models.published import config_of

FP8_DYNAMIC = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "config_groups": {
        "group_0": {"weights": {"num_bits": 8, "type": "float", "strategy": "channel"}}
    },
    "ignore": ["lm_head"],
}
W8A8 = {
    "quant_method": "compressed-tensors",
    "format": "int-quantized",
    "config_groups": {
        "group_0": {"weights": {"num_bits": 8, "type": "int", "strategy": "channel"}}
    },
    "ignore": ["lm_head"],
}
GPTQ = {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": True}


def planned_model(name: str, *, quantized_as: dict[str, Any] | None = None, **asked: Any) -> Any:
    """Return a published model, as `asked`; `quantized_as` is the quantization of its files."""
    config = config_of(name)
    if quantized_as:
        config["quantization_config"] = quantized_as
    spec = spec_of(config)
    weights = Weights(tensors=tensors_of(spec), source="arithmetic", is_stored=False)
    asked.setdefault("max_model_len", 1024)
    return PlannedModel(model_id=name, spec=spec, weights=weights, **asked)


def plan_of(
    name: str,
    *,
    runtime: str = "vllm",
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    replicas: int = 1,
    **asked: Any,
) -> Plan:
    """Return the plan of one published model."""
    return plan(
        [planned_model(name, **asked)],
        runtime=runtime,
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        replicas=replicas,
    )
