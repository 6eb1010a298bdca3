"""What 8-bit weights (`quantization="int8"`) bring and cost, against the same model in float32.

    python benchmarks/quantization.py [--model ID] [--threads N] [--runs N]

Prints ratios of interleaved runs in one process: speed of writing at 1, 8 and 32 rows and of
reading a prompt, memory of the model, perplexity of the texts in notebooks/data/reviews*.csv (each
by itself, without a prompt), and how many of their labels answers hit that are asked for as the
quickstart asks. The last starts a server with folders of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import csv
import math
import os
import statistics
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch

import conduit_nb
from conduit_nb import LMLiteBlock, LmLiteModelConfig
from conduit_nb.compute.host_memory import own_memory_bytes
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.convert import converted
from conduit_nb.lmlite.devices import release_unused
from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.model_loader import default_threads, load_model
from conduit_nb.lmlite.request import GenerationRequest
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.models.config import WeightQuantization
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model
from harness.results import append, spread

DATA = Path(__file__).parents[1] / "notebooks" / "data"
FILES = ("reviews.csv", "reviews_dev.csv")
ROWS = (1, 8, 32)
WRITTEN_TOKENS = 48
READ_TOKENS = 1024
MIB = 2**20
KINDS: tuple[WeightQuantization | None, ...] = (None, "int8")


@dataclass
class Review:
    review: str


@dataclass
class Verdict:
    """Find out whether the customer is satisfied."""

    sentiment: Literal["good", "bad"]


def labelled() -> list[tuple[str, str]]:
    """Return the texts with their labels."""
    found: list[tuple[str, str]] = []
    for name in FILES:
        with (DATA / name).open(newline="") as lines:
            found += [(row["review"], row["label"]) for row in csv.DictReader(lines)]
    return found


def perplexity(folder: Path, config: EngineConfig) -> float:
    """Return e to the mean loss of a token, given those before it in its text."""
    loaded = load_model(folder, config)
    model: Any = loaded.model
    losses: list[torch.Tensor] = []
    with torch.inference_mode():
        for text, _ in labelled():
            ids = torch.tensor([loaded.tokenizer.encode(text)])
            logits = model(input_ids=ids).logits[0, :-1]
            losses.append(torch.nn.functional.cross_entropy(logits, ids[0, 1:], reduction="none"))
    return math.exp(torch.cat(losses).mean().item())


async def write(engine: Engine, rows: int) -> float:
    """Return how many tokens a second `rows` requests are written with, prompts included."""
    prompts = [
        engine.encode_chat([{"role": "user", "content": f"Tell me {row} things about the sea."}])
        for row in range(rows)
    ]
    return await _rate(engine, prompts, WRITTEN_TOKENS, lambda written: written)


async def read(engine: Engine, run: int) -> float:
    """Return how many tokens of a new prompt are read in a second."""
    prompt = [1000 + (7 * index + run) % 20_000 for index in range(READ_TOKENS)]
    return await _rate(engine, [prompt], 1, lambda _: READ_TOKENS)


async def _rate(engine: Engine, prompts: Sequence[list[int]], tokens: int, counted: Any) -> float:
    async def one(prompt: list[int]) -> int:
        asked = GenerationRequest(
            prompt_tokens=tuple(prompt), max_tokens=tokens, sampling=SamplingParams(temperature=0)
        )
        return sum([delta.tokens async for delta in engine.generate(asked)])

    began = time.perf_counter()
    written = sum(await asyncio.gather(*map(one, prompts)))
    return counted(written) / (time.perf_counter() - began)


def hits(model_id: str, quantization: WeightQuantization | None) -> float:
    """Return the share of labels that answers hit."""
    config = LmLiteModelConfig(model_id, quantization=quantization)
    rows = labelled()
    answers = LMLiteBlock([config]).batch([Review(text) for text, _ in rows], output=Verdict)
    right = sum(
        isinstance(answer, Verdict) and answer.sentiment == label
        for answer, (_, label) in zip(answers, rows, strict=True)
    )
    return right / len(rows)


def main() -> None:
    """Measure, print and keep."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=EMBEDDED_MODEL_ID)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--runs", type=int, default=3)
    chosen = parser.parse_args()
    folder = converted(find_model(chosen.model))

    def report(workload: str, ratios: Sequence[float], what: str, **more: float) -> None:
        found = spread(ratios)
        shown = ", ".join(f"{name} {value:.4g}" for name, value in more.items())
        print(f"{workload:28} {found['ratio_median']:6.2f} x float32 {what}  ({shown})", flush=True)
        append(
            "quantization",
            workload=workload,
            peer="float32",
            model=chosen.model,
            n=len(ratios),
            **found,
            **more,
            threads=chosen.threads,
        )

    engines: list[Engine] = []
    takes: list[int] = []
    for kind in KINDS:
        before = own_memory_bytes()
        config = EngineConfig(device="cpu", threads=chosen.threads, quantization=kind)
        engines.append(Engine.load(folder, config))
        release_unused(["cpu"])
        takes.append(own_memory_bytes() - before)
    report("memory of the model", [takes[1] / takes[0]], "bytes", mib=takes[1] / MIB)
    for rows in ROWS:
        rates = [[asyncio.run(write(one, rows)) for one in engines] for _ in range(chosen.runs)]
        ratios = [eight / whole for whole, eight in rates[1:] or rates]
        best = statistics.median(eight for _, eight in rates)
        report(f"writing, {rows} rows", ratios, "tokens/s", tokens_per_s=best)
    rates = [[asyncio.run(read(one, run)) for one in engines] for run in range(chosen.runs)]
    best = statistics.median(eight for _, eight in rates)
    report(
        f"reading {READ_TOKENS} tokens",
        [eight / whole for whole, eight in rates],
        "tokens/s",
        tokens_per_s=best,
    )
    for engine in engines:
        engine.close()
    whole, eight = (
        perplexity(folder, EngineConfig(device="cpu", threads=chosen.threads, quantization=kind))
        for kind in KINDS
    )
    report("perplexity", [eight / whole], "perplexity", float32=whole, int8=eight)
    with tempfile.TemporaryDirectory() as own:
        os.environ.update(CONDUIT_STATE_DIR=own, CONDUIT_DATA_DIR=own)
        try:
            whole, eight = (hits(chosen.model, kind) for kind in KINDS)
        finally:
            conduit_nb.stop()
    report("labels hit", [eight / whole], "hits", float32=whole, int8=eight)


if __name__ == "__main__":
    main()
