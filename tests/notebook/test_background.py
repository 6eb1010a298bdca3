"""notebook/background.py: a map that goes on while the notebook does."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from conduit_nb.errors import Interrupted, RunError
from conduit_nb.notebook.background import BackgroundMap
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"


def start(cells: Cells, server: OpenAIServer, *texts: str, options: str = "") -> BackgroundMap:
    cells.names["rows"] = [{"text": text} for text in texts]
    handle: Any = cells.run(
        f"%%conduit map rows -o out --background --endpoint {server.url} {options}\n{VERDICT}"
    )
    assert isinstance(handle, BackgroundMap)
    return handle


def test_the_cell_ends_at_once_and_out_is_bound_when_the_map_ends(
    cells: Cells, server: OpenAIServer
):
    handle = start(cells, server, "good", "WAIT bad")

    assert not handle.is_done
    assert "out" not in cells.names
    assert "out is bound when it ends" in repr(handle)

    server.go_on.set()
    frame = handle.result(timeout_s=20)

    assert handle.is_done
    assert list(frame["mood"]) == ["good", "bad"]
    assert cells.names["out"] is frame
    assert "2 of 2 rows" in repr(handle)
    assert "out is bound" in repr(handle)


def test_the_handle_shows_itself(cells: Cells, server: OpenAIServer):
    handle = start(cells, server, "WAIT bad")

    [shown] = cells.outputs
    assert "rows -> Verdict: 0 of 1 row," in shown.data["text/plain"]
    assert '<progress max="1" value="0"' in shown.data["text/html"]
    server.go_on.set()
    handle.result(timeout_s=20)


def test_the_handle_is_awaited(cells: Cells, server: OpenAIServer):
    handle = start(cells, server, "WAIT bad")

    async def work() -> Any:
        asyncio.get_running_loop().call_later(0.01, server.go_on.set)
        return await handle

    assert list(asyncio.run(work())["mood"]) == ["bad"]
    assert list(cells.names["out"]["mood"]) == ["bad"]


def test_a_wait_that_takes_too_long_is_an_error_and_the_map_goes_on(
    cells: Cells, server: OpenAIServer
):
    handle = start(cells, server, "WAIT bad")

    with pytest.raises(RunError, match=r"has not ended within 0\.05 s; it goes on"):
        handle.result(timeout_s=0.05)

    server.go_on.set()
    assert list(handle.result(timeout_s=20)["mood"]) == ["bad"]


def test_cancelling_binds_what_is_finished(cells: Cells, server: OpenAIServer):
    handle = start(cells, server, "WAIT bad", "WAIT bad")
    server.waiting.acquire(timeout=20)

    handle.cancel()
    handle.cancel()  # twice is fine

    with pytest.raises(Interrupted, match="Stopped after 0 of 2 rows"):
        handle.result(timeout_s=20)
    assert all(isinstance(error, Interrupted) for error in cells.names["out"]["error"])
    assert "Interrupted" in repr(handle)


@pytest.mark.parametrize("options", ["", "--max-errors 0"])
def test_a_map_that_fails_as_a_whole_raises_where_it_is_awaited(
    cells: Cells, server: OpenAIServer, options: str
):
    handle = start(cells, server, "REFUSED", options=options)

    with pytest.raises(RunError, match="1 of 1 rows failed"):
        handle.result(timeout_s=20)
    assert len(cells.names["out"]) == 1


def test_what_a_server_says_is_escaped_in_the_handle(cells: Cells, server: OpenAIServer):
    handle = start(cells, server, "<b>REFUSED</b>")
    with pytest.raises(RunError):
        handle.result(timeout_s=20)

    html = handle._repr_mimebundle_()["text/html"]

    assert "<b>" not in html
    assert "RunError" in html


def test_two_maps_run_beside_each_other(cells: Cells, server: OpenAIServer):
    first = start(cells, server, "WAIT bad")
    cells.names["others"] = [{"text": "good"}]

    cells.run(f"%%conduit map others --endpoint {server.url}\n{VERDICT}")
    server.go_on.set()

    assert list(cells.names["others_out"]["mood"]) == ["good"]
    assert list(first.result(timeout_s=20)["mood"]) == ["bad"]
