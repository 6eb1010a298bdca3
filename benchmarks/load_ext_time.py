"""What `%load_ext conduit_nb` adds to a fresh IPython, beside other extensions.

Always beside `autoreload`, IPython's own; beside others where an environment has them:

    python benchmarks/load_ext_time.py --peer sql=venv-of-jupysql/bin/python

Prints the fastest of some rounds, taken in turn, and the ratio to `%load_ext autoreload`.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys

ROUNDS = 10
OWN = ("autoreload", "conduit_nb")
CODE = """
import time
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
began = time.perf_counter()
shell.run_line_magic("load_ext", {extension!r})
print()
print(time.perf_counter() - began)
"""


def load_s(extension: str, python: str) -> float:
    """Return the seconds that loading the extension takes in a fresh IPython."""
    command = [python, "-c", CODE.format(extension=extension)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return float(done.stdout.splitlines()[-1])


def main() -> None:
    """Measure in turn, so that a slow moment of the machine is everybody's."""
    parser = argparse.ArgumentParser(description="Time %load_ext.")
    parser.add_argument("--peer", action="append", default=[], metavar="EXTENSION=PYTHON")
    peers = dict(peer.split("=", 1) for peer in parser.parse_args().peer)
    pythons = {**dict.fromkeys(OWN, sys.executable), **peers}
    taken: dict[str, list[float]] = {extension: [] for extension in pythons}
    for _ in range(ROUNDS):
        for extension, python in pythons.items():
            taken[extension].append(load_s(extension, python))
    base_s = min(taken[OWN[0]])
    for extension, seconds in taken.items():
        told = {
            "benchmark": "load_ext",
            "extension": extension,
            "ms": round(min(seconds) * 1000, 1),
            "times_autoreload": round(min(seconds) / base_s, 2),
        }
        print(json.dumps(told))


if __name__ == "__main__":
    main()
