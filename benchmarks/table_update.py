"""Time from a new list of offerings to rows on the screen, in a real Chromium, by size of the list.

The kernel's part: rows are made of a ranked choice and written as JSON. The browser's part: the
message is read, compared with the last one, sorted and drawn. The goal is 0.3 s together, for
10,000 offerings. A table that draws every row stands beside it, for the ratio.
"""

from __future__ import annotations

import json
import statistics
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from conduit_nb.compute.constraints import DeploymentConstraint  # noqa: E402  # after the path
from conduit_nb.notebook.offerings_display import OfferingsView  # noqa: E402  # after the path
from conduit_nb.notebook.panels.offering_table import table_message  # noqa: E402  # after the path
from conduit_nb.notebook.panels.widget import read_bundle  # noqa: E402  # after the path
from conduit_nb.plans.choice import choose  # noqa: E402  # after the path
from conduit_nb.providers.sources import Market  # noqa: E402  # after the path
from tests.compute.made_plans import made_plan  # noqa: E402  # after the path
from tests.plans.described_market import MARKET  # noqa: E402  # after the path
from tests.ui.lab import browser_of  # noqa: E402  # after the path

SIZES = (100, 1_000, 10_000)
TIMES = 7
PAGE = "<!doctype html><meta charset=utf-8><style>{style}</style><div id=here></div>"
SETUP = """async (source) => {
  const address = URL.createObjectURL(new Blob([source], { type: 'text/javascript' }));
  const module = await import(address);
  const listeners = {};
  const model = {
    get: () => new Date().toISOString(),
    send: () => {},
    on: (name, listener) => (listeners[name] ??= []).push(listener),
    off: () => {},
  };
  module.default.render({ model, el: document.getElementById('here') });
  window.tell = (text) => {
    const begun = performance.now();
    const message = JSON.parse(text);
    for (const listener of listeners['msg:custom']) {
      listener(message);
    }
    document.getElementById('here').getBoundingClientRect(); // lay it out
    return performance.now() - begun;
  };
  window.whole = (text) => {
    const begun = performance.now();
    const { rows } = JSON.parse(text);
    const table = document.createElement('table');
    for (const row of rows) {
      const line = document.createElement('tr');
      for (const value of row) {
        const cell = document.createElement('td');
        cell.textContent = value;
        line.append(cell);
      }
      table.append(line);
    }
    document.body.append(table);
    table.getBoundingClientRect();
    const took = performance.now() - begun;
    table.remove();
    return took;
  };
}"""


def market_of(size: int, step: int) -> Market:
    """Return so many offerings; every price moves a little with each step."""
    offerings = [
        replace(
            MARKET.offerings[number % len(MARKET.offerings)],
            id=f"kind-{number}",
            usd_per_hour=0.5 + (number * 37 % 1_000) / 100 + step / 1_000,
        )
        for number in range(size)
    ]
    return Market(offerings=tuple(offerings), failures=())


def main() -> None:
    """Print a line for each size."""
    plan = made_plan(20, runtime="lmlite")
    with sync_playwright() as playwright, browser_of(playwright) as browser:
        page = browser.new_page()
        page.set_content(PAGE.format(style=read_bundle("panels.css")))
        page.evaluate(SETUP, read_bundle("offering_table.js"))
        for size in SIZES:
            kernel, drawn, whole = [], [], []
            for step in range(TIMES):
                choice = choose(market_of(size, step), plan, constraint=DeploymentConstraint())
                begun = time.perf_counter()
                message = table_message(
                    OfferingsView(choice), at=datetime.now(UTC), models=["owner/m"]
                )
                text = json.dumps({"kind": "table", **message})
                kernel.append(time.perf_counter() - begun)
                drawn.append(page.evaluate("(text) => window.tell(text)", text) / 1_000)
                whole.append(page.evaluate("(text) => window.whole(text)", text) / 1_000)
            together = map(sum, zip(kernel, drawn, strict=True))
            told: dict[str, Any] = {
                "benchmark": "table_update",
                "offerings": size,
                "kernel_s": round(statistics.median(kernel), 4),
                "browser_s": round(statistics.median(drawn), 4),
                "together_s": round(statistics.median(together), 4),
                "browser_whole_table_s": round(statistics.median(whole), 4),
                "message_kib": len(text) // 1024,
            }
            print(json.dumps(told))


if __name__ == "__main__":
    main()
