"""What one forward takes at its peak, and what a runtime keeps beside the models.

The form follows from what is alive at the peak of vLLM's profiling run, the constants are fitted
to measured runs (see overheads.py) so that none lies above.
Layer 2: pure.
"""

from __future__ import annotations

from conduit_nb.compute.overheads import Overheads
from conduit_nb.compute.sharding import padded
from conduit_nb.models.spec import ModelSpec
from conduit_nb.models.tensors import ITEM_BYTES, TensorDtype

FORWARD_HIDDEN = 1.7
"""Hidden states alive inside a layer beside those that live through it."""

STAGE_HIDDEN = 3.0
"""Hidden states that a pipeline stage keeps for the one before and after it."""

EXPERT_HIDDEN = 1.6
"""The same for what each expert gives back, which is permuted on its way."""


def activation_bytes(
    spec: ModelSpec,
    overheads: Overheads,
    *,
    dtype: TensorDtype,
    tensor_parallel: int,
    pipeline_parallel: int,
    is_last_stage: bool,
) -> int:
    """Return the peak of a forward: inside a layer, or where the sampler looks at the logits.

    The sampler of vLLM holds about three copies of the logits in float32 and one in the model's
    precision: with 1,024 rows it outweighs the layers wherever a vocabulary is large.
    """
    item = ITEM_BYTES[dtype]
    hidden = overheads.step_tokens * (spec.hidden_size or 0) * item
    vocab = padded(spec.vocab_tokens or 0, overheads.vocab_multiple)
    sampler = overheads.step_rows * vocab * (overheads.logit_bytes + item) if is_last_stage else 0
    inner = overheads.step_tokens * _inner_size(spec) // tensor_parallel * item
    layer = overheads.inner_copies * inner + FORWARD_HIDDEN * hidden
    always = overheads.base_activation_bytes + overheads.hidden_copies * hidden
    if spec.is_multimodal:
        always += overheads.multimodal_bytes
    if pipeline_parallel > 1:
        always += STAGE_HIDDEN * hidden
    always += sum(overheads.activation_extra_bytes.get(name, 0) for name in _names(spec))
    experts = _expert_workspace(spec, overheads, tensor_parallel) * item
    return int(always + experts + max(sampler, layer))


def runtime_bytes(
    spec: ModelSpec, overheads: Overheads, *, layers: int, tensor_parallel: int
) -> tuple[int, int]:
    """Return what lies outside of tensors on a device, and what its recorded graphs take.

    `layers` are those of the device, `tensor_parallel` the ranks that talk to each other in each.
    """
    outside = overheads.runtime_bytes_parallel if tensor_parallel > 1 else overheads.runtime_bytes
    outside += sum(overheads.runtime_extra_bytes.get(name, 0) for name in _names(spec))
    graphs = overheads.graph_bytes + overheads.graph_bytes_per_layer * layers
    if spec.experts:
        graphs += overheads.graph_bytes_experts
    return outside + overheads.bytes_per_model, graphs


def _names(spec: ModelSpec) -> set[str]:
    """Return the architecture's name, and that of the language model inside it."""
    return {name.replace("ForConditionalGeneration", "ForCausalLM") for name in spec.architectures}


def _inner_size(spec: ModelSpec) -> int:
    return spec.inner_size or 4 * (spec.hidden_size or 0)


def _expert_workspace(spec: ModelSpec, overheads: Overheads, tensor_parallel: int) -> int:
    """Return how many numbers the experts' intermediate results are, which outlive their layer.

    vLLM `fused_moe/`: for each token and each of its experts, gate and up or the result, and the
    product. Kernels for mxfp4 keep none.
    """
    if not spec.experts or (spec.quantization and spec.quantization.method == "mxfp4"):
        return 0
    share = (spec.expert_size or _inner_size(spec)) // tensor_parallel
    widest = max(2 * share, int(EXPERT_HIDDEN * (spec.hidden_size or 0)))
    return overheads.step_tokens * (spec.experts_per_token or 1) * (widest + share)
