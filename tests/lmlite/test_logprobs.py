"""lmlite/logprobs.py: which log probabilities a token has, and with which text it is emitted."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import pytest

from conduit_nb.lmlite.logprobs import LogprobBuffer, SampledToken, TokenLogprob
from tests.lmlite.conftest import LoadEngine

SPECIAL = 300


class Bytes:
    """A vocabulary in which each token is one byte, and one is no text."""

    def decode_bytes(self, tokens: list[int]) -> bytes:
        return b"<end>" if tokens == [SPECIAL] else bytes(tokens)

    def is_special_token(self, token: int) -> bool:
        return token == SPECIAL


def chosen(tokens: Sequence[int]) -> list[SampledToken]:
    return [SampledToken(token=token, logprob=-1.0) for token in tokens]


def spelt(entries: Sequence[TokenLogprob]) -> bytes:
    return b"".join(entry.token for entry in entries)


def test_the_bytes_of_a_character_are_emitted_with_it():
    buffer = LogprobBuffer(Bytes(), 0)
    buffer.add(chosen("aß".encode()))

    assert spelt(buffer.take_for("a")) == b"a"
    assert buffer.take_for("") == ()
    assert spelt(buffer.take_for("ß")) == "ß".encode()


def test_a_token_that_is_no_text_moves_no_other():
    buffer = LogprobBuffer(Bytes(), 0)
    buffer.add(chosen([SPECIAL, *b"ab"]))

    assert spelt(buffer.take_for("a")) == b"<end>a"
    assert spelt(buffer.rest()) == b"b"
    assert buffer.rest() == ()


def test_a_forced_token_has_itself_as_its_only_alternative():
    buffer = LogprobBuffer(Bytes(), 3)
    buffer.add([SampledToken(token=65)])

    assert buffer.rest() == (TokenLogprob(token=b"A", logprob=0.0, top=((b"A", 0.0),)),)


async def test_log_probabilities_are_those_of_the_model_and_spell_the_text(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    torch = pytest.importorskip("torch")
    from tests.lmlite.generation import Reference, request

    reference = Reference(tiny_model_folder)
    prompt = reference.prompt("hello")
    engine = load_engine(tiny_model_folder)

    deltas = [one async for one in engine.generate(request(prompt, 12, top_logprobs=3))]

    entries = [entry for delta in deltas for entry in delta.logprobs]
    text = "".join(delta.text for delta in deltas)
    spelt = b"".join(entry.token for entry in entries if not entry.token.startswith(b"<"))
    assert spelt.decode(errors="replace") == text  # "<…>" is a token without a text
    logits = reference.model(torch.tensor([prompt])).logits[0, -1]
    values, tokens = torch.log_softmax(logits, dim=-1).topk(3)
    assert entries[0].logprob == pytest.approx(values[0].item(), abs=1e-4)
    likeliest = [reference.tokenizer.decode([token]) for token in tokens]
    assert [token.decode(errors="replace") for token, _ in entries[0].top] == likeliest


async def test_log_probabilities_of_a_guided_reply_are_among_what_may_come(
    tiny_model_folder: Path, load_engine: LoadEngine
):
    from tests.lmlite.generation import request

    engine = load_engine(tiny_model_folder)
    prompt = engine.encode_chat([{"role": "user", "content": "hello"}])
    submitted = request(prompt, json_schema={"type": "boolean"}, top_logprobs=20)

    deltas = [delta async for delta in engine.generate(submitted)]
    entries = [entry for delta in deltas for entry in delta.logprobs]

    choice = next(entry for entry in entries if entry.logprob < 0)
    assert all(b"true".startswith(one) or b"false".startswith(one) for one, _ in choice.top)
    assert sum(math.exp(value) for _, value in choice.top) == pytest.approx(1, abs=1e-4)
