"""What models need of a device's memory: weights, KV cache, activations, overhead, explained.

Layer 2: pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from conduit_nb.models.spec import ModelDtype, ModelSpec
from conduit_nb.models.weights import Weights

GIB = 2**30

PlanDtype = Literal["auto"] | ModelDtype
KvDtype = Literal["auto", "fp8"] | ModelDtype

ComputeDtype = Literal["fp32", "fp16", "bf16", "fp8", "fp4", "int8"]
"""What an accelerator must be able to multiply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedModel:
    """One model as it is to be served: its facts and weights, and what is asked of them.

    `max_model_len` bounds prompt plus reply in tokens, None takes the model's own limit;
    `max_model_concurrency` requests of that length are to fit at once. `dtype` "auto" is what the
    runtime takes by itself, `kv_dtype` "auto" the same as the model's. `quantization` is what the
    runtime is to do to weights that are stored in full ("fp8", "bitsandbytes", "gguf:Q4_K_M").
    """

    model_id: str
    spec: ModelSpec
    weights: Weights
    dtype: PlanDtype = "auto"
    kv_dtype: KvDtype = "auto"
    max_model_len: int | None = None
    max_model_concurrency: int = 1
    quantization: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanRequest:
    """What a plan was made of: enough to make it again with another number."""

    models: tuple[PlannedModel, ...]
    runtime: str
    runtime_version: str | None
    tensor_parallel: int
    pipeline_parallel: int
    replicas: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Term:
    """One part of what a device holds: how much, by which formula, and where that comes from.

    `part` names the field of DevicePlan that it is summed up in.
    """

    name: str
    part: Literal["weights", "kv", "activation", "overhead"]
    bytes: int
    formula: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Requirements:
    """What the hardware must offer beside memory; None where any will do.

    `compute_capability` is NVIDIA's (major, minor), `cuda` and `driver` the least versions of them
    that the runtime works with.
    """

    dtypes: frozenset[ComputeDtype]
    compute_capability: tuple[int, int] | None = None
    cuda: tuple[int, int] | None = None
    driver: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DevicePlan:
    """What one device holds: pipeline stage `stage`, tensor-parallel rank `rank`, all models."""

    stage: int
    rank: int
    weights_bytes: int
    kv_bytes_per_token: int
    kv_bytes: int
    activation_bytes: int
    overhead_bytes: int
    terms: tuple[Term, ...] = ()

    @property
    def total_bytes(self) -> int:
        """Return what the device must have."""
        return self.weights_bytes + self.kv_bytes + self.activation_bytes + self.overhead_bytes

    @property
    def total_gib(self) -> float:
        """Return what the device must have, in GiB."""
        return self.total_bytes / GIB


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPlan:
    """One model's share of a plan, over all devices of one replica.

    `active_weight_bytes_per_token` are the weights that one token is multiplied with (of a
    mixture, its active experts only), `flops_per_token` two per such weight, without attention.
    `state_bytes_per_request` are kept of a request whatever its length. `remarks` say what had to
    be assumed, so that the plan may be too large.
    """

    model_id: str
    weights_bytes: int
    kv_bytes_per_token: int
    kv_bytes: int
    active_weight_bytes_per_token: int
    flops_per_token: int
    max_model_len: int
    max_model_concurrency: int
    state_bytes_per_request: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What `models` need together, on each device of one replica, and how many replicas.

    `devices` has one entry for each of tensor_parallel x pipeline_parallel. `request` is what it
    was made of, None where it was put together otherwise.
    """

    runtime: str
    runtime_version: str
    models: tuple[ModelPlan, ...]
    tensor_parallel: int
    pipeline_parallel: int
    replicas: int
    devices: tuple[DevicePlan, ...]
    required: Requirements
    request: PlanRequest | None = None

    @property
    def devices_per_replica(self) -> int:
        """Return how many devices one replica needs, all on nodes that see each other."""
        return self.tensor_parallel * self.pipeline_parallel

    @property
    def device_count(self) -> int:
        """Return how many devices all replicas need."""
        return self.devices_per_replica * self.replicas

    @property
    def largest_device_bytes(self) -> int:
        """Return what the fullest device needs: each device must have as much."""
        return max(device.total_bytes for device in self.devices)

    @property
    def total_bytes(self) -> int:
        """Return what all devices of all replicas hold together."""
        return self.replicas * sum(device.total_bytes for device in self.devices)

    @property
    def active_weight_bytes_per_token(self) -> int:
        """Return the weights that one token reads, summed over the models."""
        return sum(model.active_weight_bytes_per_token for model in self.models)

    @property
    def flops_per_token(self) -> int:
        """Return the operations of one token, summed over the models, without attention."""
        return sum(model.flops_per_token for model in self.models)

    @property
    def kv_bytes_per_token(self) -> int:
        """Return what one token of context takes, summed over the models and devices."""
        return sum(model.kv_bytes_per_token for model in self.models)
