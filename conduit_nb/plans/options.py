"""The options of `plan` and `offerings`: written once, for the shell, the cell and their help.

Knows names and words only, so that `conduit --help` costs next to nothing; a value is checked by
whoever uses it.
Layer 4.
"""

from __future__ import annotations

import textwrap
from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["text", "texts", "names", "count", "number", "flag", "switch"]
"""What a value is: one text, one for each time the option is given, several with commas between,
a whole number from 1 up, a number from 0 up; and an option without a value, which may have a
negative form (`--no-…`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Option:
    """One option. `name` is its keyword in Python; `flag` is how shell and cell write it."""

    name: str
    kind: Kind
    help: str
    metavar: str | None = None
    choices: tuple[str, ...] = ()
    default: Any = None
    written: str | None = None

    @property
    def flag(self) -> str:
        """Return `--max-model-len` for max_model_len, unless it is written otherwise."""
        return self.written or f"--{self.name.replace('_', '-')}"

    @property
    def negative_flag(self) -> str:
        """Return `--no-interruptible` for `--interruptible`."""
        return f"--no-{self.flag[2:]}"


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
LEVELS = ("none", "low", "medium", "high")
DEFAULT_RUNTIME = "vllm"
# Whose memory is planned with whose figures; of others nothing is known.
PLANNED_AS = {"lmlite": "lmlite", "vllm": "vllm", "tensorrt": "vllm"}
DEFAULT_LIMIT = 20
DEFAULT_TIMEOUT_S = 20.0
HELP_COLUMNS = 98

REVISION_OPTION = Option(
    name="revision",
    kind="text",
    metavar="R",
    help="branch, tag or commit on the hub; or write owner/name@R",
)
PLAN_OPTIONS = (
    Option(
        name="tensor_parallel",
        kind="count",
        default=1,
        metavar="N",
        help="devices that share every layer",
    ),
    Option(
        name="pipeline_parallel",
        kind="count",
        default=1,
        metavar="N",
        help="stages of layers, one after the other",
    ),
    Option(
        name="replicas", kind="count", default=1, metavar="N", help="how often all of it is served"
    ),
    Option(
        name="dtype",
        kind="text",
        default="auto",
        metavar="D",
        help=f"precision of the weights: {', '.join(DTYPES)}",
    ),
    Option(
        name="kv_dtype",
        kind="text",
        default="auto",
        metavar="D",
        help=f"precision of the KV cache: {', '.join(KV_DTYPES)}; auto is the model's",
    ),
    Option(
        name="quantization",
        kind="text",
        metavar="Q",
        help="what the runtime makes of full weights: fp8, bitsandbytes, gguf:Q4_K_M",
    ),
    Option(
        name="max_model_len",
        kind="count",
        metavar="N",
        help="tokens of prompt and reply together; left out, the model's own limit",
    ),
    Option(
        name="max_model_concurrency",
        kind="count",
        default=1,
        metavar="N",
        written="--concurrency",
        help="requests of that length at once",
    ),
    Option(
        name="runtime",
        kind="text",
        default=DEFAULT_RUNTIME,
        metavar="R",
        help=f"vllm, sglang, llama.cpp or lmlite; the default is {DEFAULT_RUNTIME}",
    ),
    Option(
        name="runtime_version",
        kind="text",
        metavar="V",
        help="its version, where its overheads are known",
    ),
    REVISION_OPTION,
)
GPU_OPTION = Option(
    name="gpu",
    kind="text",
    metavar="NAME",
    help="such a device, e.g. L40S, 'H100 SXM', 'A100 80GB'",
)
CONSTRAINT_OPTIONS = (
    Option(
        name="max_usd_per_hour",
        kind="number",
        metavar="X",
        help="the most that all of it may cost in an hour",
    ),
    Option(name="regions", kind="names", metavar="a,b", help="only these; eu-* is every eu-…"),
    Option(name="providers", kind="names", metavar="a,b", help="only these"),
    Option(
        name="min_availability",
        kind="text",
        choices=LEVELS,
        metavar="LEVEL",
        help=f"at least that much stock: {', '.join(LEVELS)}; none shows what is sold out, too",
    ),
    Option(
        name="interruptible",
        kind="switch",
        help="only what may be taken away at any time, or (--no-…) never that",
    ),
    Option(name="single_device", kind="flag", default=False, help="only offerings of one device"),
    Option(
        name="enterprise",
        kind="flag",
        default=False,
        help="only certified data centres of the provider's own",
    ),
)
OFFERINGS_OPTIONS = (
    GPU_OPTION,
    *CONSTRAINT_OPTIONS,
    Option(
        name="models",
        kind="texts",
        written="--for",
        metavar="ID",
        help="rank what holds this model, or these together; the options of plan say how",
    ),
    Option(
        name="objective",
        kind="text",
        default=OBJECTIVES[0],
        choices=OBJECTIVES,
        metavar="O",
        help=f"what is best: {', '.join(OBJECTIVES)}",
    ),
    Option(
        name="only_launchable",
        kind="flag",
        default=False,
        help="leave out what is known by its price only, and cannot be started from here",
    ),
    Option(
        name="timeout_s",
        kind="number",
        default=DEFAULT_TIMEOUT_S,
        metavar="S",
        help=f"wait that long for the sources; the default is {DEFAULT_TIMEOUT_S:g}",
    ),
)
DEPLOY_OPTIONS = (
    Option(
        name="runtime",
        kind="text",
        default="lmlite",
        metavar="R",
        help="what serves it: lmlite, vllm, tensorrt, custom; the default is lmlite",
    ),
    Option(
        name="provider",
        kind="text",
        default="local",
        metavar="P",
        help="where: local, docker, runpod; `any` takes the best offering of all",
    ),
    Option(name="runtime_version", kind="text", metavar="V", help="instead of the one tried here"),
    GPU_OPTION,
    Option(name="gpu_count", kind="count", metavar="N", help="that many of them in a node"),
    PLAN_OPTIONS[0],
    PLAN_OPTIONS[1],
    Option(
        name="replicas",
        kind="text",
        default="1",
        metavar="N|N-N",
        help="nodes that serve the same, or the least and the most of them",
    ),
    Option(name="image", kind="text", metavar="NAME", help="instead of the runtime's own image"),
    Option(
        name="command",
        kind="text",
        metavar="'PROGRAM …'",
        help="what is started in the image, with {port} and {model}; custom needs it",
    ),
    Option(
        name="max_usd",
        kind="number",
        metavar="X",
        help="the most that it may spend, instead of CONDUIT_MAX_USD_PER_DEPLOYMENT",
    ),
    Option(
        name="hours",
        kind="number",
        metavar="H",
        help="its lease: after that it ends itself, unless it is extended",
    ),
    Option(name="name", kind="text", metavar="NAME", help="how it is to be called"),
    REVISION_OPTION,
    Option(name="dtype", kind="text", default="auto", metavar="D", help="precision of the weights"),
    Option(name="quantization", kind="text", metavar="Q", help="int8, in LmLite"),
    Option(
        name="max_model_len",
        kind="count",
        metavar="N",
        help="tokens of prompt and reply together; left out, the model's own limit",
    ),
    Option(
        name="max_model_concurrency",
        kind="count",
        metavar="N",
        written="--concurrency",
        help="requests of that length at once",
    ),
    *CONSTRAINT_OPTIONS,
    Option(
        name="dry_run",
        kind="flag",
        default=False,
        help="say what would start, what it costs and what may be spent, and stop there",
    ),
)
# What is said of the answer, not of the question.
WHY_OPTION = Option(
    name="why", kind="flag", default=False, help="show what is left out as well, and why"
)
LIMIT_OPTION = Option(
    name="limit",
    kind="count",
    default=DEFAULT_LIMIT,
    metavar="N",
    help=f"rows that are shown (not with --json); the default is {DEFAULT_LIMIT}",
)
JSON_OPTION = Option(
    name="as_json",
    kind="flag",
    default=False,
    written="--json",
    help="one JSON document, and nothing else",
)


def option_lines(options: tuple[Option, ...]) -> str:
    """Return the options as lines of a help text."""
    shown = [(_usage(option), option.help) for option in options]
    width = max(len(usage) for usage, _ in shown)
    return "\n".join(
        textwrap.fill(
            text,
            HELP_COLUMNS,
            initial_indent=f"  {usage:<{width}}  ",
            subsequent_indent=" " * (width + 4),
        )
        for usage, text in shown
    )


def _usage(option: Option) -> str:
    if option.kind == "switch":
        return f"{option.flag}, --no-…"
    return f"{option.flag} {option.metavar}" if option.metavar else option.flag
