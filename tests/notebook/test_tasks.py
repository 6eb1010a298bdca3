"""notebook/tasks.py: a magic's model options become what a server is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest

from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.arguments import MagicParser
from conduit_nb.notebook.tasks import add_task_options, task_of
from tests.notebook.openai_server import OpenAIServer


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    mood: Literal["good", "bad"]


def task(*options: str, guidance: str = ""):
    parser = MagicParser("%%conduit test", usage="%%conduit test")
    add_task_options(parser)
    return task_of(parser.parse_line(options), Review, Verdict, name="judge", guidance=guidance)


def test_options_of_the_model_reach_the_server(
    server: OpenAIServer, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("MY_KEY", "secret-1")
    judge = task(
        f"--endpoint={server.url}",
        *("--api-key-env", "MY_KEY", "--max-tokens", "7", "--temperature", "0.5", "--seed", "3"),
        *("--model", "some/model"),
        guidance="Say it.",
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

    task("--endpoint", server.url)(Review("bad"))

    assert server.requests[0]["model"] == "my/default"


@pytest.mark.parametrize(
    "options", [["--model", "some/model@v2"], ["--model", "some/model", "--revision", "v2"]]
)
def test_a_revision_is_an_option_or_follows_the_model(server: OpenAIServer, options: list[str]):
    task(*options, "--endpoint", server.url)(Review("bad"))

    assert server.requests[0]["model"] == "some/model@v2"


@pytest.mark.parametrize(
    ("options", "param", "fact"),
    [
        (["--model", ""], "model_id", ""),
        (["--provider", "moon"], "compute_provider", "'moon'"),
        (["--api-key-env", "MY_KEY"], "api_key_env", "endpoint="),
        (["--endpoint", "moon"], "endpoint", "'moon'"),
        (["--providers", "runpod"], "constraint", "providers"),
        (["--enterprise"], "constraint", "enterprise"),
    ],
)
def test_what_cannot_be_meant_is_refused(options: list[str], param: str, fact: str):
    with pytest.raises(ArgumentError) as caught:
        task(*options)

    assert caught.value.param == param
    assert fact in f"{caught.value} {caught.value.hint}"
