"""How the tests ask an engine, and what they compare its text with."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.request import GenerationRequest
from conduit_nb.lmlite.sampling import SamplingParams

PROMPTS = (
    "hello",
    "The quick brown fox",
    "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich. 日本語 🎉",
    "a " * 60,
    "true false true false",
    "b",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A whole reply."""

    text: str
    tokens: int
    reason: str
    pieces: tuple[str, ...]


def request(
    prompt: Sequence[int],
    max_tokens: int = 24,
    *,
    json_schema: Mapping[str, Any] | None = None,
    **sampling: Any,
) -> GenerationRequest:
    """Return a request for a reply to `prompt`."""
    return GenerationRequest(
        prompt_tokens=tuple(prompt),
        max_tokens=max_tokens,
        json_schema=json_schema,
        sampling=SamplingParams(**sampling),
    )


async def write(engine: Engine, asked: GenerationRequest) -> Written:
    """Return the reply as a whole."""
    deltas = [delta async for delta in engine.generate(asked)]
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    reason = deltas[-1].finish_reason
    assert reason is not None
    return Written(
        text="".join(delta.text for delta in deltas),
        tokens=sum(delta.tokens for delta in deltas),
        reason=reason,
        pieces=tuple(delta.text for delta in deltas),
    )


async def write_all(engine: Engine, asked: Sequence[GenerationRequest]) -> list[Written]:
    """Return the replies to requests that run together."""
    return await asyncio.gather(*(write(engine, one) for one in asked))


class Reference:
    """The same model as transformers serves it, one request after the other."""

    def __init__(self, folder: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._grammar_tokenizer = from_tokenizer(
            self.tokenizer, n_vocab=self.model.config.vocab_size
        )

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a chat with one message."""
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )

    @torch.inference_mode()
    def greedy(self, prompt: Sequence[int], max_tokens: int) -> str:
        """Return what `model.generate` writes."""
        written = self.model.generate(
            torch.tensor([list(prompt)]),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long),
            do_sample=False,
            max_new_tokens=max_tokens,
        )
        return self.text(written[0, len(prompt) :].tolist())

    @torch.inference_mode()
    def guided(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        schema: Mapping[str, Any],
        *,
        forced: bool = True,
    ) -> str:
        """Write by a grammar, one token and one whole forward at a time.

        With `forced`, a token that must come is taken without asking the model (its forward is
        wasted), else the likeliest that the mask allows, which may cut the same text differently.
        """
        grammar = LLMatcher.grammar_from_json_schema(
            dict(schema), overrides={"whitespace_flexible": False}
        )
        matcher = LLMatcher(self._grammar_tokenizer, grammar)
        written: list[int] = []
        while len(written) < max_tokens and not matcher.is_stopped():
            logits = self.model(torch.tensor([[*prompt, *written]])).logits[0, -1]
            must = matcher.compute_ff_tokens() if forced else []
            allowed = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)
            token = must[0] if must else int(logits.masked_fill(allowed == 0, -torch.inf).argmax())
            if token == self.tokenizer.eos_token_id:
                break
            assert matcher.consume_token(token)
            written.append(token)
        return self.text(written)

    def text(self, tokens: Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)
