"""The thread that runs an engine's steps: admits jobs, drops aborted ones, delivers the text.

However the thread ends, every open job gets an error: no request waits for an engine that is gone.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from conduit_nb.errors import ConduitError, ServerFailedError
from conduit_nb.lmlite.logprobs import SampledToken
from conduit_nb.lmlite.ngram_drafter import NgramDrafter
from conduit_nb.lmlite.prefix_cache import common_length
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.runners import Runner
from conduit_nb.lmlite.scheduler import Batch, Scheduler, Sequence

FAILED_STEPS_ALLOWED = 3
"""After so many failed steps one after another, the engine is broken and ends."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A reply to write. `deliver` gets its deltas; it is called by the thread and must be quick.

    `batch_timeout_s` is how long it may wait for others to batch with where the engine is idle.
    """

    reply: Reply
    batch_timeout_s: float
    deliver: Callable[[GenerationDelta | ConduitError], None]


@dataclass(slots=True)
class StepCounts:
    """Counts of the worker's thread; `steps_by_batch_size[n]` steps had n sequences."""

    steps_by_batch_size: list[int]
    prefill_tokens: int = 0
    generated_tokens: int = 0
    forced_tokens: int = 0
    drafted_tokens: int = 0


class Worker:
    """Owns the scheduler and the model; other threads talk to it through lists under a lock."""

    def __init__(
        self, *, runner: Runner, scheduler: Scheduler, max_sequences: int, drafts: bool = True
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._max_sequences = max_sequences
        self.counts = StepCounts([0] * (max_sequences + 1))
        self._changed = threading.Condition()
        self._arrived: list[Job] = []
        self._aborted: list[Job] = []
        self._open: dict[Sequence, Job] = {}
        self._is_closing = False
        self._has_ended = False
        self._failed_steps = 0
        self._drafters: dict[Sequence, NgramDrafter] = {}
        self._drafts = drafts and runner.attention == "packed"
        self._thread = threading.Thread(target=self._run, name="lmlite-engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Sequences in the batch."""
        return self._scheduler.running

    @property
    def waiting(self) -> int:
        """Requests that have no place in the batch yet."""
        return self._scheduler.waiting + len(self._arrived)

    @property
    def has_ended(self) -> bool:
        """Whether the thread is gone, closed or broken."""
        return self._has_ended

    @property
    def preemptions(self) -> int:
        """How often a sequence gave up its pages to an older one."""
        return self._scheduler.preemptions

    @property
    def reused_tokens(self) -> int:
        """Tokens that sequences took from the prefix cache instead of computing them."""
        return self._scheduler.reused_tokens

    def submit(self, job: Job) -> None:
        """Queue a job; raises ServerFailedError where the engine has ended."""
        with self._changed:
            if self._is_closing or self._has_ended:
                raise _ended()
            self._arrived.append(job)
            self._changed.notify()

    def abort(self, job: Job) -> None:
        """Drop a job before the next step. Idempotent, also for jobs that are done."""
        with self._changed:
            self._aborted.append(job)
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the current step. Idempotent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._receive():
                self._step()
                if not self._open:
                    self._scheduler.check_integrity()
        finally:
            self._end()

    def _receive(self) -> bool:
        """Wait for work, drop aborted jobs and admit new ones; False when it is time to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closing or self._arrived or self._aborted or self._open
            )
            if self._arrived and not self._open:
                self._wait_for_batch()
            arrived, self._arrived = self._arrived, []
            aborted, self._aborted = self._aborted, []
            is_closing = self._is_closing
        for job in arrived:
            self._open[job.reply.sequence] = job
        for job in aborted:
            self._forget(job)
        if is_closing:
            return False
        for job in arrived:
            if job.reply.sequence in self._open:
                self._begin(job)
        return True

    def _wait_for_batch(self) -> None:
        """Wait until the batch is full, at most for the shortest batch timeout of the jobs here."""
        began = time.monotonic()
        while not self._is_closing and len(self._arrived) < self._max_sequences:
            timeout_s = min(job.batch_timeout_s for job in self._arrived)
            left_s = began + timeout_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return

    def _begin(self, job: Job) -> None:
        try:
            delta = job.reply.begin()
        except ConduitError as err:
            self._fail(job, err)
            return
        if delta is None or delta.finish_reason is None:
            self._scheduler.add(job.reply.sequence)
        if delta is not None:
            self._emit(job, delta)

    def _step(self) -> None:
        batch = self._scheduler.schedule()
        if batch is None:
            return
        replies = {chunk.sequence: self._open[chunk.sequence].reply for chunk in batch.chunks}
        try:
            tokens = self._runner.run(batch, replies)
        except (RuntimeError, MemoryError) as err:  # torch: no memory, a device that is gone
            self._fail_step(batch, err)
            return
        self._count(batch)
        self._scheduler.commit(batch)
        drafts = {chunk.sequence: chunk.draft for chunk in batch.chunks}
        accepted = dict.fromkeys(tokens, 0)
        while accepted:
            accepted = {
                sequence: accepted[sequence] + count
                for sequence, chosen in tokens.items()
                if (count := self._write(sequence, chosen, drafts[sequence][accepted[sequence] :]))
                is not None
            }
            try:
                tokens = self._runner.follow(accepted, replies)
            except (RuntimeError, MemoryError) as err:
                self._fail_step(batch, err)
                return
        self._failed_steps = 0
        self._draft([sequence for sequence in replies if sequence in self._open])

    def _write(
        self, sequence: Sequence, chosen: SampledToken, draft: tuple[int, ...]
    ) -> int | None:
        """Write a token and what must follow; return how many tokens, where all were drafted.

        Then the step has the logits after them as well.
        """
        job = self._open[sequence]
        before = len(sequence.tokens)
        try:
            delta = job.reply.add(chosen)
        except ConduitError as err:
            self._fail(job, err)
            return None
        written = sequence.tokens[before:]
        if delta.finish_reason is None:
            accepted = common_length(written, draft)
            self._scheduler.accept(sequence, accepted)
            self.counts.drafted_tokens += accepted
        self._emit(job, delta)
        is_drafted = delta.finish_reason is None and tuple(written) == draft[: len(written)]
        return len(written) if is_drafted else None

    def _draft(self, sequences: list[Sequence]) -> None:
        """Guess what comes next in the sequences that just wrote something."""
        if not self._drafts:
            return
        for sequence in sequences:
            if sequence.is_prefilling:
                continue
            drafter = self._drafters.setdefault(sequence, NgramDrafter())
            max_tokens = self._open[sequence].reply.left - 1
            sequence.draft = drafter.draft(
                sequence.tokens, batch_size=len(sequences), max_tokens=max_tokens
            )

    def _count(self, batch: Batch) -> None:
        """Count a step that was done and is not committed yet."""
        self.counts.steps_by_batch_size[len(batch.chunks)] += 1
        self.counts.prefill_tokens += sum(
            chunk.end - chunk.start for chunk in batch.chunks if chunk.sequence.is_prefilling
        )

    def _fail_step(self, batch: Batch, err: RuntimeError | MemoryError) -> None:
        """Fail the sequences of a step that failed; the others are as they were."""
        self._scheduler.fail(batch)
        logger.exception("A step with %d sequences failed.", len(batch.chunks))
        reason = str(err).strip().splitlines()[:1] or [type(err).__name__]
        for chunk in batch.chunks:
            failure = ServerFailedError(
                f"The model failed in a step with {len(batch.chunks)} sequences: {reason[0]}",
                reason="step",
                hint="Lower max_model_concurrency or max_model_len, and see `%conduit logs`.",
            )
            if chunk.sequence in self._open:
                self._fail(self._open[chunk.sequence], failure)
        self._failed_steps += 1
        if self._failed_steps >= FAILED_STEPS_ALLOWED:
            raise err

    def _emit(self, job: Job, delta: GenerationDelta) -> None:
        self.counts.generated_tokens += delta.tokens
        self.counts.forced_tokens += delta.forced
        if delta.finish_reason is not None:
            self._forget(job)
        job.deliver(delta)

    def _fail(self, job: Job, err: ConduitError) -> None:
        self._forget(job)
        job.deliver(err)

    def _forget(self, job: Job) -> None:
        if self._open.pop(job.reply.sequence, None):
            self._scheduler.remove(job.reply.sequence)
            self._runner.forget(job.reply.sequence)
            self._drafters.pop(job.reply.sequence, None)

    def _end(self) -> None:
        with self._changed:
            self._has_ended = True
            jobs = [*self._open.values(), *self._arrived]
            self._arrived = []
        for job in jobs:
            self._fail(job, _ended())


def _ended() -> ServerFailedError:
    return ServerFailedError(
        "The model's engine has ended.",
        reason="ended",
        hint="Send the request again; see `%conduit logs`.",
    )
