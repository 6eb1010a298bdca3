"""notebook/control.py: the words of the magics in Python."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError
from tests.desk.far_provider import FarProvider, far_session


def test_where_nothing_runs_the_words_say_so():
    assert conduit_nb.ps() == []
    assert repr(conduit_nb.ps()) == "Nothing runs."
    assert conduit_nb.stop() == []
    assert conduit_nb.stop("all") == []
    assert all(model.state == "available" for model in conduit_nb.list_models())
    assert isinstance(conduit_nb.logs(tail=3), list)


def test_a_name_that_nothing_has_is_an_error():
    for word in (conduit_nb.stop, conduit_nb.logs):
        with pytest.raises(ArgumentError, match="'zebra'"):
            word("zebra")


def test_a_script_needs_no_ipython_for_them():
    code = "import sys, conduit_nb; conduit_nb.ps(); print('IPython' in sys.modules)"

    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "False"


def test_where_nothing_was_ever_deployed_no_provider_is_asked_and_no_state_is_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    far = FarProvider()
    with far_session(tmp_path, monkeypatch, far):
        assert conduit_nb.ps() == []

        assert far.looks == 0
        assert not (tmp_path / "data" / "state.sqlite3").exists()


def test_nodes_of_others_are_listed_where_all_are_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    far = FarProvider()
    with far_session(tmp_path, monkeypatch, far):
        conduit_nb.ps(all_nodes=True)

        assert far.looks == 1
