"""notebook/stopping.py: the stop button while real processes are being deployed."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import Interrupted
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from tests.notebook.echo_session import echo_session
from tests.waiting import until_true

pytestmark = pytest.mark.usefixtures("interruptible")
MINE = DeploymentRequest(models=(LmLiteModelConfig("m/one"),), runtime="fake", name="mine")


@pytest.fixture(autouse=True)
def session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    with echo_session(tmp_path, monkeypatch) as session:
        yield session


def stop_after(seconds: float) -> threading.Timer:
    """Return what presses the stop button so many seconds after it is started."""
    return threading.Timer(seconds, os.kill, (os.getpid(), signal.SIGINT))


def nodes_of(session: Session) -> list[str]:
    """Return what the provider has, whatever the state says of it."""
    provider = LocalProvider(grace_s=1)
    found = session.wait(provider.list_nodes())
    return [node.name for node in found if node.status != "gone"]


def deploy_and_stop(seconds: float) -> BaseException | None:
    """Deploy, press the stop button so many seconds later, and return what that raised."""
    timer = stop_after(seconds)
    try:
        timer.start()  # in here, as a slow machine presses before this has returned
        conduit_nb.deploy("m/one", runtime="fake", name="mine")
        timer.join()
    except (Interrupted, KeyboardInterrupt) as stopped:
        timer.join()
        return stopped
    return None


@pytest.mark.parametrize("seconds", [0.01, 0.05, 0.1, 0.2, 0.4])
def test_a_deploy_that_is_stopped_at_any_moment_leaves_nothing_and_says_so(
    session: Session, seconds: float
):
    session.wait(session.deployments.cost())  # the state's libraries are loaded

    stopped = deploy_and_stop(seconds)

    left = session.wait(session.deployments.find(MINE))
    assert (left is None) == (nodes_of(session) == [])
    if isinstance(stopped, Interrupted):  # else it came before anything began, or at its end
        assert left is None
        assert "mine" not in f"{stopped} {stopped.hint}", "nothing is left to end"


def test_a_deploy_that_was_stopped_can_be_run_again(session: Session):
    session.wait(session.deployments.cost())
    deploy_and_stop(0.1)

    (info,) = conduit_nb.deploy("m/one", runtime="fake", name="mine")

    assert info.status == "running"


def test_rows_that_are_stopped_while_their_server_starts_end_it(session: Session):
    waiting = session.submit(session.endpoint(MINE))
    until_true(lambda: nodes_of(session) != [], within_s=20)

    waiting.cancel()

    until_true(lambda: session.wait(session.deployments.find(MINE)) is None, within_s=20)
    assert nodes_of(session) == []
