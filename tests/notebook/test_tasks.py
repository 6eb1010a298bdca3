"""notebook/tasks.py: a magic's model options become what a server is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import pytest

from conduit_nb.blocks.base import Block
from conduit_nb.errors import (
    ArgumentError,
    ConduitError,
    SchemaError,
    TruncatedError,
    ValidationError,
)
from conduit_nb.notebook.cell_options import task_options
from conduit_nb.notebook.tasks import TaskOptions, task_of, variable
from conduit_nb.options import read_options
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells
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


SCHEMAS = (
    "%%conduit schema\n"
    "class Review:\n    text: str\n"
    "class Verdict:\n    '''What it is.'''\n    mood: Literal['good', 'bad']\n"
    "class Page(Generic[T]):\n    items: List[T]\n"
)


@pytest.fixture
def ready(cells: Cells) -> Cells:
    """A shell with Review, Verdict and Page[T]."""
    cells.run("from typing import TypeVar\nT = TypeVar('T')")
    cells.run(SCHEMAS)
    return cells


def test_the_cells_text_is_the_instruction_of_a_typed_function(ready: Cells, server: OpenAIServer):
    shown = ready.run(
        f"%%conduit block judge --input Review --output Verdict --endpoint {server.url}\n"
        "Say how the reviewer feels.\nBe short.\n"
    )

    assert repr(shown) == (
        "judge: Review -> Verdict\n\n"
        "takes\n  {\n    text: string\n  }\n\n"
        'gives\n  {\n    mood: "good" | "bad"\n  }'
    )
    assert ready.run("judge(Review('very bad'))") == ready.names["Verdict"]("bad")
    system = server.requests[0]["messages"][0]["content"]
    assert system.startswith("Say how the reviewer feels.\nBe short.")


def test_the_function_is_a_block_that_chains_and_takes_batches(ready: Cells, server: OpenAIServer):
    ready.run(
        f"%%conduit block judge --input Review --output Verdict --endpoint {server.url}\nSay.\n"
    )
    ready.run(
        f"%%conduit block again --input Verdict --output Review --endpoint {server.url}\nSay.\n"
    )

    good, cut = ready.run("judge.batch([Review('good'), Review('CUT')])")
    assert good.mood == "good"
    assert isinstance(cut, TruncatedError)
    assert isinstance(ready.names["judge"], Block)
    assert ready.run("(judge >> again)(Review('bad')).text") == "text"


def test_a_generic_dataclass_may_be_named_with_its_arguments(ready: Cells, server: OpenAIServer):
    ready.run(
        "%%conduit block split --input Review --output Page[Verdict] "
        f"--endpoint {server.url}\nSplit it.\n"
    )

    assert ready.run("split(Review('bad'))").items == [ready.names["Verdict"]("bad")]


def test_without_text_the_outputs_docstring_is_the_instruction(ready: Cells, server: OpenAIServer):
    ready.run(f"%%conduit block judge --input Review --output Verdict --endpoint {server.url}")
    ready.run("judge(Review('bad'))")

    assert server.requests[0]["messages"][0]["content"].startswith("What it is.")


def test_a_record_of_another_type_is_refused(ready: Cells, server: OpenAIServer):
    ready.run(
        f"%%conduit block judge --input Review --output Verdict --endpoint {server.url}\nSay.\n"
    )

    ready.fail("judge(Verdict('bad'))", ValidationError)
    assert not server.requests


@pytest.mark.parametrize(
    ("line", "kind", "param", "fact", "hint"),
    [
        ("", ArgumentError, "name", "NAME", "%%conduit block NAME --input In --output Out"),
        ("judge --input Review", ArgumentError, "output", "--output", "%%conduit block NAME"),
        ("2x --input Review --output Verdict", ArgumentError, "name", "'2x'", ""),
        ("if --input Review --output Verdict", ArgumentError, "name", "'if'", ""),
        (
            "judge --input Reveiw --output Verdict",
            ArgumentError,
            "input",
            "'Reveiw'",
            did_you_mean("Review"),
        ),
        ("judge --input int --output Verdict", SchemaError, None, "int", "dataclass"),
        (
            "judge --input Review --output Verdict --modell x",
            ArgumentError,
            "modell",
            "--modell",
            did_you_mean("--model"),
        ),
    ],
)
def test_a_mistake_is_an_error_that_says_what_to_write(
    ready: Cells, line: str, kind: type[ConduitError], param: str | None, fact: str, hint: str
):
    error = ready.fail(f"%%conduit block {line}\nSay.\n", kind)

    assert getattr(error, "param", None) == param
    assert fact in str(error)
    assert hint in error.hint
    assert "judge" not in ready.names


@pytest.mark.parametrize("name", ["list", "open", "input"])
def test_a_name_of_pythons_own_is_not_hidden(name: str):
    with pytest.raises(ArgumentError, match=f"'{name}'") as caught:
        variable(name, what="NAME")
    assert caught.value.param == "name"
    assert f"my_{name}" in caught.value.hint
