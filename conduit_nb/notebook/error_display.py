"""How an error looks: what and what to do, each field that does not fit, and the model's text.

Everything in it may be a model's, a row's or a server's, so all of it is escaped.
Layer 7.
"""

from __future__ import annotations

import traceback
from collections.abc import Sequence

from conduit_nb.errors import ConduitError, Problem, ValidationError
from conduit_nb.notebook.display import (
    Shown,
    bounded,
    escaped,
    html_table,
    preformatted,
    text_table,
)

LONGEST_TEXT = 4_000
HEAD = ("field", "what is wrong")
ANSWER = "answer"
ORIGINS = {ANSWER: "The model's text", "row": "The row"}


class ErrorView(Shown):
    """An error; with `whole`, the way to it too, and that of what caused it."""

    def __init__(self, error: BaseException, *, whole: bool = False) -> None:
        self.error = error
        self._trace = _trace(error) if whole else ""

    def _text(self) -> str:
        error = self.error
        parts = ["\n".join(headline(error))]
        if problems := problems_of(error):
            parts.append(text_table(HEAD, _cells(problems)))
        if said := said_of(error):
            parts.append(f"{origin_of(error)}:\n{bounded(said, LONGEST_TEXT)}")
        if self._trace:
            parts.append(bounded(self._trace))
        return "\n\n".join(parts)

    def _html(self) -> str:
        error = self.error
        first, *others = headline(error)
        parts = [f"<div><strong>{escaped(first)}</strong></div>"]
        parts += [f"<div>{escaped(line)}</div>" for line in others]
        if problems := problems_of(error):
            parts.append(html_table(HEAD, _cells(problems)))
        if said := said_of(error):
            parts.append(f"<div>{origin_of(error)}:</div>{preformatted(said, LONGEST_TEXT)}")
        if self._trace:
            parts.append(preformatted(self._trace))
        return "".join(parts)


def headline(error: BaseException) -> list[str]:
    """Return what a cell shows of an error: what happened, and what to do."""
    if isinstance(error, ConduitError):
        return error._render_traceback_()  # pyright: ignore[reportPrivateUsage]  # IPython's protocol
    return [bounded(line) for line in traceback.format_exception_only(error)]


def problems_of(error: BaseException) -> tuple[Problem, ...]:
    """Return the fields that do not fit, of an error or of what caused it."""
    found = getattr(error, "problems", ())
    if not found and error.__cause__ is not None:
        return problems_of(error.__cause__)
    return tuple(one for one in found if isinstance(one, Problem))


def said_of(error: BaseException) -> str:
    """Return the model's text that an error, or what caused it, is about."""
    text = getattr(error, "text", None)
    if isinstance(error, ConduitError) and isinstance(text, str) and text:
        return text
    return said_of(error.__cause__) if error.__cause__ is not None else ""


def origin_of(error: BaseException) -> str:
    """Return whose text it is that `said_of` returns: a row's, the model's, or some other."""
    if not getattr(error, "text", None) and error.__cause__ is not None:
        return origin_of(error.__cause__)
    subject = error.subject if isinstance(error, ValidationError) else ANSWER
    return ORIGINS.get(subject.split(" of ")[0], "The text")


def _cells(problems: Sequence[Problem]) -> list[list[str]]:
    return [[problem.path, problem.message] for problem in problems]


def _trace(error: BaseException) -> str:
    lines = "".join(traceback.format_exception(error)).splitlines()
    return "\n".join(bounded(line, LONGEST_TEXT) for line in lines)
