"""lmlite/models_api.py: models are loaded, listed and unloaded, within the memory budget."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx2
import openai
import pytest

pytest.importorskip("torch")

from prometheus_client.parser import text_string_to_metric_families

from conduit_nb.compute.overheads import overheads_of
from tests.lmlite.server_process import KEY, ServerProcess, server_process
from tests.lmlite.test_server import ENDLESS, error_of, until_free

MIB = 2**20
ROOM_MIB = 70  # for two tiny models of 20 MiB with their caches, and not for three
BUDGET_MIB = overheads_of("lmlite").runtime_bytes / MIB + ROOM_MIB


@pytest.fixture(scope="module")
def server() -> Iterator[ServerProcess]:
    """Return a server with room for two tiny models."""
    with server_process(
        *("--threads", "1", "--device", "cpu", "--memory-gib", str(BUDGET_MIB / 1024))
    ) as running:
        yield running


@pytest.fixture
def empty(server: ServerProcess) -> ServerProcess:
    """Return the server without a model."""
    for model in listed(server):
        unload(server, model).raise_for_status()
    return server


@pytest.fixture(scope="module")
def folders(tiny_model) -> list[Path]:
    return [tiny_model(), tiny_model(context_tokens=8192), tiny_model("qwen2")]


def load(server: ServerProcess, model: object, **fields: Any) -> httpx2.Response:
    return server.client.post("/v1/models/load", json={"model": str(model), **fields})


def unload(server: ServerProcess, model: object) -> httpx2.Response:
    return server.client.delete(f"/v1/models/{quote(str(model), safe='')}")


def listed(server: ServerProcess) -> list[str]:
    models = server.client.get("/v1/models").json()["data"]
    return [model["id"] for model in models if "conduit" in model]


def planned(server: ServerProcess) -> dict[str, Any]:
    (device,) = server.client.get("/v1/models").json()["conduit"]["devices"]
    return device


def test_a_model_is_loaded_ahead_of_time_and_listed_with_its_memory(empty, folders):
    loaded = load(empty, folders[0]).json()

    assert (loaded["id"], loaded["conduit"]["state"]) == (str(folders[0]), "ready")
    assert 20 * MIB < loaded["conduit"]["memory_bytes"] < 35 * MIB
    assert planned(empty) == {
        "device": "cpu",
        "budget_bytes": ROOM_MIB * MIB,
        "planned_bytes": loaded["conduit"]["memory_bytes"],
    }
    assert empty.loaded(folders[0])["memory_bytes"] == loaded["conduit"]["memory_bytes"]


def test_a_third_model_takes_the_place_of_the_one_used_the_longest_ago(empty, folders):
    for folder in (folders[0], folders[1], folders[0]):
        empty.chat(folder, max_tokens=2).raise_for_status()

    empty.chat(folders[2], max_tokens=2).raise_for_status()

    assert set(listed(empty)) == {str(folders[0]), str(folders[2])}
    assert planned(empty)["planned_bytes"] <= ROOM_MIB * MIB


def test_what_needs_more_than_there_is_is_refused_with_what_would_fit(empty, tiny_model):
    wide = tiny_model(context_tokens=262144)
    empty.chat(wide, max_tokens=2).raise_for_status()  # with a context that there is room for
    unload(empty, wide).raise_for_status()

    refused = load(empty, wide, conduit={"max_model_len": 262144})
    error = error_of(refused)
    fits = error["conduit"]["largest_model_len"]

    assert (refused.status_code, error["code"]) == (507, "does_not_fit")
    assert error["conduit"]["needed_gib"] > error["conduit"]["available_gib"]
    assert re.search(rf"\bmax_model_len\b.*\b{fits:,}\b", error["hint"])
    assert 2048 < fits < 262144
    loaded = load(empty, wide, conduit={"max_model_len": fits}).json()
    assert fits - 16 <= loaded["conduit"]["context_tokens"] <= fits * 1.5


def test_an_unloaded_model_is_gone_until_it_is_requested_again(empty, folders):
    load(empty, folders[0]).raise_for_status()

    with openai.OpenAI(base_url=empty.url + "/v1", api_key=KEY, max_retries=0) as client:
        deleted = client.models.delete(str(folders[0]))

    assert (deleted.id, deleted.deleted) == (str(folders[0]), True)
    assert listed(empty) == []
    assert planned(empty)["planned_bytes"] == 0
    empty.chat(folders[0], max_tokens=2).raise_for_status()
    assert listed(empty) == [str(folders[0])]


def test_a_model_at_work_can_be_unloaded_when_it_is_done(empty, folders):
    body = {"stream": True, "response_format": ENDLESS, "max_tokens": 4000}
    question = {"model": str(folders[1]), "messages": [{"role": "user", "content": "x"}], **body}
    for _ in range(5):
        with empty.client.stream("POST", "/v1/chat/completions", json=question) as stream:
            assert stream.status_code == 200, stream.read()
            next(stream.iter_lines())
            refused = unload(empty, folders[1])
        if refused.status_code != 200:  # else a busy machine let us ask when it was done already
            break

    assert (refused.status_code, error_of(refused)["code"]) == (429, "rate_limit_exceeded")
    assert int(refused.headers["retry-after"]) > 0
    until_free(empty, folders[1], within_s=30)
    unload(empty, folders[1]).raise_for_status()


def test_one_model_is_found_by_its_id(empty, folders):
    load(empty, folders[0]).raise_for_status()

    with openai.OpenAI(base_url=empty.url + "/v1", api_key=KEY, max_retries=0) as client:
        loaded = client.models.retrieve(str(folders[0]))
        with pytest.raises(openai.NotFoundError):
            client.models.retrieve("nobody/nothing")

    assert loaded.id == str(folders[0])


def test_replicas_need_devices_of_their_own(empty, folders):
    refused = load(empty, folders[0], replicas=2)

    assert refused.status_code == 400
    assert error_of(refused)["param"] == "replicas"
    assert re.search(r"\b2\b.*\b1\b", error_of(refused)["message"])


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("DELETE", "/v1/models/nobody%2Fnothing", None, 404, "model_not_found"),
        ("POST", "/v1/models/load", {"model": "nobody/nothing"}, 404, "model_not_found"),
        ("POST", "/v1/models/load", {"replicas": 1}, 400, "request_refused"),
        ("POST", "/v1/models/load", {"model": "m", "replicas": 0}, 400, "request_refused"),
        ("POST", "/v1/models/load", {"model": "m", "temperature": 1}, 400, "request_refused"),
    ],
)
def test_what_cannot_be_done_is_an_error_with_its_code(server, method, path, body, status, code):
    answer = server.client.request(method, path, json=body)

    assert (answer.status_code, error_of(answer)["code"]) == (status, code)


@pytest.mark.parametrize(
    ("method", "path"),
    [("POST", "/v1/models/load"), ("DELETE", "/v1/models/x"), ("GET", "/v1/models/x")],
)
def test_nobody_loads_or_unloads_without_the_key(server, method, path):
    answer = httpx2.request(method, server.url + path, json={"model": "x"})

    assert answer.status_code == 401


def test_the_memory_is_among_the_numbers(empty, folders):
    load(empty, folders[0]).raise_for_status()

    text = empty.client.get("/metrics").text
    samples = {
        sample.name: (sample.value, sample.labels)
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }

    assert samples["conduit_memory_budget_bytes"] == (ROOM_MIB * MIB, {"device": "cpu"})
    assert 0 < samples["conduit_memory_planned_bytes"][0] < ROOM_MIB * MIB
