"""What a server's answer says: read for what it has, and never taken for more."""

from __future__ import annotations

import email.utils
import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb import errors
from conduit_nb.errors import (
    ConduitError,
    ContextLengthError,
    EndpointAuthError,
    EndpointBusyError,
    EndpointError,
    EndpointUnreachableError,
    ModelFilesError,
    ModelNotFoundError,
    RequestRefusedError,
    ServerFailedError,
    StorageError,
)
from conduit_nb.replies import (
    KIND_OF_CODE,
    to_chat_chunk,
    to_chat_reply,
    to_error,
    to_health,
    to_model_infos,
)

WORDS = st.sampled_from(
    ["choices", "message", "content", "delta", "usage", "index", "finish_reason", "error", "code"]
)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(WORDS, inner, max_size=4),
    max_leaves=12,
)


def reply(body: object) -> Any:
    return to_chat_reply(json.dumps(body).encode(), server="S")


def error(status: int, body: object, *, header: str | None = None, secrets: Any = ()) -> Any:
    headers = {} if header is None else {"retry-after": header}
    text = json.dumps(body).encode()
    return to_error(status, text, headers, server="S", secret_texts=secrets)


def test_a_reply_with_fields_missing_or_unknown_is_read_for_what_it_has():
    message = {"content": None, "tool_calls": []}
    read = reply({"choices": [{"message": message, "finish_reason": "tool_calls"}], "x": 1})

    assert read["choices"][0]["message"] == {"role": "assistant", "content": ""}
    assert read["choices"][0]["finish_reason"] == "stop"
    assert read["usage"] == {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}
    assert "x" not in read


def test_only_length_is_length():
    reasons = ["length", "stop", "content_filter", None]
    read = reply({"choices": [{"message": {}, "finish_reason": one} for one in reasons]})

    assert [choice["finish_reason"] for choice in read["choices"]] == [
        "length",
        "stop",
        "stop",
        None,
    ]


@pytest.mark.parametrize(
    "text",
    [b"<html>", b"", b"[]", b'{"choices":[]}', b'{"choices":[7]}', b"\xff\xfe", b"[" * 100_000],
)
def test_an_answer_that_is_no_reply_is_an_error_of_the_server(text: bytes):
    with pytest.raises(ServerFailedError, match=r"\bS\b") as caught:
        to_chat_reply(text, server="S")

    assert caught.value.status is None
    assert "endpoint=" in caught.value.hint


@given(JSON)
def test_whatever_a_server_says_is_read_or_is_an_error_of_ours(body: object):
    text = json.dumps(body)
    for read in (
        lambda: to_chat_reply(text.encode(), server="S"),
        lambda: to_chat_chunk(text, server="S", secret_texts=[]),
        lambda: to_model_infos(text.encode(), server="S"),
        lambda: to_health(text.encode(), server="S"),
    ):
        try:
            read()
        except ConduitError:
            continue
    assert isinstance(error(500, body), ConduitError)


def test_a_chunk_may_be_usage_alone():
    usage = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
    read = to_chat_chunk(json.dumps({"choices": [], "usage": usage}), server="S", secret_texts=[])

    assert read["choices"] == []
    assert read.get("usage") == usage


def test_a_chunk_that_tells_an_error_is_raised_as_that():
    said = {"error": {"message": "5001 tokens", "code": "context_length"}}
    with pytest.raises(ContextLengthError, match="5001"):
        to_chat_chunk(json.dumps(said), server="S", secret_texts=[])


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "context_length", ContextLengthError),
        (400, "context_length_exceeded", ContextLengthError),
        (404, "model_not_found", ModelNotFoundError),
        (422, "model_files", ModelFilesError),
        (507, "storage", StorageError),
        (400, "request_refused", RequestRefusedError),
        (429, "endpoint_busy", EndpointBusyError),
        (401, None, EndpointAuthError),
        (403, "other", EndpointAuthError),
        (404, None, RequestRefusedError),
        (429, None, EndpointBusyError),
        (500, "other", ServerFailedError),
        (503, None, ServerFailedError),
        (307, None, RequestRefusedError),
    ],
)
def test_an_error_is_known_by_its_code_and_else_by_its_status(
    status: int, code: str | None, kind: type[ConduitError]
):
    made = error(status, {"error": {"message": "it says why", "code": code}})

    assert type(made) is kind
    assert made.hint
    assert not isinstance(made, EndpointError) or made.status == status
    assert status == 307 or str(made) == "S: it says why"


@pytest.mark.parametrize(
    "body", [{"error": "why"}, {"detail": "why"}, {"message": "why"}, {"error": {"message": "why"}}]
)
def test_an_error_is_read_in_the_forms_that_servers_use(body: dict[str, Any]):
    assert str(error(400, body)) == "S: why"


def test_an_error_without_words_tells_its_status():
    assert "502" in str(error(502, None))


def test_the_hint_of_a_server_is_kept():
    said = {"message": "No. Do that.", "code": "request_refused", "hint": "Do that."}

    made = error(400, {"error": said})
    assert made.hint == "Do that."
    assert "No." in str(made)
    assert "Do that." not in str(made)


def test_a_long_message_is_cut():
    assert len(str(error(400, {"error": "x" * 10_000}))) < 600


@pytest.mark.parametrize("shown", ["the plan", json.dumps('the plan "ä"'), repr("the\nplan")])
def test_what_an_error_repeats_of_the_request_is_blanked_out(shown: str):
    secrets = ["the plan", 'the plan "ä"', "the\nplan"]
    made = error(400, {"error": {"message": f"bad: {shown}", "hint": shown}}, secrets=secrets)

    assert "plan" not in str(made) + made.hint
    assert "bad" in str(made)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        *((None, 1.0), ("7", 7.0), ("x", 1.0), ("-3", 1.0), ("nan", 1.0), ("999999", 3600.0)),
        ("Fri, 31 Dec 9999 23:59:59 GMT", 3600.0),
        ("Fri, 31 Dec 99999 23:59:59 GMT", 1.0),
    ],
)
def test_a_busy_server_says_when_to_come_back(header: str | None, seconds: float):
    assert error(429, {}, header=header).retry_after_s == seconds


def test_a_busy_server_may_name_a_date():
    header = email.utils.formatdate(time.time() + 60, usegmt=True)

    assert 50 < error(429, {}, header=header).retry_after_s <= 61


def test_models_keep_what_our_server_adds_and_drop_what_is_unknown():
    loaded = {"state": "ready", "revision": None, "dtype": "float32"}
    data = [{"id": "a", "conduit": loaded, "extra": 1}, {"no": "id"}, {"id": "b", "created": 5}]
    models = to_model_infos(json.dumps({"data": data}).encode(), server="S")

    assert [model["id"] for model in models] == ["a", "b"]
    assert models[0].get("conduit") == loaded
    assert "extra" not in models[0]


def test_health_is_read_and_something_else_is_not_taken_for_it():
    body = {"status": "ok", "version": "1", "device": "cpu", "idle_s": 2, "models": {"m": "ready"}}

    assert to_health(json.dumps(body).encode(), server="S") == body
    with pytest.raises(ServerFailedError, match=r"\bS\b") as caught:
        to_health(b'{"status": "up"}', server="S")
    assert "%conduit ps" in caught.value.hint


def test_every_kind_that_a_code_names_can_be_made_and_has_a_hint():
    assert {kind.code for kind in KIND_OF_CODE.values()} <= set(KIND_OF_CODE)
    for code, kind in KIND_OF_CODE.items():
        made = error(400, {"error": {"message": "why", "code": code}})
        assert type(made) is kind
        assert made.hint


def test_every_error_of_an_endpoint_has_a_code_that_is_understood_or_comes_from_no_server():
    kinds = [
        thing
        for thing in vars(errors).values()
        if isinstance(thing, type) and issubclass(thing, errors.EndpointError)
    ]
    own = {errors.EndpointError, EndpointUnreachableError, errors.EndpointTimeoutError}

    assert {kind for kind in kinds if kind.code not in KIND_OF_CODE} == own
