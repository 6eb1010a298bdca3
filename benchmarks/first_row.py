"""The time from `%load_ext conduit_nb` to the first row of a map, in a fresh IPython.

The server runs already and has the embedded model loaded, so what is measured is our own: imports,
the cell, the schema, one short answer. Beside another checkout of Conduit, taken in turn:

    python benchmarks/first_row.py --peer before=/folder/of/an/earlier/checkout/.venv/bin/python

Prints the median of some rounds, the processor time of the notebook's process beside it, and the
ratio of each to the first.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys

ROUNDS = 11
CODE = """
import os, time
import pandas as pd
from IPython.core.interactiveshell import InteractiveShell
shell = InteractiveShell.instance()
shell.user_ns["reviews"] = pd.DataFrame({"text": ["It broke on day two."]})
began, cpu = time.perf_counter(), time.process_time()
shell.run_line_magic("load_ext", "conduit_nb")
loaded = time.perf_counter()
out = shell.run_cell_magic(
    "conduit", "map reviews -o verdicts --max-tokens 16",
    "class Verdict:\\n    '''How the reviewer feels.'''\\n    good: bool\\n",
)
assert list(out["error"].isna()) == [True], out["error"][0]
print()
print(time.perf_counter() - began, time.process_time() - cpu, loaded - began)
"""


def first_row_s(python: str) -> tuple[float, float, float]:
    """Return the seconds to the first row, those of processor time, and those of load_ext alone."""
    done = subprocess.run([python, "-c", CODE], capture_output=True, text=True, check=True)
    wall, cpu, load = map(float, done.stdout.splitlines()[-1].split())
    return wall, cpu, load


def main() -> None:
    """Measure in turn, so that a slow moment of the machine is everybody's."""
    parser = argparse.ArgumentParser(description="Time from %load_ext to the first row of a map.")
    parser.add_argument("--peer", action="append", default=[], metavar="NAME=PYTHON")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    asked = parser.parse_args()
    pythons = {
        "conduit": sys.executable,
        **dict(peer.split("=", 1) for peer in asked.peer),
    }
    taken: dict[str, list[tuple[float, float, float]]] = {name: [] for name in pythons}
    for python in pythons.values():
        first_row_s(python)  # starts the server, and has it load the model
    for _ in range(asked.rounds):
        for name, python in pythons.items():
            taken[name].append(first_row_s(python))
    base = [statistics.median(one) for one in zip(*taken[next(iter(taken))], strict=True)]
    for name, rounds in taken.items():
        wall, cpu, load = (statistics.median(one) for one in zip(*rounds, strict=True))
        print(
            json.dumps(
                {
                    "benchmark": "first_row",
                    "name": name,
                    "s": round(wall, 3),
                    "cpu_s": round(cpu, 3),
                    "load_ext_ms": round(load * 1000, 1),
                    "times": round(wall / base[0], 3),
                    "cpu_times": round(cpu / base[1], 3),
                }
            )
        )


if __name__ == "__main__":
    main()
