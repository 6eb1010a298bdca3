"""A server that dies while it boots, and a reader who runs the same cell again at once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.errors import BootError, RunError
from conduit_nb.session import Session
from tests.fake_lmlite import FakeRuntime
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "20")

    def dying(name: str) -> FakeRuntime:
        return FakeRuntime(("--dies", "3"), name=name)

    with echo_session(tmp_path, monkeypatch, make_runtime=dying) as session:
        yield session


def starts(cells: Cells) -> int:
    """Return how often the last cell said that a server is started."""
    return (cells.stdout + cells.stderr).count("Starting the model server")


def test_a_map_tries_once_for_all_its_rows_and_again_when_it_is_run_again(cells: Cells):
    cells.names["rows"] = [{"text": str(n)} for n in range(200)]  # more than are asked at once

    cell = "%%conduit map rows -o out --model m/one\nclass Echo:\n    said: str\n"

    for _ in range(2):
        cells.fail(cell, RunError)

        assert starts(cells) == 1
        errors = conduit_nb.errors(cells.names.pop("out"))
        assert len(errors) == 200
        assert {type(error) for error in errors} == {BootError}


def test_a_block_that_is_called_again_tries_again(cells: Cells):
    cells.run("%%conduit schema\nclass Text:\n    text: str\nclass Echo:\n    said: str\n")
    cells.run("%%conduit block echo --input Text --output Echo --model m/one\nSay it again.\n")

    for _ in range(2):
        cells.fail("echo(Text('a'))", BootError)

        assert starts(cells) == 1
