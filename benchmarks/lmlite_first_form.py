"""LmLite's engine against transformers' `generate`, one request after the other: ratios.

    python benchmarks/lmlite_first_form.py [--model FOLDER] [--threads N] [--rounds N]

Each round runs both, one right after the other, on the same requests; printed is the median of
the rounds' ratios (above 1: the engine is faster). The peer answers a few requests only and its
rate is taken for all: it does one at a time. Guided, the peer gets the same grammar as a logits
processor, which is how one would do it without an engine of one's own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import AutoModelForCausalLM, AutoTokenizer, LogitsProcessor, LogitsProcessorList

from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.convert import converted
from conduit_nb.lmlite.engine import Engine
from conduit_nb.lmlite.loading import default_threads
from conduit_nb.lmlite.request import GenerationRequest
from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model

CHAT_TOKENS = 64
TOPICS = ("the sea", "a clock", "bread", "winter", "a train", "music", "a garden", "the moon")
SCHEMA = {
    "type": "object",
    "properties": {
        "sentiment": {"enum": ["positive", "negative", "neutral"]},
        "topic": {"enum": ["food", "service", "price", "place"]},
        "would_return": {"type": "boolean"},
        "is_complaint": {"type": "boolean"},
        "stars": {"type": "integer", "minimum": 1, "maximum": 5},
    },
    "required": ["sentiment", "topic", "would_return", "is_complaint", "stars"],
    "additionalProperties": False,
}
INSTRUCTION = (
    "You judge restaurant reviews. Answer with one JSON object: the sentiment of the review, its"
    " main topic, whether the guest would return, whether it is a complaint, and the stars from 1"
    " to 5 that the guest would give. Judge only what the review says. A review that praises and"
    " blames in equal parts is neutral. A complaint asks for something to be done. The topic is"
    " what most of the review speaks of."
)
REVIEWS = (
    "The soup was cold and nobody came when we called.",
    "Lovely place, great pasta, we will be back next week!",
    "Too expensive for what you get, though the wine was fine.",
    "Friendly staff. The view over the harbour alone is worth it.",
)


class Grammar(LogitsProcessor):
    """Lets `generate` write only what a schema allows."""

    def __init__(self, tokenizer: Any, schema: dict[str, Any], prompt_length: int) -> None:
        grammar = LLMatcher.grammar_from_json_schema(
            schema, overrides={"whitespace_flexible": False}
        )
        self._matcher = LLMatcher(tokenizer, grammar)
        self._seen = prompt_length

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for token in input_ids[0, self._seen :].tolist():
            self._matcher.consume_token(token)
        self._seen = input_ids.shape[1]
        bias = torch.frombuffer(bytearray(self._matcher.compute_logit_bias()), dtype=torch.uint8)
        return scores.masked_fill(bias == 0, -torch.inf)


class Peer:
    """transformers as it is."""

    def __init__(self, folder: Path) -> None:
        self._model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._grammars = from_tokenizer(self._tokenizer)

    def write(self, request: GenerationRequest) -> str:
        """Answer one request."""
        prompt = torch.tensor([list(request.prompt_tokens)])
        processors = LogitsProcessorList()
        if request.json_schema:
            processors.append(Grammar(self._grammars, dict(request.json_schema), prompt.shape[1]))
        written = self._model.generate(
            prompt,
            attention_mask=torch.ones_like(prompt),
            do_sample=False,
            max_new_tokens=request.max_tokens,
            min_new_tokens=None if request.json_schema else request.max_tokens,
            logits_processor=processors,
        )
        return self._tokenizer.decode(written[0, prompt.shape[1] :], skip_special_tokens=True)


async def write(engine: Engine, request: GenerationRequest) -> tuple[str, int]:
    """Return an engine's reply and its tokens."""
    text, tokens = "", 0
    async for delta in engine.generate(request):
        text, tokens = text + delta.text, tokens + delta.tokens
    return text, tokens


async def write_all(engine: Engine, requests: Sequence[GenerationRequest]) -> list[tuple[str, int]]:
    """Return an engine's replies to requests that arrive together."""
    return await asyncio.gather(*(write(engine, request) for request in requests))


def compare(
    name: str, engine: Engine, peer: Peer, requests: Sequence[GenerationRequest], args: Any
) -> None:
    """Print how many times as fast as the peer the engine is."""
    sample = requests[: args.peer_requests]
    ratios: list[float] = []
    rates: list[tuple[float, float]] = []
    same = 0
    for _ in range(args.rounds):
        started = time.perf_counter()
        alone = [peer.write(request) for request in sample]
        peer_s = (time.perf_counter() - started) / len(sample)
        started = time.perf_counter()
        together = asyncio.run(write_all(engine, requests))
        engine_s = (time.perf_counter() - started) / len(requests)
        tokens = sum(count for _, count in together) / len(requests)
        ratios.append(peer_s / engine_s)
        rates.append((tokens / engine_s, 1 / engine_s))
        same = sum(a == b for a, (b, _) in zip(alone, together, strict=False))
        if requests[0].json_schema:
            for text, _ in together:
                json.loads(text)
    tokens_per_s, rows_per_s = (statistics.median(column) for column in zip(*rates, strict=True))
    print(
        f"{name:24} {statistics.median(ratios):6.1f}x  ({min(ratios):.1f} to {max(ratios):.1f})"
        f"  {tokens_per_s:7.1f} tok/s  {rows_per_s:6.2f} rows/s"
        f"  same text {same} of {len(sample)}",
        flush=True,
    )


def main() -> None:
    """Print a line for each workload."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--model", type=Path, help="folder; default: the embedded model")
    parser.add_argument("--threads", type=int, default=default_threads())
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--peer-requests", type=int, default=2)
    args = parser.parse_args()
    folder = args.model or converted(find_model(EMBEDDED_MODEL_ID, progress=print), progress=print)
    engine = Engine.load(folder, EngineConfig(device="cpu", threads=args.threads))
    peer = Peer(folder)
    torch.set_num_threads(args.threads)
    print(f"torch {torch.__version__}, {args.threads} threads, median of {args.rounds} rounds")
    for count in (1, 8, 32):
        prompts = [
            engine.encode_chat(
                [{"role": "user", "content": f"Write a long story about {TOPICS[at % 8]} {at}."}]
            )
            for at in range(count)
        ]
        chats = [
            GenerationRequest(prompt_tokens=tuple(prompt), max_tokens=CHAT_TOKENS)
            for prompt in prompts
        ]
        compare(f"free text, {count} requests", engine, peer, chats, args)
    prompts = [
        engine.encode_chat(
            [
                {"role": "system", "content": INSTRUCTION},
                {"role": "user", "content": f"Review {at}: {REVIEWS[at % 4]}"},
            ]
        )
        for at in range(32)
    ]
    rows = [
        GenerationRequest(prompt_tokens=tuple(prompt), max_tokens=100, json_schema=SCHEMA)
        for prompt in prompts
    ]
    for count in (1, 32):
        compare(f"classify, {count} rows", engine, peer, rows[:count], args)
    engine.close()


if __name__ == "__main__":
    main()
