"""Plans and offerings with the numbers that a test cares about."""

from __future__ import annotations

from typing import Any

from conduit_nb.compute.accelerators import find_accelerator
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.compute.vram import (
    GIB,
    ComputeDtype,
    DevicePlan,
    ModelPlan,
    Plan,
    Requirements,
)


def made_plan(
    device_gib: float = 16,
    *,
    tensor_parallel: int = 1,
    pipeline_parallel: int = 1,
    replicas: int = 1,
    runtime: str = "vllm",
    dtypes: tuple[ComputeDtype, ...] = ("bf16",),
    active_share: float = 1.0,
    requests: int = 16,
    **required: Any,
) -> Plan:
    """Return a plan whose devices need `device_gib` each, half of it weights."""
    devices = tensor_parallel * pipeline_parallel
    device_bytes = int(device_gib * GIB)
    weights_bytes = device_bytes // 2
    active_bytes = int(weights_bytes * devices * active_share)
    model = ModelPlan(
        model_id="made up",
        weights_bytes=weights_bytes * devices,
        kv_bytes_per_token=131072,
        kv_bytes=(device_bytes - weights_bytes) * devices,
        active_weight_bytes_per_token=active_bytes,
        flops_per_token=active_bytes,  # two for each weight of two bytes
        max_model_len=4096,
        max_model_concurrency=requests,
    )
    return Plan(
        runtime=runtime,
        runtime_version="1",
        models=(model,),
        tensor_parallel=tensor_parallel,
        pipeline_parallel=pipeline_parallel,
        replicas=replicas,
        devices=tuple(
            DevicePlan(
                stage=stage,
                rank=rank,
                weights_bytes=weights_bytes,
                kv_bytes_per_token=131072 // devices,
                kv_bytes=device_bytes - weights_bytes,
                activation_bytes=0,
                overhead_bytes=0,
            )
            for stage in range(pipeline_parallel)
            for rank in range(tensor_parallel)
        ),
        required=Requirements(dtypes=frozenset(dtypes), **required),
    )


def made_offering(
    accelerator: str | None = "L40S", usd_per_hour: float = 1.0, **others: Any
) -> ComputeOffering:
    """Return an offering of that row of the table, with all of its memory."""
    if accelerator is not None and "memory_gib" not in others:
        others["memory_gib"] = find_accelerator(accelerator).usable_gib
    others.setdefault("memory_gib", 64.0)
    others.setdefault("provider", "runpod")
    others.setdefault("id", f"{others.get('count', 1)}x {accelerator}")
    others.setdefault("availability", "high")
    return ComputeOffering(accelerator=accelerator, usd_per_hour=usd_per_hour, **others)
