"""Whether a plan fits a device, why it does not, and what would.

Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Literal

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import GIB, ComputeDtype, Plan, PlannedModel
from conduit_nb.errors import DoesNotFitError

Code = Literal["memory", "dtype", "compute_capability", "cuda", "driver"]

LEAST_TOKENS = 64
"""A shorter context is of no use to anyone."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Device:
    """What a device offers; None is not known, and excludes nothing."""

    memory_bytes: int
    dtypes: frozenset[ComputeDtype] | None = None
    compute_capability: tuple[int, int] | None = None
    cuda: tuple[int, int] | None = None
    driver: tuple[int, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Misfit:
    """One reason why a plan does not fit a device."""

    code: Code
    text: str


def misfits(plan: Plan, device: Device) -> tuple[Misfit, ...]:
    """Return every reason why `device` cannot be one of the plan's; none where it can."""
    return tuple(_misfits(plan, device))


def check_fit(plan: Plan, device: Device) -> None:
    """Raise DoesNotFitError, with the numbers and what would fit, unless `device` can be one."""
    found = misfits(plan, device)
    if not found:
        return
    memory = device.memory_bytes
    length = largest_model_len(plan, memory)
    rows = largest_concurrency(plan, memory)
    raise DoesNotFitError(
        " ".join(reason.text for reason in found),
        needed_gib=plan.largest_device_bytes / GIB,
        available_gib=memory / GIB,
        largest_model_len=length,
        largest_concurrency=rows,
        hint=_hint(plan, found, length, rows),
    )


def largest_model_len(plan: Plan, memory_bytes: int) -> int | None:
    """Return the longest `max_model_len` of all models that fits, None where none does.

    Of several models each keeps its own length where that is shorter.
    """
    lengths = [model.max_model_len for model in plan.models]

    def shortened(model: PlannedModel, length: int, own: int) -> PlannedModel:
        return replace(model, max_model_len=min(length, own))

    return _largest(plan, memory_bytes, max(lengths), shortened, least=LEAST_TOKENS)


def largest_concurrency(plan: Plan, memory_bytes: int) -> int | None:
    """Return the highest `max_model_concurrency` of all models that fits, None where none does."""
    rows = [model.max_model_concurrency for model in plan.models]

    def narrowed(model: PlannedModel, number: int, _own: int) -> PlannedModel:
        return replace(model, max_model_concurrency=min(number, model.max_model_concurrency))

    return _largest(plan, memory_bytes, max(rows), narrowed, least=1)


def _misfits(plan: Plan, device: Device) -> Iterator[Misfit]:
    needed = plan.largest_device_bytes
    if needed > device.memory_bytes:
        yield Misfit(
            code="memory",
            text=f"The plan needs {needed / GIB:.2f} GiB on a device; "
            f"this one has {device.memory_bytes / GIB:.2f} GiB.",
        )
    required = plan.required
    if device.dtypes is not None and (lacking := required.dtypes - device.dtypes):
        yield Misfit(code="dtype", text=f"It does not multiply {', '.join(sorted(lacking))}.")
    versions: tuple[tuple[Code, str, tuple[int, ...] | None, tuple[int, ...] | None], ...] = (
        (
            "compute_capability",
            "compute capability",
            required.compute_capability,
            device.compute_capability,
        ),
        ("cuda", "CUDA", required.cuda, device.cuda),
        ("driver", "driver", required.driver, device.driver),
    )
    for code, name, wanted, has in versions:
        if wanted is not None and has is not None and has < wanted:
            yield Misfit(
                code=code,
                text=f"Its {name} is {_version(has)}; {_version(wanted)} is the least.",
            )


def _largest(
    plan_: Plan,
    memory_bytes: int,
    asked: int,
    changed: Callable[[PlannedModel, int, int], PlannedModel],
    *,
    least: int,
) -> int | None:
    """Return the largest number up to `asked` for which the changed plan fits: it is monotone."""
    request = plan_.request
    if request is None:
        return None

    def fits(number: int) -> bool:
        models = tuple(
            changed(model, number, made.max_model_len)
            for model, made in zip(request.models, plan_.models, strict=True)
        )
        again = plan(
            models,
            runtime=request.runtime,
            runtime_version=request.runtime_version,
            tensor_parallel=request.tensor_parallel,
            pipeline_parallel=request.pipeline_parallel,
        )
        return again.largest_device_bytes <= memory_bytes

    low, high = min(least, asked), asked
    if not fits(low):
        return None
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if fits(middle) else (low, middle - 1)
    return low


def _hint(plan: Plan, found: tuple[Misfit, ...], length: int | None, rows: int | None) -> str:
    if not any(reason.code == "memory" for reason in found):
        return "Choose another device, or another dtype or quantization."
    knobs: list[str] = []
    if length is not None:
        knobs.append(f"set max_model_len to {length:,} or less")
    if rows is not None:
        knobs.append(f"set max_concurrency to {rows} or less")
    if not knobs:
        knobs.append("take a smaller dtype or a quantization")
    if plan.runtime != "lmlite":
        knobs.append("raise tensor_parallel or pipeline_parallel")
    text = ", ".join(knobs)
    return f"{text[0].upper()}{text[1:]}, or choose a device with more memory."


def _version(parts: tuple[int, ...]) -> str:
    return ".".join(map(str, parts))
