"""How fast hardware decodes a plan: a roofline estimate with its range, never a measurement.

Layer 2: pure.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.compute.accelerators import Accelerator, Link
from conduit_nb.compute.offerings import Hardware
from conduit_nb.compute.vram import ModelPlan, Plan


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A figure that nobody measured: the least, the expected, and the most that is likely."""

    low: float
    expected: float
    high: float

    def __str__(self) -> str:
        return f"about {self.expected:,.0f} (estimate, {self.low:,.0f} to {self.high:,.0f})"


# Share of the memory's bandwidth that decoding reaches. Databricks, "LLM Inference Performance
# Engineering: Best Practices" (2023), measured 55 to 60 % on A100 and H100; single kernels that
# only stream weights get to about 85 %; small batches on slow hosts get less.
BANDWIDTH_SHARE = Range(low=0.4, expected=0.6, high=0.85)
# Share of the dense peak. "The Llama 3 Herd of Models" (2024), table 4: 38 to 43 % in training on
# H100; decoding has smaller matrices, and single large ones get to about 70 %.
COMPUTE_SHARE = Range(low=0.2, expected=0.4, high=0.7)
# What is left when devices exchange activations in every layer (tensor parallel), by their link,
# or between pipeline stages on different nodes. A judgement, not a measurement: ring all-reduce
# moves 4 x hidden size x 2 bytes per token, layer and device, which hides behind NVLink and does
# not behind PCIe. NVIDIA reports near-linear scaling for NVLink, and half for PCIe.
LINK_SHARE: dict[Link, Range] = {
    "nvlink": Range(low=0.75, expected=0.88, high=0.97),
    "infinity_fabric": Range(low=0.7, expected=0.85, high=0.95),
    "unified": Range(low=1.0, expected=1.0, high=1.0),
    "bridge": Range(low=0.6, expected=0.8, high=0.95),
    "pcie": Range(low=0.35, expected=0.6, high=0.85),
}
NODES_SHARE = Range(low=0.6, expected=0.8, high=0.95)
# Of a context that may grow to max_model_len, a request has half on average while it is decoded.
CONTEXT_SHARE = 0.5


def estimate_tokens_per_s(plan: Plan, hardware: Hardware) -> Range | None:
    """Estimate the new tokens per second of all replicas, every request slot in use.

    One step decodes one token for each of `max_model_concurrency` requests; it lasts as long as
    the slower of reading bytes (weights that are needed, and every request's KV cache) and doing
    operations: `max(bytes / bandwidth, flops / peak)` over the devices of a replica, each at the
    shares above (Williams, Waterman, Patterson: "Roofline", CACM 2009). Several models take turns.
    None where the accelerator's figures are not known.
    """
    accelerator = hardware.accelerator
    if accelerator is None:
        return None
    requests = sum(model.max_model_concurrency for model in plan.models)
    read_bytes = sum(_bytes_per_step(model) for model in plan.models)
    flops = sum(model.max_model_concurrency * model.flops_per_token for model in plan.models)
    devices = plan.devices_per_replica * hardware.share
    bandwidth = accelerator.bandwidth_gb_per_s * 1e9 * devices
    peak = _peak_tflops(plan, accelerator) * 1e12 * devices

    def tokens_per_s(bandwidth_share: float, compute_share: float, link_share: float) -> float:
        step_s = max(read_bytes / (bandwidth * bandwidth_share), flops / (peak * compute_share))
        return plan.replicas * requests * link_share / step_s if step_s > 0 else 0.0

    link = _link_share(plan, hardware)
    return Range(
        low=tokens_per_s(BANDWIDTH_SHARE.low, COMPUTE_SHARE.low, link.low),
        expected=tokens_per_s(BANDWIDTH_SHARE.expected, COMPUTE_SHARE.expected, link.expected),
        high=tokens_per_s(BANDWIDTH_SHARE.high, COMPUTE_SHARE.high, link.high),
    )


def link_of(hardware: Hardware, plan: Plan) -> Link:
    """Return what carries tensor parallel: a bridge ties two cards, among more it is PCIe."""
    link = hardware.link or "pcie"
    return "pcie" if link == "bridge" and plan.tensor_parallel > 2 else link


def _bytes_per_step(model: ModelPlan) -> float:
    """Return what one step of a full batch reads.

    Of a mixture, a token needs the share a of all weights and n tokens that choose their experts
    independently need 1 - (1 - a)^n of them.
    """
    active = min(1.0, model.active_weight_bytes_per_token / max(1, model.weights_bytes))
    needed = 1 - (1 - active) ** model.max_model_concurrency
    context_tokens = model.max_model_concurrency * model.max_model_len * CONTEXT_SHARE
    kv_bytes = min(model.kv_bytes, context_tokens * model.kv_bytes_per_token)
    return model.weights_bytes * needed + kv_bytes


def _peak_tflops(plan: Plan, accelerator: Accelerator) -> float:
    """Return the peak of the slowest type that the plan multiplies, else of the best 16-bit one."""
    wanted = [accelerator.tflops[one] for one in plan.required.dtypes if one in accelerator.tflops]
    if wanted:
        return min(wanted)
    return max(accelerator.tflops.get(one, 0.0) for one in ("bf16", "fp16", "fp32"))


def _link_share(plan: Plan, hardware: Hardware) -> Range:
    """Return what exchanging activations leaves of the speed."""
    share = (
        LINK_SHARE[link_of(hardware, plan)] if plan.tensor_parallel > 1 else LINK_SHARE["unified"]
    )
    if plan.devices_per_replica <= hardware.count:
        return share
    return Range(
        low=share.low * NODES_SHARE.low,
        expected=share.expected * NODES_SHARE.expected,
        high=share.high * NODES_SHARE.high,
    )
