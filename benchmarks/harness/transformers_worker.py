"""transformers as one uses it: `python transformers_worker.py FOLDER MODE THREADS`.

MODE is "one by one", "static batch" or "continuous". Guided, `generate` gets the grammar as a
logits processor, which is how one would do it without an engine of one's own.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any

import torch
from llguidance import LLMatcher
from llguidance.hf import from_tokenizer
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
)

DEVICE = os.environ.get("CONDUIT_BENCH_DEVICE", "cpu")


class Grammars(LogitsProcessor):
    """Lets `generate` write only what the schema of each row allows."""

    def __init__(self, tokenizer: Any, schemas: Sequence[Any], start: int, end: int) -> None:
        self._matchers = [
            LLMatcher(
                tokenizer,
                LLMatcher.grammar_from_json_schema(
                    schema, overrides={"whitespace_flexible": False}
                ),
            )
            for schema in schemas
        ]
        self._seen = start
        self._end = end

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        for row, matcher in enumerate(self._matchers):
            for token in input_ids[row, self._seen :].tolist():
                if not matcher.is_stopped():
                    matcher.consume_token(token)
            if matcher.is_stopped():
                allowed = torch.zeros(scores.shape[1], dtype=torch.bool)
                allowed[self._end] = True
            else:
                bias = bytearray(matcher.compute_logit_bias())
                allowed = torch.frombuffer(bias, dtype=torch.uint8)[: scores.shape[1]] != 0
            scores[row].masked_fill_(~allowed.to(scores.device), -torch.inf)
        self._seen = input_ids.shape[1]
        return scores


class Model:
    """The model and its tokenizer."""

    def __init__(self, folder: str) -> None:
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
        self.model = model.to(DEVICE)
        self.tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._grammars = from_tokenizer(self.tokenizer, n_vocab=self.model.config.vocab_size)

    def batch(self, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer all in one padded batch."""
        prompts = self.tokenizer.apply_chat_template(
            [one["messages"] for one in asked],
            add_generation_prompt=True,
            padding=True,
            return_tensors="pt",
            return_dict=True,
        )
        start, end = prompts["input_ids"].shape[1], self.tokenizer.eos_token_id
        processors = LogitsProcessorList()
        if asked[0]["json_schema"]:
            schemas = [one["json_schema"] for one in asked]
            processors.append(Grammars(self._grammars, schemas, start, end))
        written = self.model.generate(
            **prompts.to(DEVICE),
            do_sample=False,
            max_new_tokens=asked[0]["max_tokens"],
            logits_processor=processors,
            pad_token_id=end,
        )
        return [self._answer(row[start:].tolist()) for row in written]

    def continuous(self, asked: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
        """Answer by transformers' own continuous batching, which knows no grammars."""
        prompts = [
            self.tokenizer.apply_chat_template(
                one["messages"], add_generation_prompt=True, return_dict=False
            )
            for one in asked
        ]
        config = GenerationConfig(
            do_sample=False,
            max_new_tokens=asked[0]["max_tokens"],
            eos_token_id=self.tokenizer.eos_token_id,
            pad_token_id=self.tokenizer.eos_token_id,
        )
        results = self.model.generate_batch(
            inputs=prompts, generation_config=config, progress_bar=False
        )
        ordered = sorted(results.items(), key=lambda item: int(item[0].rpartition("_")[2]))
        return [self._answer(list(result.generated_tokens)) for _, result in ordered]

    def _answer(self, tokens: list[int]) -> dict[str, Any]:
        end = self.tokenizer.eos_token_id
        if end in tokens:
            tokens = tokens[: tokens.index(end)]
        text = self.tokenizer.decode(tokens, skip_special_tokens=True)
        return {"text": text, "tokens": len(tokens)}


def main() -> None:
    """Answer line by line until there is none."""
    folder, mode, threads = sys.argv[1:]
    torch.set_num_threads(int(threads))
    model = Model(folder)
    for line in sys.stdin:
        asked = json.loads(line)
        if mode == "continuous":
            answers = model.continuous(asked)
        elif mode == "static batch":
            answers = model.batch(asked)
        else:
            answers = [answer for one in asked for answer in model.batch([one])]
        print(json.dumps(answers), flush=True)


if __name__ == "__main__":
    main()
