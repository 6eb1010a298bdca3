"""Kernel restarts and stop buttons at random moments of maps and deploys, with real kernels.

Nothing hangs, nothing is lost, and what the screen says is so. `make soak` runs 50 restarts and 20
interrupts, and writes that into benchmarks/results; the moments come from a seed that a failure
prints.
"""

from __future__ import annotations

import json
import os
import random
import re
import signal
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.manager import KernelManager
from jupyter_core.utils import ensure_event_loop

from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from tests.notebook.echo_session import echo_session
from tests.notebook.openai_server import OpenAIServer
from tests.waiting import until_true

pytestmark = pytest.mark.system

IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
RESTARTS, INTERRUPTS = (50, 20) if IS_SOAK else (3, 3)
SEED = int(os.environ.get("CONDUIT_SEED", "0")) or random.randrange(1, 10**6)
LONGEST_CELL_S = 60.0
ROWS = 300  # as in SETUP
ROOT = Path(__file__).parents[2]

SETUP = """
from conduit_nb import session as home
from conduit_nb.providers.local import LocalProvider
from tests.fake_lmlite import FakeRuntime

provider = LocalProvider(grace_s=1)
made = home.Session(
    make_runtime=lambda name: FakeRuntime(name=name),
    make_provider=lambda _: provider,
    provider_names=lambda: ["local"],
    hung_after_s=1.0,
)
home._made = lambda: made
rows = [{"text": f"good {n}"} for n in range(300)]
"""
DEPLOY = "%conduit deploy m/one --runtime custom --image x --name mine"
SHOW = "[(one.name, one.status) for one in __import__('conduit_nb').ps()]"
VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"
RUNNING = "[('mine', 'running')]"


class Notebook:
    """A kernel that is restarted and interrupted; `text` is what the last cell printed."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._manager = KernelManager(kernel_name="python3")
        self._manager.start_kernel(env=environment, cwd=str(ROOT))
        self._client: BlockingKernelClient = self._manager.client()
        self._begin()

    def run(self, cell: str) -> dict[str, Any]:
        """Run a cell to its end, which must come."""
        self.text = ""

        def keep(message: dict[str, Any]) -> None:
            content = message["content"]
            self.text += content.get("text", "")
            self.text += content.get("data", {}).get("text/plain", "")
            self.text += "\n".join(content.get("traceback", []))

        return self._client.execute_interactive(
            cell, timeout=LONGEST_CELL_S, output_hook=keep, allow_stdin=False
        )["content"]

    def must(self, cell: str) -> str:
        """Run a cell that must succeed, and return what it showed."""
        reply = self.run(cell)
        assert reply["status"] == "ok", f"seed {SEED}: {reply}\n{self.text}"
        return self.text

    def begin(self, cell: str) -> None:
        """Begin a cell and do not wait."""
        self._client.execute(cell)

    def restart(self) -> str:
        """Kill the kernel wherever it is, start it anew, and return what `%load_ext` says."""
        self._client.stop_channels()
        self._manager.restart_kernel(now=True)
        self._client = self._manager.client()
        return self._begin()

    def interrupt(self) -> None:
        """Press the stop button."""
        pid = self._manager.provisioner.pid  # type: ignore[union-attr]  # a local kernel has one
        os.kill(pid, signal.SIGINT)

    def close(self) -> None:
        self._client.stop_channels()
        self._manager.shutdown_kernel(now=True)
        self._manager.context.destroy()
        ensure_event_loop().close()

    def _begin(self) -> str:
        self._client.start_channels()
        self._client.wait_for_ready(timeout=LONGEST_CELL_S)
        while True:
            try:
                self._client.get_iopub_msg(timeout=0.05)
            except Empty:
                break
        said = self.must("%load_ext conduit_nb")
        self.must(SETUP)
        return said


@pytest.fixture
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


@pytest.fixture
def notebook(session: Session) -> Iterator[Notebook]:  # its folders are in the environment
    notebook = Notebook({**os.environ, "PYTHONPATH": str(ROOT)})
    yield notebook
    notebook.close()


def nodes(session: Session) -> list[str]:
    """Return what the provider has."""
    found = session.wait(LocalProvider(grace_s=1).list_nodes())
    return [node.name for node in found if node.status not in ("gone", "stopped")]


def test_a_kernel_may_be_restarted_at_any_moment(
    session: Session, notebook: Notebook, server: OpenAIServer
):
    moments = random.Random(SEED)
    maps = f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}"
    for round_ in range(RESTARTS):
        notebook.begin(moments.choice([DEPLOY, DEPLOY, maps]))
        threading.Event().wait(moments.uniform(0.0, 1.5))

        said = notebook.restart()

        where = f"seed {SEED}, round {round_}"
        if not nodes(session):
            assert "$0.00/h" in said or "Re-attached" not in said, where
        notebook.must(DEPLOY)
        assert notebook.must(SHOW) == RUNNING, where
        assert len(nodes(session)) == 1, where
        assert notebook.restart().count("Re-attached: 1 deployment") == 1, where
        if moments.random() < 0.5:
            notebook.must("%conduit terminate all")
            assert notebook.must(SHOW) == "[]", where
            until_true(lambda: not nodes(session))
            assert "Re-attached" not in notebook.restart(), where
    report("kernel restarted at a random moment", RESTARTS)


def test_the_stop_button_may_be_pressed_at_any_moment(
    session: Session, notebook: Notebook, server: OpenAIServer
):
    moments = random.Random(SEED)
    maps = f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}"
    notebook.must("import pandas, conduit_nb.state.store")
    for round_ in range(INTERRUPTS):
        is_map = moments.random() < 0.5
        finger = threading.Timer(moments.uniform(0.01, 0.8), notebook.interrupt)
        notebook.must("out = None")
        began = time.monotonic()
        finger.start()
        reply = notebook.run(maps if is_map else DEPLOY)
        shown, took_s = notebook.text, time.monotonic() - began
        finger.join()

        where = f"seed {SEED}, round {round_}: {reply['status']} {shown}"
        assert took_s < LONGEST_CELL_S, where
        assert reply["status"] == "ok" or reply["ename"] in ("Interrupted", "KeyboardInterrupt")
        notebook.run("None")  # where it came after the cell's end, it is this one's
        if is_map:
            check_rows(notebook, shown, where)
        else:
            check_deployment(session, notebook, shown, where)
    report("stop button pressed at a random moment", INTERRUPTS)


def report(workload: str, times: int) -> None:
    """Keep what a long run has found: nothing that was lost or hung."""
    if not IS_SOAK:
        return
    told = {"workload": workload, "times": times, "lost": 0, "seed": SEED}
    told["date"] = datetime.now(UTC).date().isoformat()
    with (ROOT / "benchmarks/results/restarts.jsonl").open("a") as file:
        file.write(json.dumps(told) + "\n")


def check_rows(notebook: Notebook, shown: str, where: str) -> None:
    """See that a stopped map has kept what it said, and a whole one everything."""
    stopped = re.search(rf"Interrupted: \D*([0-9]+)\D+{ROWS}\b", shown)
    if stopped is None and "out is bound" not in shown:
        return
    answered = notebook.must("out['mood'].notna().sum(), len(out)")
    done = int(stopped.group(1)) if stopped else ROWS
    assert answered.replace("np.int64(", "").replace("),", ",") == f"({done}, {ROWS})", where


def check_deployment(session: Session, notebook: Notebook, shown: str, where: str) -> None:
    """See that a stopped deploy has left nothing, and that `ps` and the provider agree."""
    listed = notebook.must(SHOW)
    stopped = shown.partition("Interrupted: ")[2]
    if stopped and "%conduit" not in stopped:  # else it names the word that was stopped or helps
        assert listed == "[]", where
    assert listed in ("[]", RUNNING), where
    assert (len(nodes(session)) == 1) == (listed == RUNNING), where
    notebook.must("%conduit terminate all")
