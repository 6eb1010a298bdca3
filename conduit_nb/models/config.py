"""What a user requests of a model: its id, limits, precision. Reads no files."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, get_args

from conduit_nb.errors import ArgumentError
from conduit_nb.options import option
from conduit_nb.spelling import nearest

DType = Literal["auto", "float32", "bfloat16", "float16"]
WeightQuantization = Literal["int8"]
DTYPES: tuple[DType, ...] = get_args(DType)
QUANTIZATIONS: tuple[WeightQuantization, ...] = get_args(WeightQuantization)


_WITH_REVISION = re.compile(r"([^@\s/]+(?:/[^@\s/]+)?)@(.*)", re.DOTALL)


def is_local(model_id: str) -> bool:
    """Return whether `model_id` is a path, not an id of the hub."""
    return model_id.startswith(("/", "./", "../", "~")) or model_id in (".", "..")


def split_revision(model_id: str, revision: str | None = None) -> tuple[str, str | None]:
    """Return the id and the revision of `owner/name@revision`; a path is an id as it stands.

    Raises ArgumentError where no revision follows the sign, or `revision` names another one.
    """
    written = None if is_local(model_id) else _WITH_REVISION.fullmatch(model_id.strip())
    if written is None:
        return model_id, revision
    found = written[2]
    if not found or re.search(r"\s", found):
        raise ArgumentError(
            f"{model_id!r} names no revision after the @.",
            param="model_id",
            hint="Write owner/name@revision with a branch, a tag or a whole commit.",
        )
    if revision not in (None, found):
        raise ArgumentError(
            f"{model_id!r} and revision={revision!r} name two revisions.",
            param="revision",
            hint="Give one of them.",
        )
    return written[1], found


def require_one_model(number: int, revision: object) -> None:
    """Raise ArgumentError where one revision is given for several models."""
    if revision is not None and number > 1:
        raise ArgumentError(
            f"revision={revision!r} applies to one model (got {number} models).",
            param="revision",
            hint="Write each with its own: owner/name@revision.",
        )


@dataclass(frozen=True, slots=True)
class LmLiteModelConfig:
    """One model, as a block wants it served.

    `max_model_len` bounds prompt plus reply in tokens (None: the model's own limit);
    `max_model_concurrency` bounds how many of the block's requests run at once;
    `model_batch_execute_timeout_ms` is how long a lone request may wait for company;
    `revision` names a commit, tag or branch on the hub; `model_id` may be written with it, as
    `owner/name@revision`. `quantization` "int8" holds the weights in
    a quarter of the memory, is faster on a CPU, and says nearly the same (docs/quantization.md).

    Raises ArgumentError where a value cannot be meant.
    """

    model_id: str
    max_model_len: int | None = option(
        None,
        "Longest prompt and reply together, in tokens (default: the model's limit).",
        kind="count",
        metavar="N",
        is_basic=True,
    )
    max_model_concurrency: int | None = option(
        None,
        "Requests of that length at once.",
        kind="count",
        name="max_concurrency",
        metavar="N",
        aliases=("concurrency", "max_model_concurrency"),
    )
    model_batch_execute_timeout_ms: int | None = None
    dtype: DType = option("auto", "Precision of the weights.", metavar="D", choices=DTYPES)
    revision: str | None = option(
        None, "Branch, tag or commit on the hub; or write owner/name@REVISION.", metavar="REVISION"
    )
    quantization: WeightQuantization | None = option(
        None,
        "Quantize the weights when they are loaded: int8, in LmLite.",
        metavar="Q",
        choices=QUANTIZATIONS,
    )

    def __post_init__(self) -> None:
        if not self.model_id or not self.model_id.strip():
            raise ArgumentError(
                "model_id is empty.", param="model_id", hint="Name a model or a folder."
            )
        model_id, revision = split_revision(self.model_id, self.revision)
        object.__setattr__(self, "model_id", model_id)
        object.__setattr__(self, "revision", revision)
        for name, minimum in (
            ("max_model_len", 1),
            ("max_model_concurrency", 1),
            ("model_batch_execute_timeout_ms", 0),
        ):
            value: object = getattr(self, name)
            if value is None:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < minimum:
                raise ArgumentError(
                    f"{name}={value!r} is not a whole number of at least {minimum}.",
                    param=name,
                    hint=f"Leave {name} out to get the default.",
                )
        if self.dtype not in DTYPES:
            raise ArgumentError(
                f"dtype={self.dtype!r} is not known.",
                param="dtype",
                hint=nearest(str(self.dtype), DTYPES, then=f"Use one of {', '.join(DTYPES)}."),
            )
        if self.quantization not in (None, *QUANTIZATIONS):
            raise ArgumentError(
                f"quantization={self.quantization!r} is not known.",
                param="quantization",
                hint=nearest(
                    str(self.quantization),
                    QUANTIZATIONS,
                    then="Use 'int8', or leave it out. Weights of a model stored in fewer bits"
                    " (GPTQ, AWQ) are another thing: name that model.",
                ),
            )

    @property
    def full_id(self) -> str:
        """Return `owner/name@revision` where there is a revision, else the id."""
        return f"{self.model_id}@{self.revision}" if self.revision else self.model_id
