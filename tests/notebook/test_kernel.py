"""The magics in real kernels: interrupts, displays that move, and errors that fail a notebook."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nbformat
import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from conduit_nb.spelling import did_you_mean
from tests.notebook.openai_server import OpenAIServer

pytestmark = pytest.mark.system  # kernels

VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"


@dataclass
class Kernel:
    """A kernel of its own, and what the last cell sent."""

    client: BlockingKernelClient
    jupyter: Executor
    pid: int = 0
    messages: list[tuple[str, dict[str, Any]]] = field(default_factory=list)

    def run(self, cell: str) -> dict[str, Any]:
        """Run a cell and return the shell's reply."""
        self.messages = []

        def keep(message: dict[str, Any]) -> None:
            self.messages.append((message["msg_type"], message["content"]))

        running = self.jupyter.submit(
            self.client.execute_interactive, cell, timeout=60, output_hook=keep
        )
        return running.result()["content"]

    def interrupt(self) -> None:
        """Press the stop button."""
        os.kill(self.pid, signal.SIGINT)

    def value(self, expression: str) -> str:
        """Return the text of an expression."""
        reply = self.run(expression)
        assert reply["status"] == "ok", reply
        return self.contents("execute_result")[0]["data"]["text/plain"]

    def contents(self, kind: str) -> list[dict[str, Any]]:
        return [content for sent, content in self.messages if sent == kind]


@pytest.fixture(scope="module")
def jupyter() -> Iterator[Executor]:
    """The thread in which Jupyter's clients run: they leave an event loop behind."""
    with ThreadPoolExecutor(max_workers=1) as jupyter:
        yield jupyter
        jupyter.submit(lambda: ensure_event_loop().close()).result()


@pytest.fixture(scope="module")
def started(jupyter: Executor) -> Iterator[Kernel]:
    def start() -> tuple[KernelManager, BlockingKernelClient]:
        manager = KernelManager(kernel_name="python3")
        manager.start_kernel()
        client = manager.client()
        client.start_channels()
        client.wait_for_ready(timeout=60)
        return manager, client

    def end() -> None:
        client.stop_channels()
        manager.shutdown_kernel(now=True)
        manager.context.destroy()

    manager, client = jupyter.submit(start).result()
    kernel = Kernel(client, jupyter)
    kernel.pid = int(kernel.value("__import__('os').getpid()"))
    yield kernel
    jupyter.submit(end).result()


@pytest.fixture
def kernel(started: Kernel) -> Kernel:
    assert started.run("%reset -f")["status"] == "ok"
    assert started.run("%reload_ext conduit_nb")["status"] == "ok"
    return started


def test_the_stop_button_binds_what_is_finished_and_fails_the_cell_at_once(
    kernel: Kernel, server: OpenAIServer
):
    kernel.run("rows = [{'text': 'good'}, {'text': 'WAIT bad'}, {'text': 'WAIT bad'}]")
    pressed: list[float] = []

    def press() -> None:
        server.waiting.acquire(timeout=30)
        server.waiting.acquire(timeout=30)
        pressed.append(time.monotonic())
        kernel.interrupt()

    finger = threading.Thread(target=press)
    finger.start()
    reply = kernel.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")
    took_s = time.monotonic() - pressed[0]
    finger.join()

    assert (reply["status"], reply["ename"]) == ("error", "Interrupted")
    what, to_do = reply["traceback"]
    assert re.fullmatch(r"Interrupted: .*\d.*\d.*", what), "how many of how many rows"
    assert re.search(r"\bout\b.*'error'", to_do)
    assert took_s < 5, "the figure is 0.5 s on a machine that does nothing else"
    assert kernel.value("len(out), list(out['error_code'])[1:]") == (
        "(3, ['interrupted', 'interrupted'])"
    )


def test_the_kernel_works_on_after_an_interrupt(kernel: Kernel, server: OpenAIServer):
    kernel.run("rows = [{'text': 'WAIT bad'}]")
    finger = threading.Thread(
        target=lambda: (server.waiting.acquire(timeout=30), kernel.interrupt())
    )
    finger.start()
    kernel.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")
    finger.join()
    server.go_on.set()

    reply = kernel.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")

    assert reply["status"] == "ok"
    assert kernel.value("list(out['mood'])") == "['bad']"


def test_progress_is_one_display_that_is_replaced_in_place(kernel: Kernel, server: OpenAIServer):
    kernel.run("rows = [{'text': f'good {n}'} for n in range(5)] + [{'text': 'WAIT bad'}]")
    wait = threading.Thread(
        target=lambda: (
            server.waiting.acquire(timeout=30),
            server.go_on.wait(0.6),
            server.go_on.set(),
        )
    )
    wait.start()
    kernel.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")
    wait.join()

    [_, first] = kernel.contents("display_data")
    updates = kernel.contents("update_display_data")
    assert updates
    identities = {shown["transient"]["display_id"] for shown in [first, *updates]}
    assert len(identities) == 1
    assert "rows -> Verdict: 6 of 6 rows in" in updates[-1]["data"]["text/plain"]
    assert '<progress max="6" value="6"' in updates[-1]["data"]["text/html"]


def test_a_background_map_is_awaited_and_its_display_follows_it(
    kernel: Kernel, server: OpenAIServer
):
    kernel.run("rows = [{'text': 'WAIT bad'}]")
    kernel.run(f"%%conduit map rows -o out --background --endpoint {server.url}\n{VERDICT}")
    [_, shown] = kernel.contents("display_data")
    assert "0 of 1 row" in shown["data"]["text/plain"]
    server.go_on.set()

    assert kernel.value("list((await _)['mood'])") == "['bad']"

    last = kernel.contents("update_display_data")[-1]
    assert last["transient"] == shown["transient"]
    assert "out is bound" in last["data"]["text/plain"]


def test_what_goes_wrong_at_the_end_of_a_background_map_is_the_last_that_its_display_says(
    kernel: Kernel, server: OpenAIServer
):
    kernel.run("rows, thread = [{'text': 'WAIT 1'}], __import__('threading').current_thread")
    kernel.run(
        f"%%conduit map rows -o out --background --endpoint {server.url}\n"
        "class V:\n    n: int\n    def __getattribute__(self, name):\n"
        "        if name == 'n' and thread().name == 'conduit map':\n"  # where the frame is made
        "            raise ZeroDivisionError('1/0')\n"
        "        return object.__getattribute__(self, name)\n"
    )
    [_, shown] = kernel.contents("display_data")
    kernel.run("out_map = _")
    server.go_on.set()

    reply = kernel.run("out_map.result(20)")

    assert (reply["status"], reply["ename"]) == ("error", "RunError")
    last = kernel.contents("update_display_data")[-1]
    assert last["transient"] == shown["transient"]
    for kind in ("text/plain", "text/html"):
        assert re.search(r"\bout\b.*ZeroDivisionError: 1/0", last["data"][kind])


def test_an_error_of_a_magic_is_two_lines_in_the_notebook(kernel: Kernel):
    reply = kernel.run("%conduit pss")

    [error] = kernel.contents("error")
    what, to_do = error["traceback"]
    assert re.fullmatch("ArgumentError: .*%conduit pss.*", what)
    assert to_do == f"  {did_you_mean('ps')}"
    assert (reply["status"], reply["ename"]) == ("error", "ArgumentError")


WRONG_CELLS = [
    "%conduit pss",
    "%%conduit schema\nclass A:\n    x int",
    "%%conduit map nothing\nclass A:\n    x: int",
    "%%conduit schema",
]


def test_every_error_of_a_magic_fails_nbclient(jupyter: Executor):
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in ("%load_ext conduit_nb", *WRONG_CELLS)]
    )
    client = NotebookClient(notebook, timeout=60, kernel_name="python3")

    def execute() -> None:
        loads, *wrong = enumerate(notebook.cells)
        with client.setup_kernel():
            client.execute_cell(loads[1], loads[0])
            for number, cell in wrong:
                with pytest.raises(CellExecutionError, match=r"ArgumentError|SchemaError"):
                    client.execute_cell(cell, number)

    jupyter.submit(execute).result()


def test_an_unattended_notebook_says_that_a_map_in_the_background_is_not_waited_for(
    jupyter: Executor, server: OpenAIServer
):
    cell = f"%%conduit map ['{{}}'] -o {{}} --background --endpoint {server.url}\n{VERDICT}"
    texts = [
        "%load_ext conduit_nb",
        cell.format("good", "asked"),
        "asked_map = _",
        "asked_map.result(20)",
        cell.format("good", "awaited"),
        "awaited_map = _",
        "await awaited_map",
        cell.format("WAIT good", "left"),
    ]
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in texts])

    client = NotebookClient(notebook, timeout=60, kernel_name="python3")
    jupyter.submit(client.execute).result()

    for number, is_waited_for in ((1, True), (4, True), (7, False)):
        outputs = notebook.cells[number].outputs
        shown = [out.data["text/plain"] for out in outputs if "data" in out][-1]
        assert ("runs unattended" in shown) is not is_waited_for
        assert ("1 of 1 row" in shown) is is_waited_for


def test_every_error_of_a_magic_fails_nbval(tmp_path: Path):
    cells = ["%load_ext conduit_nb", *WRONG_CELLS]
    notebook = nbformat.v4.new_notebook(
        cells=[nbformat.v4.new_code_cell(text) for text in cells],
        metadata={"kernelspec": {"name": "python3", "display_name": "Python 3"}},
    )
    path = tmp_path / "wrong.ipynb"
    nbformat.write(notebook, path)

    command = [sys.executable, "-m", "pytest", "-q", "-p", "nbval.plugin", "--nbval-lax"]
    done = subprocess.run(
        [
            *(*command, "-p", "no:cacheprovider"),
            *("--rootdir", str(tmp_path), "-c", "/dev/null", str(path)),
        ],
        env={**os.environ, "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},  # nbval is named
        capture_output=True,
        text=True,
        timeout=120,
    )

    assert f"{len(WRONG_CELLS)} failed, 1 passed" in done.stdout, done.stdout
