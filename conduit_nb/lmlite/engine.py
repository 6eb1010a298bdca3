"""The engine: one model that writes many replies at once, by continuous batching.

Requests come from event loops and their text goes back there; the worker's thread runs the steps.
"""

from __future__ import annotations

import asyncio
import itertools
from collections import abc
from collections.abc import AsyncGenerator, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from conduit_nb.errors import ConduitError, ContextLengthError
from conduit_nb.lmlite.chat_template import ChatTemplate
from conduit_nb.lmlite.confidence import ConfidenceTracker
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.guided import Grammars, Guide
from conduit_nb.lmlite.kv_cache import PAGE_TOKENS
from conduit_nb.lmlite.logprobs import LogprobBuffer
from conduit_nb.lmlite.messages import ChatMessage, PromptOptions
from conduit_nb.lmlite.model_loader import LoadedModel, load_model
from conduit_nb.lmlite.page_pool import PagePool
from conduit_nb.lmlite.repetition import RepetitionGuard
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationDelta, GenerationRequest, TextGrammar
from conduit_nb.lmlite.runners import Attention, choose_runner
from conduit_nb.lmlite.sampling_params import SamplingParams
from conduit_nb.lmlite.scheduler import Scheduler, Sequence
from conduit_nb.lmlite.tool_calls import CallFormat, CallGrammar
from conduit_nb.lmlite.worker import Job, Worker
from conduit_nb.protocol import Message

PREFIX_CACHE_SHARE = 8
"""On the CPU one page in so many may be kept for later sequences: there, memory is taken when it is
first written, and a cache that keeps all it can would grow to its full size with the first large
job."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineStats:
    """A snapshot of what an engine has done so far.

    `prefill_tokens` are those of prompts (again after a preemption), without the `reused_tokens`;
    of the `generated_tokens` the grammar forced `forced_tokens`, and `drafted_tokens` were drafts
    that were accepted and needed no step of their own. `steps_by_batch_size[n]` steps had n
    sequences.
    """

    running: int
    waiting: int
    steps_by_batch_size: tuple[int, ...]
    prefill_tokens: int
    generated_tokens: int
    forced_tokens: int
    drafted_tokens: int
    reused_tokens: int
    preemptions: int
    pages: int
    used_pages: int
    grammar_hits: int
    grammar_misses: int


class Engine:
    """A loaded model and the thread that steps it. Make it with `load`, end it with `close`.

    `context_tokens` bounds prompt plus reply of a request.
    """

    def __init__(self, loaded: LoadedModel, config: EngineConfig) -> None:
        max_tokens = min(config.max_model_len or loaded.stable_rope_tokens, loaded.context_tokens)
        runner, pages = choose_runner(loaded, config, max_tokens)
        self.attention: Attention = runner.attention
        self.context_tokens = min(max_tokens, pages * PAGE_TOKENS)
        self.device = str(loaded.device)
        self.dtype = str(loaded.dtype).removeprefix("torch.")
        self._end_tokens = loaded.end_tokens
        self._chat = ChatTemplate(loaded.tokenizer)
        self._fast = loaded.tokenizer.backend_tokenizer
        self._repetition_guard = RepetitionGuard(self._fast.token_to_id)
        self._grammars = Grammars(loaded.grammar_tokenizer)
        self._vocabulary = loaded.grammar_tokenizer
        self._numbers = itertools.count()
        self._pages = PagePool(pages, PAGE_TOKENS)
        self._worker = Worker(
            runner=runner,
            scheduler=Scheduler(
                self._pages,
                max_sequences=config.max_concurrency,
                prefill_budget=config.prefill_tokens,
                cached_pages=_cached_pages(config, pages, loaded.device),
                shares_prefixes=runner.attention == "packed",
            ),
            max_sequences=config.max_concurrency,
            drafts=config.drafts,
        )
        self._batch_timeout_ms = config.batch_timeout_ms

    @classmethod
    def load(cls, folder: Path, config: EngineConfig) -> Engine:
        """Load the model in `folder`; takes seconds, so call it in a worker thread.

        Raises ModelFilesError where the folder is broken, ModelError where the model is of a kind
        that cannot be served, ArgumentError for a device that is not there.
        """
        return cls(load_model(folder, config), config)

    @property
    def running(self) -> int:
        """Requests that are in the batch now."""
        return self._worker.running

    @property
    def waiting(self) -> int:
        """Requests that wait for a place in the batch."""
        return self._worker.waiting

    @property
    def has_ended(self) -> bool:
        """Whether the thread is gone, closed or broken: nothing more will be written."""
        return self._worker.has_ended

    @property
    def preemptions(self) -> int:
        """How often a sequence gave up its pages and had to be prefilled again."""
        return self._worker.preemptions

    @property
    def reused_tokens(self) -> int:
        """Tokens that sequences took from the prefix cache instead of computing them."""
        return self._worker.reused_tokens

    def stats(self) -> EngineStats:
        """Return what was done so far; cheap, at any time, from any thread."""
        counts = self._worker.counts
        return EngineStats(
            running=self.running,
            waiting=self.waiting,
            steps_by_batch_size=tuple(counts.steps_by_batch_size),
            prefill_tokens=counts.prefill_tokens,
            generated_tokens=counts.generated_tokens,
            forced_tokens=counts.forced_tokens,
            drafted_tokens=counts.drafted_tokens,
            reused_tokens=self.reused_tokens,
            preemptions=self.preemptions,
            pages=self._pages.total,
            used_pages=self._pages.total - self._pages.free_count,
            grammar_hits=self._grammars.hits,
            grammar_misses=self._grammars.misses,
        )

    @property
    def call_format(self) -> CallFormat:
        """How the model writes calls of functions."""
        return self._chat.call_format

    def encode_chat(
        self,
        messages: abc.Sequence[Message] | abc.Sequence[ChatMessage],
        options: PromptOptions | None = None,
    ) -> list[int]:
        """Return the prompt's tokens, by the model's chat template. Thread-safe.

        Long texts take their time: call it in a worker thread where that matters.
        Raises ModelError where the model has no template, RequestRefusedError where the template
        refuses the messages, ContextLengthError where the text cannot fit, whatever its tokens.
        """
        options = options or PromptOptions()
        text = self._chat.render(messages, options)
        min_tokens = self._chat.min_tokens(text)
        if min_tokens >= self.context_tokens:
            raise self._too_long(f"{len(text):,} characters, at least {min_tokens:,} tokens,")
        return self._chat.encode(messages, text, options)

    def encode_text(self, text: str) -> list[int]:
        """Return the tokens of a text as it stands, no template around it. Thread-safe.

        Control tokens that the text spells are meant. Raises ContextLengthError like encode_chat.
        """
        min_tokens = self._chat.min_tokens(text)
        if min_tokens >= self.context_tokens:
            raise self._too_long(f"{len(text):,} characters, at least {min_tokens:,} tokens,")
        return self._fast.encode(text).ids

    def check_grammar(self, grammar: Mapping[str, Any] | TextGrammar | CallGrammar) -> None:
        """Raise RequestRefusedError, naming the keyword, where no grammar can be made of it."""
        self._grammars.check(grammar)

    async def generate(self, request: GenerationRequest) -> AsyncGenerator[GenerationDelta, None]:
        """Yield the reply piece by piece; closing the iterator aborts the request.

        A guided reply that reaches `max_tokens` is closed to the shortest record that begins like
        it. Raises ContextLengthError where the prompt leaves no room, RequestRefusedError where the
        schema cannot be served, ReplyBudgetError where not even its shortest record fits,
        ServerFailedError where the engine failed or was closed.
        """
        room = self.context_tokens - len(request.prompt_tokens)
        if room < 1:
            raise self._too_long(f"{len(request.prompt_tokens):,} tokens")
        guide = None
        grammar = request.json_schema if request.grammar is None else request.grammar
        if grammar is not None:
            guide = await asyncio.to_thread(self._grammars.guide, grammar)
            guide.check_budget(min(request.max_tokens, room))
        reply = Reply(
            sequence=Sequence(number=next(self._numbers), tokens=list(request.prompt_tokens)),
            max_tokens=min(request.max_tokens, room),
            sampling=request.sampling,
            guide=guide,
            detokenizer=Detokenizer(self._decoder(request.sampling)),
            end_tokens=self._ends(request.sampling),
            logprobs=self._logprob_buffer(request.sampling.top_logprobs),
            confidence=self._confidence(guide) if request.confidence else None,
            repetition_guard=self._repetition_guard,
        )
        loop = asyncio.get_running_loop()
        arrived: asyncio.Queue[GenerationDelta | ConduitError] = asyncio.Queue()

        def deliver(item: GenerationDelta | ConduitError) -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(arrived.put_nowait, item)

        timeout_ms = request.batch_timeout_ms
        if timeout_ms is None:
            timeout_ms = self._batch_timeout_ms
        job = Job(reply=reply, deliver=deliver, batch_timeout_s=timeout_ms / 1000)
        self._worker.submit(job)
        try:
            while True:
                item = await arrived.get()
                if isinstance(item, ConduitError):
                    raise item
                yield item
                if item.finish_reason is not None:
                    return
        finally:
            self._worker.abort(job)

    def close(self) -> None:
        """End the thread; requests still open fail. Idempotent, blocks until the step is done."""
        self._worker.close()

    def _logprob_buffer(self, top: int | None) -> LogprobBuffer | None:
        return None if top is None else LogprobBuffer(self._vocabulary, top)

    def _confidence(self, guide: Guide | None) -> ConfidenceTracker | None:
        if guide is None or guide.completer is None:
            return None
        return ConfidenceTracker(guide.completer, self._vocabulary)

    def _decoder(self, sampling: SamplingParams) -> Callable[[abc.Sequence[int]], str]:
        def decode(tokens: abc.Sequence[int]) -> str:
            return self._fast.decode(list(tokens), skip_special_tokens=sampling.skip_special_tokens)

        return decode

    def _ends(self, sampling: SamplingParams) -> frozenset[int]:
        """Return the tokens that end a reply."""
        own = frozenset[int]() if sampling.ignore_eos else self._end_tokens
        return own.union(sampling.stop_token_ids)

    def _too_long(self, what: str) -> ContextLengthError:
        return ContextLengthError(
            # litellm and others know this error by the first sentence.
            f"This model's maximum context length is {self.context_tokens:,} tokens. The prompt has"
            f" {what} and leaves no room for a reply in a context of {self.context_tokens:,}"
            " tokens.",
            hint="Shorten the input, or raise max_model_len where the model can do more.",
        )


def _cached_pages(config: EngineConfig, pages: int, device: torch.device) -> int:
    """Return how many pages that no sequence holds may be kept for later sequences."""
    if config.prefix_cache_tokens is not None:
        return config.prefix_cache_tokens // PAGE_TOKENS
    return pages // PREFIX_CACHE_SHARE if device.type == "cpu" else pages
