"""The language model block with the embedded model in the real shared server."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import List, Literal  # noqa: UP035  # written as users write it

import pytest

pytest.importorskip("torch")

import conduit_nb
from conduit_nb import (
    ComputeProvider,
    ConduitError,
    ContextLengthError,
    LMLiteBlock,
    LmLiteModelConfig,
    ModelNotFoundError,
    Partial,
    SystemCommandBlock,
    TruncatedError,
)
from conduit_nb.protocol import Message
from conduit_nb.session import process_session

pytestmark = [pytest.mark.model, pytest.mark.slow]  # the real model writes many rows

IS_SOAK = os.environ.get("CONDUIT_SOAK") == "1"
OF_2026 = 1_772_366_400  # 1 March, noon
MODEL = "HuggingFaceTB/SmolLM2-135M-Instruct"
FRANCE: list[Message] = [{"role": "user", "content": "What is the capital of France?"}]
COUNT: list[Message] = [{"role": "user", "content": "Count from one to five hundred."}]


@dataclass
class Command:
    shell_command: str


@dataclass
class DirectoryListing:
    listing: str


@dataclass
class File:
    name: str
    bytes: int
    date_modified: str


@dataclass
class Files:
    files: List[File]  # noqa: UP006  # written as users write it


@dataclass
class Mail:
    text: str


@dataclass
class Label:
    """Sort the message."""

    topic: Literal["bill", "delivery", "other"]
    is_angry: bool


@pytest.fixture(scope="module", autouse=True)
def _server_ends() -> Iterator[None]:
    yield
    conduit_nb.terminate("all")
    process_session().close()


@pytest.fixture
def block() -> LMLiteBlock:
    return LMLiteBlock([LmLiteModelConfig(MODEL, max_model_len=2000)])


@pytest.mark.parametrize(
    "names",
    [
        ["a", "b", "c", "d", "e"],
        ["data.csv", "main.py", "notes.md", "run.sh", "x.json"],
    ],
    ids=["bare", "kinds"],
)
def test_the_call_of_the_readme_runs_as_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, names: list[str]
):
    folder = tmp_path / "of" / "here"
    folder.mkdir(parents=True)
    for number, name in enumerate(names):
        (folder / name).write_text("x" * 37 * number)
    if not IS_SOAK:  # the reply, and how long it gets, depend on the dates
        for path in (*folder.iterdir(), folder, folder.parent):
            os.utime(path, (OF_2026, OF_2026))
    monkeypatch.chdir(folder)

    model_id = "HuggingFaceTB/SmolLM2-135M-Instruct"
    command_block = SystemCommandBlock(Command, timeout_seconds=5)
    lm_lite_block = LMLiteBlock(
        models=[LmLiteModelConfig(model_id, max_model_len=5000, max_model_concurrency=1)],
        compute_provider=ComputeProvider.LOCAL,
    )
    command_op = command_block(Command(shell_command="ls -al"))
    assert command_op.success
    result = lm_lite_block(
        model_id=model_id, input=DirectoryListing(listing=command_op.stdout), output=Files
    )

    assert isinstance(result, Files)
    assert result.files
    assert all(isinstance(file, File) for file in result.files)


def test_messages_are_answered_with_text(block: LMLiteBlock):
    assert "Paris" in block(messages=FRANCE)


def test_a_stream_says_the_same_as_the_whole_answer(block: LMLiteBlock):
    texts = list(block.stream(messages=FRANCE))

    assert len(texts) > 2
    assert "".join(texts) == block(messages=FRANCE)


def test_the_stream_of_a_record_grows_to_the_record(block: LMLiteBlock):
    task = block.task(Mail, Label)
    record = Mail(text="You charged me twice!")

    *partials, last = block.stream(input=record, output=Label)

    assert last == task(record)
    assert all(isinstance(partial, Partial) for partial in partials)
    sizes = [len(partial) for partial in partials if isinstance(partial, Partial)]
    assert sizes == sorted(sizes)


def test_leaving_a_stream_frees_the_model(block: LMLiteBlock):
    for _ in block.stream(messages=COUNT):
        break

    until = time.monotonic() + 30
    while any(model.running for model in conduit_nb.list_models()):
        assert time.monotonic() < until, "the request still runs"
        threading.Event().wait(0.05)


def test_a_batch_of_records(block: LMLiteBlock):
    records = [Mail(text=f"{number}. Where is my parcel?") for number in range(20)]

    answers = block.batch(records, output=Label)

    assert not [answer for answer in answers if isinstance(answer, ConduitError)]


def test_an_answer_beyond_the_limit_is_an_error(block: LMLiteBlock):
    with pytest.raises(TruncatedError) as caught:
        block(messages=COUNT, max_tokens=8)

    assert caught.value.text


def test_a_prompt_beyond_the_blocks_limit_is_an_error():
    small = LMLiteBlock([LmLiteModelConfig(MODEL, max_model_len=64)])

    with pytest.raises(ContextLengthError, match="64"):
        small(messages=[{"role": "user", "content": "word " * 200}])


def test_a_limit_beyond_the_models_own_is_an_error_that_says_it():
    large = LMLiteBlock([LmLiteModelConfig(MODEL, max_model_len=100_000)])

    with pytest.raises(ContextLengthError, match="8,192"):
        large(messages=FRANCE)


def test_a_model_that_is_not_there_is_an_error_that_lists_what_is():
    block = LMLiteBlock([LmLiteModelConfig("nobody/nothing")])

    with pytest.raises(ModelNotFoundError) as caught:
        block(messages=FRANCE)

    assert MODEL in f"{caught.value} {caught.value.hint}"


def test_two_processes_share_one_server(block: LMLiteBlock):
    block(messages=FRANCE, max_tokens=40)
    code = (
        "from conduit_nb import LMLiteBlock, LmLiteModelConfig\n"
        f"block = LMLiteBlock([LmLiteModelConfig({MODEL!r}, max_model_len=2000)])\n"
        f"print(block(messages={FRANCE!r}))"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=dict(os.environ)
    )

    assert "Paris" in said.stdout, said.stderr
    assert len(conduit_nb.ps()) == 1
