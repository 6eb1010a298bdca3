"""What can be asked of a plan and of the list of offerings: the options, declared as fields.

Light, so that `conduit --help` costs next to nothing; what only the planner knows it checks itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from conduit_nb.options import Option, option

DTYPES = ("auto", "bfloat16", "float16", "float32", "fp8")
KV_DTYPES = ("auto", "bfloat16", "float16", "float32", "fp8")
# How runtimes and people call the same.
DTYPE_ALIASES = {
    "bf16": "bfloat16",
    "fp16": "float16",
    "half": "float16",
    "fp32": "float32",
    "float": "float32",
    "fp8_e4m3": "fp8",
    "fp8_e5m2": "fp8",
}
OBJECTIVES = (
    "usd_per_gib",
    "usd_per_hour",
    "usd_per_million_tokens",
    "tokens_per_second",
    "topology",
)
DEFAULT_RUNTIME = "vllm"
# Whose memory is planned with whose figures; of others nothing is known.
PLANNED_AS = {"lmlite": "lmlite", "vllm": "vllm", "tensorrt": "vllm"}
DEFAULT_LIMIT = 20
DEFAULT_TIMEOUT_S = 20.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanOptions:
    """How models are to be served, for a plan."""

    tensor_parallel: int = option(1, "Devices that share every layer.", kind="count", metavar="N")
    pipeline_parallel: int = option(
        1, "Stages of layers, one after the other.", kind="count", metavar="N"
    )
    replicas: int = option(1, "Number of replicas.", kind="count", metavar="N")
    dtype: str = option(
        "auto", f"Precision of the weights: {', '.join(DTYPES)}.", metavar="D", is_basic=True
    )
    kv_dtype: str = option(
        "auto",
        f"Precision of the KV cache: {', '.join(KV_DTYPES)}; auto is the model's.",
        metavar="D",
    )
    quantization: str | None = option(
        None,
        "Quantization by the runtime: fp8, bitsandbytes, gguf:Q4_K_M.",
        metavar="Q",
        is_basic=True,
    )
    max_model_len: int | None = option(
        None,
        "Longest prompt and reply together, in tokens (default: the model's limit).",
        kind="count",
        metavar="N",
        is_basic=True,
    )
    max_concurrency: int = option(
        1,
        "Requests of that length at once.",
        kind="count",
        metavar="N",
        aliases=("concurrency", "max_model_concurrency"),
        is_basic=True,
    )
    runtime: str = option(
        DEFAULT_RUNTIME,
        f"Runtime: vllm, sglang, llama.cpp or lmlite (default: {DEFAULT_RUNTIME}).",
        metavar="NAME",
        is_basic=True,
    )
    runtime_version: str | None = option(
        None, "Version of the runtime, where its overheads are known.", metavar="VERSION"
    )
    revision: str | None = option(
        None, "Branch, tag or commit on the hub; or write owner/name@REVISION.", metavar="REVISION"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class OfferingsOptions:
    """What of all offerings is asked for, beside a constraint."""

    gpu: str | None = option(
        None, "Only this GPU, e.g. L40S, 'H100 SXM', 'A100 80GB'.", metavar="NAME", is_basic=True
    )
    models: tuple[str, ...] = option(
        (),
        "Rank what holds this model (repeat it for several); the options of plan say how.",
        kind="texts",
        metavar="ID",
        written="--for",
        is_basic=True,
    )
    objective: str = option(
        OBJECTIVES[0],
        f"What is best: {', '.join(OBJECTIVES)}.",
        metavar="O",
        choices=OBJECTIVES,
        is_basic=True,
    )
    only_launchable: bool = option(
        False, "Leave out offerings that cannot be started from here.", kind="flag"
    )
    timeout_s: float = option(
        DEFAULT_TIMEOUT_S,
        f"Time to wait for the sources (default: {DEFAULT_TIMEOUT_S:g} s).",
        kind="seconds",
        metavar="S",
    )


GPU = Option(
    name="gpu",
    kind="text",
    metavar="NAME",
    help="GPU to hold the plan against, e.g. L40S, 'A100 80GB' (default: this machine's).",
    is_basic=True,
)
# About the answer, not about the question.
WHY = Option(name="why", kind="flag", default=False, help="Show what is left out as well, and why.")
LIMIT = Option(
    name="limit",
    kind="count",
    default=DEFAULT_LIMIT,
    metavar="N",
    help=f"Rows to show (not with --json; default: {DEFAULT_LIMIT}).",
)
