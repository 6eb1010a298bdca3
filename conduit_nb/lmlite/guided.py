"""Grammars from JSON Schemas: what may come next, and what must.

Layer 3: llguidance and numpy, no torch.
"""

from __future__ import annotations

import json
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLTokenizer
from numpy.typing import NDArray

from conduit_nb.errors import RequestRefusedError, ServerFailedError

CACHED_GRAMMARS = 256
WORD_BITS = 32


class Guide:
    """Where one reply stands in its grammar."""

    def __init__(self, matcher: LLMatcher) -> None:
        self.matcher = matcher

    @property
    def is_complete(self) -> bool:
        """Whether the reply is finished: nothing may follow."""
        return self.matcher.is_stopped()

    def check(self) -> None:
        """Raise ServerFailedError where the grammar broke, e.g. because it is too ambiguous."""
        if self.matcher.is_error():
            raise _lost(self.matcher)

    def accept(self, token: int) -> None:
        """Step over a token that the mask allowed."""
        if not self.matcher.consume_token(token):
            raise _lost(self.matcher)

    def forced(self) -> list[int]:
        """Step over the tokens that must come next, and return them; often there are none."""
        if self.matcher.is_stopped():
            return []
        tokens = self.matcher.compute_ff_tokens()
        if tokens and not self.matcher.consume_tokens(tokens):
            raise _lost(self.matcher)
        return tokens


class Grammars:
    """Makes guides; compiles each schema once. Thread-safe.

    `hits` counts the guides whose grammar was there, `misses` those that had to be compiled.
    """

    def __init__(self, tokenizer: LLTokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled: OrderedDict[str, LLMatcher] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def guide(self, json_schema: Mapping[str, Any]) -> Guide:
        """Return a guide at the start of its grammar; the first time may take a while.

        Raises RequestRefusedError, naming the keyword, where no grammar can be made of the schema.
        """
        key = json.dumps(dict(json_schema), separators=(",", ":"))
        with self._lock:
            if key in self._compiled:
                self._compiled.move_to_end(key)
                self.hits += 1
                return Guide(self._compiled[key].deep_copy())
        matcher = self._compile(key)
        with self._lock:
            self._compiled[key] = matcher
            self.misses += 1
            while len(self._compiled) > CACHED_GRAMMARS:
                self._compiled.popitem(last=False)
            return Guide(matcher.deep_copy())

    def _compile(self, schema: str) -> LLMatcher:
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                schema, overrides={"whitespace_flexible": False}
            )
        except ValueError as err:
            raise _refused(str(err)) from err
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0)
        if matcher.is_error():
            raise _refused(matcher.get_error())
        return matcher


class Masks:
    """Allowed tokens of many replies at once; rows are filled in parallel."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._words = -(-vocab_size // WORD_BITS)
        self._executor = LLExecutor()

    def forbidden(self, guides: Sequence[Guide]) -> NDArray[np.bool_]:
        """Return `[guides, vocab]`: true where a token may not come next.

        A grammar that breaks here raises nothing, its row is void: `Guide.check` tells.
        """
        bits = np.zeros((len(guides), self._words), dtype=np.int32)
        matchers = [(guide.matcher, index) for index, guide in enumerate(guides)]
        self._executor.unsafe_compute_mask_ptr(
            matchers, bits.ctypes.data, self._words * bits.itemsize, len(guides)
        )
        allowed = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")
        return allowed[:, : self._vocab_size] == 0


def _refused(reason: str) -> RequestRefusedError:
    return RequestRefusedError(
        f"No grammar can be made of the JSON Schema: {' '.join(reason.split())}",
        hint="Take the keyword out of the schema, or say it in a way that is supported.",
    )


def _lost(matcher: LLMatcher) -> ServerFailedError:
    return ServerFailedError(
        f"The grammar of a reply failed: {' '.join(matcher.get_error().split())}",
        hint="Simplify the schema (fewer alternatives, shorter patterns).",
    )
