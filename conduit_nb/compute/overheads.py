"""What runtimes take beside weights and KV cache, by version, each figure with its source.

Figures change with a runtime's version: a row says which it was measured on, and a new version is a
new row, never an edit. `benchmarks/lmlite_memory.py` measures LmLite's.
Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from conduit_nb.errors import ArgumentError
from conduit_nb.models.tensors import TensorDtype
from conduit_nb.spelling import nearest

GIB, MIB = 2**30, 2**20

MEASURED = (
    "llm-d-incubation/llm-d-planner, accuracy/: 58 runs of vLLM 0.19.0 on H100-80GB "
    "(profiled with 8,192 tokens and 1,024 rows, its defaults there)"
)
PROFILING_PR = "vllm-project/vllm pull request 10511, and its gpu_worker.py"


@dataclass(frozen=True, slots=True, kw_only=True)
class Overheads:
    """One runtime at one version. Bytes are per device; names of architectures as in config.json.

    `step_tokens` and `step_rows` are the largest forward that it sizes its memory for. A forward
    takes `hidden_copies` of the hidden state and `inner_copies` of the MLP's inside;
    `logit_bytes` for each logit of a row, beside a copy in the model's precision.
    `vocab_multiple` is what it pads the vocabulary to, `page_tokens` a page of its KV cache.
    Where several requests share the cache, their scattered pages cost `scattered_kv_share` more.
    A quantization leaves out `unquantized` (patterns as in a config.json), with `quantizes_head` it
    takes the head. With `keeps_sliding_whole` a layer keeps all tokens, however few it looks at.
    `rope_bytes` are those of a number in its table of rotations, None where it keeps none.
    `state_dtype` is what linear layers sum in where config.json does not say, None the model's;
    their convolutions keep `extra_conv_inputs` more than they need.
    """

    runtime: str
    version: str
    source: str
    activation_source: str
    step_tokens: int
    step_rows: int
    logit_bytes: int
    hidden_copies: float
    inner_copies: float
    base_activation_bytes: int
    multimodal_bytes: int = 0
    activation_extra_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    runtime_bytes: int = 0
    runtime_bytes_parallel: int = 0
    runtime_extra_bytes: Mapping[str, int] = field(default_factory=dict[str, int])
    graph_bytes: int = 0
    graph_bytes_per_layer: int = 0
    graph_bytes_experts: int = 0
    vocab_multiple: int = 1
    page_tokens: int = 1
    scattered_kv_share: float = 0.0
    rope_bytes: int | None = None
    state_dtype: TensorDtype | None = None
    extra_conv_inputs: int = 0
    has_caching_allocator: bool = False
    groups_kv_layers: bool = False
    keeps_sliding_whole: bool = False
    keeps_latent_copies: bool = False
    pads_mxfp4: bool = False
    copies_tied_head: bool = False
    quantizes_head: bool = False
    unquantized: tuple[str, ...] = ()
    bytes_per_model: int = 0
    is_shared_by_models: bool = False
    max_devices: int | None = None
    least_cuda: tuple[int, int] | None = None
    least_driver: tuple[int, ...] | None = None
    least_capability: tuple[int, int] | None = None


_VLLM_019 = Overheads(
    runtime="vllm",
    version="0.19",
    source=MEASURED,
    activation_source=MEASURED + "; fitted as an upper bound of all runs",
    step_tokens=8192,
    step_rows=1024,
    logit_bytes=12,
    hidden_copies=1.28,
    inner_copies=3.0,
    base_activation_bytes=138 * MIB,
    multimodal_bytes=288 * MIB,
    activation_extra_bytes={
        "GemmaForCausalLM": 64 * MIB,
        "Gemma2ForCausalLM": 64 * MIB,
        "Gemma3ForCausalLM": 64 * MIB,
    },
    runtime_bytes=int(0.27 * GIB),
    runtime_bytes_parallel=int(2.22 * GIB),
    runtime_extra_bytes={"GraniteForCausalLM": int(0.2 * GIB)},
    graph_bytes=int(0.42 * GIB),
    graph_bytes_per_layer=int(0.018 * GIB),
    graph_bytes_experts=int(0.28 * GIB),
    vocab_multiple=64,
    page_tokens=16,
    rope_bytes=2,
    has_caching_allocator=True,
    groups_kv_layers=True,
    keeps_latent_copies=True,
    pads_mxfp4=True,
    least_cuda=(12, 9),
    least_driver=(575, 51, 3),
    least_capability=(7, 0),
)

_SGLANG_05 = Overheads(
    runtime="sglang",
    version="0.5",
    source="an estimate after vLLM's figures; not measured",
    activation_source="an estimate: a chunked prefill of 8,192 tokens, logits of 512 rows; "
    "not measured",
    step_tokens=8192,
    step_rows=512,
    logit_bytes=12,
    hidden_copies=4.0,
    inner_copies=3.0,
    base_activation_bytes=256 * MIB,
    multimodal_bytes=288 * MIB,
    runtime_bytes=int(0.5 * GIB),
    runtime_bytes_parallel=int(2.2 * GIB),
    graph_bytes=int(0.6 * GIB),
    graph_bytes_per_layer=int(0.02 * GIB),
    graph_bytes_experts=int(0.3 * GIB),
    vocab_multiple=64,
    page_tokens=1,
    rope_bytes=4,
    state_dtype="float32",  # srt/server_args.py, mamba_ssm_dtype
    has_caching_allocator=True,
    keeps_latent_copies=True,
    least_cuda=(12, 6),
    least_capability=(7, 5),
)

_LLAMA_CPP = Overheads(
    runtime="llama.cpp",
    version="2026",
    source="llama.cpp's own log: 'CUDA0 compute buffer size', CUDA context of the driver",
    activation_source="llama.cpp: logits in float32 of a physical batch of 512 tokens",
    step_tokens=512,
    step_rows=512,
    logit_bytes=2,
    hidden_copies=2.0,
    inner_copies=1.0,
    base_activation_bytes=8 * MIB,
    runtime_bytes=512 * MIB,
    runtime_bytes_parallel=512 * MIB,
    page_tokens=1,
    state_dtype="float32",  # llama-model.cpp: recurrent states are GGML_TYPE_F32
)

_LMLITE = Overheads(
    runtime="lmlite",
    version="0.1",
    source="benchmarks/lmlite_memory.py: resident memory of `python -m conduit_nb.lmlite`, CPU",
    activation_source="benchmarks/lmlite_memory.py",
    step_tokens=512,
    step_rows=32,
    logit_bytes=8,
    hidden_copies=4.0,
    inner_copies=3.0,
    base_activation_bytes=8 * MIB,
    runtime_bytes=475 * MIB,
    page_tokens=16,
    bytes_per_model=10 * MIB,
    scattered_kv_share=0.25,
    state_dtype="float32",
    extra_conv_inputs=1,  # transformers/cache_utils.py keeps as many inputs as the kernel is wide
    keeps_sliding_whole=True,  # lmlite/kv_cache.py: pages before the window stay
    quantizes_head=True,  # lmlite/quantization.py: linear layers, not fused experts or Conv1D
    unquantized=(r"re:.*\.experts\.", r"re:.*\.(c_attn|c_fc|c_proj)$"),
    copies_tied_head=True,  # lmlite/blocked_linear.py rearranges the head, not the embedding
    is_shared_by_models=True,
    max_devices=1,
)

TABLE: tuple[Overheads, ...] = (_VLLM_019, _SGLANG_05, _LLAMA_CPP, _LMLITE)
"""All rows; of a runtime the newest first."""


def overheads_of(runtime: str, version: str | None = None) -> Overheads:
    """Return the row of a runtime: the newest, or that of `version` ("0.19" covers "0.19.1").

    Raises ArgumentError where there is none.
    """
    rows = [row for row in TABLE if row.runtime == runtime]
    for row in rows:
        if version is None or version == row.version or version.startswith(f"{row.version}."):
            return row
    known = ", ".join(f"{row.runtime} {row.version}" for row in TABLE)
    others = () if rows else {row.runtime for row in TABLE}
    raise ArgumentError(
        f"Nothing is known of the memory that {runtime} {version or ''} takes.".replace(" .", "."),
        param="runtime_version" if rows else "runtime",
        hint=nearest(runtime, others, then=f"Known are {known}."),
    )
