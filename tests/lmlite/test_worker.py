from __future__ import annotations

import threading
from pathlib import Path

import pytest

pytest.importorskip("torch")

from conduit_nb.errors import ConduitError, ServerFailedError
from conduit_nb.lmlite.config import EngineConfig
from conduit_nb.lmlite.detokenizer import Detokenizer
from conduit_nb.lmlite.loading import load_model
from conduit_nb.lmlite.model_runner import ModelRunner
from conduit_nb.lmlite.pages import PagePool
from conduit_nb.lmlite.reply import Reply
from conduit_nb.lmlite.request import GenerationDelta
from conduit_nb.lmlite.sampling import SamplingParams
from conduit_nb.lmlite.scheduler import Row, Scheduler
from conduit_nb.lmlite.worker import Job, Worker


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_worker_whose_pages_do_not_add_up_when_it_is_idle_ends(tiny_model_folder: Path):
    pool = PagePool(8, 16)
    pool.run(1)  # that nobody has
    worker = Worker(
        runner=ModelRunner(
            load_model(tiny_model_folder, EngineConfig(device="cpu", threads=1)), pages=8
        ),
        scheduler=Scheduler(pool, max_rows=2, step_tokens=32),
        max_rows=2,
    )
    told: list[GenerationDelta | ConduitError] = []
    is_told = threading.Event()

    def deliver(item: GenerationDelta | ConduitError) -> None:
        told.append(item)
        is_told.set()

    job = Job(
        reply=Reply(
            row=Row(number=0, tokens=[5, 6, 7]),
            max_tokens=1,
            sampling=SamplingParams(),
            guide=None,
            detokenizer=Detokenizer(str),
            end_tokens=frozenset(),
        ),
        batch_timeout_s=0,
        deliver=deliver,
    )
    worker.submit(job)
    assert is_told.wait(30)
    worker.close()

    assert [type(item) for item in told] == [GenerationDelta]
    assert worker.has_ended
    with pytest.raises(ServerFailedError):
        worker.submit(job)
