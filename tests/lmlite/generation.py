"""How the tests ask an engine, and what they compare its text with."""

from __future__ import annotations

import asyncio
from collections import abc
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any, Literal

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer

from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationRequest
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Batch, Sequence
from tests.lmlite.conftest import DEVICE

PROMPTS = (
    "hello",
    "The quick brown fox",
    "Zwölf Boxkämpfer jagen Viktor über den großen Sylter Deich. 日本語 🎉",
    "a " * 60,
    "true false true false",
    "b",
)


TIE_LOGIT = 1e-4
"""Two tokens nearer to each other than this are equally likely, as far as rounding tells."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """A whole reply."""

    text: str
    tokens: int
    reason: str
    pieces: tuple[str, ...]


def request(
    prompt: abc.Sequence[int],
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


async def write(engine: Engine, submitted: GenerationRequest) -> Written:
    """Return the reply as a whole."""
    deltas = [delta async for delta in engine.generate(submitted)]
    assert [delta.finish_reason for delta in deltas[:-1]] == [None] * (len(deltas) - 1)
    reason = deltas[-1].finish_reason
    assert reason is not None
    return Written(
        text="".join(delta.text for delta in deltas),
        tokens=sum(delta.tokens for delta in deltas),
        reason=reason,
        pieces=tuple(delta.text for delta in deltas),
    )


async def write_all(engine: Engine, requests: abc.Sequence[GenerationRequest]) -> list[Written]:
    """Return the replies to requests that run together."""
    return await asyncio.gather(*(write(engine, one) for one in requests))


class Recorder:
    """Stands between an engine and its runner, and notes the tokens chosen for each sequence."""

    def __init__(self, engine: Engine) -> None:
        self._worker = engine._worker
        self.runner = self._worker._runner
        self._worker._runner = self
        self._chosen: dict[Sequence, list[int]] = {}
        self._prompts: dict[Sequence, tuple[int, ...]] = {}

    @property
    def attention(self) -> Literal["packed", "fallback"]:
        return self.runner.attention

    def run(self, batch: Batch, replies: Mapping[Sequence, Reply]) -> dict[Sequence, SampledToken]:
        for sequence in replies:
            self._prompts.setdefault(sequence, tuple(sequence.tokens))
        return self._noted(self.runner.run(batch, replies))

    def follow(
        self, drafted: Mapping[Sequence, int], replies: Mapping[Sequence, Reply]
    ) -> dict[Sequence, SampledToken]:
        return self._noted(self.runner.follow(drafted, replies))

    def _noted(self, chosen: dict[Sequence, SampledToken]) -> dict[Sequence, SampledToken]:
        for sequence, one in chosen.items():
            self._chosen.setdefault(sequence, []).append(one.token)
        return chosen

    def forget(self, sequence: Sequence) -> None:
        self.runner.forget(sequence)

    def written(self, prompt: abc.Sequence[int]) -> list[list[int]]:
        """Return the replies to `prompt`, in the order of the requests."""
        found = [one for one, known in self._prompts.items() if known == tuple(prompt)]
        return [self._chosen.get(one, []) for one in sorted(found, key=lambda one: one.number)]


class Reference:
    """The same model as transformers serves it, one request after the other."""

    def __init__(self, folder: Path) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
        self.model = model.eval().to(DEVICE)
        self.tokenizer = AutoTokenizer.from_pretrained(folder)
        self._grammar_tokenizer = from_tokenizer(
            self.tokenizer, n_vocab=self.model.config.get_text_config().vocab_size
        )

    def prompt(self, text: str) -> list[int]:
        """Return the tokens of a chat with one message."""
        return self.tokenizer.apply_chat_template(
            [{"role": "user", "content": text}], add_generation_prompt=True, return_dict=False
        )

    @torch.inference_mode()
    def greedy(self, prompt: abc.Sequence[int], max_tokens: int) -> str:
        """Return what `model.generate` writes."""
        return self.text(self.greedy_tokens(prompt, max_tokens))

    @torch.inference_mode()
    def greedy_tokens(self, prompt: abc.Sequence[int], max_tokens: int) -> list[int]:
        """Return the tokens that `model.generate` writes, the one that ends the reply included."""
        written = self.model.generate(
            torch.tensor([list(prompt)], device=DEVICE),
            attention_mask=torch.ones(1, len(prompt), dtype=torch.long, device=DEVICE),
            do_sample=False,
            max_new_tokens=max_tokens,
        )
        return written[0, len(prompt) :].tolist()

    @torch.inference_mode()
    def is_greedy(self, prompt: abc.Sequence[int], written: abc.Sequence[int]) -> bool | None:
        """Whether each token is the likeliest after all before it; None where one only ties.

        One forward over the whole text: what `generate` would write, at a fraction of its time.
        """
        ids = torch.tensor([[*prompt, *written[:-1]]], device=DEVICE)
        logits = self.model(ids).logits[0, len(prompt) - 1 :]
        own = logits.gather(1, torch.tensor(written, device=DEVICE)[:, None])[:, 0]
        behind = (logits.amax(1) - own).max().item()
        return True if behind == 0 else None if behind < TIE_LOGIT else False

    @torch.inference_mode()
    def is_tie(
        self, prompt: abc.Sequence[int], own: abc.Sequence[int], other: abc.Sequence[int]
    ) -> bool:
        """Whether the first difference of two replies is between tokens that are equally likely."""
        pairs = enumerate(zip_longest(own, other))
        at = next(at for at, (one, two) in pairs if one != two)
        if at >= min(len(own), len(other)):
            return False
        logits = self.model(torch.tensor([[*prompt, *own[:at]]], device=DEVICE)).logits[0, -1]
        return abs(logits[own[at]] - logits[other[at]]).item() < TIE_LOGIT

    @torch.inference_mode()
    def guided(
        self,
        prompt: abc.Sequence[int],
        max_tokens: int,
        schema: Mapping[str, Any],
        *,
        forced: bool = True,
    ) -> str:
        """Write by a grammar, one token and one whole forward at a time.

        With `forced`, a token that must come is taken without asking the model, else the likeliest
        that the mask allows, which may cut the same text differently.
        """
        grammar = LLMatcher.grammar_from_json_schema(
            dict(schema), overrides={"whitespace_flexible": False}
        )
        matcher = LLMatcher(self._grammar_tokenizer, grammar)
        written: list[int] = []
        while len(written) < max_tokens and not matcher.is_stopped():
            must = matcher.compute_ff_tokens() if forced else []
            if must:
                token = must[0]
            else:
                ids = torch.tensor([[*prompt, *written]], device=DEVICE)
                logits = self.model(ids).logits[0, -1].cpu()
                bias = torch.frombuffer(bytearray(matcher.compute_logit_bias()), dtype=torch.uint8)
                token = int(logits.masked_fill(bias == 0, -torch.inf).argmax())
            if token == self.tokenizer.eos_token_id:
                break
            assert matcher.consume_token(token)
            written.append(token)
        return self.text(written)

    def text(self, tokens: abc.Sequence[int]) -> str:
        """Return the text of tokens, without special ones."""
        return self.tokenizer.decode(tokens, skip_special_tokens=True)
