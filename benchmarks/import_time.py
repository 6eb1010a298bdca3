"""What it costs to import Conduit, against a module of the standard library.

Prints the ratio of the fastest `python -c "import conduit_nb"` to the fastest
`python -c "import json"`, taken in turn, and the same for what a first cell loads.
"""

from __future__ import annotations

import subprocess
import sys
import time

ROUNDS = 30
FIRST_CELL = "import conduit_nb; conduit_nb.LMLiteBlock; conduit_nb.schema_of"


def wall_s(code: str) -> float:
    """Return the wall time of a fresh interpreter that runs `code`."""
    started = time.perf_counter()
    subprocess.run([sys.executable, "-c", code], check=True)
    return time.perf_counter() - started


def main() -> None:
    """Measure in turn, so that a slow moment of the machine is everybody's."""
    codes = {"json": "import json", "conduit_nb": "import conduit_nb", "first cell": FIRST_CELL}
    taken = {name: [wall_s(code)] for name, code in codes.items()}
    for _ in range(ROUNDS - 1):
        for name, code in codes.items():
            taken[name].append(wall_s(code))
    base_s = min(taken["json"])
    for name, seconds in taken.items():
        best_s = min(seconds)
        print(f"{name:<12} {best_s * 1000:7.1f} ms   {best_s / base_s:5.2f} x import json")


if __name__ == "__main__":
    main()
