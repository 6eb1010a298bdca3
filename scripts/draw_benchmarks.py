"""Draw docs/images/benchmarks.svg from the newest line of each figure in benchmarks/results/."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "benchmarks"))

from harness.chart import Bar, bar_chart  # noqa: E402  # the path has to be set first

RESULTS = ROOT / "benchmarks" / "results" / "against_peers.jsonl"
CHART = ROOT / "docs" / "images" / "benchmarks.svg"


def main() -> None:
    """Write the chart."""
    newest: dict[tuple[Any, ...], dict[str, Any]] = {}
    for line in RESULTS.read_text().splitlines():
        figure: dict[str, Any] = json.loads(line)
        key = ("peer", "workload", "n", "common_prefix", "dtype", "threads")
        newest[tuple(figure[name] for name in key)] = figure
    bars = [_bar(figure) for _, figure in sorted(newest.items())]
    CHART.write_text(bar_chart("How many times as fast as its peers LmLite is", bars))
    print(f"{CHART.relative_to(ROOT)}: {len(bars)} figures")


def _bar(figure: dict[str, Any]) -> Bar:
    rows = f"{figure['n']} row" + ("s" if figure["n"] > 1 else "")
    how = "" if figure["dtype"] == "float32" else f", {figure['dtype']}"
    how += "" if figure["common_prefix"] else ", own prompts"
    return Bar(
        label=f"{figure['peer']}: {figure['workload']}, {rows}{how}",
        least=figure["ratio_min"],
        median=figure["ratio_median"],
        greatest=figure["ratio_max"],
    )


if __name__ == "__main__":
    main()
