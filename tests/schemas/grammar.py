"""The grammar that an engine makes from a JSON Schema, over single bytes instead of tokens."""

from __future__ import annotations

import json
import random
from typing import Any

import llguidance

EOS = 256
CLOSERS = frozenset(b'",}]')
MAX_BYTES = 1_500


class _Bytes:
    """A vocabulary of all bytes and an end."""

    eos_token_id = EOS
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(256)), b"<eos>")
    special_token_ids = (EOS,)

    def __call__(self, text: bytes | str) -> list[int]:
        return list(text if isinstance(text, bytes) else text.encode())


TOKENIZER = llguidance.LLTokenizer(
    llguidance.TokenizerWrapper(_Bytes()), n_vocab=EOS + 1, slices=[]
)


def matcher(json_schema: dict[str, Any]) -> llguidance.LLMatcher:
    """Return a matcher for `json_schema`, made as the engine makes it."""
    compact = {**json_schema, "x-guidance": {"whitespace_flexible": False}}
    grammar = llguidance.LLMatcher.grammar_from_json_schema(json.dumps(compact))
    made = llguidance.LLMatcher(TOKENIZER, grammar)
    assert not made.is_error(), made.get_error()
    assert not made.get_grammar_warnings()
    return made


def is_accepted(json_schema: dict[str, Any], text: str) -> bool:
    """Say whether the grammar of `json_schema` lets a model write `text` and end there."""
    made = matcher(json_schema)
    written = text.encode()
    return made.try_consume_tokens(list(written)) == len(written) and made.is_accepting()


def sampled(json_schema: dict[str, Any], seed: int) -> str | None:
    """Return a random text that the grammar lets a model write; None where it found no end."""
    chance = random.Random(seed)
    closing = chance.choice((0.2, 0.5, 0.8))
    made = matcher(json_schema)
    written = bytearray()
    while len(written) < MAX_BYTES:
        mask = made.compute_bitmask()
        allowed = [token for token in range(EOS + 1) if mask[token // 8] >> (token % 8) & 1]
        assert allowed, made.get_error()
        if EOS in allowed and (allowed == [EOS] or chance.random() < closing):
            return written.decode()
        ends = [token for token in allowed if token in CLOSERS]
        long = len(written) > MAX_BYTES // 4
        token = chance.choice(ends if ends and (long or chance.random() < closing) else allowed)
        if token == EOS:
            return written.decode()
        assert made.consume_token(token), made.get_error()
        written.append(token)
    return None
