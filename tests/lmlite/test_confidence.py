"""confidence.py: against probabilities computed by transformers, one forward at a time."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer

from conduit_nb.lmlite.confidence import ConfidenceTracker
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.schemas.closing import Completer
from conduit_nb.testing.tiny_models import VOCAB_SIZE, make_tiny_tokenizer
from tests.lmlite.conftest import LoadEngine
from tests.lmlite.generation import PROMPTS, Reference, request

LABEL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "mood": {"enum": ["pos", "positive", "negative", "neutral"]},
        "stars": {"enum": [1, 10, 100]},
        "note": {"type": "string", "maxLength": 3},
        "sure": {"anyOf": [{"type": "boolean"}, {"type": "null"}]},
        "tags": {"type": "array", "items": {"const": "x"}, "minItems": 1, "maxItems": 2},
        "by": {"type": ["string", "null"], "maxLength": 2},
    },
    "required": ["mood", "stars", "note", "sure", "tags", "by"],
    "additionalProperties": False,
}
TOKENIZER = make_tiny_tokenizer()
VOCABULARY = from_tokenizer(TOKENIZER, n_vocab=VOCAB_SIZE)


@torch.inference_mode()
def expected(reference: Reference, prompt: list[int], tokens: list[int]) -> dict[str, float]:
    """Return the confidence in what `tokens` say, from whole forwards and the grammar's masks."""
    grammar = LLMatcher.grammar_from_json_schema(LABEL, overrides={"whitespace_flexible": False})
    matcher = LLMatcher(VOCABULARY, grammar)
    likely: list[tuple[int, int, float]] = []
    end = 0
    forced = 0
    for number, token in enumerate(tokens):
        start, end = end, end + len(VOCABULARY.decode_bytes([token]))
        forced = forced or len(matcher.compute_ff_tokens())
        if forced:
            forced -= 1
            likely.append((start, end, 1.0))
        else:
            logits = reference.model(torch.tensor([[*prompt, *tokens[:number]]])).logits[0, -1]
            bias = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)
            allowed = bias[: len(logits)] != 0
            chances = logits.masked_fill(~allowed, -torch.inf).softmax(dim=-1)
            likely.append((start, end, chances[token].item()))
        assert matcher.consume_token(token)
    text = VOCABULARY.decode_bytes(tokens).decode()
    record = json.loads(text)
    confidences: dict[str, float] = {}
    at = 0
    for pointer, value in (
        ("/mood", record["mood"]),
        ("/stars", record["stars"]),
        ("/sure", record["sure"]),
        *((f"/tags/{number}", tag) for number, tag in enumerate(record["tags"])),
    ):
        name = pointer.split("/")[1]
        if text.find(f'"{name}":', at) >= 0:
            at = text.index(f'"{name}":', at) + len(name) + 3
        begin = text.index(json.dumps(value), at)
        at = begin + len(json.dumps(value))
        border = len(text[: at + (name == "stars")].encode())
        confidences[pointer] = math.prod(
            chance
            for start, stop, chance in likely
            if start < border and stop > len(text[:begin].encode())
        )
    return confidences


@pytest.mark.parametrize("temperature", [0.0, 1.5])
async def test_confidence_is_the_probability_that_the_model_itself_gives(
    tiny_model_folder: Path, load_engine: LoadEngine, temperature: float
):
    reference = Reference(tiny_model_folder)
    engine = load_engine(tiny_model_folder)
    for seed, text in enumerate(PROMPTS):
        prompt = reference.prompt(text)
        base = request(
            prompt, 150, json_schema=LABEL, temperature=temperature, seed=seed, top_logprobs=0
        )
        deltas = [
            delta
            async for delta in engine.generate(
                type(base)(
                    prompt_tokens=base.prompt_tokens,
                    max_tokens=base.max_tokens,
                    sampling=base.sampling,
                    json_schema=LABEL,
                    confidence=True,
                )
            )
        ]
        entries = [entry for delta in deltas for entry in delta.logprobs]
        tokens = [TOKENS[entry.token] for entry in entries]

        confidences = deltas[-1].confidence

        assert confidences is not None
        assert confidences == pytest.approx(expected(reference, prompt, tokens), rel=1e-3)
        assert [delta.confidence for delta in deltas[:-1]] == [None] * (len(deltas) - 1)


TOKENS = {VOCABULARY.decode_bytes([token]): token for token in range(len(TOKENIZER))}


def tracked(*written: tuple[str, float], closing: str = "") -> dict[str, float]:
    """Return the confidences of tokens with these probabilities, and of those of `closing`."""
    tracker = ConfidenceTracker(Completer(LABEL | {"required": []}), VOCABULARY)
    for text, chance in written:
        (*first, last) = VOCABULARY.tokenize_str(text)
        tracker.add([SampledToken(token=token) for token in first], is_closing=False)
        tracker.add([SampledToken(token=last, logprob=math.log(chance))], is_closing=False)
    tracker.add(
        [SampledToken(token=one) for one in VOCABULARY.tokenize_str(closing)], is_closing=True
    )
    return tracker.confidences()


def test_the_tokens_of_a_value_are_multiplied_and_others_do_not_count():
    confidences = tracked(
        ('{"mood":', 0.1), ('"', 1), ("neg", 0.5), ("ative", 0.25), ('"', 1), ("}", 0.1)
    )

    assert confidences == pytest.approx({"/mood": 0.125})


def test_a_number_is_decided_by_what_follows_it():
    confidences = tracked(('{"stars":', 1), ("1", 0.5), ("0", 0.5), (",", 0.5), ('"sure":', 0.1))

    assert confidences == pytest.approx({"/stars": 0.125})


def test_a_value_that_was_only_closed_has_no_confidence():
    confidences = tracked(
        ('{"sure":', 1),
        ("true", 0.5),
        (',"mood":', 1),
        ('"', 1),
        ("neg", 0.5),
        closing='ative","stars":1}',
    )

    assert confidences == pytest.approx({"/sure": 0.5})


def test_text_that_may_also_be_null_is_no_choice():
    assert tracked(('{"by":', 1), ("null", 0.5), ("}", 1)) == {}
