"""What it costs to choose among 100,000 offerings, against pandas filtering and sorting them.

Prints, for three questions, the ratio of the median times, taken in turn: our ranking with a
check of each offering against a plan, the counts of all reasons and the best offering explained,
against a filter and a sort of a DataFrame that is already there. "table" has its offerings grouped
before, as the DataFrame has its columns; "list" starts from a plain list, and so does pandas with
"list" (a DataFrame of the same columns is made first). Writes one JSON line to results/.
"""

from __future__ import annotations

import json
import random
import statistics
import time
from collections.abc import Callable
from datetime import UTC, datetime
from operator import attrgetter
from pathlib import Path

import pandas as pd

from conduit_nb.compute.accelerators import ACCELERATORS
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.offerings import ComputeOffering, OfferingTable
from conduit_nb.compute.selection import rank_offerings
from conduit_nb.compute.vram import GIB, DevicePlan, ModelPlan, Plan, Requirements

OFFERINGS = 100_000
ROUNDS = 15
PROVIDERS = ("runpod", "aws", "gcp", "azure", "lambda", "modal", "vastai", "nebius", "oci")
REGIONS = tuple(f"region-{number}" for number in range(40))
STOCK = ("none", "low", "medium", "high", "unknown")
COLUMNS = (
    "provider",
    "id",
    "region",
    "accelerator",
    "count",
    "memory_gib",
    "usd_per_hour",
    "availability",
    "interruptible",
)
RESULTS = Path(__file__).parent / "results" / "selection.jsonl"
NARROW = DeploymentConstraint(
    providers=PROVIDERS[:6],
    regions=REGIONS[:30],
    min_availability="low",
    interruptible=False,
    max_usd_per_hour=30,
)


def made_up_offerings() -> list[ComputeOffering]:
    """Return offerings of every NVIDIA and AMD accelerator, without rhyme or reason."""
    draw = random.Random(20261122)
    accelerators = [one for one in ACCELERATORS if one.vendor != "Apple"]
    offerings: list[ComputeOffering] = []
    for number in range(OFFERINGS):
        accelerator = draw.choice(accelerators)
        offerings.append(
            ComputeOffering(
                provider=draw.choice(PROVIDERS),
                id=f"offering-{number}",
                region=draw.choice(REGIONS),
                accelerator=accelerator.name,
                memory_gib=accelerator.usable_gib,
                count=draw.choice((1, 2, 4, 8)),
                usd_per_hour=round(draw.uniform(0.1, 40), 4),
                availability=draw.choice(STOCK),
                interruptible=draw.random() < 0.5,
            )
        )
    return offerings


def plan_of(device_gib: float, tensor_parallel: int) -> Plan:
    """Return a plan that needs so much of each device."""
    device_bytes = int(device_gib * GIB)
    weights_bytes = device_bytes // 2
    devices = tuple(
        DevicePlan(
            stage=0,
            rank=rank,
            weights_bytes=weights_bytes,
            kv_bytes_per_token=131072 // tensor_parallel,
            kv_bytes=device_bytes // 4,
            activation_bytes=device_bytes // 8,
            overhead_bytes=device_bytes // 8,
        )
        for rank in range(tensor_parallel)
    )
    model = ModelPlan(
        model_id="made up",
        weights_bytes=weights_bytes * tensor_parallel,
        kv_bytes_per_token=131072,
        kv_bytes=device_bytes // 4 * tensor_parallel,
        active_weight_bytes_per_token=weights_bytes * tensor_parallel,
        flops_per_token=weights_bytes * tensor_parallel,
        max_model_len=8192,
        max_model_concurrency=16,
    )
    return Plan(
        runtime="vllm",
        runtime_version="0.19",
        models=(model,),
        tensor_parallel=tensor_parallel,
        pipeline_parallel=1,
        replicas=1,
        devices=devices,
        required=Requirements(dtypes=frozenset({"fp16"})),
    )


def ours(
    offerings: list[ComputeOffering] | OfferingTable,
    plan: Plan,
    constraint: DeploymentConstraint | None,
) -> int:
    """Filter, check, rank and explain; return how many fit."""
    selection = rank_offerings(plan, offerings, constraint=constraint)
    assert str(selection.explain(selection.best))
    selection.reason_counts()
    return len(selection.ranked)


def pandas_frame(offerings: list[ComputeOffering]) -> pd.DataFrame:
    """Return the same data in columns."""
    return pd.DataFrame({name: list(map(attrgetter(name), offerings)) for name in COLUMNS})


def pandas_answer(frame: pd.DataFrame, plan: Plan, constraint: DeploymentConstraint | None) -> int:
    """Filter and sort; return how many fit. No roofline, no reasons."""
    needed_gib = plan.largest_device_bytes / GIB
    mask = (frame["memory_gib"] >= needed_gib) & (frame["count"] >= plan.tensor_parallel)
    if constraint is None:
        mask &= frame["availability"] != "none"
    else:
        mask &= (
            frame["provider"].isin(constraint.providers or ())
            & frame["region"].isin(constraint.regions or ())
            & frame["availability"].isin(("low", "medium", "high"))
            & ~frame["interruptible"]
            & (frame["usd_per_hour"] <= (constraint.max_usd_per_hour or 0))
        )
    chosen = frame[mask]
    chosen = chosen.assign(
        usd_per_gib=chosen["usd_per_hour"] / (chosen["count"] * chosen["memory_gib"])
    )
    return len(chosen.sort_values(["usd_per_gib", "usd_per_hour", "provider", "id"]))


def in_turn(calls: dict[str, Callable[[], int]]) -> tuple[dict[str, float], int]:
    """Return the median seconds of each call, and what all of them answer."""
    taken: dict[str, list[float]] = {name: [] for name in calls}
    answers: set[int] = set()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            started = time.perf_counter()
            answers.add(call())
            taken[name].append(time.perf_counter() - started)
    assert len(answers) == 1, f"ours and pandas do not agree: {answers}"
    return {name: statistics.median(seconds) for name, seconds in taken.items()}, answers.pop()


def main() -> None:
    """Ask three questions of both."""
    offerings = made_up_offerings()
    table, frame = OfferingTable(offerings), pandas_frame(offerings)
    questions: dict[str, tuple[Plan, DeploymentConstraint | None]] = {
        "narrow constraint": (plan_of(30, 2), NARROW),
        "by memory only": (plan_of(30, 1), None),
        "nearly all fit": (plan_of(1, 1), None),
    }
    results: dict[str, object] = {"at": datetime.now(UTC).isoformat(timespec="seconds")}
    for name, (plan, constraint) in questions.items():
        calls: dict[str, Callable[[], int]] = {
            "pandas": lambda plan=plan, limit=constraint: pandas_answer(frame, plan, limit),
            "table": lambda plan=plan, limit=constraint: ours(table, plan, limit),
            "pandas from list": lambda plan=plan, limit=constraint: pandas_answer(
                pandas_frame(offerings), plan, limit
            ),
            "list": lambda plan=plan, limit=constraint: ours(offerings, plan, limit),
        }
        median_s, fit = in_turn(calls)
        ratios = {
            "table": median_s["table"] / median_s["pandas"],
            "list": median_s["list"] / median_s["pandas from list"],
            "list against a frame that is there": median_s["list"] / median_s["pandas"],
        }
        print(f"{name} ({fit:,} of {OFFERINGS:,} fit)")
        for what, seconds in median_s.items():
            print(f"  {what:<17} {seconds * 1000:7.1f} ms")
        for what, ratio in ratios.items():
            print(f"  ratio, {what}: {ratio:.2f}")
        results[name] = {"fit": fit, "ms": {k: round(v * 1e3, 1) for k, v in median_s.items()}}
        results[name] |= {"ratio": {k: round(v, 2) for k, v in ratios.items()}}
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("a") as file:
        file.write(json.dumps(results) + "\n")


if __name__ == "__main__":
    main()
