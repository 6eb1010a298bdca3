"""The server's Prometheus metrics: counted where it happens, collected on a scrape.

Knows prometheus_client; has a registry of its own, so that servers in one process stay apart.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING, Literal

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from conduit_nb.lmlite.http_errors import CLIENT_LEFT
from conduit_nb.lmlite.pool import ModelPool

if TYPE_CHECKING:
    from conduit_nb.lmlite.engine import EngineStats  # loads torch, which this file does not need

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
MODEL_LABELS = ("model", "revision", "dtype", "device")
FIRST_TOKEN_BUCKETS_S = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
TOKEN_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5)

# What is read off an engine: name, what it is, and the field of EngineStats.
GAUGES = (
    ("conduit_requests_running", "Replies that are in the batch.", "running"),
    ("conduit_requests_waiting", "Replies that wait for a place in the batch.", "waiting"),
    ("conduit_kv_pages", "Pages that the KV cache has.", "pages"),
    ("conduit_kv_pages_used", "Pages of the KV cache that are in use.", "used_pages"),
)
COUNTERS = (
    ("conduit_tokens_read", "Prompt tokens that were prefilled.", "prefill_tokens"),
    ("conduit_tokens_written", "Tokens of replies.", "generated_tokens"),
    ("conduit_tokens_forced", "Tokens of replies that a grammar forced.", "forced_tokens"),
    ("conduit_tokens_drafted", "Tokens of replies that were guessed ahead.", "drafted_tokens"),
    ("conduit_tokens_reused", "Prompt tokens taken from the prefix cache.", "reused_tokens"),
    ("conduit_preemptions", "Sequences that gave up their pages.", "preemptions"),
    ("conduit_grammar_cache_hits", "Grammars found compiled.", "grammar_hits"),
    ("conduit_grammar_cache_misses", "Grammars compiled.", "grammar_misses"),
)
MEMORY: tuple[tuple[str, str, Literal["budget_bytes", "planned_bytes"]], ...] = (
    ("conduit_memory_budget_bytes", "What models may take of a device together.", "budget_bytes"),
    (
        "conduit_memory_planned_bytes",
        "What is planned for the models on a device.",
        "planned_bytes",
    ),
)


class Metrics:
    """The numbers of one server over the models of `pool`."""

    def __init__(self, pool: ModelPool) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(_Engines(pool))
        self.requests = Counter(
            "conduit_requests",
            "Requests answered, by path and status (499: the client left).",
            ("path", "status"),
            registry=self._registry,
        )
        self.first_token_s = Histogram(
            "conduit_time_to_first_token_seconds",
            "From the arrival of a request to the first token of a reply.",
            ("model",),
            buckets=FIRST_TOKEN_BUCKETS_S,
            registry=self._registry,
        )
        self.token_s = Histogram(
            "conduit_time_per_token_seconds",
            "From one token of a reply to the next; those of one step share its time.",
            ("model",),
            buckets=TOKEN_BUCKETS_S,
            registry=self._registry,
        )

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)


class ReplyTimes:
    """When the tokens of one request's replies came."""

    def __init__(self, metrics: Metrics, model: str, arrived: float) -> None:
        self._metrics = metrics
        self._model = model
        self._arrived = arrived
        self._latest: dict[int, float] = {}

    def note(self, index: int, tokens: int) -> None:
        """Note that `tokens` tokens of a reply have come just now."""
        if not tokens:
            return
        now = asyncio.get_running_loop().time()
        before = self._latest.get(index)
        self._latest[index] = now
        if before is None:
            self._metrics.first_token_s.labels(self._model).observe(now - self._arrived)
        else:
            self._metrics.token_s.labels(self._model).observe((now - before) / tokens)


class RequestCounts:
    """Counts every answer, by path and status; a path that is not served is "other"."""

    def __init__(self, app: ASGIApp, metrics: Metrics, paths: frozenset[str]) -> None:
        self._app = app
        self._metrics = metrics
        self._paths = paths

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on to the application inside."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 0

        async def note(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        path = scope["path"] if scope["path"] in self._paths else "other"
        try:
            await self._app(scope, receive, note)
            status = status or CLIENT_LEFT
        finally:
            self._metrics.requests.labels(path, str(status or 500)).inc()


class _Engines(Collector):
    """Collects the engines' own counts; a model that is loaded again begins at 0."""

    def __init__(self, pool: ModelPool) -> None:
        self._pool = pool

    def collect(self) -> Iterator[Metric]:
        """Return one family for each number, with a sample for each loaded model."""
        stats = [
            ((key.model_id, key.revision or "", key.dtype, engine.device), engine.stats())
            for key, engine in self._pool.engines()
        ]
        for name, what, field in GAUGES:
            gauge = GaugeMetricFamily(name, what, labels=MODEL_LABELS)
            for labels, one in stats:
                gauge.add_metric(labels, getattr(one, field))
            yield gauge
        for name, what, field in COUNTERS:
            counter = CounterMetricFamily(name, what, labels=MODEL_LABELS)
            for labels, one in stats:
                counter.add_metric(labels, getattr(one, field))
            yield counter
        for name, what, field in MEMORY:
            gauge = GaugeMetricFamily(name, what, labels=("device",))
            for memory in self._pool.memory():
                gauge.add_metric((memory["device"],), memory[field])
            yield gauge
        batch_sizes = HistogramMetricFamily(
            "conduit_step_rows",
            "Sequences of the model's steps; the count is of steps.",
            labels=MODEL_LABELS,
        )
        for labels, one in stats:
            batch_sizes.add_metric(labels, *_batch_size_buckets(one))
        yield batch_sizes


def _batch_size_buckets(stats: EngineStats) -> tuple[list[tuple[str, float]], float]:
    """Return how many steps had at most 1, 2, 4, … sequences, and the sequences of all steps."""
    by_batch_size = stats.steps_by_batch_size
    buckets: list[tuple[str, float]] = []
    limit = 1
    while limit < len(by_batch_size):
        buckets.append((f"{limit}.0", sum(by_batch_size[: limit + 1])))
        limit *= 2
    buckets.append(("+Inf", sum(by_batch_size)))
    return buckets, sum(size * steps for size, steps in enumerate(by_batch_size))
