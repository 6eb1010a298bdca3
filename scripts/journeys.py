"""Count how much of Conduit three journeys of a user enter: `make journeys`.

map     `%%conduit map` over some rows, on the embedded model; one map was done before
deploy  `%conduit deploy`, the first of the kernel, on a local Runpod, until it is ready
click   "Stop" in the panel of `%conduit panel`, until the provider was called and it is shown

A real kernel does the work, with every module imported before; this program is its browser, and
the Runpod. Only the kernel is counted, and of it the functions of `conduit_nb/` that the cell or
the click causes, in all threads (see call_recorder.py); model servers are processes of their own.

A thread hop is a hand-over of this work to another thread: to an executor's (and back), to another
thread's event loop, to a new thread; and back to a thread that has waited for a result. Beside it
stands, as a check, how often the thread changes from one entered function to the next: two threads
that go on at once make it a little more.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from environment import ROOT
from jupyter_client.manager import KernelManager

from conduit_nb.testing.pod_processes import PodProcesses
from conduit_nb.testing.runpod_server import RunpodServer, runpod_server

TIMEOUT_S = 180
FIGURES = ("files", "functions", "calls", "hops", "thread_changes", "other_calls")
NOT_IN_A_NOTEBOOK = ("conduit_nb.lmlite", "conduit_nb.testing")
FIRST_CELL = f"""\
import sys
sys.path.insert(0, {str(ROOT / "scripts")!r})
from pathlib import Path
from call_recorder import Recorder
recorder = Recorder(Path({str(ROOT / "conduit_nb")!r}), leave_out=["testing"])
recorder.install()
recorder.listen(get_ipython().kernel.shell_handlers)
"""
IMPORT_ALL = f"""\
import importlib, pkgutil, conduit_nb, pandas
for module in pkgutil.walk_packages(conduit_nb.__path__, "conduit_nb."):
    if not module.name.startswith({NOT_IN_A_NOTEBOOK}) and not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""
ROWS = (
    "rows = pandas.DataFrame({'review': ['Very good!', 'Bad.', 'I like it.', 'Never again.'] * 2})"
)
MAP = """\
%%conduit map rows -o verdicts
class Verdict:
    '''Find out whether the customer is satisfied.'''

    sentiment: Literal["good", "bad"]
"""
DEPLOY = (
    "%conduit deploy HuggingFaceTB/SmolLM2-135M-Instruct --provider runpod --gpu L40S"
    " --max-model-len 2048 --max-usd 2 --hours 1 --name reader"
)
Message = dict[str, Any]


class Notebook:
    """A kernel, and the browser before it."""

    def __init__(self, manager: KernelManager, folder: Path) -> None:
        self._recorded = folder / "recorded.json"
        self._client = manager.client()
        self._client.start_channels()
        self._client.wait_for_ready(timeout=TIMEOUT_S)

    def run(self, cell: str) -> list[Message]:
        """Run a cell that must succeed, and return what the kernel has sent meanwhile."""
        sent: list[Message] = []
        reply = self._client.execute_interactive(cell, timeout=TIMEOUT_S, output_hook=sent.append)
        content = reply["content"]
        if content["status"] != "ok":
            raise RuntimeError(f"{cell}\n{content.get('ename')}: {content.get('evalue')}")
        return sent

    def recorded(self, act: Callable[[], object]) -> Message:
        """Do something that sends the kernel one message, and return what that has caused."""
        self.run("recorder.follow()")
        act()
        self.run(f"recorder.write({str(self._recorded)!r})")
        return json.loads(self._recorded.read_text("utf-8"))

    def say(self, widget: str, content: Message) -> None:
        """Send a widget what its JavaScript would."""
        data = {"method": "custom", "content": content}
        message = self._client.session.msg("comm_msg", {"comm_id": widget, "data": data})
        self._client.shell_channel.send(message)

    def hear(self, widget: str, when: Callable[[Message], bool]) -> Message:
        """Wait until a widget tells its views something for which `when` is true; return that."""
        while True:
            message = self._client.get_iopub_msg(timeout=TIMEOUT_S)["content"]
            told = message.get("data", {}).get("content")
            if message.get("comm_id") == widget and told and when(told):
                return told

    def close(self) -> None:
        """Leave the kernel."""
        self._client.stop_channels()


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print a report in Markdown."""
    parser = argparse.ArgumentParser(description="Count what three journeys enter of Conduit.")
    parser.add_argument("--title", default="as it is", help="what the report is headed with")
    parser.add_argument("--files", action="store_true", help="list the files that are entered")
    parser.add_argument("--json", type=Path, metavar="PATH", help="write all of it there")
    given = parser.parse_args(arguments)
    report = {**_context(), "title": given.title, "journeys": measure()}
    if given.json:
        given.json.write_text(json.dumps(report, indent=1) + "\n", "utf-8")
    print(as_markdown(report, with_files=given.files))


def measure() -> dict[str, Message]:
    """Return what each journey has entered."""
    with (
        tempfile.TemporaryDirectory(prefix="conduit-journeys-") as folder,
        runpod_server(start_container=PodProcesses()) as cloud,
        _notebook(Path(folder), cloud) as notebook,
    ):
        notebook.run(MAP)
        mapped = notebook.recorded(lambda: notebook.run(MAP))
        deployed = notebook.recorded(lambda: notebook.run(DEPLOY))
        return {"map": mapped, "deploy": deployed, "click": _click(notebook, cloud)}


def _click(notebook: Notebook, cloud: RunpodServer) -> Message:
    opened = [
        one["content"] for one in notebook.run("%conduit panel") if "comm_id" in one["content"]
    ]
    panel = next(one["comm_id"] for one in opened if "_esm" in one["data"].get("state", {}))
    notebook.say(panel, {"kind": "here"})
    shown = notebook.hear(panel, lambda told: bool(_reader(told)))
    act = {"kind": "act", "key": _reader(shown)["key"]}
    lease = _reader(shown)["lease_until"]
    notebook.say(panel, {**act, "verb": "extend"})  # the first click, which is not counted
    notebook.hear(panel, lambda told: _reader(told).get("lease_until", lease) != lease)
    before = len(cloud.exchanges)

    def stop() -> None:
        notebook.say(panel, {**act, "verb": "stop"})
        notebook.hear(panel, lambda told: _reader(told).get("status") == "stopped")

    clicked = notebook.recorded(stop)
    asked = [f"{one.method} {one.path}" for one in cloud.exchanges[before:]]
    if not any(one.startswith("POST") for one in asked):
        raise RuntimeError(f"The provider was not told to stop anything, only {asked}.")
    return clicked


def _reader(told: Message) -> Message:
    """Return the deployment in an overview; nothing where the message is another."""
    of_name = (one for one in told.get("deployments", []) if one["name"] == "reader")
    return next(of_name, {})


@contextmanager
def _notebook(folder: Path, cloud: RunpodServer) -> Iterator[Notebook]:
    """Yield a notebook with all modules imported; what it has started ends with it."""
    manager = KernelManager(kernel_name="python3")
    environment = {
        **os.environ,
        **cloud.environment,
        "CONDUIT_LMLITE_IMAGE": "conduit/lmlite:local",
        "CONDUIT_STATE_DIR": str(folder / "state"),
        "CONDUIT_DATA_DIR": str(folder / "data"),
        "CONDUIT_GPUHUNT_URL": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "1",
    }
    manager.start_kernel(env=environment, cwd=ROOT, extra_arguments=["--log-level=ERROR"])
    notebook = Notebook(manager, folder)
    try:
        for cell in (FIRST_CELL, "%load_ext conduit_nb", IMPORT_ALL, ROWS):
            notebook.run(cell)
        yield notebook
    finally:
        for cell in ("%conduit terminate all", "%conduit stop"):
            with suppress(RuntimeError):  # as far as it came; what failed before is told
                notebook.run(cell)
        notebook.close()
        manager.shutdown_kernel(now=True)


def as_markdown(report: Message, *, with_files: bool) -> str:
    """Return a section with a table of figures, the click's way, and the files if wanted."""
    journeys: dict[str, Message] = report["journeys"]
    rows = [
        [name, *(len(one[key]) if key == "files" else one[key] for key in FIGURES)]
        for name, one in journeys.items()
    ]
    click = journeys["click"]
    handed = ", ".join(f"{kind}: {times}" for kind, times in click["handed_over"].items())
    parts = [
        f"## {report['date']}: {report['title']}",
        f"Commit {report['commit']}, Python {report['python']}.",
        _table(["journey", *(key.replace("_", " ") for key in FIGURES)], rows),
        f"The hops of the click: {handed}. Its way through the threads:",
        "\n".join(["```", *(f"{thread:<11} {name}" for thread, name in click["path"]), "```"]),
    ]
    if imported := {name for one in journeys.values() for name in one["imported"]}:
        parts.insert(3, f"Imported meanwhile: {', '.join(sorted(imported))}.")
    if with_files:
        files = sorted({file for one in journeys.values() for file in one["files"]})
        listed = [
            [file, *(one["files"].get(file, "") for one in journeys.values())] for file in files
        ]
        parts += ["Functions entered in each file:", _table(["file", *journeys], listed)]
    return "\n\n".join(parts) + "\n"


def _table(head: list[str], rows: list[list[Any]]) -> str:
    lines = [head, ["---", *("---:" for _ in head[1:])], *rows]
    return "\n".join(f"| {' | '.join(map(str, line))} |" for line in lines)


def _context() -> Message:
    words = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    described = subprocess.run(words, cwd=ROOT, capture_output=True, text=True)
    return {
        "date": datetime.now(UTC).date().isoformat(),
        "commit": described.stdout.strip() or "unknown",
        "python": platform.python_version(),
    }


if __name__ == "__main__":
    sys.exit(main())
