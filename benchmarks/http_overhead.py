"""What HTTP, the server and the client cost per request: a server against its engine in-process.

    python benchmarks/http_overhead.py [--rows N] [--rounds N]

Both answer the same classify rows, one right after the other, with one row at a time and with all
at once. Printed are milliseconds per request and the ratio of the times.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence

from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.model_loader import default_threads
from conduit_nb.lmlite.request import GenerationRequest
from harness.peers import model_folder, start_lmlite
from harness.results import append, spread
from harness.workloads import CLASSIFY, Question

Ask = Callable[[Sequence[Question]], Awaitable[object]]


def in_process(engine: Engine) -> Ask:
    """Return what asks an engine without a server."""

    async def one(question: Question) -> str:
        request = GenerationRequest(
            prompt_tokens=tuple(engine.encode_chat(list(question.messages))),
            max_tokens=question.max_tokens,
            json_schema=question.json_schema,
        )
        return "".join([delta.text async for delta in engine.generate(request)])

    async def ask(questions: Sequence[Question]) -> object:
        return await asyncio.gather(*(one(question) for question in questions))

    return ask


async def taken_s(ask: Ask, questions: Sequence[Question], *, at_once: bool) -> float:
    """Return the seconds per request."""
    began = time.perf_counter()
    if at_once:
        await ask(questions)
    else:
        for question in questions:
            await ask([question])
    return (time.perf_counter() - began) / len(questions)


async def measure(args: argparse.Namespace) -> None:
    """Take turns."""
    engine = Engine.load(model_folder(), EngineConfig(device="cpu", threads=args.threads))
    server = start_lmlite(threads=args.threads, rows=32)
    try:
        questions = CLASSIFY.questions(args.rows)
        await server.first_token(questions[0])
        asks = (in_process(engine), server.ask)
        for ask in asks:
            await ask(questions)
        for at_once in (False, True):
            times = [
                [await taken_s(ask, questions, at_once=at_once) for ask in asks]
                for _ in range(args.rounds)
            ]
            ratios = [served / alone for alone, served in times]
            added_ms = 1000 * statistics.median(served - alone for alone, served in times)
            how = "at once" if at_once else "one by one"
            print(
                f"{args.rows} rows {how:10}  {added_ms:6.2f} ms per request,"
                f" {statistics.median(ratios):.3f} x the engine alone",
                flush=True,
            )
            append(
                "http_overhead",
                workload=f"classify, {how}",
                peer="the engine in-process",
                n=args.rows,
                **spread(ratios),
                added_ms=round(added_ms, 2),
                threads=args.threads,
            )
    finally:
        server.close()
        engine.close()


def main() -> None:
    """Print a line for each way of asking."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=default_threads())
    asyncio.run(measure(parser.parse_args()))


if __name__ == "__main__":
    main()
