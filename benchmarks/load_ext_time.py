"""What `%load_ext conduit_nb` adds to a fresh IPython, beside an extension of IPython's own.

Prints the fastest of some rounds, taken in turn, and the ratio to `%load_ext autoreload`.
"""

from __future__ import annotations

import subprocess
import sys

ROUNDS = 10
EXTENSIONS = ("autoreload", "conduit_nb")
CODE = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", {extension!r})
print(time.perf_counter() - began)
"""


def load_s(extension: str) -> float:
    """Return the seconds that loading the extension takes in a fresh IPython."""
    command = [sys.executable, "-c", CODE.format(extension=extension)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure in turn, so that a slow moment of the machine is everybody's."""
    taken: dict[str, list[float]] = {extension: [] for extension in EXTENSIONS}
    for _ in range(ROUNDS):
        for extension in EXTENSIONS:
            taken[extension].append(load_s(extension))
    base_s = min(taken[EXTENSIONS[0]])
    for extension, seconds in taken.items():
        best_s = min(seconds)
        print(f"{extension:<12} {best_s * 1000:7.1f} ms   {best_s / base_s:5.2f} x autoreload")


if __name__ == "__main__":
    main()
