"""lmlite/metrics.py: the numbers of a server that has work, as Prometheus reads them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("torch")

from prometheus_client.parser import text_string_to_metric_families

from tests.lmlite.server_process import ServerProcess, server_process
from tests.lmlite.test_server import ENDLESS, schema_format

FLAG = {
    "type": "object",
    "properties": {"is_spam": {"type": "boolean"}},
    "required": ["is_spam"],
    "additionalProperties": False,
}


@pytest.fixture
def server() -> Iterator[ServerProcess]:
    """Return a server that nobody has body anything yet."""
    with server_process("--threads", "1", "--max-concurrency", "4") as running:
        yield running


class Scraped:
    """The metrics of a server at one moment."""

    def __init__(self, server: ServerProcess) -> None:
        response = server.client.get("/metrics")
        assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        self._samples = [
            sample
            for family in text_string_to_metric_families(response.text)
            for sample in family.samples
        ]

    def __call__(self, name: str, **labels: str) -> float:
        """Return the sum of the samples of that name that have these labels."""
        return sum(
            sample.value
            for sample in self._samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )


def test_the_numbers_are_those_of_what_was_done(server, tiny_model):
    tiny = tiny_model()
    usages = [
        server.chat(tiny, response_format=schema_format(FLAG)).json()["usage"] for _ in range(3)
    ]
    server.chat(tiny, max_tokens=0)
    server.client.get("/nowhere")

    scraped = Scraped(server)

    chat = "/v1/chat/completions"
    assert scraped("conduit_requests_total", path=chat, status="200") == 3
    assert scraped("conduit_requests_total", path=chat, status="400") == 1
    assert scraped("conduit_requests_total", path="other", status="404") == 1
    written = sum(usage["completion_tokens"] for usage in usages)
    prompts = sum(usage["prompt_tokens"] for usage in usages)
    of_tiny = {"model": str(tiny), "dtype": "float32"}
    assert scraped("conduit_tokens_written_total", **of_tiny) == written
    assert 0 < scraped("conduit_tokens_forced_total") < written
    assert scraped("conduit_tokens_read_total") + scraped("conduit_tokens_reused_total") == (
        pytest.approx(prompts, abs=3 * 12)  # forced beginnings are read with the prompt
    )
    assert 0 <= scraped("conduit_tokens_drafted_total") <= written
    assert scraped("conduit_grammar_cache_misses_total") == 1
    assert scraped("conduit_grammar_cache_hits_total") == 2
    assert scraped("conduit_time_to_first_token_seconds_count", model=str(tiny)) == 3
    assert scraped("conduit_time_per_token_seconds_count") > 0
    steps = scraped("conduit_step_rows_count")
    assert steps >= 3
    assert scraped("conduit_step_rows_bucket", le="1.0") == steps
    assert scraped("conduit_step_rows_sum") == steps


def test_running_and_waiting_replies_and_their_pages_are_seen(server, tiny_model):
    model = tiny_model(context_tokens=8192)
    body = {
        "model": str(model),
        "messages": [{"role": "user", "content": "hi"}],
        "n": 6,
        "stream": True,
        "response_format": ENDLESS,
    }
    with server.client.stream("POST", "/v1/chat/completions", json=body) as response:
        for _ in response.iter_lines():  # until all six have come to the model, two of them to wait
            scraped = Scraped(server)
            state = [scraped(f"conduit_requests_{name}") for name in ("running", "waiting")]
            if state == [4, 2]:
                break

    assert state == [4, 2]
    assert 4 <= scraped("conduit_kv_pages_used") <= scraped("conduit_kv_pages")


def test_a_server_without_a_model_has_numbers_already(server):
    scraped = Scraped(server)

    assert scraped("conduit_requests_running") == 0
    assert Scraped(server)("conduit_requests_total", path="/metrics", status="200") == 1
