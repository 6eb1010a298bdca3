"""What the server takes in memory, against what the planner says that it takes."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from conduit_nb.compute.planning import plan
from conduit_nb.compute.vram import PlannedModel
from conduit_nb.models.weights import read_model
from tests.lmlite.server_process import server_process

pytest.importorskip("torch")


@pytest.mark.model
@pytest.mark.slow  # a server that loads and asks the real model, to measure it
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count shared pages otherwise")
def test_the_plan_of_the_embedded_model_is_what_the_process_takes(embedded_model_folder: Path):
    rows, words = 4, 480
    arguments = ("--device", "cpu", "--max-concurrency", str(rows))
    with server_process(*arguments, is_forked=False) as server:
        with ThreadPoolExecutor(rows) as threads:
            replies = list(
                threads.map(
                    lambda row: server.chat(
                        embedded_model_folder, f"{row}{' word' * words}", max_tokens=4
                    ).json(),
                    range(rows),
                )
            )
        taken = psutil.Process(server.process.pid).memory_info().rss
    tokens = max(reply["usage"]["total_tokens"] for reply in replies)
    spec, weights = read_model(embedded_model_folder)
    planned = plan(
        [
            PlannedModel(
                model_id="embedded",
                spec=spec,
                weights=weights,
                max_model_len=tokens,
                max_model_concurrency=rows,
            )
        ]
    )

    assert planned.largest_device_bytes == pytest.approx(taken, rel=0.1)
