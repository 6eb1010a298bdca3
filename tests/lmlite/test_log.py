"""lmlite/log.py: one line for each event, which nobody can forge."""

from __future__ import annotations

import logging
from typing import Any

import pytest

pytest.importorskip("starlette")

from conduit_nb.lmlite.log import PrivateFormatter, RequestLog, log_event


@pytest.fixture
def lines(caplog):
    """Return a function that gives the lines written so far."""
    caplog.set_level(logging.INFO, logger="conduit_nb.lmlite")
    return lambda: [record.getMessage() for record in caplog.records]


async def answer_one(path: str, status: int | None, **headers: str) -> list[Any]:
    """Pass one request through the log to an application that answers with `status`."""
    sent: list[Any] = []

    async def application(scope: Any, receive: Any, send: Any) -> None:
        scope["conduit_log"]["model"] = "owner/name"
        if status is None:
            raise ZeroDivisionError
        await send({"type": "http.response.start", "status": status, "headers": []})
        await send({"type": "http.response.body", "body": b"{}"})

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "http.request"}

    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "path": path, "headers": raw}
    await RequestLog(application)(scope, receive, send)
    return sent


def test_plain_values_stand_as_they_are(lines):
    log_event("loaded", model="owner/name", seconds=1.23456, port=80)

    assert lines() == ["loaded model=owner/name seconds=1.235 port=80"]


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ("two words", '"two words"'),
        ("a\nINFO forged", r'"a\nINFO forged"'),
        ("x=1", '"x=1"'),
        ("", '""'),
        ("\x1b[31m", r'"\u001b[31m"'),
    ],
)
def test_a_value_that_is_more_than_a_word_is_quoted_on_one_line(lines, value, shown):
    log_event("asked", model=value)

    assert lines() == [f"asked model={shown}"]


def test_a_long_value_is_cut(lines):
    log_event("asked", model="word " * 1000)

    assert len(lines()[0]) < 400


async def test_an_answer_is_a_line_with_what_the_application_noted(lines):
    (start, _) = await answer_one("/v1/chat/completions", 200, x_request_id="mine")

    assert lines()[0].startswith("request id=mine path=/v1/chat/completions status=200 seconds=")
    assert lines()[0].endswith("model=owner/name")
    assert (b"x-request-id", b"mine") in start["headers"]


@pytest.mark.parametrize(("status", "expected"), [(200, 0), (401, 1)])
async def test_health_checks_are_only_worth_a_line_when_they_fail(lines, status, expected):
    await answer_one("/health", status)

    assert len(lines()) == expected


async def test_a_request_that_was_never_answered_is_a_line_too(lines):
    with pytest.raises(ZeroDivisionError):
        await answer_one("/v1/chat/completions", None)

    assert "status=none" in lines()[0]


@pytest.mark.parametrize("name", ["modèle", "ein²", "模型"])
async def test_an_id_of_the_callers_is_taken_over_in_plain_letters_only(lines, name):
    (start, _) = await answer_one("/v1/models", 404, x_request_id=name)

    (given,) = [value for key, value in start["headers"] if key == b"x-request-id"]
    assert given.isalnum()
    assert f"id={given.decode()} " in lines()[0]


@pytest.mark.parametrize(
    ("error", "is_told"), [(ValueError("sesame"), False), (RuntimeError("sesame"), True)]
)
def test_a_traceback_tells_place_and_kind_but_words_only_where_they_are_the_machines(
    error: Exception, is_told: bool
):
    outer = KeyError("sesame too")
    outer.__cause__ = error

    text = PrivateFormatter().formatException((KeyError, outer, None))

    assert text.index(type(error).__name__) < text.index("KeyError")
    assert ("sesame" in text) == is_told
    assert "sesame too" not in text
