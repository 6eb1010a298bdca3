"""Several clients of one shared server at the same moment, each a process of its own.

What a client loads takes longer than what it does, so one process loads it, and forks the clients
of each line that it is sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

from conduit_nb.deployments.context import Context
from conduit_nb.deployments.shared import SharedServer
from conduit_nb.errors import ConduitError
from conduit_nb.events import Event, Events
from conduit_nb.protocol import ChatRequest
from conduit_nb.providers.local import LocalProvider
from conduit_nb.state.installation import Installation
from tests.fake_lmlite import FakeRuntime

ROOT = Path(__file__).resolve().parent.parent.parent
WITHIN_S = 60
HUNG_AFTER_S = 2.0
HELLO: ChatRequest = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}


@dataclass(frozen=True, kw_only=True)
class Client:
    """One client: the secret of its installation, how its server is started, and its own end.

    With `dies` it is killed as soon as it has launched a server.
    """

    secret: str = "s" * 32
    flags: tuple[str, ...] = ()
    dies: bool = False


@dataclass(frozen=True, kw_only=True)
class Result:
    """What a client has come to: where it was connected and what it was answered, or an error."""

    code: int
    url: str = ""
    answer: str = ""
    error: str = ""
    told: list[str] = field(default_factory=list[str])


@contextmanager
def started(state_dir: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the process that forks clients of this state folder."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.deployments.shared_clients"],
        cwd=ROOT,
        env={**os.environ, "CONDUIT_STATE_DIR": str(state_dir)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()  # it ends with its input


def connect(process: subprocess.Popen[str], clients: Sequence[Client]) -> list[Result]:
    """Let these clients connect, all at the same moment, and return what they came to."""
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{json.dumps([asdict(client) for client in clients])}\n")
    process.stdin.flush()
    return [Result(**one) for one in json.loads(process.stdout.readline())]


def shared_server(client: Client, *listeners: Callable[[Event], None]) -> SharedServer:
    """Return the shared server as a client has it."""
    events = Events()
    for listener in listeners:
        events.subscribe(listener)
    provider = LocalProvider(grace_s=1)
    context = Context(
        provider=lambda _: provider,
        provider_names=lambda: ["local"],
        runtime=lambda _: FakeRuntime(tuple(client.flags)),
        events=events,
        installation=Installation(id="tests", secret=client.secret.encode()),
    )
    return SharedServer(context, hung_after_s=HUNG_AFTER_S)


async def _be_client(client: Client) -> dict[str, Any]:
    told: list[str] = []

    def note(event: Event) -> None:
        told.append(getattr(event, "text", ""))
        if client.dies and told[-1].startswith("Starting"):
            os.kill(os.getpid(), signal.SIGKILL)

    shared = shared_server(client, note)
    try:
        endpoint = await shared.connect()
        answer = (await endpoint.chat(HELLO))["choices"][0]["message"]["content"]
        await endpoint.aclose()
    except ConduitError as err:
        return {"error": f"{type(err).__name__}: {err}", "told": told}
    return {"url": endpoint.url, "answer": answer, "told": told}


def _fork(client: Client, go: int, begin: int, result: IO[str]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        signal.alarm(WITHIN_S)
        os.close(begin)
        os.read(go, 1)  # until all are there, and nobody has its other end any more
        json.dump(asyncio.run(_be_client(client)), result)
        result.flush()
        os._exit(0)
    except BaseException:  # noqa: BLE001  # whatever it is, its end tells of it
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(1)


def _answer(clients: Sequence[Client]) -> list[dict[str, Any]]:
    go, begin = os.pipe()
    with ExitStack() as stack:
        results = [stack.enter_context(tempfile.TemporaryFile("w+")) for _ in clients]
        pids = [
            _fork(client, go, begin, result)
            for client, result in zip(clients, results, strict=True)
        ]
        os.close(begin)
        os.close(go)
        answers: list[dict[str, Any]] = []
        for pid, result in zip(pids, results, strict=True):
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            result.seek(0)
            answers.append({"code": code, **json.loads(result.read() or "{}")})
    return answers


def main() -> None:
    for line in sys.stdin:
        clients = [Client(**one) for one in json.loads(line)]
        print(json.dumps(_answer(clients)), flush=True)


if __name__ == "__main__":
    main()
