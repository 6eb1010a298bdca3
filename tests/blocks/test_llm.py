from __future__ import annotations

import inspect
import json
import pickle
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

import pytest

from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.llm import (
    NAMED,
    CustomBlock,
    LMLiteBlock,
    TensorRtBlock,
    VllmBlock,
    block_type,
)
from conduit_nb.blocks.tasks import DetailedAnswer
from conduit_nb.client import Endpoint
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.names import ComputeProvider
from conduit_nb.compute.request import Replicas
from conduit_nb.errors import (
    ArgumentError,
    EndpointUnreachableError,
    ReplyError,
    SchemaError,
    TruncatedError,
    ValidationError,
)
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.protocol import Dialect, Message
from conduit_nb.schemas import json_schema
from conduit_nb.schemas.partial import Partial
from tests.loop_host import LoopHost, loop_host
from tests.openai_server import OpenAiServer, openai_server

T = TypeVar("T")
HELLO: list[Message] = [{"role": "user", "content": "Hello?"}]


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    """Judge the review."""

    mood: Literal["good", "bad"]
    stars: int


@dataclass
class Page(Generic[T]):
    items: list[T]


@dataclass
class Picture:
    pixels: bytes


def block_at(server: OpenAiServer, *models: str) -> LMLiteBlock:
    return LMLiteBlock(
        [LmLiteModelConfig(model) for model in models or ("m",)], endpoint=server.url
    )


def always(text: str) -> Callable[[dict[str, Any]], str]:
    return lambda _: text


GOOD = always('{"mood":"good","stars":5}')


def test_an_input_is_answered_with_a_record_of_the_output(host: LoopHost):
    with openai_server(answer=GOOD) as server:
        answer = block_at(server)(model_id="m", input=Review(text="Fine."), output=Verdict)

    assert answer == Verdict(mood="good", stars=5)
    request = server.requests[0]
    assert json.loads(request["messages"][-1]["content"]) == {"text": "Fine."}
    assert request["messages"][0]["content"].startswith("Judge the review.")
    spec = request["response_format"]["json_schema"]
    assert (request["response_format"]["type"], spec["name"]) == ("json_schema", "Verdict")
    assert spec["schema"]["properties"] == json_schema(Verdict)["properties"]
    assert spec["strict"] is True
    assert "max_tokens" not in request


def test_messages_are_answered_with_text(host: LoopHost):
    with openai_server() as server:
        assert block_at(server)(messages=HELLO) == "Hello!"
        assert "response_format" not in server.requests[0]


def test_guidance_takes_the_place_of_the_docstring(host: LoopHost):
    with openai_server(answer=GOOD) as server:
        block_at(server)(input=Review(text="a"), output=Verdict, guidance="Be harsh.")

    system = server.requests[0]["messages"][0]["content"]
    assert system.startswith("Be harsh.")
    assert "Judge the review." not in system


def test_a_model_is_told_what_to_do_where_nobody_says_it(host: LoopHost):
    with openai_server(answer=always('{"text":"a"}')) as server:
        block_at(server)(input=Review(text="a"), output=Review)

    assert server.requests[0]["messages"][0]["content"].startswith("Read the input")


def test_examples_are_shown_as_turns(host: LoopHost):
    examples = [(Review(text="Bah."), Verdict(mood="bad", stars=1))]
    with openai_server(answer=GOOD) as server:
        block_at(server)(input=Review(text="a"), output=Verdict, examples=examples)

    turns = server.requests[0]["messages"]
    assert [turn["role"] for turn in turns] == ["system", "user", "assistant", "user"]
    assert json.loads(turns[2]["content"]) == {"mood": "bad", "stars": 1}


@pytest.mark.parametrize(
    ("example", "side"),
    [
        ((Review(text=5), Verdict(mood="bad", stars=1)), "input"),  # type: ignore[arg-type]  # wrong
        ((Review(text="a"), Verdict(mood="sad", stars=1)), "output"),  # type: ignore[arg-type]  # wrong
        ((Verdict(mood="bad", stars=1), Verdict(mood="bad", stars=1)), "input"),
    ],
)
def test_examples_that_do_not_fit_are_refused_at_once(example: Any, side: str):
    block = LMLiteBlock([LmLiteModelConfig("m")])

    with pytest.raises(ValidationError, match=rf"{side}.*examples\[0\]"):
        block.task(Review, Verdict, examples=[example])


def test_an_answer_that_does_not_fit_is_an_error_with_its_text(host: LoopHost):
    said = '{"mood":"sad","stars":"5"}'
    with (
        openai_server(answer=always(said)) as server,
        pytest.raises(ValidationError, match="some/model") as caught,
    ):
        block_at(server, "some/model")(input=Review(text="a"), output=Verdict)

    assert caught.value.text == said
    assert {problem.path for problem in caught.value.problems} == {"$.mood", "$.stars"}


def test_an_answer_that_is_no_json_is_an_error_with_its_text(host: LoopHost):
    with (
        openai_server(answer=always("I think it is good.")) as server,
        pytest.raises(ValidationError) as caught,
    ):
        block_at(server)(input=Review(text="a"), output=Verdict)

    assert caught.value.text == "I think it is good."


def test_a_record_cut_by_the_limit_is_an_error_even_where_it_looks_whole(host: LoopHost):
    with (
        openai_server(answer=GOOD, finish_reason="length") as server,
        pytest.raises(TruncatedError),
    ):
        block_at(server)(input=Review(text="a"), output=Verdict)


def test_a_task_is_a_block_that_answers_many(host: LoopHost):
    def judge(request: dict[str, Any]) -> str:
        text = json.loads(request["messages"][-1]["content"])["text"]
        return json.dumps({"mood": "good", "stars": int(text)}) if text.isdecimal() else "?"

    with openai_server(answer=judge) as server:
        task = block_at(server).task(Review, Verdict)
        answers = task.batch([Review(text="1"), Review(text="x"), Review(text="3")])

    assert (answers[0], answers[2]) == (
        Verdict(mood="good", stars=1),
        Verdict(mood="good", stars=3),
    )
    assert isinstance(answers[1], ValidationError)
    assert not task.has_effects
    assert task.name == "LMLiteBlock.task(Review -> Verdict)"


def test_a_batch_takes_the_type_of_its_records(host: LoopHost):
    with openai_server(answer=GOOD) as server:
        answers = block_at(server).batch([Review(text="a")] * 3, output=Verdict)

    assert answers == [Verdict(mood="good", stars=5)] * 3


def test_an_empty_batch_asks_nobody():
    assert LMLiteBlock([LmLiteModelConfig("m")]).batch([], output=Verdict) == []


def test_generic_records_are_asked_with_what_they_hold(host: LoopHost):
    with openai_server(answer=always('{"items":[{"mood":"bad","stars":1}]}')) as server:
        answer = block_at(server)(
            input=Page[Review](items=[Review(text="a")]), output=Page[Verdict]
        )

    assert answer == Page(items=[Verdict(mood="bad", stars=1)])
    assert server.requests[0]["response_format"]["json_schema"]["name"] == "Page_Verdict_"


def test_a_stream_yields_text_as_it_is_written(host: LoopHost):
    with openai_server(answer=always("one two three")) as server:
        assert list(block_at(server).stream(messages=HELLO)) == ["one ", "two ", "three"]
        assert server.requests[0]["stream_options"] == {"include_usage": True}


def test_the_stream_of_a_record_is_what_there_is_of_it_and_at_last_the_record(host: LoopHost):
    with openai_server(answer=always('{"mood": "good", "stars": 5}')) as server:
        *partials, record = block_at(server).stream(input=Review(text="a"), output=Verdict)

    assert record == Verdict(mood="good", stars=5)
    assert all(isinstance(partial, Partial) for partial in partials)
    assert [(partial.mood, partial.stars) for partial in partials] == [
        (None, None),
        ("good", None),
        ("good", None),
        ("good", 5),
    ]


def test_what_changes_after_the_call_is_not_asked(host: LoopHost):
    review, messages = Review(text="before"), [Message(role="user", content="before")]
    examples = [(Review(text="before"), Verdict(mood="good", stars=5))]
    with openai_server(answer=GOOD) as server:
        block = block_at(server)
        task = block.task(Review, Verdict, examples=examples)
        record = block.stream(input=review, output=Verdict, examples=examples)
        text = block.stream(messages=messages)

        messages[0]["content"] = review.text = examples[0][0].text = "after"
        examples[0][1].stars = 1
        examples.clear()
        messages.clear()
        list(record)
        list(text)
        task(Review(text="x"))

    asked = json.dumps([request["messages"] for request in server.requests])
    assert asked.count("before") == 4
    assert "after" not in asked
    assert [server.requests[at]["messages"][2]["content"] for at in (0, 2)] == [
        '{"mood":"good","stars":5}'
    ] * 2


def test_what_changes_between_the_call_and_its_await_is_not_asked(host: LoopHost):
    review = Review(text="before")
    with openai_server(answer=GOOD) as server:
        task = block_at(server).task(Review, Verdict)
        waiting = [task.run(review), task.detailed.run(review)]
        review.text = "after"
        for one in waiting:
            host.submit(one).result(timeout=20)

    asked = [request["messages"][-1]["content"] for request in server.requests]
    assert asked == ['{"text":"before"}'] * 2


def test_a_stream_whose_record_does_not_fit_ends_with_the_error(host: LoopHost):
    with openai_server(answer=always('{"mood": "sad", "stars": 5}')) as server:
        texts = block_at(server).stream(input=Review(text="a"), output=Verdict)
        with pytest.raises(ValidationError) as caught:
            list(texts)

    assert [problem.path for problem in caught.value.problems] == ["$.mood"]


def test_a_record_cut_by_the_limit_is_an_error_that_has_it_closed(host: LoopHost):
    cut = '{"mood": "good", "sta'
    with openai_server(answer=always(cut), finish_reason="length") as server:
        with pytest.raises(TruncatedError) as caught:
            block_at(server)(input=Review(text="a"), output=Verdict)
        with pytest.raises(TruncatedError) as streamed:
            list(block_at(server).stream(input=Review(text="a"), output=Verdict))

    assert caught.value.text == cut
    assert caught.value.partial == streamed.value.partial == Verdict(mood="good", stars=0)
    assert "on_length" in caught.value.hint
    assert pickle.loads(pickle.dumps(caught.value)).partial == caught.value.partial


def test_a_record_cut_by_the_limit_is_kept_where_that_is_wanted(host: LoopHost):
    cut = '{"mood": "good", "sta'
    kept = Verdict(mood="good", stars=0)
    with openai_server(answer=always(cut), finish_reason="length") as server:
        block = block_at(server)
        task = block.task(Review, Verdict, on_length="keep")
        assert block(input=Review(text="a"), output=Verdict, on_length="keep") == kept
        assert block.batch([Review(text="a")], output=Verdict, on_length="keep") == [kept]
        assert task(Review(text="a")) == kept
        assert list(task_stream(block))[-1] == kept
        assert task.detailed(Review(text="a")) == DetailedAnswer(record=kept, is_truncated=True)
        (answer,) = task.detailed.batch([Review(text="a")])
    assert answer == DetailedAnswer(record=kept, is_truncated=True)


def task_stream(block: LMLiteBlock) -> Iterator[object]:
    return block.stream(input=Review(text="a"), output=Verdict, on_length="keep")


def test_a_cut_record_that_cannot_be_closed_is_an_error_without_one(host: LoopHost):
    with (
        openai_server(answer=always('{"mood": "sad'), finish_reason="length") as server,
        pytest.raises(TruncatedError) as caught,
    ):
        block_at(server)(input=Review(text="a"), output=Verdict, on_length="keep")

    assert caught.value.partial is None


def test_on_length_takes_two_words():
    with pytest.raises(ArgumentError, match="'keeps'") as caught:
        LMLiteBlock(["m"]).task(Review, Verdict, on_length="keeps")  # type: ignore[arg-type]  # the mistake
    assert caught.value.param == "on_length"


def test_a_server_that_cannot_tell_how_sure_it_is_is_not_asked(host: LoopHost):
    with openai_server() as server, pytest.raises(ArgumentError) as caught:
        block_at(server).task(Review, Verdict, confidence=True)(Review(text="a"))
    assert caught.value.param == "confidence"
    assert server.requests == []


def test_a_stream_cut_by_the_limit_ends_with_the_error(host: LoopHost):
    seen: list[str] = []
    with (
        openai_server(answer=always("one two"), finish_reason="length") as server,
        pytest.raises(TruncatedError) as caught,
    ):
        seen.extend(block_at(server).stream(messages=HELLO))

    assert "".join(seen) == caught.value.text == "one two"


def test_a_stream_that_breaks_is_not_begun_again(host: LoopHost):
    seen: list[str] = []
    with openai_server(answer=always("one two three"), hangs_up_after=2) as server:
        with pytest.raises(EndpointUnreachableError):
            seen.extend(block_at(server).stream(messages=HELLO))
        assert len(server.requests) == 1

    assert seen == ["one ", "two "]


def test_leaving_a_stream_makes_the_server_stop(host: LoopHost):
    with openai_server(answer=always("one two three"), holds=threading.Event()) as server:
        for _ in block_at(server).stream(messages=HELLO):
            break
        assert server.was_left.wait(10)

    assert host.kinds()[-1] == "BlockFailed"


def test_the_model_may_be_left_out_where_there_is_one(host: LoopHost):
    with openai_server() as server:
        block_at(server, "only")(messages=HELLO)
        block_at(server, "one", "two")(messages=HELLO, model_id="two")

    assert [request["model"] for request in server.requests] == ["only", "two"]


@pytest.mark.parametrize("model_id", [None, "three"])
def test_a_model_that_the_block_does_not_have_is_refused_with_the_choices(model_id: str | None):
    block = LMLiteBlock([LmLiteModelConfig("one"), LmLiteModelConfig("two")])

    with pytest.raises(ArgumentError) as caught:
        block(messages=HELLO, model_id=model_id)

    assert caught.value.param == "model_id"
    assert "one, two" in caught.value.hint


@pytest.mark.parametrize(
    ("arguments", "param"),
    [
        ({}, "input"),
        ({"input": Review(text="a")}, "output"),
        ({"output": Verdict}, "input"),
        ({"messages": HELLO, "output": Verdict}, "output"),
        ({"messages": HELLO, "guidance": "Be brief."}, "guidance"),
        ({"messages": []}, "messages"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "messages"),
        ({"messages": [{"role": "user"}]}, "messages"),
        ({"messages": ["Hello?"]}, "messages"),
        ({"messages": HELLO, "max_tokens": 0}, "max_tokens"),
    ],
)
def test_a_call_that_cannot_be_meant_is_refused(arguments: dict[str, Any], param: str):
    block = LMLiteBlock([LmLiteModelConfig("m")])

    for call in (block.__call__, block.stream):
        with pytest.raises(ArgumentError) as caught:
            call(**arguments)
        assert caught.value.param == param


def test_an_argument_that_is_not_there_is_an_error():
    with pytest.raises(TypeError, match="temprature"):
        LMLiteBlock([LmLiteModelConfig("m")])(messages=HELLO, temprature=1)  # type: ignore[call-overload]  # under test


def test_a_constraint_that_this_machine_keeps_is_no_obstacle():
    constraint = DeploymentConstraint(max_usd_per_hour=1.5, providers=("local", "runpod"))

    assert LMLiteBlock(["m"], constraint=constraint).constraint == constraint


def test_an_id_alone_is_a_model_with_every_default():
    assert LMLiteBlock(["m"]).models == (LmLiteModelConfig("m"),)


@pytest.mark.parametrize(
    ("arguments", "param", "fact"),
    [
        ({"models": []}, "models", "models="),
        ({"models": "m"}, "models", "[…]"),
        ({"models": [None]}, "models", "None"),
        ({"models": [LmLiteModelConfig("m"), LmLiteModelConfig("m", 100)]}, "models", "'m'"),
        ({"compute_provider": "nowhere"}, "compute_provider", "'nowhere'"),
        ({"api_key_env": "MY_KEY"}, "api_key_env", "endpoint="),
        ({"constraint": DeploymentConstraint(providers=("runpod",))}, "constraint", "providers"),
        ({"constraint": DeploymentConstraint(enterprise=True)}, "constraint", "enterprise"),
        ({"constraint": DeploymentConstraint(interruptible=True)}, "constraint", "interruptible"),
        (
            {
                "constraint": DeploymentConstraint(regions=("eu-*",)),
                "endpoint": "http://127.0.0.1:9/v1",
            },
            "constraint",
            "endpoint=",
        ),
        (
            {"compute_provider": "docker", "endpoint": "http://h/v1"},
            "compute_provider",
            "endpoint=",
        ),
        ({"endpoint": "no url"}, "endpoint", "'no url'"),
        ({"on": "mine", "endpoint": "http://h/v1"}, "on", "endpoint="),
        ({"on": "mine", "gpu": "L40S"}, "gpu", "on="),
        ({"on": "mine", "compute_provider": "docker"}, "compute_provider", "on="),
        ({"on": "mine", "constraint": DeploymentConstraint(enterprise=True)}, "constraint", "on="),
        ({"on": "mine", "max_usd": 1.0}, "max_usd", "on="),
        ({"timeout_seconds": 0}, "timeout_seconds", "=0"),
    ],
)
def test_a_block_that_cannot_be_meant_is_refused(arguments: dict[str, Any], param: str, fact: str):
    with pytest.raises(ArgumentError) as caught:
        LMLiteBlock(**{"models": [LmLiteModelConfig("m")], **arguments})

    assert caught.value.param == param
    assert fact in f"{caught.value} {caught.value.hint}"


@pytest.mark.parametrize("provider", [ComputeProvider.LOCAL, "local"])
def test_the_provider_is_a_member_of_the_enum_or_a_registered_name(
    host: LoopHost, provider: ComputeProvider | str
):
    with pytest.raises(IndexError):  # this host has no endpoint to hand out
        LMLiteBlock([LmLiteModelConfig("m")], provider)(messages=HELLO)

    assert host.asked == [("local", False)]


def test_a_deployment_that_is_named_is_asked_for_by_its_name(host: LoopHost):
    with openai_server(answer=lambda _: "Hi.") as server:
        host.endpoints = [Endpoint(server.url)]
        said = LMLiteBlock([LmLiteModelConfig("m")], on="mine")(messages=HELLO)

    assert (said, host.asked, host.requests) == ("Hi.", [("mine", False)], [])
    assert server.requests[0]["model"] == "m"


def test_what_a_model_cannot_write_is_refused_when_the_task_is_made():
    with pytest.raises(SchemaError, match="bytes") as caught:
        LMLiteBlock([LmLiteModelConfig("m")]).task(Review, Picture)
    assert caught.value.path == "$.pixels"


def test_a_model_is_asked_with_one_dataclass():
    block = LMLiteBlock([LmLiteModelConfig("m")])

    for output, shown in ((Review | Verdict, r"Review \| Verdict"), (type(None), "None")):
        with pytest.raises(SchemaError, match=rf"LMLiteBlock.*{shown}"):
            block.task(Review, output)  # type: ignore[arg-type]  # the mistake under test


def test_a_schema_beyond_openais_strict_mode_is_sent_all_the_same(host: LoopHost):
    @dataclass
    class Tally:
        counts: dict[str, int]

    with openai_server(answer=always('{"counts":{"a":1}}')) as server:
        answer = block_at(server)(input=Review(text="a"), output=Tally)

    assert answer == Tally(counts={"a": 1})
    assert server.requests[0]["response_format"]["json_schema"]["strict"] is False


def test_an_answer_of_nothing_is_a_reply_error(host: LoopHost):
    with openai_server(answer=always("")) as server, pytest.raises(ReplyError):
        block_at(server)(input=Review(text="a"), output=Verdict)


def test_a_block_shows_its_models_and_no_secrets():
    block = LMLiteBlock(
        [LmLiteModelConfig("one")], endpoint="http://127.0.0.1:9", api_key_env="MY_KEY"
    )

    assert repr(block) == "LMLiteBlock(one)"


@pytest.mark.parametrize(
    ("given", "output", "fact"),
    [
        (Review("x"), Verdict("good", 1), r"Verdict\(\.\.\.\)"),
        (Review("x"), [Verdict], r"\blist\b.*Verdict"),
        (Review("x"), "Verdict", r": Verdict\b(?!\()"),
        (Review("x"), {"mood": "str"}, r"\bdict\b"),
        (Review, Verdict, r": Review\b(?!\()"),
        ([Review("x")], Verdict, r"\blist\b"),
        ([Review], Verdict, r"\blist\b"),
        ("x", Verdict, r"\bstr\b"),
        ({"text": "x"}, Verdict, r"\bdict\b"),
    ],
)
def test_what_is_no_record_or_no_class_is_named_before_anything_is_asked(
    host: LoopHost, given: Any, output: Any, fact: str
):
    with openai_server(answer=GOOD) as server:
        block = block_at(server)
        for use in (
            lambda: block(input=given, output=output),
            lambda: list(block.stream(input=given, output=output)),
            lambda: block.batch([given], output=output),
        ):
            with pytest.raises(SchemaError, match=fact) as caught:
                use()
            assert caught.value.hint

    assert server.requests == []


def test_a_task_wants_a_record_and_says_what_it_was_given(host: LoopHost):
    with openai_server(answer=GOOD) as server:
        task = block_at(server).task(Review, Verdict)
        for given, kind in ((Review, "Review"), ([Review("x")], "list"), ("x", "str")):
            with pytest.raises(ValidationError, match=rf"\$: .*Review.*\b{kind}\b") as caught:
                task(given)  # type: ignore[arg-type]  # the mistakes under test
            assert "Review(text=...)" in caught.value.hint
        with pytest.raises(SchemaError, match=r"Review\(\.\.\.\)"):
            block_at(server).task(Review("x"), Verdict)  # type: ignore[arg-type]  # as above

    assert server.requests == []


def test_generic_records_are_asked_about_and_answered_as_what_they_hold(host: LoopHost):
    with openai_server(answer=always('{"items":[{"text":"x"}]}')) as server:
        page = block_at(server)(input=Review("a"), output=Page[Review])
        again = block_at(server)(input=page, output=Page[Review])

    assert again == page
    assert server.requests[-1]["messages"][-1]["content"] == '{"items":[{"text":"x"}]}'


MODEL = LmLiteModelConfig("a/b", max_model_len=100)


@dataclass
class Judged:
    good: bool


@pytest.mark.parametrize("block", NAMED.values(), ids=list(NAMED))
def test_every_block_is_made_and_called_alike(block: type[LMLiteBlock]):
    assert inspect.signature(block) == inspect.signature(LMLiteBlock)
    assert block([MODEL]).name == block.__name__


def test_the_runtime_is_part_of_what_is_deployed():
    with loop_host() as host, use_host(host), openai_server() as server:
        host.endpoints = [Endpoint(server.url)]
        VllmBlock([MODEL], replicas=(1, 3), gpu="L4", gpu_count=2, tensor_parallel=2, max_usd=1.5)(
            messages=[{"role": "user", "content": "hi"}]
        )

    wanted = host.requests[0]
    assert (wanted.runtime, wanted.gpu, wanted.gpu_count, wanted.tensor_parallel) == (
        "vllm",
        "L4",
        2,
        2,
    )
    assert (wanted.replicas, wanted.max_usd) == (Replicas(1, 3), 1.5)
    assert not wanted.is_shared


def test_a_field_that_the_runtime_lacks_is_an_error_when_the_block_is_made():
    with pytest.raises(ArgumentError, match="quantization"):
        VllmBlock([LmLiteModelConfig("a/b", quantization="int8")])
    with pytest.raises(ArgumentError, match="batch"):
        TensorRtBlock([LmLiteModelConfig("a/b", model_batch_execute_timeout_ms=3)])

    LMLiteBlock([LmLiteModelConfig("a/b", quantization="int8")])
    CustomBlock([LmLiteModelConfig("a/b", quantization="int8")])


@pytest.mark.parametrize(("dialect", "key"), [("openai", "json_schema"), ("tensorrt", "json")])
def test_a_record_is_asked_for_in_the_words_of_the_server(dialect: Dialect, key: str):
    with (
        loop_host() as host,
        use_host(host),
        openai_server(answer=lambda _: '{"good":true}') as server,
    ):
        host.endpoints = [Endpoint(server.url, dialect=dialect)]
        verdict = VllmBlock([MODEL])(input=Review("fine"), output=Judged)
        asked = server.requests[0]["response_format"]

    assert verdict == Judged(good=True)
    assert asked["type"] == key
    schema = asked["schema"] if key == "json" else asked["json_schema"]["schema"]
    assert schema["properties"]["good"] == {"type": "boolean"}
    assert "x-guidance" not in schema


def test_a_runtime_that_is_registered_elsewhere_has_a_block_too():
    assert block_type("vllm") is VllmBlock
    assert block_type("mine").runtime == "mine"
    with pytest.raises(ArgumentError, match="'mine'") as caught:
        block_type("mine")([MODEL])
    assert caught.value.param == "runtime"
