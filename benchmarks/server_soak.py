"""A soak of the model server: everything that clients do to it at once, for minutes.

Starts `python -m conduit_nb.lmlite` with a tiny random model (or `--model`), and sends a random
mixture of replies whole and streamed, records, completions of several prompts, garbage, wrong
keys, unknown models, prompts that are too long, deadlines, clients that vanish and clients that
read nothing. Prints resident memory, KV pages and answers as it goes; at the end the server must
be idle, alive, with the pages it keeps and no more, and stop by SIGTERM with code 0. Exits with 1
where it did not. Writes one line under `results/`.

    python benchmarks/server_soak.py [--minutes 3] [--clients 24] [--model FOLDER_OR_ID] [--seed 0]
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import psutil
from prometheus_client.parser import text_string_to_metric_families

from conduit_nb.lmlite.engine import PREFIX_CACHE_SHARE
from conduit_nb.testing.tiny_models import make_tiny_model
from harness.results import append

KEY = "benchmark-key"
CHAT, TEXT = "/v1/chat/completions", "/v1/completions"
WORDS = ("the", "quick", "brown", "fox", "jumps", "over", "the", "lazy", "dog", "is", "true")
RECORD: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["positive", "neutral", "negative"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "names": {"type": "array", "items": {"type": "string", "maxLength": 12}, "maxItems": 3},
    },
    "required": ["mood", "stars", "names"],
    "additionalProperties": False,
}
FORM = {"type": "json_schema", "json_schema": {"name": "it", "schema": RECORD}}
UNSERVED: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "it", "schema": {"not": {}}},
}
EVERY_S = 10.0


class Server:
    """The process, and what it tells of itself."""

    def __init__(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "conduit_nb.lmlite", "--port", "0", "--device", "cpu"],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "CONDUIT_API_KEY": KEY, "PYTHONUNBUFFERED": "1"},
        )
        self.tracebacks = 0
        self._url = ""
        self._started = threading.Event()
        threading.Thread(target=self._read, daemon=True).start()
        assert self._started.wait(120), "the server did not start"
        self.url = self._url

    def resident_mib(self) -> float:
        """Return the resident memory of the process."""
        return float(psutil.Process(self.process.pid).memory_info().rss) / 2**20

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.tracebacks += "Traceback" in line
            if found := re.search(r" started url=(\S+)", line):
                self._url = found[1]
                self._started.set()


class Soak:
    """Clients, and what they were told."""

    def __init__(self, url: str, model: str, seed: int) -> None:
        self.answers: Counter[str] = Counter()
        self.wrong: list[str] = []
        self._random = random.Random(seed)
        self._model = model
        self._address = urlsplit(url)
        self._client = httpx2.AsyncClient(
            base_url=url,
            headers={"Authorization": f"Bearer {KEY}"},
            timeout=120,
            limits=httpx2.Limits(max_connections=None),
        )
        self._deeds = (
            (6, self.reply),
            (6, self.record),
            (4, self.stream),
            (2, self.completions),
            (2, self.vanish),
            (1, self.read_nothing),
            (1, self.deadline),
            (2, self.refused),
        )

    async def run(self, until: float) -> None:
        """Do one thing after the other until it is time."""
        weights = [weight for weight, _ in self._deeds]
        while time.monotonic() < until:
            _, deed = self._random.choices(self._deeds, weights)[0]
            try:
                await deed()
            except httpx2.TransportError as err:
                self.wrong.append(f"{deed.__name__}: {type(err).__name__}")

    async def figures(self) -> dict[str, float]:
        """Return the server's own figures."""
        text = (await self._client.get("/metrics")).text
        figures: defaultdict[str, float] = defaultdict(float)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                figures[sample.name] += sample.value
        return dict(figures)

    async def close(self) -> None:
        """Let go of the connections."""
        await self._client.aclose()

    async def reply(self) -> None:
        self._note(await self._post(CHAT, self._chat()), {200, 429})

    async def record(self) -> None:
        response = await self._post(CHAT, self._chat(response_format=FORM, max_tokens=80))
        self._note(response, {200, 429})
        if response.status_code == 200:
            content = response.json()["choices"][0]["message"]["content"]
            if set(json.loads(content)) != set(RECORD["properties"]):
                self.wrong.append("a record does not fit")

    async def stream(self) -> None:
        response = await self._post(CHAT, self._chat(stream=True, n=self._random.randint(1, 3)))
        self._note(response, {200, 429})
        if response.status_code == 200 and not response.text.endswith("data: [DONE]\n\n"):
            self.wrong.append("a stream did not end")

    async def completions(self) -> None:
        prompts = [self._words(20) for _ in range(self._random.randint(1, 4))]
        body = {"model": self._model, "prompt": prompts, "max_tokens": 12, "logprobs": 2}
        self._note(await self._post(TEXT, body), {200, 429})

    async def deadline(self) -> None:
        body = self._chat(max_tokens=400, conduit={"deadline_s": 0.05})
        self._note(await self._post(CHAT, body), {200, 429, 504})

    async def vanish(self) -> None:
        request = self._raw(self._chat(max_tokens=300, stream=True))
        reader, writer = await asyncio.open_connection(self._address.hostname, self._address.port)
        writer.write(request[: self._random.choice([len(request), len(request) - 5])])
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(reader.read(200), self._random.random())
        writer.transport.abort()
        self.answers["left"] += 1

    async def read_nothing(self) -> None:
        _, writer = await asyncio.open_connection(
            self._address.hostname, self._address.port, limit=1024
        )
        writer.write(self._raw(self._chat(max_tokens=300, stream=True, logprobs=True)))
        await asyncio.sleep(2)
        writer.transport.abort()
        self.answers["read nothing"] += 1

    async def refused(self) -> None:
        kind = self._random.randrange(7)
        if kind == 0:
            self._note(await self._post(CHAT, content=self._random.randbytes(100)), {400})
        elif kind == 1:
            self._note(await self._post(CHAT, {**self._chat(), "model": "nobody/nothing"}), {404})
        elif kind == 2:
            self._note(await self._post(CHAT, self._chat(temperature="hot")), {400})
        elif kind == 3:
            self._note(await self._post(CHAT, self._chat(response_format=UNSERVED)), {400})
        elif kind == 4:
            self._note(await self._post(TEXT, content=b"x" * 5_000_000), {413})
        elif kind == 5:
            long = {"model": self._model, "prompt": self._words(20_000)}
            self._note(await self._post(TEXT, long), {400, 429})
        else:
            stranger = {"Authorization": "Bearer wrong"}
            self._note(await self._client.post(CHAT, json=self._chat(), headers=stranger), {401})

    async def _post(
        self, path: str, body: dict[str, Any] | None = None, content: bytes | None = None
    ) -> httpx2.Response:
        return await self._client.post(path, json=body, content=content)

    def _note(self, response: httpx2.Response, expected: set[int]) -> None:
        self.answers[str(response.status_code)] += 1
        if response.status_code not in expected:
            self.wrong.append(f"{response.status_code}: {response.text[:200]}")
        elif response.status_code != 200 and not response.json()["error"]["code"]:
            self.wrong.append(f"no code: {response.text[:200]}")

    def _chat(self, **fields: Any) -> dict[str, Any]:
        return {
            "model": self._model,
            "messages": [
                {"role": "system", "content": "Say what the text is about. " * 4},
                {"role": "user", "content": self._words(self._random.randint(1, 60))},
            ],
            "max_tokens": self._random.randint(1, 60),
            "temperature": self._random.choice([0.0, 1.0]),
            **fields,
        }

    def _words(self, count: int) -> str:
        return " ".join(self._random.choices(WORDS, k=count))

    def _raw(self, body: dict[str, Any]) -> bytes:
        content = json.dumps(body).encode()
        head = f"POST {CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {KEY}\r\n"
        return f"{head}Content-Length: {len(content)}\r\n\r\n".encode() + content


async def soak(server: Server, model: str, chosen: argparse.Namespace) -> list[str]:
    """Run the clients; print and write what they saw, and return what went wrong."""
    run = Soak(server.url, model, chosen.seed)
    await run.reply()  # loads the model
    begun = time.monotonic()
    until = begun + 60 * chosen.minutes
    clients = [asyncio.create_task(run.run(until)) for _ in range(chosen.clients)]
    memory: list[float] = []
    print(f"{'s':>5} {'MiB':>7} {'pages':>7} {'running':>7} {'waiting':>7}  answers")
    while not all(client.done() for client in clients):
        await asyncio.wait(clients, timeout=EVERY_S)
        figures = await run.figures()
        memory.append(server.resident_mib())
        print(
            f"{time.monotonic() - begun:5.0f} {memory[-1]:7.0f}"
            f" {figures['conduit_kv_pages_used']:7.0f}"
            f" {figures['conduit_requests_running']:7.0f}"
            f" {figures['conduit_requests_waiting']:7.0f}  {dict(sorted(run.answers.items()))}",
            flush=True,
        )
    await asyncio.gather(*clients)
    await asyncio.sleep(1)
    await run.reply()
    figures = await run.figures()
    await run.close()
    busy = figures["conduit_requests_running"] + figures["conduit_requests_waiting"]
    wrong = [*run.wrong]
    if busy:
        wrong.append(f"{busy:.0f} requests are stuck")
    if figures["conduit_kv_pages_used"] > figures["conduit_kv_pages"] / PREFIX_CACHE_SHARE:
        wrong.append("more pages are in use than an idle engine keeps")
    third = max(len(memory) // 3, 1)
    early, late = max(memory[:third]), max(memory[-third:])
    print(f"memory: {early:.0f} MiB in the first third, {late:.0f} in the last")
    append(
        "server_soak",
        minutes=chosen.minutes,
        clients=chosen.clients,
        model="tiny" if chosen.model is None else chosen.model,
        answers=dict(sorted(run.answers.items())),
        memory_mib=[round(figure) for figure in memory],
        memory_ratio=round(late / early, 3),
        pages=[int(figures["conduit_kv_pages_used"]), int(figures["conduit_kv_pages"])],
        written_tokens=int(figures["conduit_tokens_written_total"]),
        tracebacks=server.tracebacks,
        wrong=len(wrong),
    )
    return wrong


def main() -> int:
    """Run the soak; return 1 where something went wrong."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0] if __doc__ else None)
    parser.add_argument("--minutes", type=float, default=3.0)
    parser.add_argument("--clients", type=int, default=24)
    parser.add_argument("--model", help="a folder or an id; a tiny random model where left out")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        model = chosen.model or str(make_tiny_model(Path(folder), context_tokens=2048))
        server = Server()
        try:
            wrong = asyncio.run(soak(server, model, chosen))
            server.process.send_signal(signal.SIGTERM)
            code = server.process.wait(30)
        finally:
            server.process.kill()
            server.process.wait()
    if code:
        wrong.append(f"the server ended with {code}")
    if server.tracebacks:
        wrong.append(f"{server.tracebacks} tracebacks in the log")
    for line in wrong[:20]:
        print("WRONG", line)
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
