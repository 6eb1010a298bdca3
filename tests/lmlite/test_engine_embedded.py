"""The engine with the embedded model: the same claims, with weights that mean something."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

pytest.importorskip("torch")

from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.engine import Engine
from tests.lmlite.conftest import WHERE
from tests.lmlite.generation import Reference, request, write, write_all

pytestmark = [pytest.mark.model, pytest.mark.slow]  # the real model writes many replies

QUESTIONS = (
    "What is the capital of France?",
    "Write one sentence about the sea.",
    "Name three colours.",
    "Is water wet? Answer with yes or no.",
)
REVIEW = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positive", "negative"]},
        "would_return": {"type": "boolean"},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["sentiment", "would_return", "stars"],
    "additionalProperties": False,
}


@pytest.fixture(scope="module")
def engine(embedded_model_folder: Path) -> Iterator[Engine]:
    loaded = Engine.load(embedded_model_folder, EngineConfig(threads=1, **WHERE))
    yield loaded
    loaded.close()


@pytest.fixture(scope="module")
def reference(embedded_model_folder: Path) -> Reference:
    return Reference(embedded_model_folder)


async def test_it_knows_the_capital_of_france(engine: Engine):
    prompt = engine.encode_chat([{"role": "user", "content": QUESTIONS[0]}])

    assert (await write(engine, request(prompt, 20))).text == "The capital of France is Paris."


async def test_a_batch_writes_what_generate_writes_one_by_one(engine: Engine, reference: Reference):
    prompts = [engine.encode_chat([{"role": "user", "content": one}]) for one in QUESTIONS]

    written = await write_all(engine, [request(prompt, 24) for prompt in prompts])

    assert [reply.text for reply in written] == [reference.greedy(one, 24) for one in prompts]


async def test_records_fit_their_schema_and_forced_tokens_change_no_text(
    engine: Engine, reference: Reference
):
    prompts = [
        engine.encode_chat([{"role": "user", "content": f"Judge this review: {text}"}])
        for text in ("Lovely food, we will be back!", "Cold soup and rude staff.")
    ]

    written = await write_all(
        engine, [request(prompt, 60, json_schema=REVIEW) for prompt in prompts]
    )

    for reply in written:
        jsonschema.validate(json.loads(reply.text), REVIEW)
        assert reply.reason == "stop"
    assert written[0].text == reference.guided(prompts[0], 60, REVIEW)
    assert written[1].text == reference.guided(prompts[1], 60, REVIEW, forced=False)


async def test_a_long_prompt_is_read_in_pieces(engine: Engine, reference: Reference):
    text = "The password is swordfish. " + "The sky is blue and the grass is green. " * 58
    prompt = engine.encode_chat([{"role": "user", "content": f"{text} What is the password?"}])
    assert len(prompt) > 600

    assert (await write(engine, request(prompt, 4))).text == reference.greedy(prompt, 4)
