"""What clients of OpenAI's API do by default, against a LmLite that runs: `make test-clients`.

Runs in an environment of its own, where the clients are and Conduit is not. The server's address,
key and model are in the environment. The model is a small one: what is checked is that each client
gets what it asked for in the form that it asked for, not that it is clever. Modes that only ask
for a schema in words (instructor's JSON and MD_JSON, langchain's json_mode) are left to larger
models.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import instructor
import litellm
import llm
import openai
import pydantic
import pytest
import yaml
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from pydantic_ai import Agent, NativeOutput
from pydantic_ai.exceptions import ModelHTTPError, UsageLimitExceeded
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import UsageLimits

URL = os.environ["CONDUIT_CLIENTS_URL"]
KEY = os.environ["CONDUIT_CLIENTS_KEY"]
MODEL = os.environ["CONDUIT_CLIENTS_MODEL"]
ASK = "The user Ann is 34 years old and is happy. What do we know of her?"
LONG = "word " * 12_000


class Person(pydantic.BaseModel):
    """A person that a text is about."""

    name: str = pydantic.Field(description="The name", max_length=20)
    age: int = pydantic.Field(ge=0, le=150)
    mood: Literal["happy", "sad"] | None = None


WEATHER: Any = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "Tell the weather in a city.",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 20}},
            "required": ["city"],
        },
    },
}
FORCED: Any = {"type": "function", "function": {"name": "get_weather"}}
QUESTION: Any = [{"role": "user", "content": "What is the weather in Paris?"}]


# openai


@pytest.fixture
def client() -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=URL, api_key=KEY, max_retries=0, timeout=300) as client:
        yield client


def test_openai_chats_and_streams(client: openai.OpenAI):
    options: Any = {"model": MODEL, "messages": QUESTION, "max_tokens": 12}

    whole = client.chat.completions.create(**options)
    streamed = client.chat.completions.create(
        **options, stream=True, stream_options={"include_usage": True}
    )
    chunks = list(streamed)

    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text == whole.choices[0].message.content
    assert chunks[-1].usage == whole.usage


def test_openai_parses_a_record_whole_and_streamed(client: openai.OpenAI):
    options: Any = {
        "model": MODEL,
        "messages": [{"role": "user", "content": ASK}],
        "response_format": Person,
        "max_tokens": 80,
    }

    whole = client.chat.completions.parse(**options)
    with client.chat.completions.stream(**options) as stream:
        final = stream.get_final_completion()

    assert isinstance(whole.choices[0].message.parsed, Person)
    assert final.choices[0].message.parsed == whole.choices[0].message.parsed


@pytest.mark.parametrize("choice", [FORCED, "required"])
def test_openai_calls_a_function_and_sends_everything_back(client: openai.OpenAI, choice: Any):
    options: Any = {"model": MODEL, "tools": [WEATHER], "max_tokens": 150}
    first = client.chat.completions.create(
        **options, messages=QUESTION, tool_choice=choice, parallel_tool_calls=False
    )
    message = first.choices[0].message
    assert message.tool_calls
    (call,) = message.tool_calls
    assert set(json.loads(call.function.arguments)) == {"city"}
    assert first.choices[0].finish_reason == "tool_calls"

    for said in (message, message.model_dump()):
        second = client.chat.completions.create(
            **{**options, "max_tokens": 8},
            messages=[
                *QUESTION,
                said,
                {"role": "tool", "tool_call_id": call.id, "content": "sunny"},
            ],
        )
        assert second.choices[0].message.role == "assistant"


def test_openai_parses_a_streamed_call(client: openai.OpenAI):
    with client.chat.completions.stream(
        model=MODEL,
        messages=[{"role": "user", "content": ASK}],
        tools=[openai.pydantic_function_tool(Person)],
        tool_choice="required",
        parallel_tool_calls=False,
        max_tokens=120,
    ) as stream:
        kinds = {event.type for event in stream}
        message = stream.get_final_completion().choices[0].message

    assert "tool_calls.function.arguments.delta" in kinds
    assert message.tool_calls
    assert isinstance(message.tool_calls[0].function.parsed_arguments, Person)


def test_openai_makes_its_own_errors_of_ours(client: openai.OpenAI):
    with pytest.raises(openai.BadRequestError) as too_long:
        client.chat.completions.create(model=MODEL, messages=[{"role": "user", "content": LONG}])
    with pytest.raises(openai.NotFoundError) as unknown:
        client.chat.completions.create(model="nobody/nothing", messages=QUESTION)
    with pytest.raises(openai.NotFoundError, match=r"/v1/embeddings: .*\bembeddings\b"):
        client.embeddings.create(model=MODEL, input="x")
    with pytest.raises(openai.NotFoundError, match=r"/v1/responses: .*\bResponses API\b"):
        client.responses.create(model=MODEL, input="x")
    with pytest.raises(openai.AuthenticationError) as refused:
        client.with_options(api_key="wrong").models.list()

    assert too_long.value.code == "context_length_exceeded"
    assert unknown.value.code == "model_not_found"
    assert refused.value.code == "invalid_api_key"


# instructor


@pytest.mark.parametrize("mode", ["default", "TOOLS", "TOOLS_STRICT", "JSON_SCHEMA", "FUNCTIONS"])
def test_instructor_makes_a_record(client: openai.OpenAI, mode: str):
    modes: Any = instructor.Mode
    made: Any = instructor.from_openai(
        client, **({} if mode == "default" else {"mode": getattr(modes, mode)})
    )

    person = made.chat.completions.create(
        model=MODEL,
        messages=[{"role": "user", "content": ASK}],
        response_model=Person,
        max_tokens=200,
        max_retries=3,
    )

    assert isinstance(person, Person)


def test_instructor_streams_parts_of_a_record(client: openai.OpenAI):
    made: Any = instructor.from_openai(client)

    *_, last = made.chat.completions.create_partial(
        model=MODEL,
        messages=[{"role": "user", "content": ASK}],
        response_model=Person,
        max_tokens=120,
    )

    assert last.name is not None


# litellm

LITE: Any = {
    "model": f"openai/{MODEL}",
    "api_base": URL,
    "api_key": KEY,
    "num_retries": 0,
    "timeout": 300,
}


def test_litellm_chats_streams_and_sends_back():
    whole: Any = litellm.completion(**LITE, messages=QUESTION, max_tokens=12)
    chunks: Any = litellm.completion(**LITE, messages=QUESTION, max_tokens=12, stream=True)

    text = "".join(one.choices[0].delta.content or "" for one in chunks)
    assert text == whole.choices[0].message.content
    again: Any = litellm.completion(
        **LITE,
        messages=[*QUESTION, whole.choices[0].message.model_dump(), *QUESTION],
        max_tokens=4,
    )
    assert again.choices[0].message.content is not None


def test_litellm_calls_a_function_and_sends_the_result_back():
    first: Any = litellm.completion(
        **LITE, messages=QUESTION, tools=[WEATHER], tool_choice="required", max_tokens=100
    )
    message = first.choices[0].message
    assert set(json.loads(message.tool_calls[0].function.arguments)) == {"city"}
    results = [
        {"role": "tool", "tool_call_id": call.id, "name": "get_weather", "content": "sunny"}
        for call in message.tool_calls
    ]

    second: Any = litellm.completion(
        **LITE, messages=[*QUESTION, message, *results], tools=[WEATHER], max_tokens=6
    )

    assert second.choices[0].finish_reason in ("stop", "length", "tool_calls")


def test_litellm_makes_a_record():
    reply: Any = litellm.completion(
        **LITE,
        messages=[{"role": "user", "content": ASK}],
        response_format=Person,
        max_tokens=80,
    )

    Person.model_validate_json(reply.choices[0].message.content)


def test_litellm_makes_its_own_errors_of_ours():
    with pytest.raises(litellm.ContextWindowExceededError):
        litellm.completion(**LITE, messages=[{"role": "user", "content": LONG}])
    with pytest.raises(litellm.AuthenticationError):
        litellm.completion(**{**LITE, "api_key": "wrong"}, messages=QUESTION)
    with pytest.raises(litellm.NotFoundError):
        litellm.completion(**{**LITE, "model": "openai/nobody/nothing"}, messages=QUESTION)


# langchain


def chain(**options: Any) -> ChatOpenAI:
    return ChatOpenAI(
        model=MODEL,
        base_url=URL,
        api_key=pydantic.SecretStr(KEY),
        max_retries=0,
        **{"max_tokens": 120, **options},
    )


@tool
def get_weather(city: str) -> str:
    """Tell the weather in a city."""
    return f"It is sunny in {city}."


def test_langchain_chats_and_streams():
    model = chain(max_tokens=12)

    whole = model.invoke("What is the weather in Paris?")
    text = "".join(str(chunk.content) for chunk in model.stream("What is the weather in Paris?"))

    assert text == whole.content
    assert whole.usage_metadata
    assert whole.usage_metadata["output_tokens"] > 0


@pytest.mark.parametrize("method", ["json_schema", "function_calling"])
def test_langchain_makes_a_record(method: Any):
    assert isinstance(chain().with_structured_output(Person, method=method).invoke(ASK), Person)


def test_langchain_calls_a_function_and_sends_the_result_back():
    model = chain()
    question = HumanMessage("What is the weather in Paris?")
    said = model.bind_tools([get_weather], tool_choice="required").invoke([question])
    assert said.tool_calls
    results = [
        ToolMessage(get_weather.invoke(call["args"]), tool_call_id=call["id"])
        for call in said.tool_calls
    ]

    answer = chain(max_tokens=8).bind_tools([get_weather]).invoke([question, said, *results])

    assert answer.type == "ai"


def test_langchain_knows_a_prompt_that_is_too_long():
    with pytest.raises(openai.BadRequestError) as refused:
        chain().invoke(LONG)

    assert type(refused.value).__name__ in ("OpenAIContextOverflowError", "BadRequestError")
    assert refused.value.code == "context_length_exceeded"


# pydantic-ai


def agent_model() -> OpenAIChatModel:
    return OpenAIChatModel(MODEL, provider=OpenAIProvider(base_url=URL, api_key=KEY))


SETTINGS = ModelSettings(max_tokens=160)


@pytest.mark.parametrize("kind", ["tool", "native", "text"])
def test_pydantic_ai_makes_a_record(kind: str):
    outputs: Any = {"tool": Person, "native": NativeOutput(Person), "text": str}
    agent: Any = Agent(agent_model(), output_type=outputs[kind], model_settings=SETTINGS, retries=3)

    result = agent.run_sync(ASK)

    assert isinstance(result.output, str if kind == "text" else Person)
    assert result.usage is not None


def test_pydantic_ai_offers_functions_beside_its_output():
    agent: Any = Agent(agent_model(), output_type=Person, model_settings=SETTINGS, retries=3)
    asked: list[str] = []

    @agent.tool_plain
    def age_of(name: str) -> int:
        """Tell how old a person is."""
        asked.append(name)
        return 34

    output = None
    with contextlib.suppress(UsageLimitExceeded):  # a small model may call it again and again
        output = agent.run_sync(ASK, usage_limits=UsageLimits(request_limit=3)).output

    assert asked or isinstance(output, Person)


async def streamed_person() -> Any:
    agent: Any = Agent(agent_model(), output_type=Person, model_settings=SETTINGS, retries=3)
    async with agent.run_stream(ASK) as result:
        return await result.get_output()


def test_pydantic_ai_streams_a_record():
    assert isinstance(asyncio.run(streamed_person()), Person)


def test_pydantic_ai_tells_our_errors():
    agent = Agent(agent_model(), model_settings=SETTINGS)

    with pytest.raises(ModelHTTPError) as refused:
        agent.run_sync(LONG)

    assert refused.value.status_code == 400
    assert "context_length_exceeded" in str(refused.value.body)


# llm


@pytest.fixture
def own_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return the model as llm knows it from its file of other servers."""
    monkeypatch.setenv("LLM_USER_PATH", str(tmp_path))
    entry = {
        "model_id": "lmlite",
        "model_name": MODEL,
        "api_base": URL,
        "api_key_name": "openai",
        "supports_schema": True,
        "supports_tools": True,
    }
    (tmp_path / "extra-openai-models.yaml").write_text(yaml.safe_dump([entry]))
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    return llm.get_model("lmlite")


def test_llm_prompts_and_streams(own_model: Any):
    whole = own_model.prompt("What is the weather in Paris?", max_tokens=12, stream=False).text()
    streamed = list(own_model.prompt("What is the weather in Paris?", max_tokens=12))

    assert "".join(streamed) == whole


def test_llm_goes_on_with_a_conversation(own_model: Any):
    talk = own_model.conversation()
    talk.prompt("Hello.", max_tokens=6).text()

    assert isinstance(talk.prompt("Go on.", max_tokens=6).text(), str)


def test_llm_makes_a_record(own_model: Any):
    response = own_model.prompt(ASK, schema=Person, max_tokens=120)

    Person.model_validate_json(response.text())


def test_llm_offers_functions(own_model: Any):
    def weather(city: str) -> str:
        """Tell the weather in a city."""
        return f"It is sunny in {city}."

    talk = own_model.conversation(tools=[weather])
    talk.chain_limit = 3
    chain = talk.chain("What is the weather in Paris?", options={"max_tokens": 40})

    assert isinstance(chain.text(), str)
