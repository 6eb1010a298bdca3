"""notebook/control.py: the words of the magics in Python."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.errors import ArgumentError
from conduit_nb.session import process_session
from conduit_nb.testing.runpod_server import RunpodServer
from conduit_nb.units import dollars
from tests.deployments.deployed import rented
from tests.desk.far_provider import FarProvider, far_session
from tests.fake_lmlite import FakeRuntime
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import rented_session


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


@pytest.fixture
def cloud(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunpodServer]:
    """An account at Runpod, which the process's session has beside this machine."""
    with ExitStack() as stack:
        cloud = rented(stack)
        stack.enter_context(
            rented_session(tmp_path, monkeypatch, cloud, lambda name: FakeRuntime(name=name))
        )
        yield cloud


@pytest.mark.system  # rented nodes are processes
def test_all_is_stopped_then_terminated_and_the_user_reads_what_is_left_and_billed(
    cloud: RunpodServer, cells: Cells
):
    conduit_nb.load_model("m/one")
    conduit_nb.deploy(
        "m/two", name="rented", provider="runpod", gpu="L40S", runtime="custom", image="x"
    )
    conduit_nb.deploy("m/three", name="process", runtime="custom", image="x")
    shared = next(one.name for one in conduit_nb.ps() if one.id is None)

    stopped = cells.run("%conduit stop all")
    notices = cells.stdout.partition("Out[")[0]
    (pod,) = cloud.account.pods()
    session = process_session()
    rate = session.wait(session.deployments.cost()).usd_per_hour

    assert {one.name: one.status for one in stopped} == {
        shared: "stopped",
        "rented": "stopped",
        "process": "running",
    }
    assert re.search(r"(?m)^(?!.*\brented\b).*\bprocess\b.*$", notices), "what is left is named"
    assert f"{dollars(rate)}/h" in notices
    assert "terminate all" in notices
    assert (pod.status, rate > 0) == ("EXITED", True), "its disk is billed"
    assert {one.name for one in conduit_nb.ps()} == {"rented", "process"}

    ended = cells.run("%conduit terminate all")
    notices = cells.stdout.partition("Out[")[0]

    assert {one.name: one.status for one in ended} == {
        "rented": "terminated",
        "process": "terminated",
    }
    assert "/h" not in notices, "nothing is billed any more"
    assert conduit_nb.ps() == []
    assert session.wait(session.deployments.cost()).usd_per_hour == 0
