"""notebook/local_names.py: magics see the variables of the function that they are called in."""

from __future__ import annotations

import subprocess
import sys

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells
from tests.notebook.openai_server import OpenAIServer

CALL = "get_ipython().run_cell_magic('conduit', line, body)"


def test_a_map_in_a_function_sees_its_local_variables(cells: Cells, server: OpenAIServer):
    cells.run(
        "def judge(parts):\n"
        "    found = []\n"
        "    for number, part in enumerate(parts):\n"
        "        few = [({'text': 'seven'}, {'n': 7})]\n"
        f"        line = 'map part -o result --examples few --endpoint {server.url}'\n"
        "        body = 'class V:\\n    n: int\\n'\n"
        f"        found.append({CALL}['n'].tolist())\n"
        "    return found"
    )

    assert cells.run("judge([['1', '2'], ['3']])") == [[1, 2], [3]]
    assert "part" not in cells.names
    assert cells.names["result"]["n"].tolist() == [3]
    assert "seven" in server.requests[0]["messages"][1]["content"]


def test_a_comprehension_sees_the_variables_around_it(cells: Cells, server: OpenAIServer):
    cells.run(
        "def judge(parts):\n"
        f"    url = '{server.url}'\n"
        "    line, body = 'map part -o r --endpoint {url}', 'class V:\\n    n: int\\n'\n"
        f"    return [{CALL}['n'].tolist() for part in parts]"
    )

    assert cells.run("judge([['1'], ['2']])") == [[1], [2]]


def test_a_local_variable_hides_that_of_the_notebook_and_the_cell_uses_it(
    cells: Cells, server: OpenAIServer
):
    cells.run(
        "rows, moods = ['bad'], ('bad', 'ok')\n"
        "def judge(rows, moods):\n"
        f"    line = 'map rows -o r --endpoint {server.url}'\n"
        "    body = 'class V:\\n    mood: Literal[moods]\\n'\n"
        f"    return {CALL}['mood'].tolist()"
    )

    assert cells.run("judge(['good'], ('good', 'ok'))") == ["good"]
    assert cells.names["moods"] == ("bad", "ok")
    assert cells.names["rows"] == ["bad"]


def test_line_magics_see_local_variables_too(cells: Cells):
    cells.run(
        "def look():\n    error = ValueError('mine')\n"
        "    return get_ipython().run_line_magic('conduit', 'debug error')"
    )

    assert "ValueError: mine" in repr(cells.run("look()"))


def test_a_name_that_nobody_has_is_still_an_error(cells: Cells):
    cells.run(
        "def judge():\n    part = 1\n"
        "    return get_ipython().run_cell_magic('conduit', 'map prat', 'class V:\\n    n: int')"
    )

    assert did_you_mean("part") in cells.fail("judge()", ArgumentError).hint


def test_a_script_has_the_names_of_its_own(server: OpenAIServer):
    script = (
        "from IPython.core.interactiveshell import InteractiveShell\n"
        "shell = InteractiveShell.instance()\n"
        "shell.run_line_magic('load_ext', 'conduit_nb')\n"
        "part = ['4']\n"
        f"line = 'map part -o r --endpoint {server.url}'\n"
        "print(shell.run_cell_magic('conduit', line, 'class V:\\n    n: int')['n'].tolist())\n"
    )

    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)

    assert done.stdout.splitlines()[-1] == "[4]", done.stderr


def test_a_program_without_ipython_is_told_what_to_do():
    with pytest.raises(ArgumentError, match="IPython") as caught:
        conduit_nb.load_ipython_extension(None)
    assert "LMLiteBlock" in caught.value.hint
    with pytest.raises(AttributeError, match=r"%%conduit map.*LMLiteBlock"):
        conduit_nb.map  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # noqa: B018  # the mistake
