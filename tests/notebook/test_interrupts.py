"""notebook/interrupts.py: what is short comes to its end, and no press of the button is lost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from conduit_nb.errors import Interrupted
from conduit_nb.notebook.interrupts import interrupted_after, uninterrupted
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

pytestmark = pytest.mark.usefixtures("interruptible")

# A cell twice in a fresh process; the button is pressed once, when MODULE is about to be loaded.
FIRST_WORD = """
import json, os, signal, sys
from IPython.core.interactiveshell import InteractiveShell

module, cell = sys.argv[1:]

class Button:
    def find_spec(self, name, path=None, target=None):
        if name == module:
            sys.meta_path.remove(self)
            os.kill(os.getpid(), signal.SIGINT)

shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "conduit_nb")
sys.meta_path.insert(0, Button())
errors = [shell.run_cell(cell).error_in_exec for _ in range(2)]
told = [error and [type(error).__name__, str(error)] for error in errors]
print()
print(json.dumps([*told, len(shell.user_ns.get("out", ()))]))
"""


def test_one_interrupt_does_not_break_off_what_is_short():
    done: list[str] = []

    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        done.append("it came to its end")

    assert done
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


def test_a_second_interrupt_goes_through():
    with uninterrupted():
        os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)


def test_in_another_thread_nothing_is_kept_off():
    before = signal.getsignal(signal.SIGINT)
    seen: list[object] = []

    def work() -> None:
        with uninterrupted():
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()

    assert seen == [before]


def test_an_interrupt_is_raised_when_what_is_short_has_ended():
    done: list[str] = []

    def work() -> None:
        with interrupted_after():
            os.kill(os.getpid(), signal.SIGINT)
            done.append("it came to its end")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done
    with interrupted_after():
        pass


def test_a_second_interrupt_is_raised_at_once():
    done: list[str] = []

    def work() -> None:
        with interrupted_after():
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            done.append("never")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert not done


@pytest.mark.parametrize(
    ("module", "cell", "rows"),
    [
        # numpy cannot be loaded any more once its import was broken off
        ("numpy.linalg", "%%conduit map ['good', 'bad'] -o out --endpoint {url}\n{verdict}", 2),
        ("conduit_nb.notebook.control", "%conduit ps", 0),
    ],
    ids=["cell", "line"],
)
def test_an_interrupt_while_the_first_word_is_loaded_leaves_a_kernel_that_works(
    module: str, cell: str, rows: int, server: OpenAIServer
):
    verdict = "class Verdict:\n    mood: Literal['good', 'bad']\n"
    text = cell.format(url=server.url, verdict=verdict)
    done = subprocess.run(
        [sys.executable, "-c", FIRST_WORD, module, text],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr
    first, second, out_rows = json.loads(done.stdout.splitlines()[-1])
    word = " ".join(cell.split()[:2])
    assert first[0] == "Interrupted"
    assert first[1].startswith(f"{word} ")
    assert (second, out_rows) == (None, rows), done.stdout
    assert "Traceback" not in done.stdout + done.stderr


def test_an_interrupt_within_the_word_of_a_line_is_interrupted(cells: Cells):
    def press(frame: Any, event: str, argument: Any) -> None:  # a profiler's
        if event == "call" and frame.f_code.co_name == "show_help":
            sys.setprofile(None)
            os.kill(os.getpid(), signal.SIGINT)

    sys.setprofile(press)
    try:
        error = cells.fail("%conduit help", Interrupted)
    finally:
        sys.setprofile(None)

    assert "%conduit help" in str(error)
    assert error.hint
    cells.run("%conduit help")
