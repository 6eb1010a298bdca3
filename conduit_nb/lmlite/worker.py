"""The thread that steps an engine: takes requests in, lets go of those that were left, delivers.

Whatever ends the thread, every open request is told: nobody waits for an engine that is gone.
Layer 3.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from conduit_nb.errors import ConduitError, ServerFailedError
from conduit_nb.lmlite.logprobs import Chosen
from conduit_nb.lmlite.ngram_drafter import NgramDrafter
from conduit_nb.lmlite.prefix_cache import common_length
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.runners import Runner
from conduit_nb.lmlite.scheduler import Plan, Row, Scheduler

FAILED_STEPS_ALLOWED = 3
"""After so many steps in a row that failed, the engine is broken and ends."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Job:
    """A reply to write, and whom to tell. `deliver` must be quick; it is called by the thread.

    `batch_timeout_s` is how long it may wait for company where the engine is idle.
    """

    reply: Reply
    batch_timeout_s: float
    deliver: Callable[[GenerationDelta | ConduitError], None]


@dataclass(slots=True)
class StepCounts:
    """Counts of the thread that steps; `steps_by_rows[n]` steps had n rows."""

    steps_by_rows: list[int]
    read_tokens: int = 0
    written_tokens: int = 0
    forced_tokens: int = 0
    drafted_tokens: int = 0


class Worker:
    """Owns the scheduler and the model; everything but the thread itself talks to it by lists."""

    def __init__(
        self, *, runner: Runner, scheduler: Scheduler, max_rows: int, drafts: bool = True
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._max_rows = max_rows
        self.counts = StepCounts([0] * (max_rows + 1))
        self._changed = threading.Condition()
        self._arrived: list[Job] = []
        self._left: list[Job] = []
        self._open: dict[Row, Job] = {}
        self._is_closing = False
        self._has_ended = False
        self._failed_steps = 0
        self._drafters: dict[Row, NgramDrafter] = {}
        self._drafts = drafts and runner.attention == "packed"
        self._thread = threading.Thread(target=self._run, name="lmlite-engine", daemon=True)
        self._thread.start()

    @property
    def running(self) -> int:
        """Rows in the batch."""
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
        """How often a row gave up its pages to an older one."""
        return self._scheduler.preemptions

    @property
    def reused_tokens(self) -> int:
        """Tokens that a row took over from one before or beside it."""
        return self._scheduler.reused_tokens

    def submit(self, job: Job) -> None:
        """Queue a job; raises ServerFailedError where the engine has ended."""
        with self._changed:
            if self._is_closing or self._has_ended:
                raise _ended()
            self._arrived.append(job)
            self._changed.notify()

    def leave(self, job: Job) -> None:
        """Free the job's row before the next step. Idempotent, also for jobs that are done."""
        with self._changed:
            self._left.append(job)
            self._changed.notify()

    def close(self) -> None:
        """End the thread after the current step. Idempotent."""
        with self._changed:
            self._is_closing = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        try:
            while self._take_in():
                self._step()
                if not self._open:
                    self._scheduler.check_integrity()
        finally:
            self._end()

    def _take_in(self) -> bool:
        """Wait for work, then let go and take in; False when it is time to end."""
        with self._changed:
            self._changed.wait_for(
                lambda: self._is_closing or self._arrived or self._left or self._open
            )
            if self._arrived and not self._open:
                self._wait_for_company()
            arrived, self._arrived = self._arrived, []
            left, self._left = self._left, []
            is_closing = self._is_closing
        for job in arrived:
            self._open[job.reply.row] = job
        for job in left:
            self._forget(job)
        if is_closing:
            return False
        for job in arrived:
            if job.reply.row in self._open:
                self._begin(job)
        return True

    def _wait_for_company(self) -> None:
        """Wait until the batch is full, or as long as the least patient of those here allows."""
        began = time.monotonic()
        while not self._is_closing and len(self._arrived) < self._max_rows:
            patience_s = min(job.batch_timeout_s for job in self._arrived)
            left_s = began + patience_s - time.monotonic()
            if left_s <= 0 or not self._changed.wait(left_s):
                return

    def _begin(self, job: Job) -> None:
        try:
            delta = job.reply.begin()
        except ConduitError as err:
            self._fail(job, err)
            return
        if delta is None or delta.finish_reason is None:
            self._scheduler.add(job.reply.row)
        if delta is not None:
            self._tell(job, delta)

    def _step(self) -> None:
        plan = self._scheduler.plan()
        if plan is None:
            return
        replies = {part.row: self._open[part.row].reply for part in plan.slices}
        try:
            tokens = self._runner.run(plan, replies)
        except (RuntimeError, MemoryError) as err:  # torch: no memory, a device that is gone
            self._fail_step(plan, err)
            return
        self._count(plan)
        self._scheduler.commit(plan)
        drafts = {part.row: part.draft for part in plan.slices}
        followed = dict.fromkeys(tokens, 0)
        while followed:
            followed = {
                row: followed[row] + count
                for row, chosen in tokens.items()
                if (count := self._write(row, chosen, drafts[row][followed[row] :])) is not None
            }
            try:
                tokens = self._runner.follow(followed, replies)
            except (RuntimeError, MemoryError) as err:
                self._fail_step(plan, err)
                return
        self._failed_steps = 0
        self._draft([row for row in replies if row in self._open])

    def _write(self, row: Row, chosen: Chosen, draft: tuple[int, ...]) -> int | None:
        """Write a token and what must follow; return how many tokens, where all were drafted.

        Then the step has told which comes after them as well.
        """
        job = self._open[row]
        before = len(row.tokens)
        try:
            delta = job.reply.add(chosen)
        except ConduitError as err:
            self._fail(job, err)
            return None
        written = row.tokens[before:]
        if delta.finish_reason is None:
            read = common_length(written, draft)
            self._scheduler.accept(row, read)
            self.counts.drafted_tokens += read
        self._tell(job, delta)
        is_followed = delta.finish_reason is None and tuple(written) == draft[: len(written)]
        return len(written) if is_followed else None

    def _draft(self, rows: Sequence[Row]) -> None:
        """Guess what comes next in the rows that just wrote something."""
        if not self._drafts:
            return
        for row in rows:
            if row.is_reading:
                continue
            drafter = self._drafters.setdefault(row, NgramDrafter())
            most = self._open[row].reply.left - 1
            row.draft = drafter.draft(row.tokens, rows=len(rows), most=most)

    def _count(self, plan: Plan) -> None:
        """Count a step that was done and is not noted yet."""
        self.counts.steps_by_rows[len(plan.slices)] += 1
        self.counts.read_tokens += sum(
            part.end - part.start for part in plan.slices if part.row.is_reading
        )

    def _fail_step(self, plan: Plan, err: RuntimeError | MemoryError) -> None:
        """Fail the rows of a step that failed; the others are as they were."""
        self._scheduler.fail(plan)
        logger.exception("A step with %d rows failed.", len(plan.slices))
        reason = str(err).strip().splitlines()[:1] or [type(err).__name__]
        for part in plan.slices:
            failure = ServerFailedError(
                f"The model failed in a step with {len(plan.slices)} rows: {reason[0]}",
                reason="step",
                hint="Lower max_model_concurrency or max_model_len, and see `%conduit logs`.",
            )
            if part.row in self._open:
                self._fail(self._open[part.row], failure)
        self._failed_steps += 1
        if self._failed_steps >= FAILED_STEPS_ALLOWED:
            raise err

    def _tell(self, job: Job, delta: GenerationDelta) -> None:
        self.counts.written_tokens += delta.tokens
        self.counts.forced_tokens += delta.forced
        if delta.finish_reason is not None:
            self._forget(job)
        job.deliver(delta)

    def _fail(self, job: Job, err: ConduitError) -> None:
        self._forget(job)
        job.deliver(err)

    def _forget(self, job: Job) -> None:
        if self._open.pop(job.reply.row, None):
            self._scheduler.remove(job.reply.row)
            self._runner.forget(job.reply.row)
            self._drafters.pop(job.reply.row, None)

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
