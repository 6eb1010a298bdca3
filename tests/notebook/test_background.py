"""notebook/background.py: a map that goes on while the notebook does."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import subprocess
import sys
from typing import Any

import pandas as pd
import pytest

from conduit_nb.errors import ArgumentError, Interrupted, RunError
from conduit_nb.notebook.background import BackgroundMap
from conduit_nb.session import process_session
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer
from tests.waiting import until_true

VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"

# What a reader's next cells may do to the rows `rows`, a frame with text, k (7 … 0) and tags.
FRAME_CHANGES = {
    "sorted": "rows.sort_values('k', inplace=True)",
    "sorted anew": "rows = rows.sort_values('k')",
    "dropped": "rows.drop(index=rows.index[:3], inplace=True)",
    "emptied": "rows.drop(index=rows.index, inplace=True)",
    "index reset": "rows.sort_values('k', inplace=True); rows.reset_index(drop=True, inplace=True)",
    "index set": "rows.index = range(100, 100 + len(rows))",
    "index of a column": "rows.set_index('k', inplace=True)",
    "column changed": "rows['text'] = 'WAIT 99'",
    "values changed": "rows.loc[:, 'text'] = rows['text'].tolist()[::-1]",
    "a cell changed": "rows.iloc[0, 0] = 'WAIT 99'",
    "column added": "rows['n'] = -1",
    "column called error": "rows['error'] = 'mine'",
    "column dropped": "del rows['text']",
    "renamed": "rows.rename(columns={'text': 'body'}, inplace=True)",
    "columns set": "rows.columns = ['a', 'b', 'c']",
    "type changed": "rows['k'] = rows['k'].astype('str')",
    "a list in a cell": "[tags.append('new') for tags in rows['tags']]",
    "rows added": "rows.loc[99] = ['99', 99, []]",
    "deleted": "del rows",
}
LIST_CHANGES = {
    "cleared": "rows.clear()",
    "reversed": "rows.reverse()",
    "popped": "rows.pop(0)",
    "inserted": "rows.insert(0, rows[-1])",
    "edited": "[edit(row) for row in rows]",
}
LISTS = {
    "texts": "rows = [f'WAIT {n}' for n in range(8)]\ndef edit(row): rows[rows.index(row)] = '99'",
    "dicts": "rows = [{'text': f'WAIT {n}'} for n in range(8)]\ndef edit(row): row['text'] = '99'",
    "records": """
from dataclasses import dataclass
@dataclass
class Row:
    text: str
rows = [Row(f'WAIT {n}') for n in range(8)]
def edit(row): row.text = '99'
""",
}


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

    with pytest.raises(RunError, match=r"0\.05 s"):
        handle.result(timeout_s=0.05)

    server.go_on.set()
    assert list(handle.result(timeout_s=20)["mood"]) == ["bad"]


def test_cancelling_binds_what_is_finished(cells: Cells, server: OpenAIServer):
    handle = start(cells, server, "WAIT bad", "WAIT bad")
    server.waiting.acquire(timeout=20)

    handle.cancel()
    handle.cancel()  # twice is fine

    with pytest.raises(Interrupted, match=r"\b0\b.*\b2\b"):
        handle.result(timeout_s=20)
    assert list(cells.names["out"]["error_code"]) == ["interrupted"] * 2
    assert "Interrupted" in repr(handle)


@pytest.mark.parametrize("options", ["", "--max-errors 0"])
def test_a_map_that_fails_as_a_whole_raises_where_it_is_awaited(
    cells: Cells, server: OpenAIServer, options: str
):
    handle = start(cells, server, "REFUSED", options=options)

    with pytest.raises(RunError, match=r"\b1\b.*\b1\b.*RequestRefusedError"):
        handle.result(timeout_s=20)
    assert len(cells.names["out"]) == 1


def test_a_map_that_fails_where_it_is_awaited_is_told_once(
    cells: Cells, server: OpenAIServer, caplog: pytest.LogCaptureFixture
):
    handle = start(cells, server, "WAIT REFUSED")

    async def work() -> None:
        asyncio.get_running_loop().call_later(0.01, server.go_on.set)
        with pytest.raises(RunError):
            await handle
        gc.collect()

    asyncio.run(work())

    assert not caplog.records


def test_what_a_server_says_is_escaped_in_the_handle(cells: Cells, server: OpenAIServer):
    handle = start(cells, server, "<b>REFUSED</b>")
    with pytest.raises(RunError):
        handle.result(timeout_s=20)

    html = handle._repr_mimebundle_()["text/html"]

    assert "<b>" not in html
    assert "RunError" in html


def frame_of_rows(cells: Cells) -> pd.DataFrame:
    """Bind `rows`, of which every second has to wait, and return what they are."""
    cells.run(
        "import pandas as pd\n"
        "rows = pd.DataFrame({'text': [f'WAIT {n}' if n % 2 else f'{n}' for n in range(8)],\n"
        "                     'k': range(7, -1, -1), 'tags': [['a'] for _ in range(8)]},\n"
        "                    index=list('hgfedcba'))"
    )
    before: pd.DataFrame = cells.names["rows"].copy()
    before["tags"] = [["a"] for _ in range(8)]
    return before


@pytest.mark.parametrize("change", FRAME_CHANGES)
def test_a_frame_that_changes_meanwhile_changes_no_row_of_the_result(
    cells: Cells, server: OpenAIServer, change: str
):
    before = frame_of_rows(cells)
    cell = "%%conduit map rows -o out --background --columns text --max-concurrency 2"
    handle: Any = cells.run(f"{cell} --endpoint {server.url}\nclass V:\n    n: int\n")
    server.waiting.acquire(timeout=20)  # some are answered, some wait, some are not asked yet

    cells.run(
        "import warnings\n"
        "with warnings.catch_warnings():\n"
        "    warnings.simplefilter('ignore')  # pandas asks to leave out inplace=\n"
        f"    {FRAME_CHANGES[change]}"
    )
    server.go_on.set()
    out = handle.result(timeout_s=20)

    pd.testing.assert_frame_equal(out[["text", "k", "tags"]], before)
    assert out["n"].tolist() == list(range(8))
    assert out["error"].isna().all()
    assert cells.names["out"] is out
    assert not [question for question in server.questions if "99" in question]


@pytest.mark.parametrize("change", LIST_CHANGES)
@pytest.mark.parametrize("kind", LISTS)
def test_a_list_that_changes_meanwhile_changes_no_row_of_the_result(
    cells: Cells, server: OpenAIServer, kind: str, change: str
):
    cells.run(LISTS[kind])
    cell = "%%conduit map rows -o out --background --max-concurrency 2"
    handle: Any = cells.run(f"{cell} --endpoint {server.url}\nclass V:\n    n: int\n")
    server.waiting.acquire(timeout=20)

    cells.run(LIST_CHANGES[change])
    server.go_on.set()
    out = handle.result(timeout_s=20)

    assert out["text"].tolist() == [f"WAIT {n}" for n in range(8)]
    assert out["n"].tolist() == list(range(8))


def test_examples_that_change_meanwhile_show_every_row_the_same(cells: Cells, server: OpenAIServer):
    cells.run(
        "from dataclasses import dataclass\n"
        "@dataclass\nclass Row:\n    text: str\n"
        "rows = [Row(f'WAIT {n}') for n in range(4)]\nfew = [(Row('seven'), {'n': 7})]"
    )
    cell = "%%conduit map rows -o out --background --max-concurrency 1 --examples few"
    handle: Any = cells.run(f"{cell} --endpoint {server.url}\nclass V:\n    n: int\n")
    server.waiting.acquire(timeout=20)

    cells.run("few[0][0].text = 'eight'; few[0][1]['n'] = 8; few.append(few[0])")
    server.go_on.set()
    handle.result(timeout_s=20)

    prompts = {json.dumps(request["messages"][:-1]) for request in server.requests}
    assert len(server.requests) == 4
    assert len(prompts) == 1
    assert "seven" in prompts.pop()


def test_whatever_goes_wrong_at_the_end_is_shown_and_the_answers_are_bound(
    cells: Cells, server: OpenAIServer
):
    cells.run("rows = [{'text': 'WAIT 1'}, {'text': '2'}]")
    handle: Any = cells.run(
        f"%%conduit map rows -o out --background --endpoint {server.url}\n"
        "class V:\n    n: int\n    def __getattribute__(self, name):\n"
        "        if name == 'n' and spoiled: raise ZeroDivisionError('1/0')\n"
        "        return object.__getattribute__(self, name)\n"
        "spoiled = False\n"
    )
    server.waiting.acquire(timeout=20)
    until_true(lambda: handle._run.progress.snapshot().done == 1)

    cells.run("spoiled = True")
    server.go_on.set()

    with pytest.raises(RunError, match=r"ZeroDivisionError.*1/0"):
        handle.result(timeout_s=20)
    assert "ZeroDivisionError" in repr(handle)
    assert len(cells.names["out"]) == 2
    assert list(cells.names["out"]["text"]) == ["WAIT 1", "2"]


def test_the_frame_is_made_while_the_loop_of_the_session_is_free(
    cells: Cells, server: OpenAIServer
):
    cells.run(
        "import threading\nmaking, go_on = threading.Event(), threading.Event()\n"
        "rows = [{'text': '1'}]"
    )
    handle: Any = cells.run(
        f"%%conduit map rows -o out --background --endpoint {server.url}\n"
        "class V:\n    n: int\n    def __getattribute__(self, name):\n"
        "        if name == 'n' and threading.current_thread().name == 'conduit map':\n"
        "            making.set(); go_on.wait(20)\n"
        "        return object.__getattribute__(self, name)\n"
    )
    assert cells.names["making"].wait(20)

    loop_answers = process_session().submit(asyncio.sleep(0)).result(timeout=5)

    assert loop_answers is None
    assert not handle.is_done
    cells.names["go_on"].set()
    assert handle.result(timeout_s=20)["n"].tolist() == [1]


@pytest.mark.parametrize("options", ["--background", ""])
def test_the_map_that_was_started_last_binds_a_variable_however_long_an_earlier_one_takes(
    cells: Cells, server: OpenAIServer, options: str
):
    first = start(cells, server, "WAIT bad", "good")
    server.waiting.acquire(timeout=20)
    cells.names["rows"] = [{"text": "good"}]

    cell = f"%%conduit map rows -o out {options} --endpoint {server.url}\n{VERDICT}"
    handle = cells.run(cell)
    warning = cells.stderr
    second: Any = handle.result(timeout_s=20) if options else handle
    server.go_on.set()
    earlier = first.result(timeout_s=20)

    assert "rows -> Verdict still runs and was to bind out" in warning
    assert cells.names["out"] is second
    assert cells.names["out_earlier"] is earlier
    assert list(earlier["mood"]) == ["bad", "good"]
    assert "out_earlier is bound" in repr(first)
    cells.run(cell)
    assert "Warning" not in cells.stderr


def test_an_earlier_map_that_is_stopped_leaves_the_later_result(cells: Cells, server: OpenAIServer):
    first = start(cells, server, "WAIT bad")
    server.waiting.acquire(timeout=20)
    cells.names["rows"] = [{"text": "good"}]
    cells.run(f"%%conduit map rows -o out --endpoint {server.url}\n{VERDICT}")

    first.cancel()

    assert list(cells.names["out"]["mood"]) == ["good"]
    with pytest.raises(Interrupted) as caught:
        first.result(timeout_s=20)
    assert "out_earlier" in caught.value.hint


def test_rows_that_a_map_still_runs_for_are_not_taken_for_its_result(
    cells: Cells, server: OpenAIServer
):
    first = start(cells, server, "WAIT bad")
    cell = f"%%conduit map out -o two --prefix p_ --endpoint {server.url}\n{VERDICT}"

    error = cells.fail(cell, ArgumentError)
    cells.names["out"] = [{"text": "good"}]
    cells.run(cell)

    assert re.search(r"\bout\b.*\brows -> Verdict\b", str(error))
    assert "result()" in error.hint
    assert "Warning: out is an earlier value: rows -> Verdict still runs" in cells.stderr
    server.go_on.set()
    first.result(timeout_s=20)
    cells.run(cell)
    assert "Warning" not in cells.stderr
    assert list(cells.names["two"]["p_mood"]) == ["bad"]


def test_two_maps_run_beside_each_other(cells: Cells, server: OpenAIServer):
    first = start(cells, server, "WAIT bad")
    cells.names["others"] = [{"text": "good"}]

    cells.run(f"%%conduit map others --endpoint {server.url}\n{VERDICT}")
    server.go_on.set()

    assert list(cells.names["others_out"]["mood"]) == ["good"]
    assert list(first.result(timeout_s=20)["mood"]) == ["bad"]


def test_a_script_that_ends_with_a_map_waits_for_it(server: OpenAIServer):
    script = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'conduit_nb')\n"
        "import atexit\n"
        "atexit.register(lambda: print(shell.user_ns['out']['mood'].tolist()))\n"
        f"line = 'map [\"WAIT good\"] -o out --background --endpoint {server.url}'\n"
        f"shell.run_cell_magic('conduit', line, {VERDICT!r})\n"
    )
    running = subprocess.Popen(
        [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    server.waiting.acquire(timeout=30)
    assert running.stderr is not None
    until_true(lambda: "Waiting for" in (running.stderr.readline() if running.stderr else ""))
    server.go_on.set()

    said, _ = running.communicate(timeout=30)
    assert running.returncode == 0
    assert said.splitlines()[-1] == "['good']"
