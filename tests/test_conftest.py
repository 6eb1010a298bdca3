"""The promises of conftest.py: isolation that does not isolate would hide everything else."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb import credentials, settings

pytestmark = pytest.mark.system

pytest_plugins = ["pytester"]

CONFTEST = Path(__file__).with_name("conftest.py").read_text()


def test_data_and_state_are_not_the_users():
    assert "conduit-tests-" in str(settings.data_dir())
    assert "conduit-tests-" in str(settings.state_dir())


def test_the_users_own_logins_are_out_of_reach():
    assert [credentials.find(kind) for kind in credentials.KINDS] == [None] * len(credentials.KINDS)
    assert "conduit-tests-" in str(credentials.hub_home())
    assert "conduit-tests-" in str(Path.home())


def test_a_connection_to_another_machine_is_an_error():
    with socket.socket() as connection, pytest.raises(AssertionError, match=r"192\.0\.2\.1"):
        connection.connect(("192.0.2.1", 80))


def test_a_look_up_of_another_machine_is_an_error():
    with pytest.raises(AssertionError, match="example"):
        socket.create_connection(("www.example.com", 80))


def test_a_name_that_is_reserved_for_nobody_is_not_found():
    with pytest.raises(socket.gaierror):
        socket.create_connection(("nowhere.invalid", 80))


def test_a_connection_to_this_machine_is_fine():
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()[:2]).close()


@pytest.fixture
def ignored() -> Iterator[None]:
    """Ignore SIGINT, as a run does that a script has started in the background."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("ignored", "interruptible")
def test_an_interruptible_test_is_interrupted_where_the_run_ignores_interrupts():
    with pytest.raises(KeyboardInterrupt):
        os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture
def inner(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> pytest.Pytester:
    pytester.makeconftest(CONFTEST)
    pytester.makeini("[pytest]\nmarkers =\n    needs(name): …\n")
    monkeypatch.delenv("PYTEST_XDIST_WORKER", raising=False)
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")  # two seconds of imports
    return pytester


def run(inner: pytest.Pytester, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(inner.path)],
        capture_output=True,
        text=True,
        env={**os.environ, **variables},
        cwd=inner.path,
        timeout=120,
    )


def test_a_detached_process_that_stays_behind_fails_the_run_and_is_ended(inner: pytest.Pytester):
    inner.makepyfile(
        """
        import subprocess, sys

        DETACH = '''
        import subprocess, sys
        child = subprocess.Popen(
            [sys.executable, "-c", "import time; time.sleep(600)"],
            start_new_session=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        open("pid", "w").write(str(child.pid))
        '''

        def test_starts_a_server_and_forgets_it():
            subprocess.run([sys.executable, "-c", DETACH], check=True)
        """
    )

    result = run(inner)

    assert result.returncode == 1
    assert "Processes stayed behind" in result.stdout
    assert (inner.path / "pid").read_text() in result.stdout


def test_a_process_that_was_awaited_is_no_reason_to_fail(inner: pytest.Pytester):
    inner.makepyfile(
        """
        import subprocess, sys

        def test_starts_a_process_and_awaits_it():
            subprocess.run([sys.executable, "-c", ""], check=True)
        """
    )

    assert run(inner).returncode == 0


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_what_the_system_lacks_is_skipped_and_in_ci_a_failure(
    inner: pytest.Pytester, ci: str, code: int
):
    inner.makeconftest(CONFTEST.replace('"mount": (_can_mount', '"mount": (lambda: False'))
    inner.makepyfile(
        """
        import pytest

        @pytest.mark.needs("mount")
        def test_mounts(): ...
        """
    )

    result = run(inner, CI=ci)

    assert result.returncode == code
    assert "needs mount: apt-get install" in result.stdout if ci else "1 skipped" in result.stdout
