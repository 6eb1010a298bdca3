"""lmlite/http_errors.py: every error has one shape, and none shows our insides."""

from __future__ import annotations

import json
import re
from typing import Any

import httpx2
import pytest

pytest.importorskip("starlette")
pytest.importorskip("prometheus_client")

from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    ContextLengthError,
    DeadlineError,
    DoesNotFitError,
    EndpointAuthError,
    EndpointBusyError,
    ModelFilesError,
    ModelNotFoundError,
    RequestRefusedError,
    ServerFailedError,
    StorageError,
)
from conduit_nb.lmlite.activity import Activity
from conduit_nb.lmlite.http_errors import NOT_OFFERED, BodyTooLargeError, error_reply, status_of
from conduit_nb.lmlite.pool import ModelPool
from conduit_nb.lmlite.server import make_app
from conduit_nb.replies import to_error
from tests.lmlite.described_loader import DescribedLoader

CHAT = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}


class BrokenEngine:
    """An engine with a mistake in it."""

    context_tokens = 64

    def encode_chat(self, messages: Any) -> list[int]:
        raise ZeroDivisionError("the secret of " + messages[0]["content"])


async def answer_of(loader: DescribedLoader) -> httpx2.Response:
    pool = ModelPool(loader, max_in_flight=4)
    app = make_app(pool, Activity(), key="k", version="1")
    transport = httpx2.ASGITransport(app, raise_app_exceptions=False)
    async with httpx2.AsyncClient(
        transport=transport, base_url="http://test", headers={"Authorization": "Bearer k"}
    ) as client:
        return await client.post("/v1/chat/completions", json=CHAT)


async def test_a_mistake_of_ours_is_a_500_without_a_traceback():
    loader = DescribedLoader()
    loader.make = lambda device: BrokenEngine()

    response = await answer_of(loader)

    assert response.status_code == 500
    error = response.json()["error"]
    assert (error["code"], error["type"]) == ("server_failed", "server_error")
    assert "ZeroDivisionError" in error["message"]
    assert "secret" not in response.text
    assert "Traceback" not in response.text
    assert response.headers["x-request-id"]


async def test_an_error_of_the_load_arrives_with_its_hint():
    loader = DescribedLoader()
    loader.failure = StorageError("No space is left.", hint="Set CONDUIT_CACHE_DIR.")

    response = await answer_of(loader)

    assert response.status_code == 507
    assert response.json()["error"]["message"] == "No space is left. Set CONDUIT_CACHE_DIR."
    assert response.json()["error"]["hint"] == "Set CONDUIT_CACHE_DIR."


async def test_a_model_that_does_not_fit_is_refused_with_numbers_that_a_client_reads():
    loader = DescribedLoader(4)
    loader.needs_gib = 5

    response = await answer_of(loader)
    error = to_error(response.status_code, response.content, {}, server="here", secret_texts=[])

    assert response.status_code == 507
    assert response.json()["error"]["code"] == "does_not_fit"
    assert isinstance(error, DoesNotFitError)
    assert (error.needed_gib, error.available_gib) == (5.0, 4.0)
    assert error.largest_model_len is None
    assert re.search(r"^here: m .*5\.00 GiB", str(error))


@pytest.mark.parametrize(
    ("error", "status", "kind", "code"),
    [
        (ContextLengthError("x"), 400, "invalid_request_error", "context_length_exceeded"),
        (BodyTooLargeError("x"), 413, "invalid_request_error", "context_length_exceeded"),
        (EndpointAuthError("x"), 401, "authentication_error", "invalid_api_key"),
        (ModelNotFoundError("x"), 404, "not_found_error", "model_not_found"),
        (ModelFilesError("x"), 422, "invalid_request_error", "model_files"),
        (EndpointBusyError("x", retry_after_s=1), 429, "rate_limit_error", "rate_limit_exceeded"),
        (RequestRefusedError("x"), 400, "invalid_request_error", "request_refused"),
        (ServerFailedError("x"), 503, "server_error", "server_failed"),
        (DeadlineError("x"), 504, "server_error", "deadline"),
        (ConduitError("x"), 500, "server_error", "conduit"),
    ],
)
def test_an_error_has_a_status_a_type_and_the_code_that_clients_decide_by(
    error, status, kind, code
):
    detail = error_reply(error)["error"]

    assert status_of(error) == status
    assert (detail["type"], detail["code"]) == (kind, code)


@pytest.mark.parametrize(
    "error",
    [
        ContextLengthError("x"),
        EndpointAuthError("x"),
        ModelNotFoundError("x"),
        ModelNotFoundError("x", reason="offline"),
        EndpointBusyError("x", retry_after_s=1),
        RequestRefusedError("x"),
        RequestRefusedError("x", param="messages[0].role"),
        ArgumentError("x", param="device"),
        ServerFailedError("x"),
        ServerFailedError("x", reason="stopping"),
        DeadlineError("x"),
    ],
)
def test_our_own_client_makes_the_same_error_of_it(error):
    body = json.dumps(error_reply(error)).encode()

    made = to_error(status_of(error), body, {}, server="here", secret_texts=[])

    assert type(made) is type(error)
    for field in ("param", "reason"):
        assert getattr(made, field, None) == getattr(error, field, None)


def test_the_field_at_fault_is_named_where_it_is_known():
    refused = RequestRefusedError("x", param="temperature")

    assert error_reply(refused)["error"].get("param") == "temperature"
    assert error_reply(ArgumentError("x", param="dtype"))["error"].get("param") == "dtype"
    assert error_reply(ContextLengthError("x"))["error"].get("param") == "messages"
    assert error_reply(ModelNotFoundError("x"))["error"].get("param") == "model"
    assert error_reply(ServerFailedError("x"))["error"].get("param") is None


@pytest.mark.parametrize(
    ("method", "path", "facts"),
    [
        ("POST", "/v1/embeddings", f": .*{NOT_OFFERED['/v1/embeddings']}"),
        ("POST", "/v1/responses", "/v1/chat/completions"),
        ("GET", "/v1/responses/resp_1", f": .*{NOT_OFFERED['/v1/responses']}"),
        ("POST", "/v1/audio/transcriptions", f": .*{NOT_OFFERED['/v1/audio']}"),
        ("POST", "/v1/images/generations", f": .*{NOT_OFFERED['/v1/images']}"),
        ("GET", "/v1/files", f": .*{NOT_OFFERED['/v1/files']}"),
        ("POST", "/v1/moderations", f": .*{NOT_OFFERED['/v1/moderations']}"),
        ("POST", "/embeddings", f": .*{NOT_OFFERED['/v1/embeddings']}"),
        ("POST", "/v1/messages", "OpenAI"),
        ("POST", "/api/chat", "OpenAI"),
        ("POST", "/chat/completions", " /v1/chat/completions: .*base_url"),
        ("GET", "/models", " /v1/models: .*base_url"),
        ("POST", "/v1/v1/chat/completions", " /v1/chat/completions: .*base_url"),
        ("POST", "/v1/nothing", "/v1/chat/completions"),
    ],
)
async def test_a_path_that_is_not_served_says_what_is(method, path, facts):
    app = make_app(ModelPool(DescribedLoader(), max_in_flight=4), Activity(), key="k", version="1")
    async with httpx2.AsyncClient(
        transport=httpx2.ASGITransport(app), base_url="http://test"
    ) as client:
        response = await client.request(method, path)

    error = response.json()["error"]
    assert response.status_code == 404
    assert re.search(facts, f"{error['message']} {error['hint']}")
    assert (error["code"], error["type"]) == ("request_refused", "not_found_error")
