"""A batch over rows: order, window, errors per row, progress, cancellation.

Knows blocks; knows neither frames nor notebooks. Layer 4.
"""

from __future__ import annotations

from conduit_nb.runs.progress import Progress, Snapshot
from conduit_nb.runs.receipts import Receipt
from conduit_nb.runs.rows import run_rows
from conduit_nb.runs.run import Run

__all__ = ["Progress", "Receipt", "Run", "Snapshot", "run_rows"]
