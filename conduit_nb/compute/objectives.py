"""By what the best offering is chosen, and what each offering is worth by it.

Layer 2: pure.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from conduit_nb.compute.judging import (
    Reason,
    hardware_reasons,
    needed_instances,
    single_device_reason,
)
from conduit_nb.compute.offerings import Hardware
from conduit_nb.compute.throughput import Range, estimate_tokens_per_s, link_of
from conduit_nb.compute.vram import Plan
from conduit_nb.errors import ArgumentError
from conduit_nb.spelling import nearest

Objective = Literal[
    "usd_per_gib", "usd_per_hour", "usd_per_million_tokens", "tokens_per_second", "topology"
]
"""What is best, the first least (but for tokens_per_second, the most):

usd_per_gib             price per hour / GiB of memory of all devices
usd_per_hour            price per hour x how many such offerings the replicas need
usd_per_million_tokens  price per hour of all of them / (tokens per second x 3600) x 10^6
tokens_per_second       the estimate of `throughput`; set max_usd_per_hour for a budget
topology                devices that NVLink or Infinity Fabric joins before a bridge before PCIe,
                        among equals usd_per_gib; what is cheaper, larger and faster at once
                        goes before it whatever its link
"""
ESTIMATED: frozenset[Objective] = frozenset({"usd_per_million_tokens", "tokens_per_second"})
# How well links carry tensor parallel, best first.
LINK_RANK = {"unified": 0, "nvlink": 0, "infinity_fabric": 0, "bridge": 1, "pcie": 2}
LINK_STEP = 1e6  # above any price per GiB


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What a plan makes of one kind of hardware.

    `instances` is how many such offerings the replicas need, 0 where one holds none. By the
    objective an offering of this hardware that costs x is worth `scale` * x + `offset`, the best
    the least.
    """

    reasons: tuple[Reason, ...]
    instances: int
    tokens_per_s: Range | None
    scale: float
    offset: float

    @property
    def speed(self) -> float:
        """Return the expected tokens per second, 0 where nobody knows."""
        return self.tokens_per_s.expected if self.tokens_per_s else 0.0


def known_objective(name: str) -> Objective:
    """Return the objective of that name. Raises ArgumentError."""
    known: tuple[Objective, ...] = get_args(Objective)
    for objective in known:
        if name == objective:
            return objective
    raise ArgumentError(
        f"objective={name!r} is not known.",
        param="objective",
        hint=nearest(str(name), known, then=f"Use one of {', '.join(known)}."),
    )


def fit_of(
    hardware: Hardware, plan: Plan, objective: Objective, *, single_device: bool = False
) -> Fit:
    """Hold the hardware against the plan."""
    reasons = hardware_reasons(hardware, plan)
    if single_device and (reason := single_device_reason(hardware)):
        reasons = (*reasons, reason)
    instances = needed_instances(hardware, plan)
    tokens_per_s = estimate_tokens_per_s(plan, hardware)
    if objective in ESTIMATED and (tokens_per_s is None or not tokens_per_s.expected):
        text = f"no figures of {hardware.name} are known, so its speed cannot be estimated"
        reasons = (*reasons, Reason(code="no_figures", text=text))
    scale, offset = 0.0, 0.0
    if not reasons:
        speed = tokens_per_s.expected if tokens_per_s else 0.0
        scale, offset = _line(hardware, plan, objective, instances, speed)
    return Fit(
        reasons=reasons,
        instances=instances,
        tokens_per_s=tokens_per_s,
        scale=scale,
        offset=offset,
    )


def _line(
    hardware: Hardware, plan: Plan, objective: Objective, instances: int, speed: float
) -> tuple[float, float]:
    match objective:
        case "usd_per_gib":
            return 1 / hardware.total_gib, 0.0
        case "usd_per_hour":
            return float(instances), 0.0
        case "usd_per_million_tokens":
            return instances / (speed * 3600) * 1e6, 0.0
        case "tokens_per_second":
            return 0.0, -speed
        case "topology":
            joined = plan.tensor_parallel > 1
            step = LINK_STEP * LINK_RANK[link_of(hardware, plan)] if joined else 0.0
            return 1 / hardware.total_gib, step
