"""What LmLite takes in memory, against what the planner says of it.

Starts `python -m conduit_nb.lmlite` on the CPU for each setting, fills the context of as many
requests as the setting has, and compares the resident memory of the process with the plan of the
same setting. Also prints the terms of the overhead table (compute/overheads.py) as measured here:
the process before any model, what a model adds beside its weights, and the peak of the work.

    python benchmarks/lmlite_memory.py [--model FOLDER_OR_ID] [--second FOLDER]
"""

from __future__ import annotations

import argparse
import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import httpx2
import psutil

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import PlannedModel
from conduit_nb.lmlite.convert import converted
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model
from conduit_nb.models.weights import read_model

MIB = 2**20
KEY = "benchmark-key"
SETTINGS = ((1, 512), (8, 512), (4, 2048), (16, 1024))
REPLY_TOKENS = 8
MODEL_WORD = " word"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Resident memory in bytes: before a model, with it, after the requests, and at its highest."""

    base: int
    loaded: int
    worked: int
    highest: int
    tokens: int


class Server:
    """A server process of one setting; `with` ends it."""

    def __init__(self, concurrency: int) -> None:
        self._process = subprocess.Popen(
            [
                *(sys.executable, "-m", "conduit_nb.lmlite", "--port", "0", "--device", "cpu"),
                *("--max-concurrency", str(concurrency)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env={**os.environ, "CONDUIT_API_KEY": KEY, "PYTHONUNBUFFERED": "1"},
        )
        assert self._process.stdout is not None
        found = None
        for line in self._process.stdout:
            found = re.search(r" started url=(\S+)", line)
            if found:
                break
        assert found, "the server did not start"
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        self.client = httpx2.Client(
            base_url=found[1], headers={"Authorization": f"Bearer {KEY}"}, timeout=1200
        )

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self.client.close()
        self._process.kill()
        self._process.wait()

    def resident(self) -> int:
        """Return the resident memory of the process, in bytes."""
        return int(psutil.Process(self._process.pid).memory_info().rss)

    def highest(self) -> int:
        """Return the most that was ever resident, in bytes (Linux)."""
        status = Path(f"/proc/{self._process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s+(\d+) kB", status)
        assert found
        return int(found[1]) * 1024

    def chat(self, model: str, words: int, number: int) -> int:
        """Send a prompt of about `words` tokens; return the tokens of prompt and reply."""
        text = f"{number}{MODEL_WORD * words}"
        answer = self.client.post(
            "/v1/chat/completions",
            json={
                "model": model,
                "messages": [{"role": "user", "content": text}],
                "max_tokens": REPLY_TOKENS,
            },
        )
        answer.raise_for_status()
        return int(answer.json()["usage"]["total_tokens"])


def measure(models: list[str], concurrency: int, tokens: int) -> Measured:
    """Fill `concurrency` contexts of `tokens` in each of `models`, one model after the other."""
    with Server(concurrency) as server:
        base = server.resident()
        for model in models:
            server.chat(model, 1, 0)
        loaded = server.resident()
        used = 0
        for model in models:
            bare = server.chat(model, 0, 1)
            per_word = (server.chat(model, 20, 1) - bare) / 20
            words = int((tokens - bare) / per_word)
            with ThreadPoolExecutor(concurrency) as threads:
                said = list(
                    threads.map(
                        lambda number, model=model, words=words: server.chat(model, words, number),
                        range(concurrency),
                    )
                )
            used = max(used, *said)
        return Measured(
            base=base,
            loaded=loaded,
            worked=server.resident(),
            highest=server.highest(),
            tokens=used,
        )


def main() -> None:
    """Measure every setting with one model, then one with two, and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default=EMBEDDED_MODEL_ID)
    parser.add_argument("--second", type=Path, help="a second model's folder, loaded beside it")
    arguments = parser.parse_args()
    folder = converted(find_model(arguments.model))
    print("rows x tokens  models  base  +load  +work  highest  planned  planned/resident (MiB)")
    runs = [([arguments.model], *setting) for setting in SETTINGS]
    if arguments.second:
        runs.append(([arguments.model, str(arguments.second)], 4, 512))
    for models, concurrency, tokens in runs:
        measured = measure(models, concurrency, tokens)
        folders = [folder, *([arguments.second] if len(models) > 1 else [])]
        planned = plan(
            [
                PlannedModel(
                    model_id=str(path),
                    spec=spec,
                    weights=weights,
                    max_model_len=measured.tokens,
                    max_model_concurrency=concurrency,
                )
                for path in folders
                for spec, weights in [read_model(path)]
            ]
        )
        (device,) = planned.devices
        terms = ", ".join(
            f"{name} {size / MIB:.0f}"
            for name, size in (
                ("weights", device.weights_bytes),
                ("kv", device.kv_bytes),
                ("activations", device.activation_bytes),
                ("overhead", device.overhead_bytes),
            )
        )
        print(
            f"{concurrency:>4} x {measured.tokens:<6} {len(models):>6} "
            f"{measured.base / MIB:6.0f} {(measured.loaded - measured.base) / MIB:6.0f} "
            f"{(measured.worked - measured.loaded) / MIB:6.0f} {measured.highest / MIB:8.0f} "
            f"{device.total_bytes / MIB:8.0f} {device.total_bytes / measured.worked:8.3f}"
            f"   ({terms})",
            flush=True,
        )


if __name__ == "__main__":
    main()
