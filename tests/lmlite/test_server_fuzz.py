"""lmlite/server.py under anything that one can send: no 500, always OpenAI's error, nothing left.

The bodies are the wire types with something put in their place; `CONDUIT_SOAK=1` sends many more.
"""

from __future__ import annotations

import copy
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("torch")

from tests.lmlite.server_process import KEY, ServerProcess, server_process

EXAMPLES = 3_000 if os.environ.get("CONDUIT_SOAK") == "1" else 25
FUZZ = settings(
    max_examples=EXAMPLES,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
PATHS = ("/v1/chat/completions", "/v1/completions", "/v1/models", "/health", "/metrics")
POSTED = PATHS[:2]
# The longest that a server may take for a body of a few hundred bytes and a reply of 9 tokens.
ANSWER_S = 30.0

CHAT: dict[str, Any] = {
    "messages": [
        {"role": "system", "content": "Be short."},
        {"role": "user", "content": [{"type": "text", "text": "hi"}]},
    ],
    "max_completion_tokens": 3,
    "logprobs": True,
    "top_logprobs": 2,
}
TEXT: dict[str, Any] = {"prompt": ["Once", "upon"], "logprobs": 1}
SHARED: dict[str, Any] = {
    "max_tokens": 4,
    "n": 2,
    "temperature": 0.5,
    "top_p": 0.9,
    "top_k": 20,
    "min_p": 0.1,
    "repetition_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "seed": 7,
    "stop": ["x"],
    "stream": False,
    "stream_options": {"include_usage": True},
    "response_format": {
        "type": "json_schema",
        "json_schema": {
            "name": "it",
            "strict": True,
            "schema": {
                "type": "object",
                "properties": {
                    "mood": {"enum": ["good", "bad"]},
                    "stars": {"type": "integer", "minimum": 1, "maximum": 5},
                    "name": {"type": "string", "maxLength": 5, "pattern": "^[a-z]+$"},
                    "tags": {"type": "array", "items": {"type": "boolean"}, "maxItems": 2},
                },
                "required": ["mood"],
                "additionalProperties": False,
            },
        },
    },
    "conduit": {"max_model_len": 400, "batch_timeout_ms": 0, "deadline_s": 20.0},
    "user": "me",
}
KEYWORDS = (
    *("type", "enum", "const", "anyOf", "oneOf", "allOf", "not", "$ref", "$defs", "properties"),
    *("required", "items", "prefixItems", "pattern", "format", "minimum", "maximum", "multipleOf"),
    *("minLength", "maxLength", "minItems", "maxItems", "additionalProperties", "description"),
)

ODD_TEXTS = st.sampled_from(
    ["", "\0", "é", "日本🎉", "<|im_end|>", "#/$defs/a", "#", "(", "^a{1,9}$", "object", "\x7f"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([0, -1, 2**31, 2**63, 2**64, 10**30, -(10**400), 1e308, 5e-324, -0.0])
    | st.floats(allow_nan=False, allow_infinity=False)
    | ODD_TEXTS
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(KEYWORDS) | ODD_TEXTS, inner, max_size=3)
    ),
    max_leaves=6,
)


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    with server_process("--threads", "1") as running:
        yield running


@pytest.fixture(scope="module")
def tiny(tiny_model) -> Path:
    return tiny_model()


@pytest.fixture(autouse=True)
def unharmed(server: ServerProcess, tiny: Path) -> Iterator[None]:
    """After a test the same server still answers, nothing runs, and every page is accounted for.

    The engine checks its pages whenever nothing runs and would end, with a traceback.
    """
    yield
    ends = time.monotonic() + ANSWER_S
    assert server.chat(tiny, max_tokens=2).status_code == 200
    while (state := server.loaded(tiny))["running"] + state["waiting"]:
        assert time.monotonic() < ends, state
    assert server.process.poll() is None
    assert "Traceback" not in server.log
    assert "Z ERROR " not in server.log


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of everything inside a JSON value."""
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, one in inner:
        yield (*path, key)
        if isinstance(one, dict | list):
            yield from places(one, (*path, key))


@st.composite
def bodies(draw: st.DrawFn, own: dict[str, Any]) -> dict[str, Any]:
    """Draw a request that fits, with some fields left out and up to three others replaced."""
    names = draw(st.sets(st.sampled_from(sorted(SHARED))))
    body = copy.deepcopy({**own, **{name: SHARED[name] for name in names}})
    for _ in range(draw(st.integers(0, 3))):
        *path, last = draw(st.sampled_from(sorted(places(body), key=str)))
        part: Any = body
        for key in path:
            part = part[key]
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "replace":
                part[last] = draw(VALUES)
            case "add" if isinstance(part, dict):
                part[draw(st.sampled_from(KEYWORDS) | ODD_TEXTS)] = draw(VALUES)
            case "remove":
                del part[last]
            case _:
                part.append(draw(VALUES))
        if not body:
            break
    return body


def check(response: httpx2.Response) -> None:
    """Check that an answer is a reply, or an error as OpenAI's clients know it."""
    assert response.status_code < 500 or response.status_code == 504, response.text
    assert response.headers["x-request-id"]
    if response.status_code != 200:
        check_error(response.json())
    elif response.headers["content-type"].startswith("text/event-stream"):
        *whole, last = [
            event.removeprefix("data: ") for event in response.text.split("\n\n") if event
        ]
        parsed = [json.loads(event) for event in whole]
        if last == "[DONE]":
            assert not any("error" in event for event in parsed)
        else:
            check_error(json.loads(last))
            assert json.loads(last)["error"]["code"] != "server_failed"
    else:
        assert response.json()["choices"]


def check_error(body: Any) -> None:
    error = body["error"]
    assert re.fullmatch(r"[a-z_]+", error["code"])
    assert error["type"].endswith("_error")
    assert isinstance(error["message"], str)
    assert error["hint"]


@FUZZ
@given(body=bodies(CHAT))
def test_any_chat_request_is_answered_or_refused(server, tiny, body):
    check(server.client.post(POSTED[0], json={"model": str(tiny), **body}, timeout=ANSWER_S))


@FUZZ
@given(body=bodies(TEXT))
def test_any_completion_request_is_answered_or_refused(server, tiny, body):
    check(server.client.post(POSTED[1], json={"model": str(tiny), **body}, timeout=ANSWER_S))


@FUZZ
@given(schema=st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=4))
def test_any_schema_is_served_or_refused(server, tiny, schema):
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
    check(server.chat(tiny, response_format=form, max_tokens=9))


@FUZZ
@given(body=VALUES.map(json.dumps).map(str.encode) | st.binary(max_size=200))
@pytest.mark.parametrize("path", POSTED)
def test_any_bytes_are_refused(server, path, body):
    response = server.client.post(path, content=body)

    assert response.status_code == 400
    check(response)


@FUZZ
@given(model=st.text(st.characters(exclude_categories=["Cs"]), max_size=40))
def test_any_model_name_is_refused(server, model):
    response = server.chat(model)

    assert response.status_code in (400, 404, 422)
    check(response)


@FUZZ
@given(
    method=st.sampled_from(["GET", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"]),
    path=st.binary(max_size=30).map(lambda raw: "/" + quote(raw))
    | st.sampled_from([*PATHS, *(f"{path}/" for path in PATHS), "//", "/v1", "/%", "/v1/../x"]),
    host=st.sampled_from(["x", "[", "a:b:c", "a/b", "", "é".encode(), "a b"]),
    name=st.from_regex(r"[A-Za-z-]{1,12}", fullmatch=True),
    value=st.binary(max_size=30).map(lambda raw: re.sub(rb"[\0-\x1f\x7f]", b"", raw).strip()),
)
def test_any_path_method_and_header_has_an_answer(server, method, path, host, name, value):
    headers = [("Host", host), (f"X-{name}", value), ("X-Request-Id", value)]
    headers.append(("Authorization", f"Bearer {KEY}"))
    response = server.client.request(method, path, headers=headers)

    assert response.status_code < 500
    if response.status_code != 200:
        check_error(response.json())


@FUZZ
@given(garbage=st.binary(min_size=1, max_size=300))
def test_what_is_no_http_is_refused_in_json_as_well(server, garbage):
    address = urlsplit(server.url)
    with socket.create_connection((address.hostname, address.port), timeout=ANSWER_S) as raw:
        raw.sendall(garbage + b"\r\n\r\n")
        raw.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: raw.recv(65_536), b""))

    if answer:
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 4")
        check_error(json.loads(body))
