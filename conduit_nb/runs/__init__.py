"""Runs over rows: order, window, errors per row, progress, cancellation, receipts.

Knows blocks; knows neither frames nor notebooks.
"""

from __future__ import annotations

from conduit_nb.runs.receipts import Receipt
from conduit_nb.runs.run import Progress, Run, Snapshot, run_rows

__all__ = ["Progress", "Receipt", "Run", "Snapshot", "run_rows"]
