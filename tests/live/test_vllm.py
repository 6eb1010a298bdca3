"""The same calls on LmLite and on a real vLLM: nothing changes but the block's name."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import pytest

import conduit_nb
from conduit_nb import settings
from conduit_nb.blocks.llm import LlmBlock, LMLiteBlock, VllmBlock
from conduit_nb.errors import ConduitError, TruncatedError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.models.embedded import EMBEDDED_MODEL_ID
from conduit_nb.schemas.partial import Partial

pytestmark = [
    pytest.mark.model,
    pytest.mark.skipif(
        settings.vllm_python() is None, reason="runs a real vLLM: make test-vllm, 3.5 GB"
    ),
]


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    """Find out whether the customer is satisfied."""

    sentiment: Literal["good", "bad"]


REVIEWS = [Review("I love it, it works every day."), Review("It broke on the first day.")]


@pytest.fixture(scope="module", params=[LMLiteBlock, VllmBlock], ids=lambda kind: kind.runtime)
def block(request: pytest.FixtureRequest) -> Iterator[LlmBlock]:
    kind: type[LlmBlock] = request.param
    yield kind([LmLiteModelConfig(EMBEDDED_MODEL_ID, max_model_len=2048, max_model_concurrency=4)])
    conduit_nb.terminate("all")


def test_records_are_answered_with_records(block: LlmBlock):
    verdicts = block.batch(REVIEWS * 4, output=Verdict)

    assert not [one for one in verdicts if isinstance(one, ConduitError)]
    assert len(verdicts) == 8
    assert {type(one) for one in verdicts} == {Verdict}


def test_a_chat_is_answered_with_text(block: LlmBlock):
    said = block(messages=[{"role": "user", "content": "What is the capital of France?"}])

    assert "Paris" in said


def test_a_record_is_streamed_as_it_grows(block: LlmBlock):
    pieces = list(block.stream(input=REVIEWS[0], output=Verdict))

    assert isinstance(pieces[-1], Verdict)
    assert all(isinstance(piece, Partial) for piece in pieces[:-1])


def test_an_answer_that_is_cut_is_an_error(block: LlmBlock):
    with pytest.raises(TruncatedError):
        block(messages=[{"role": "user", "content": "Tell me a long story."}], max_tokens=3)
