"""What a user wants to have running: models, in which runtime, on whose compute, how long.

Layer 2: pure.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from typing import Any

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.offerings import ComputeProvider
from conduit_nb.errors import ArgumentError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.units import require_seconds, require_usd, require_within

LMLITE = "lmlite"
MAX_REPLICAS = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Replicas:
    """How many nodes serve a deployment: as many as the queue asks for, within these bounds."""

    least: int = 1
    most: int = 1

    def __post_init__(self) -> None:
        for name in ("least", "most"):
            hint = "Give one number of replicas, or (least, most)."
            require_within("replicas", getattr(self, name), 1, MAX_REPLICAS, hint=hint)
        if self.least > self.most:
            raise ArgumentError(
                f"replicas=({self.least}, {self.most}): the first is greater than the second.",
                param="replicas",
                hint="Give one number of replicas, or (least, most).",
            )


def to_replicas(value: int | tuple[int, int]) -> Replicas:
    """Return the bounds that a number, or a pair of least and most, stands for."""
    least, most = value if isinstance(value, tuple) else (value, value)
    return Replicas(least=least, most=most)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentRequest:
    """One thing to have running; requests with the same `identity` share one deployment.

    `provider` None takes the best offering of any that can start it. `gpu` names an accelerator,
    `gpu_count` how many of it; None lets the plan decide. `image` replaces the runtime's own,
    `command` what is started in it (`{port}` and `{model}` are put in); where a runtime or a place
    would not follow it, it is refused.
    What follows `constraint` bounds one call and is no part of what a deployment is: `max_usd`
    replaces the cap of a deployment, `lease_s` and `idle_s` the defaults of the settings, `name`
    is how people call it.

    Raises ArgumentError where a value cannot be meant.
    """

    models: tuple[LmLiteModelConfig, ...] = ()
    runtime: str = LMLITE
    runtime_version: str | None = None
    provider: str | None = ComputeProvider.LOCAL
    gpu: str | None = None
    gpu_count: int | None = None
    tensor_parallel: int = 1
    pipeline_parallel: int = 1
    replicas: Replicas = field(default_factory=Replicas)
    image: str | None = None
    command: tuple[str, ...] = ()
    constraint: DeploymentConstraint = field(default_factory=DeploymentConstraint)
    max_usd: float | None = None
    lease_s: float | None = None
    idle_s: float | None = None
    name: str | None = None

    def __post_init__(self) -> None:
        for name in ("gpu_count", "tensor_parallel", "pipeline_parallel"):
            value: object = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise ArgumentError(
                    f"{name}={value!r} is not a whole number of at least 1.",
                    param=name,
                    hint=f"Leave {name} out to get the default.",
                )
        for name, require in (
            ("max_usd", require_usd),
            ("lease_s", require_seconds),
            ("idle_s", require_seconds),
        ):
            if (value := getattr(self, name)) is not None:
                require(name, value, hint=f"Leave {name} out to get the default.")

    @property
    def is_sidecar(self) -> bool:
        """Say whether the server that all kernels of this user share is what is meant.

        It loads models on demand, so which models are asked for does not matter; what a constraint
        says of this machine has been looked at by whoever made the request.
        """
        plain = DeploymentRequest(models=self.models, constraint=self.constraint)
        return self.identity() == plain.identity()

    def identity(self) -> str:
        """Return everything that tells this deployment from another, as one line of JSON.

        The constraint's choice of providers counts, like all of it: it says what is accepted.
        """
        return json.dumps(self._telling(), sort_keys=True, separators=(",", ":"))

    def _telling(self) -> dict[str, Any]:
        told = asdict(self)
        for name in ("max_usd", "lease_s", "idle_s", "name"):
            del told[name]
        told["models"] = sorted(told["models"], key=lambda model: model["model_id"])
        return told
