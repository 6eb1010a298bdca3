"""lmlite/server.py: the whole server, as a process, over a socket."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import jsonschema
import openai
import pytest

pytest.importorskip("torch")

from tests.lmlite.server_process import KEY, ServerProcess, chat_body, server_process

VERDICT: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["positive", "negative"]},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
        "sure": {"type": "boolean"},
    },
    "required": ["mood", "stars", "sure"],
    "additionalProperties": False,
}
# Nothing ends this before the context does: a request that runs for seconds.
ENDLESS = {
    "type": "json_schema",
    "json_schema": {
        "name": "endless",
        "schema": {"type": "array", "items": {"type": "boolean"}, "minItems": 200_000},
    },
}


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Return a server that serves all tests of this module."""
    with server_process("--threads", "1") as running:
        yield running


@pytest.fixture(scope="module")
def tiny(tiny_model) -> Path:
    return tiny_model()


@pytest.fixture(scope="module")
def long_winded(tiny_model) -> Path:
    """Return a tiny model whose replies take longer than a loaded machine looks away."""
    return tiny_model(context_tokens=65536)


def error_of(response: httpx2.Response) -> dict[str, Any]:
    return response.json()["error"]


def events(response: httpx2.Response) -> list[Any]:
    lines = [line.removeprefix("data: ") for line in response.text.split("\n\n") if line]
    return [line if line == "[DONE]" else json.loads(line) for line in lines]


def schema_format(schema: dict[str, Any]) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}


def until_free(server: ServerProcess, model: Path, *, within_s: float) -> None:
    """Return when no request of `model` runs any more."""
    ends = time.monotonic() + within_s
    while (state := server.loaded(model))["running"] + state["waiting"]:
        assert time.monotonic() < ends, state


# Who may ask


@pytest.mark.parametrize(
    "path", ["/v1/models", "/metrics", "/v1/chat/completions", "/v1/completions"]
)
@pytest.mark.parametrize("header", [None, "Bearer wrong", f"Basic {KEY}", "Bearer", "Bearer é"])
def test_without_the_key_every_endpoint_is_refused(server, path, header):
    headers = {} if header is None else {"Authorization": header.encode()}
    send = httpx2.post if path.endswith("completions") else httpx2.get

    response = send(server.url + path, headers=headers)

    assert response.status_code == 401
    assert response.headers["www-authenticate"] == "Bearer"
    assert error_of(response)["code"] == "invalid_api_key"


def test_a_wrong_key_is_refused_even_when_the_body_is_large(server):
    response = httpx2.post(
        server.url + "/v1/chat/completions",
        headers={"Authorization": "Bearer wrong"},
        content=b"x" * 10_000_000,
    )

    assert response.status_code == 401


def test_without_the_key_health_says_only_that_it_lives(server):
    assert httpx2.get(server.url + "/health").json() == {"status": "ok"}
    wrong = httpx2.get(server.url + "/health", headers={"Authorization": "Bearer wrong"})
    assert wrong.status_code == 401


def test_with_the_key_health_says_who_answers(server, tiny):
    server.chat(tiny)

    health = server.client.get("/health").json()

    assert (health["status"], health["device"]) == ("ok", "cpu")
    assert health["models"][str(tiny)] == "ready"
    assert health["idle_s"] >= 0
    assert health["version"]


# Replies


def test_a_model_is_loaded_on_first_use_and_then_listed(server, tiny_model):
    folder = tiny_model(seed=11)

    reply = server.chat(folder, max_tokens=4).json()

    assert reply["object"] == "chat.completion"
    assert reply["model"] == str(folder)
    assert reply["choices"][0]["message"]["role"] == "assistant"
    assert reply["choices"][0]["finish_reason"] in ("stop", "length")
    usage = reply["usage"]
    assert 0 < usage["completion_tokens"] <= 4
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    state = server.loaded(folder)
    assert (state["state"], state["device"], state["dtype"]) == ("ready", "cpu", "float32")
    assert (state["context_tokens"], state["attention"]) == (512, "packed")


def test_a_stream_says_the_same_as_a_whole_reply(server, tiny):
    whole = server.chat(tiny, "tell me", max_tokens=20).json()

    response = server.chat(tiny, "tell me", max_tokens=20, stream=True)

    *chunks, done = events(response)
    assert response.headers["content-type"].startswith("text/event-stream")
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert {chunk["id"] for chunk in chunks} == {f"chatcmpl-{response.headers['x-request-id']}"}
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"]["role"] == "assistant"
    text = "".join(choice["delta"].get("content", "") for choice in choices)
    assert text == whole["choices"][0]["message"]["content"]
    assert [choice["finish_reason"] for choice in choices[:-1]] == [None] * (len(choices) - 1)
    assert choices[-1]["finish_reason"] == whole["choices"][0]["finish_reason"]


def test_a_stream_ends_with_its_usage_where_that_is_requested(server, tiny):
    whole = server.chat(tiny, max_tokens=5).json()

    response = server.chat(tiny, max_tokens=5, stream=True, stream_options={"include_usage": True})

    last = events(response)[-2]
    assert last["choices"] == []
    assert last["usage"] == whole["usage"]


def test_a_guided_reply_fits_its_schema(server, tiny):
    reply = server.chat(tiny, response_format=schema_format(VERDICT)).json()

    choice = reply["choices"][0]
    assert choice["finish_reason"] == "stop"
    jsonschema.validate(json.loads(choice["message"]["content"]), VERDICT)


def test_a_json_object_can_be_requested_without_a_schema(server, tiny):
    reply = server.chat(tiny, response_format={"type": "json_object"}, max_tokens=9).json()

    assert isinstance(json.loads(reply["choices"][0]["message"]["content"]), dict)


def test_a_budget_below_the_shortest_record_is_refused_with_the_tokens_that_it_takes(server, tiny):
    response = server.chat(tiny, response_format=schema_format(VERDICT), max_tokens=2)

    assert response.status_code == 400
    error = response.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "reply_budget")
    assert error["needed_tokens"] > 2
    assert error["param"] == "max_tokens"
    assert re.search(rf"\b{error['needed_tokens']} tokens\b", error["message"])
    enough = server.chat(
        tiny, response_format=schema_format(VERDICT), max_tokens=error["needed_tokens"]
    ).json()
    jsonschema.validate(json.loads(enough["choices"][0]["message"]["content"]), VERDICT)


@pytest.mark.parametrize("stream", [False, True])
def test_the_confidence_in_chosen_values_comes_with_the_end_of_the_reply(server, tiny, stream):
    body = {"response_format": schema_format(VERDICT), "conduit": {"confidence": True}}
    if stream:
        *chunks, _ = events(server.chat(tiny, stream=True, **body))
        last = chunks[-1]["choices"][0]
    else:
        (last,) = server.chat(tiny, **body).json()["choices"]

    assert last["finish_reason"] == "stop"
    assert set(last["conduit"]["confidence"]) <= {f"/{name}" for name in VERDICT["properties"]}
    assert all(0 < figure <= 1 for figure in last["conduit"]["confidence"].values())
    assert last["conduit"]["confidence"]


def test_confidence_without_a_record_is_refused(server, tiny):
    response = server.chat(tiny, conduit={"confidence": True})

    assert response.status_code == 400
    assert response.json()["error"]["param"] == "conduit.confidence"


def test_max_model_len_bounds_prompt_and_reply_together(server, tiny):
    reply = server.chat(tiny, response_format=ENDLESS, conduit={"max_model_len": 40}).json()

    assert reply["usage"]["total_tokens"] == 40
    assert reply["choices"][0]["finish_reason"] == "length"


async def test_requests_that_come_together_are_answered_together(server, tiny, tiny_model):
    other = tiny_model(family="qwen2")
    async with httpx2.AsyncClient(
        base_url=server.url, headers=server.client.headers, timeout=60
    ) as client:
        replies = await asyncio.gather(
            *(
                client.post(
                    "/v1/chat/completions",
                    json=chat_body(model, f"row {number}", response_format=schema_format(VERDICT)),
                )
                for number in range(8)
                for model in (tiny, other)
            )
        )

    assert {reply.status_code for reply in replies} == {200}
    for reply in replies:
        content = reply.json()["choices"][0]["message"]["content"]
        jsonschema.validate(json.loads(content), VERDICT)
    assert {server.loaded(model)["state"] for model in (tiny, other)} == {"ready"}


# What is refused


def test_an_unknown_model_is_a_404_that_says_why(server):
    response = server.chat("nobody/nothing")

    assert response.status_code == 404
    assert error_of(response)["code"] == "model_not_found"
    assert error_of(response)["reason"] == "offline"
    assert "nobody/nothing" in error_of(response)["message"]
    assert error_of(response)["hint"]


def test_a_broken_gguf_is_a_422_and_the_model_stays_failed(server, tmp_path):
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"no gguf")

    response = server.chat(path)

    assert response.status_code == 422
    assert error_of(response)["code"] == "model_files"
    assert server.loaded(path)["state"] == "failed"
    assert "broken.gguf" in server.loaded(path)["detail"]


def test_a_model_that_is_not_whole_is_a_422_that_names_the_file(server, tmp_path):
    (tmp_path / "config.json").write_text("{}")

    assert "tokenizer.json" in error_of(server.chat(tmp_path))["message"]


@pytest.mark.parametrize(
    ("body", "param", "fact"),
    [
        (b"{", None, "JSON: EOF"),
        (b"[]", None, "JSON"),
        (b'{"model": "m", "messages": []}', "messages", "messages: "),
        (b'{"model": "m", "messages": [{"role": "user", "content": "x"}], "n": 0}', "n", "n: "),
    ],
)
def test_a_bad_body_is_a_400_that_says_what_is_wrong(server, body, param, fact):
    response = server.client.post("/v1/chat/completions", content=body)

    assert response.status_code == 400
    assert error_of(response)["code"] == "request_refused"
    assert error_of(response)["param"] == param
    assert fact in error_of(response)["message"]
    assert error_of(response)["hint"]


def test_a_schema_that_no_grammar_can_serve_is_refused_by_its_keyword(server, tiny):
    schema = {"type": "object", "oneOfThese": [], "not": {"type": "string"}}

    response = server.chat(tiny, response_format=schema_format(schema))

    assert response.status_code == 400
    assert error_of(response)["code"] == "request_refused"
    assert "'not'" in error_of(response)["message"]


def test_a_body_of_10_mb_is_refused_with_both_numbers(server, tiny):
    response = server.chat(tiny, "x" * 10_000_000)

    assert response.status_code == 413
    assert error_of(response)["code"] == "context_length_exceeded"
    assert "4,194,304" in error_of(response)["message"]


def test_a_body_without_a_length_is_bounded_as_well(server):
    response = server.client.post(
        "/v1/chat/completions", content=(b"x" * 100_000 for _ in range(100))
    )

    assert response.status_code == 413


def test_a_prompt_that_does_not_fit_is_refused_with_both_numbers(server, tiny):
    response = server.chat(tiny, "word " * 1000)

    assert response.status_code == 400
    assert error_of(response)["code"] == "context_length_exceeded"
    assert "512" in error_of(response)["message"]


def test_more_context_than_the_model_has_is_an_error_that_says_its_limit(server, tiny):
    response = server.chat(tiny, conduit={"max_model_len": 5000})

    assert error_of(response)["code"] == "context_length_exceeded"
    assert "512" in error_of(response)["message"]


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/", 404), ("PUT", "/health", 405)])
def test_other_paths_and_methods_are_refused_in_the_same_shape(server, method, path, status):
    response = server.client.request(method, path)

    assert response.status_code == status
    assert error_of(response)["code"] == "request_refused"


def test_an_error_of_a_stream_that_has_not_begun_has_a_status(server, tiny):
    response = server.chat(tiny, "word " * 1000, stream=True)

    assert response.status_code == 400
    assert error_of(response)["code"] == "context_length_exceeded"


# Others are not held up, and nothing runs for nobody


async def test_a_text_of_megabytes_does_not_hold_up_others(server, tiny):
    server.chat(tiny)
    async with httpx2.AsyncClient(
        base_url=server.url, headers=server.client.headers, timeout=60
    ) as client:
        body = json.dumps(chat_body(tiny, "a b " * 1_000_000)).encode()
        slow = asyncio.create_task(client.post("/v1/chat/completions", content=body))
        waits: list[float] = []
        while not slow.done():
            begun = time.monotonic()
            await client.get("/health")
            waits.append(time.monotonic() - begun)

    assert (await slow).status_code == 400
    assert max(waits) < 2


def test_a_client_that_leaves_a_stream_frees_its_place_in_the_batch(server, long_winded):
    with server.client.stream(
        "POST",
        "/v1/chat/completions",
        json=chat_body(long_winded, stream=True, response_format=ENDLESS),
    ) as response:
        written = (line for line in response.iter_lines() if "true" in line or "false" in line)
        next(written)  # the head of an answer comes before its sequence runs, its text does not

    until_free(server, long_winded, within_s=10)


def test_a_client_that_leaves_a_whole_reply_frees_its_place_in_the_batch(server, long_winded):
    server.chat(long_winded, max_tokens=1)
    with pytest.raises(httpx2.ReadTimeout):
        server.client.post(
            "/v1/chat/completions",
            json=chat_body(long_winded, response_format=ENDLESS),
            timeout=0.5,
        )

    until_free(server, long_winded, within_s=10)


# Log and ids


def test_every_answer_has_an_id_and_the_caller_may_choose_it(server):
    chosen = server.client.get("/health", headers={"x-request-id": "mine-1"})
    forged = server.client.get("/health", headers={"x-request-id": "a b"})

    assert chosen.headers["x-request-id"] == "mine-1"
    assert forged.headers["x-request-id"] != "a b"
    assert forged.headers["x-request-id"]


def test_the_log_has_a_line_for_each_request_and_no_content(server, tiny):
    reply = server.chat(tiny, "my dark secret", max_tokens=3)
    server.chat("no\nsuch model=x")
    server.client.get("/health")

    line = server.line_with(reply.headers["x-request-id"])
    assert "status=200" in line
    assert "completion_tokens=" in line
    assert server.line_with(r'model="no\nsuch model=x"')
    assert "dark secret" not in server.log
    assert KEY not in server.log
    assert "path=/health status=200" not in server.log


# The official client


@pytest.fixture
def client(server) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=server.url + "/v1", api_key=KEY, max_retries=0) as client:
        yield client


def test_the_official_client_gets_replies_and_streams(client, tiny):
    messages: Any = [{"role": "user", "content": "hi"}]

    whole = client.chat.completions.create(model=str(tiny), messages=messages, max_tokens=8)
    streamed = client.chat.completions.create(
        model=str(tiny), messages=messages, max_tokens=8, stream=True
    )

    text = "".join(chunk.choices[0].delta.content or "" for chunk in streamed)
    assert text == whole.choices[0].message.content
    assert whole.usage.completion_tokens > 0


def test_the_official_client_gets_guided_replies(client, tiny):
    reply = client.chat.completions.create(
        model=str(tiny),
        messages=[{"role": "user", "content": "hi"}],
        response_format={
            "type": "json_schema",
            "json_schema": {"name": "verdict", "strict": True, "schema": VERDICT},
        },
    )

    jsonschema.validate(json.loads(reply.choices[0].message.content), VERDICT)


def test_the_official_client_understands_our_errors(client, server, tiny):
    with pytest.raises(openai.NotFoundError, match="nobody/nothing"):
        client.chat.completions.create(
            model="nobody/nothing", messages=[{"role": "user", "content": "hi"}]
        )
    with (
        openai.OpenAI(base_url=server.url + "/v1", api_key="wrong") as stranger,
        pytest.raises(openai.AuthenticationError),
    ):
        stranger.models.list()
    assert str(tiny) in [model.id for model in client.models.list()]


@pytest.mark.model
def test_the_embedded_model_answers(server, embedded_model_folder):
    reply = server.chat(embedded_model_folder, "What is the capital of France?", max_tokens=16)

    assert "Paris" in reply.json()["choices"][0]["message"]["content"]
