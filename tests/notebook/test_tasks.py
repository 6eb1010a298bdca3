"""notebook/tasks.py: a magic's model options become what a server is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.cell_options import task_options
from conduit_nb.notebook.tasks import TaskOptions, task_of
from conduit_nb.options import read_options
from tests.notebook.openai_server import OpenAIServer


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    mood: Literal["good", "bad"]


def task(guidance: str = "", **options: Any):
    asked = TaskOptions.parse(read_options(task_options(), options))
    return task_of(asked, Review, Verdict, name="judge", guidance=guidance)


def test_options_of_the_model_reach_the_server(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", "secret-1")
    judge = task(
        "Say it.",
        endpoint=server.url,
        api_key_env="MY_KEY",
        max_tokens="7",
        temperature="0.5",
        seed="3",
        model="some/model",
    )

    assert judge(Review("very bad")) == Verdict("bad")

    [request] = server.requests
    assert (request["max_tokens"], request["temperature"], request["seed"]) == (7, 0.5, 3)
    assert request["model"] == "some/model"
    assert request["messages"][0]["content"].startswith("Say it.")
    assert server.authorizations == ["Bearer secret-1"]
    assert judge.name == "judge"


def test_the_model_is_the_default_one_where_none_is_named(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_MODEL", "my/default")

    task(endpoint=server.url)(Review("bad"))

    assert server.requests[0]["model"] == "my/default"


@pytest.mark.parametrize(
    "options", [{"model": "some/model@v2"}, {"model": "some/model", "revision": "v2"}]
)
def test_a_revision_is_an_option_or_follows_the_model(
    server: OpenAIServer, options: dict[str, str]
):
    task(**options, endpoint=server.url)(Review("bad"))

    assert server.requests[0]["model"] == "some/model@v2"


@pytest.mark.parametrize(
    ("options", "param", "fact"),
    [
        ({"model": ""}, "model", ""),
        ({"provider": "moon"}, "compute_provider", "'moon'"),
        ({"api_key_env": "MY_KEY"}, "api_key_env", "endpoint="),
        ({"endpoint": "moon"}, "endpoint", "'moon'"),
        ({"providers": "runpod"}, "constraint", "providers"),
        ({"enterprise": True}, "constraint", "enterprise"),
        ({"gpu": "L4", "endpoint": "http://127.0.0.1:9/v1"}, "gpu", "endpoint="),
    ],
)
def test_what_cannot_be_meant_is_refused(options: dict[str, Any], param: str, fact: str):
    with pytest.raises(ArgumentError) as caught:
        task(**options)

    assert caught.value.param == param
    assert fact in f"{caught.value} {caught.value.hint}"
