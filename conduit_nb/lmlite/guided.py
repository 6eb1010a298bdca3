"""Grammars of replies: what may come next, and what must.

Of JSON Schemas, of texts (a regular expression, a choice, a grammar) and of calls of functions.

Imports llguidance and numpy, no torch.
"""

from __future__ import annotations

import codecs
import json
import random
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from llguidance import LLExecutor, LLMatcher, LLParserLimits, LLTokenizer, grammar_from
from numpy.typing import NDArray

from conduit_nb.errors import ReplyBudgetError, RequestRefusedError, SchemaError, ServerFailedError
from conduit_nb.lmlite.request import TextGrammar
from conduit_nb.lmlite.tool_calls import CallCloser, CallGrammar
from conduit_nb.schemas.closing import Completer
from conduit_nb.schemas.foreign import patterns, servable
from conduit_nb.schemas.reader import JsonReader

CACHED_GRAMMARS = 256
WORD_BITS = 32
# Above llguidance's own, so that what a schema may have at most can be followed everywhere in it.
LIMITS = LLParserLimits(
    max_items_in_row=20_000,
    step_max_items=500_000,
    step_lexer_fuel=2_000_000,
    verbose_errors=False,
)
TOO_COMPLEX = ("ParserTooComplex", "LexerTooComplex")
PROBES, PROBE_TOKENS = 4, 24
LARGE_REPEAT = re.compile(r"\{[0-9]*,?[0-9]{3,}\}")
MAX_REASON_CHARS = 300
UNIMPLEMENTED = re.compile(r"Unimplemented keys: \[(.*)\]")


class RecordCloser:
    """Ends one guided reply in time: what is open is closed with the tokens that are left.

        closer.admits(tokens, left)   # may they be written, and `left` tokens still end the reply?
        closer.closing()              # else these end it

    A token after which the record could not be closed any more is not written; what closes the
    record takes its place. So a reply is valid whatever its budget, and untouched where the budget
    suffices. Cheap while there is much left: then it only reads along.
    """

    def __init__(self, completer: Completer, tokenizer: LLTokenizer) -> None:
        self._completer = completer
        self._tokenizer = tokenizer
        self._reader = JsonReader()
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._written: list[int] = []
        self._closing: bytes | None = None
        self._is_lost = False

    def admits(self, tokens: Sequence[int], left: int) -> bool:
        """Return whether `left` tokens can close the record after these; if not, write `closing`.

        Where it is not known how to close it, everything is admitted, and the limit cuts it.
        """
        if self._is_lost:
            return True
        self._reader.feed(self._decoder.decode(self._tokenizer.decode_bytes(list(tokens))))
        closing = None
        if self._completer.most_bytes(self._reader) > left:
            closing = self._found()
            self._is_lost = closing is None
            if closing is not None and not self._fits(closing, left):
                return False
        self._written.extend(tokens)
        self._closing = closing
        return True

    def closing(self) -> list[int]:
        """Return the tokens that close what was admitted; call it once, at the end."""
        if self._closing is None:
            self._reader = JsonReader()
            self._decoder.reset()
            written = self._tokenizer.decode_bytes(self._written)
            self._reader.feed(self._decoder.decode(written))
            self._closing = self._found()
        return self._tokenizer.tokenize_bytes(self._closing or b"")

    def _found(self) -> bytes | None:
        half, _ = self._decoder.getstate()
        return self._completer.closing_of(self._reader, half)

    def _fits(self, closing: bytes, left: int) -> bool:
        # A token stands for at least one byte.
        return len(closing) <= left or len(self._tokenizer.tokenize_bytes(closing)) <= left


class Guide:
    """Where one reply stands in its grammar.

    `completer` knows how values of the schema end and `closer` closes this reply when its tokens
    run out; both are None where that is not known of the schema.
    `min_tokens` are what the shortest reply takes, as far as that is known.
    """

    def __init__(
        self,
        matcher: LLMatcher,
        tokenizer: LLTokenizer,
        *,
        completer: Completer | None = None,
        closer: CallCloser | None = None,
        min_tokens: int = 1,
        is_json: bool = True,
    ) -> None:
        self.matcher = matcher
        self._tokenizer = tokenizer
        self.completer = completer
        self._calls = closer
        self._is_json = is_json
        self.closer: RecordCloser | CallCloser | None = closer
        if completer and not closer:
            self.closer = RecordCloser(completer, tokenizer)
        self.min_tokens = min_tokens

    @property
    def is_calling(self) -> bool:
        """Whether what is written now is part of a call, which no stop string ends."""
        return self._calls is not None and self._calls.is_calling

    @property
    def is_json(self) -> bool:
        """Whether what is written now is JSON."""
        return self._is_json if self._calls is None else self._calls.is_calling

    @property
    def is_complete(self) -> bool:
        """Whether the reply is finished: nothing may follow."""
        return self.matcher.is_stopped()

    def check(self) -> None:
        """Raise ServerFailedError where the grammar broke, e.g. because it is too ambiguous."""
        if self.matcher.is_error():
            raise _lost(self.matcher)

    def check_budget(self, max_tokens: int) -> None:
        """Raise ReplyBudgetError where not even the shortest reply fits into so many tokens."""
        if self.min_tokens > max_tokens:
            error = ReplyBudgetError(
                f"The shortest record of the schema takes {self.min_tokens:,} tokens, "
                f"and the reply may have {max_tokens:,}.",
                param="max_tokens",
                hint=f"Raise max_tokens to at least {self.min_tokens:,} (or max_model_len, or "
                "shorten the input, where the context is full), or ask for fewer fields.",
            )
            error.needed_tokens = self.min_tokens
            raise error

    def accept(self, token: int) -> None:
        """Step over a token that the mask allowed."""
        if not self.matcher.consume_token(token):
            raise _lost(self.matcher)

    def forced(self) -> list[int]:
        """Step over the tokens that must come next, and return them; often there are none."""
        tokens = self.ahead()
        self.accept_all(tokens)
        return tokens

    def ahead(self) -> list[int]:
        """Return the tokens that must come next."""
        return [] if self.matcher.is_stopped() else self.matcher.compute_ff_tokens()

    def accept_all(self, tokens: Sequence[int]) -> None:
        """Step over tokens that must come next."""
        if tokens and not self.matcher.consume_tokens(list(tokens)):
            raise _lost(self.matcher)

    def can_end_with(self, tokens: Sequence[int]) -> bool:
        """Return whether the reply may end after these tokens; does not advance."""
        ahead = self.matcher.deep_copy()
        return ahead.try_consume_tokens(list(tokens)) == len(tokens) and ahead.is_accepting()

    def must_end_with(self, tokens: Sequence[int]) -> bool:
        """Return whether nothing but the text of these tokens, and then the end, may come."""
        if not tokens:
            return self.matcher.is_stopped()
        return self.matcher.compute_ff_bytes() == self._tokenizer.decode_bytes(list(tokens))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compiled:
    """A grammar at its start, and how its replies are closed."""

    matcher: LLMatcher
    completer: Completer | None = None
    closer: Callable[[], CallCloser] | None = None
    min_tokens: int = 1
    is_json: bool = True


class Grammars:
    """Makes guides; compiles each grammar once. Thread-safe.

    `hits` counts the guides whose grammar was there, `misses` those that had to be compiled.
    """

    def __init__(self, tokenizer: LLTokenizer) -> None:
        self._tokenizer = tokenizer
        self._compiled: OrderedDict[str, _Compiled] = OrderedDict()
        self._unused: set[str] = set()
        self._lock = threading.Lock()
        self.hits = 0
        self.misses = 0

    def guide(self, grammar: Mapping[str, Any] | TextGrammar | CallGrammar) -> Guide:
        """Return a guide at the start of a grammar (a JSON Schema, where it is a mapping).

        The first time may take a while. Raises RequestRefusedError, naming the keyword, where no
        grammar can be made of it.
        """
        key, compiled = self._found(grammar)
        with self._lock:
            if key in self._unused:
                self._unused.discard(key)
                self.misses += 1
            else:
                self.hits += 1
        return self._guide(compiled)

    def check(self, grammar: Mapping[str, Any] | TextGrammar | CallGrammar) -> None:
        """Raise what `guide` would raise; what was compiled is there for it."""
        self._found(grammar)

    def _found(
        self, grammar: Mapping[str, Any] | TextGrammar | CallGrammar
    ) -> tuple[str, _Compiled]:
        """Return a compiled grammar and its key."""
        if isinstance(grammar, Mapping):
            key = json.dumps(dict(grammar), separators=(",", ":"))
        else:
            key = repr(grammar)
        with self._lock:
            if key in self._compiled:
                self._compiled.move_to_end(key)
                return key, self._compiled[key]
        match grammar:
            case CallGrammar():
                compiled = self._calls(grammar)
            case TextGrammar():
                compiled = self._text(grammar)
            case _:
                compiled = self._json(grammar)
        with self._lock:
            self._compiled[key] = compiled
            self._unused.add(key)
            while len(self._compiled) > CACHED_GRAMMARS:
                oldest, _ = self._compiled.popitem(last=False)
                self._unused.discard(oldest)
        return key, compiled

    def _guide(self, compiled: _Compiled) -> Guide:
        return Guide(
            compiled.matcher.deep_copy(),
            self._tokenizer,
            completer=compiled.completer,
            closer=compiled.closer() if compiled.closer else None,
            min_tokens=compiled.min_tokens,
            is_json=compiled.is_json,
        )

    def _json(self, json_schema: Mapping[str, Any]) -> _Compiled:
        try:
            schema = servable(json_schema)
        except SchemaError as err:
            raise _refused(str(err), hint=err.hint) from err
        try:
            grammar = LLMatcher.grammar_from_json_schema(
                json.dumps(schema), overrides={"whitespace_flexible": False}
            )
            matcher = self._matcher(grammar, is_large=any(map(_is_large, patterns(schema))))
        except ValueError as err:
            raise _refused(str(err)) from err
        return self._with_closing(matcher, schema)

    def _text(self, grammar: TextGrammar) -> _Compiled:
        try:
            matcher = self._matcher(_of_text(grammar), is_large=True)
        except ValueError as err:
            hint = f"Correct the {grammar.kind}."
            raise _refused(str(err), described_by=grammar.kind, hint=hint) from err
        return _Compiled(matcher=matcher, is_json=False)

    def _calls(self, grammar: CallGrammar) -> _Compiled:
        """Return the grammar of calls; each schema is compiled for itself, which names its faults.

        What ends the arguments of each function ends the reply.
        """
        completers: dict[str, Completer] = {}
        for name, schema in grammar.functions:
            try:
                completer = self._found(schema)[1].completer
            except RequestRefusedError as err:
                raise RequestRefusedError(
                    f"The function {name}: {err}", param="tools", hint=err.hint
                ) from err
            if completer:
                completers[name] = completer
        record = None if grammar.record is None else self._found(grammar.record)[1].completer
        try:
            matcher = self._matcher(LLMatcher.grammar_from_lark(grammar.lark(servable)))
        except ValueError as err:
            raise _refused(str(err)) from err

        def closer() -> CallCloser:
            return CallCloser(
                grammar,
                completers,
                record,
                decode=self._tokenizer.decode_bytes,
                encode=self._tokenizer.tokenize_bytes,
            )

        return _Compiled(
            matcher=matcher,
            completer=record,
            closer=closer,
            min_tokens=len(closer().closing()) or 1,
            is_json=False,
        )

    def _with_closing(self, matcher: LLMatcher, json_schema: Mapping[str, Any]) -> _Compiled:
        """Add how replies are closed, where the grammar agrees that the shortest is one."""
        try:
            completer = Completer(json_schema)
        except SchemaError:
            return _Compiled(matcher=matcher)
        shortest = self._tokenizer.tokenize_str(completer.shortest)
        if not Guide(matcher, self._tokenizer).can_end_with(shortest):
            return _Compiled(matcher=matcher)
        return _Compiled(matcher=matcher, completer=completer, min_tokens=len(shortest))

    def _matcher(self, grammar: str, *, is_large: bool = False) -> LLMatcher:
        """Return what follows the grammar. Raises ValueError where it cannot be followed."""
        matcher = LLMatcher(self._tokenizer, grammar, log_level=0, limits=LIMITS)
        if matcher.is_error():
            raise ValueError(_reason(matcher))
        self._try(matcher, PROBES if is_large else 1)
        return matcher

    def _try(self, matcher: LLMatcher, probes: int) -> None:
        """Write a little by the grammar, to refuse here what is too complex to be followed."""
        for seed in range(probes):
            draws = random.Random(seed)  # noqa: S311  # samples, not secrets
            ahead = matcher.deep_copy()
            for _ in range(PROBE_TOKENS if probes > 1 else 1):
                bits = np.frombuffer(ahead.compute_bitmask(), dtype=np.uint8)
                tokens = np.flatnonzero(np.unpackbits(bits, bitorder="little"))
                if ahead.is_error():
                    raise ValueError(_reason(ahead))
                if not len(tokens) or ahead.is_stopped():
                    break
                if not ahead.consume_token(int(draws.choice(tokens))):
                    raise ValueError(_reason(ahead))


class Masks:
    """Allowed tokens of many replies at once, computed in parallel."""

    def __init__(self, vocab_size: int) -> None:
        self._vocab_size = vocab_size
        self._words = -(-vocab_size // WORD_BITS)
        self._executor = LLExecutor()

    def forbidden(self, guides: Sequence[Guide]) -> NDArray[np.bool_]:
        """Return `[guides, vocab]`: true where a token may not come next.

        A grammar that breaks here raises nothing, and its row is void: `Guide.check` raises.
        """
        bits = np.zeros((len(guides), self._words), dtype=np.int32)
        matchers = [(guide.matcher, index) for index, guide in enumerate(guides)]
        self._executor.unsafe_compute_mask_ptr(
            matchers, bits.ctypes.data, self._words * bits.itemsize, len(guides)
        )
        allowed = np.unpackbits(bits.view(np.uint8), axis=1, bitorder="little")
        return allowed[:, : self._vocab_size] == 0


def _of_text(grammar: TextGrammar) -> str:
    """Return a grammar of text in llguidance's words. Raises ValueError where it is none."""
    match grammar.kind:
        case "choice":
            return "start: " + " | ".join(map(json.dumps, grammar.options))
        case "regex":
            return LLMatcher.grammar_from_regex(grammar.text)
        case "grammar":
            return grammar_from("grammar", grammar.text)


def _is_large(pattern: str) -> bool:
    """Whether a pattern repeats so much that it may be too large to follow."""
    return pattern.count("{") > 1 or LARGE_REPEAT.search(pattern) is not None


def _reason(matcher: LLMatcher) -> str:
    """Return why a grammar failed, without the state of the parser that follows."""
    return matcher.get_error().partition("\n<")[0]


def _refused(
    reason: str, *, described_by: str = "JSON Schema", hint: str = ""
) -> RequestRefusedError:
    text = " ".join(reason.split()).removesuffix(".")
    if keywords := UNIMPLEMENTED.match(text):
        names = re.findall(r"[\w$]+", keywords[1])
        text = f"the keyword {', '.join(map(repr, names))} is not supported"
        if names == ["uniqueItems"]:
            text += " for items that are not an enum of a few values"
            hint = "Leave uniqueItems out, and drop the duplicates from the reply."
    elif text.startswith("oneOf"):
        text = "oneOf is supported only where a value can fit no more than one of its members"
        hint = "Write anyOf instead, or give each member a const property of its own."
    return RequestRefusedError(
        f"No grammar can be made of the {described_by}: {text[:MAX_REASON_CHARS]}.",
        hint=hint or "Take the keyword out of the schema, or say it in a way that is supported.",
    )


def _lost(matcher: LLMatcher) -> RequestRefusedError | ServerFailedError:
    """Return the error for a grammar that broke: the schema's fault where it is too complex."""
    message = (
        f"The grammar of a reply failed: {' '.join(_reason(matcher).split())[:MAX_REASON_CHARS]}."
    )
    hint = "Simplify the schema (fewer alternatives, shorter patterns)."
    if matcher.stop_reason() in TOO_COMPLEX:
        return RequestRefusedError(message, hint=hint)
    return ServerFailedError(message, reason="grammar", hint=hint)
