"""The server's memory over thousands of rows through one client: at the end against early on.

    python benchmarks/long_run_memory.py [--full] [--rows N]

10,000 classify rows with `--full` (half an hour on two cores), else 800; the server's memory at
the last row against that at row 1,000 or 400. Before that the cache of beginnings fills: it takes
memory up to its limit. Every reply is checked.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time

from conduit_nb.lmlite.model_loader import default_threads
from harness.peers import start_lmlite
from harness.results import append, memory_gib
from harness.workloads import CLASSIFY

WINDOW = 64
EARLIEST = 400


async def measure(rows: int, threads: int) -> None:
    """Keep a window of rows in flight, and look at the memory now and then."""
    server = start_lmlite(threads=threads, rows=32)
    measured: dict[int, float] = {}
    early = max(rows // 10, min(EARLIEST, rows // 2))
    marks = {early, *(max(rows * tenth // 10, 1) for tenth in range(1, 11))}
    questions = CLASSIFY.questions(rows)
    waiting = iter(questions)
    done = 0
    began = time.perf_counter()

    async def work() -> None:
        nonlocal done
        for question in waiting:
            reply = await server.one(question)
            question.check(reply.text)
            done += 1
            if done in marks:
                measured[done] = memory_gib(server.process)
                rate = done / (time.perf_counter() - began)
                print(f"row {done:6}  {measured[done]:.3f} GiB  {rate:.1f} rows/s", flush=True)

    try:
        await server.first_token(questions[0])
        async with asyncio.TaskGroup() as group:
            for _ in range(WINDOW):
                group.create_task(work())
        await server.endpoint.aclose()
        ratio = measured[rows] / measured[early]
        print(f"memory at row {rows} is {ratio:.3f} x that at row {early}")
        append(
            "long_run_memory",
            workload="memory over classify rows",
            peer=f"itself at row {early}",
            n=rows,
            ratio_min=round(ratio, 3),
            ratio_median=round(ratio, 3),
            ratio_max=round(ratio, 3),
            memory_gib={str(row): round(gib, 3) for row, gib in sorted(measured.items())},
            threads=threads,
        )
    finally:
        server.close()


def main() -> None:
    """Print the memory at each tenth and the ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    full = bool(os.environ.get("CONDUIT_BENCH_FULL"))
    parser.add_argument("--full", action="store_true", default=full)
    parser.add_argument("--rows", type=int)
    parser.add_argument("--threads", type=int, default=default_threads())
    args = parser.parse_args()
    asyncio.run(measure(args.rows or (10_000 if args.full else 800), args.threads))


if __name__ == "__main__":
    main()
