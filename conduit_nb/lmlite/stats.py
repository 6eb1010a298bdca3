"""What an engine has done so far, in numbers. No torch in here.

Layer 3.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(slots=True)
class StepCounts:
    """Counts of the thread that steps; `steps_by_rows[n]` steps had n rows."""

    steps_by_rows: list[int]
    read_tokens: int = 0
    written_tokens: int = 0
    forced_tokens: int = 0
    drafted_tokens: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A reading of everything at about one moment.

    `read_tokens` are those of prompts (again after a row had to give up its pages), without the
    `reused_tokens`; of the `written_tokens` the grammar forced `forced_tokens`, and
    `drafted_tokens` were guessed and needed no step of their own.
    """

    running: int
    waiting: int
    steps_by_rows: tuple[int, ...]
    read_tokens: int
    written_tokens: int
    forced_tokens: int
    drafted_tokens: int
    reused_tokens: int
    preemptions: int
    pages: int
    used_pages: int
    grammar_hits: int
    grammar_misses: int
