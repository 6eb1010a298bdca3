"""What the guard costs per request: a server behind it against the same server without it.

    python benchmarks/guard_overhead.py [--requests N] [--rounds N]

The server answers at once, so that the guard's share is seen whole; a real model takes tens of
milliseconds and more. Both are asked in turn, by one client, with 1, 8 and 32 requests in flight;
short replies, and ones of 64 streamed events. Printed are milliseconds per request.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import httpx2

from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.providers.guarding import in_process
from harness.results import append, spread

KEY = "k" * 32
EVENTS = 64
IN_FLIGHT = (1, 8, 32)
SERVER = r"""
import asyncio, sys

BODY = b'{"choices": [{"message": {"role": "assistant", "content": "{\"mood\": \"good\"}"}}]}'
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
SHORT = HEAD + b"Content-Length: %d\r\n\r\n%s" % (len(BODY), BODY)
EVENT = b"data: " + BODY + b"\n\n"
CHUNK = b"%x\r\n%s\r\n" % (len(EVENT), EVENT)


async def serve(reader, writer):
    try:
        while head := await reader.readuntil(b"\r\n\r\n"):
            length = 0
            for line in head.lower().split(b"\r\n"):
                if line.startswith(b"content-length:"):
                    length = int(line[15:])
            body = await reader.readexactly(length)
            if b"stream" not in body:
                writer.write(SHORT)
            else:
                writer.write(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
                for _ in range(64):
                    writer.write(CHUNK)
                    await writer.drain()
                    await asyncio.sleep(0)
                writer.write(b"0\r\n\r\n")
            await writer.drain()
    except (asyncio.IncompleteReadError, ConnectionError):
        pass
    finally:
        writer.close()


async def main():
    server = await asyncio.start_server(serve, "127.0.0.1", int(sys.argv[1]))
    await server.serve_forever()


asyncio.run(main())
"""


@contextlib.contextmanager
def serving(*, guarded: bool) -> Iterator[str]:
    """Run the server, behind a guard or bare; yield its address."""
    port = free_port()
    now = datetime.now(UTC)
    hour = timedelta(hours=1)
    terms = GuardTerms(idle_s=3600, boot_until=now + hour, lease_until=now + hour)
    spec = LaunchSpec(
        name="bench",
        command=(sys.executable, "-c", SERVER, "{port}"),
        secrets=("CONDUIT_API_KEY",),
        guard=terms if guarded else None,
    )
    started = in_process(spec, host="127.0.0.1", port=port)
    environment = {**os.environ, **started.environment, "CONDUIT_API_KEY": KEY}
    with subprocess.Popen(
        started.command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


async def until_ready(client: httpx2.AsyncClient, url: str) -> None:
    """Wait until the server answers."""
    for _ in range(600):
        with contextlib.suppress(httpx2.HTTPError):
            if (await client.post(f"{url}/v1/chat/completions", json={})).status_code == 200:
                return
        await asyncio.sleep(0.05)
    sys.exit("the server did not answer within 30 s")


async def took_ms(
    client: httpx2.AsyncClient, url: str, requests: int, in_flight: int, *, streams: bool
) -> list[float]:
    """Return the milliseconds of each request, so many of them in flight."""
    taken: list[float] = []
    left = iter(range(requests))

    async def one_after_another() -> None:
        for _ in left:
            began = time.perf_counter()
            response = await client.post(
                f"{url}/v1/chat/completions",
                json={"stream": True} if streams else {"messages": "x" * 400},
            )
            assert response.status_code == 200, response.text
            if streams:
                assert response.text.count("data: ") == EVENTS
            taken.append(1000 * (time.perf_counter() - began))

    await asyncio.gather(*(one_after_another() for _ in range(in_flight)))
    return taken


async def measure(requests: int, rounds: int) -> None:
    """Take turns."""
    headers = {"Authorization": f"Bearer {KEY}"}
    with serving(guarded=False) as bare, serving(guarded=True) as guarded:
        async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as client:
            for url in (bare, guarded):
                await until_ready(client, url)
            for streams in (False, True):
                for in_flight in IN_FLIGHT:
                    count = requests // 4 if streams else requests
                    times = [
                        [
                            await took_ms(client, url, count, in_flight, streams=streams)
                            for url in (bare, guarded)
                        ]
                        for _ in range(rounds)
                    ]
                    tell(times, in_flight, count, streams=streams)


def tell(times: list[list[list[float]]], in_flight: int, requests: int, *, streams: bool) -> None:
    """Print and keep what the rounds came to: pairs of without and with a guard."""
    medians = [[statistics.median(one) for one in pair] for pair in times]
    late = [statistics.quantiles(pair[1], n=20)[-1] for pair in times]
    added_ms = statistics.median(guarded - bare for bare, guarded in medians) / in_flight
    ratios = [guarded / bare for bare, guarded in medians]
    kind = f"{EVENTS} streamed events" if streams else "short replies"
    print(
        f"{kind}, {in_flight:2} in flight: {added_ms:.2f} ms more per request,"
        f" {statistics.median(ratios):.2f} x a server that does nothing;"
        f" 95 % within {statistics.median(late):.1f} ms",
        flush=True,
    )
    append(
        "guard_overhead",
        workload=kind,
        in_flight=in_flight,
        requests=requests,
        added_ms=round(added_ms, 3),
        guarded_p95_ms=round(statistics.median(late), 2),
        **spread(ratios),
    )


def main() -> None:
    """Measure."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rounds", type=int, default=7)
    arguments = parser.parse_args()
    asyncio.run(measure(arguments.requests, arguments.rounds))


if __name__ == "__main__":
    main()
