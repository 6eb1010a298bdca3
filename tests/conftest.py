"""What every test gets: folders of its own, no way out of this machine, no process left behind.

- `CONDUIT_DATA_DIR` and `CONDUIT_STATE_DIR` point at a folder of this test process;
  `CONDUIT_CACHE_DIR` stays the user's, so that the model is converted once.
- `HOME` and `HF_HOME` are folders of this test process, and variables that hold keys are unset: a
  developer's own logins never enter a test. Caches and git's settings stay the user's.
- A connection to anything but this machine is an error. Fakes listen on 127.0.0.1.
- A test that needs something of the system says `@pytest.mark.needs("…")`: it is skipped where
  that is missing, and fails there when `CI=true` (see `SYSTEM`).
- `CONDUIT_SOAK=1` lets property tests try many more examples (`make soak`).
"""

from __future__ import annotations

import gc
import importlib.util
import ipaddress
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import filelock
import platformdirs
import psutil
import pytest
from hypothesis import HealthCheck, settings

from conduit_nb import session as session_module
from conduit_nb.credentials import KINDS
from conduit_nb.session import Session
from tests import cpu_time, docker_engine, waiting
from tests.state import postgres_server

FOLDERS = ("CONDUIT_DATA_DIR", "CONDUIT_STATE_DIR", "HOME", "HF_HOME")
OF_THE_USER = {
    "CONDUIT_CACHE_DIR": str(platformdirs.user_cache_path("conduit")),
    "XDG_CACHE_HOME": str(Path.home() / ".cache"),
    "GIT_CONFIG_GLOBAL": str(Path.home() / ".gitconfig"),
}
LOGINS = (
    *(name for kind in KINDS for name in kind.variables),
    *("HF_TOKEN_PATH", "HF_HUB_DISABLE_IMPLICIT_TOKEN", "DOCKER_CONTEXT", "DOCKER_CONFIG"),
)
IN_PROCESS = {"mount"}
"""What a test may need of the system and yet depend on the version of Python."""
ENDS_WITH_US = "multiprocessing.resource_tracker"  # Python's own helper, by design
READ_BY_ONE_S = 60
KEPT = pytest.StashKey[tuple[Path, dict[str, str | None]]]()

# A shared machine is slow now and then, which is no fault of the code under test.
settings.register_profile("test", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("soak", settings.get_profile("test"), max_examples=5_000)
# A quarter of the examples: what another version of Python breaks, it breaks for most values.
settings.register_profile("again", settings.get_profile("test"), max_examples=25)
settings.load_profile(
    "soak"
    if os.environ.get("CONDUIT_SOAK") == "1"
    else os.environ.get("CONDUIT_TEST_PROFILE", "test")
)


class RealRequestError(AssertionError):
    """A test tried to leave this machine."""


def pytest_configure(config: pytest.Config) -> None:
    """Point Conduit at folders of this process (each xdist worker is one)."""
    config.pluginmanager.register(cpu_time, "cpu-time")
    gc.disable()  # what is read of the tests is kept: looking for garbage in it finds none
    root = Path(tempfile.mkdtemp(prefix="conduit-tests-"))
    changed = (*FOLDERS, *OF_THE_USER, *LOGINS)
    config.stash[KEPT] = (root, {name: os.environ.get(name) for name in changed})
    for name in FOLDERS:
        folder = root / name.removeprefix("CONDUIT_").lower()
        os.environ[name] = str(folder)
    (root / "home").mkdir()
    for name, value in OF_THE_USER.items():
        os.environ.setdefault(name, value)
    for name in LOGINS:
        os.environ.pop(name, None)


@pytest.hookimpl(trylast=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Name a test that fails at once: a run takes minutes, and its summary comes at the end."""
    terminal = session.config.pluginmanager.getplugin("terminalreporter")
    if terminal is not None:
        session.config.pluginmanager.register(_FailuresAtOnce(terminal), "failures-at-once")


class _FailuresAtOnce:
    def __init__(self, terminal: pytest.TerminalReporter) -> None:
        self._terminal = terminal

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            self._terminal.write_line(f" {report.nodeid}: {report.when} failed")


def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave the environment as it was."""
    root, before = config.stash[KEPT]
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
    shutil.rmtree(root, ignore_errors=True)


def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark as a system test what needs something of the system.

    All that use Docker are one group of xdist's, which one worker runs, as they share one engine.
    """
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    if needed - IN_PROCESS:
        item.add_marker(pytest.mark.system)
    if "docker" in needed:
        item.add_marker(pytest.mark.xdist_group("docker"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Let the longest come first: at the end of a run, nobody waits for one of them."""
    items.sort(key=_place_in_line)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_collection(session: pytest.Session) -> Iterator[None]:
    """Let one worker read the tests first: what it compiles is kept, and the others load that."""
    config = session.config
    run = getattr(config, "workerinput", {}).get("testrunuid")
    if run is None or config.getoption("assertmode") == "plain":
        return (yield)
    read = Path(tempfile.gettempdir()) / f"conduit-tests-read-{run}"
    if os.environ["PYTEST_XDIST_WORKER"] != "gw0":
        with suppress(AssertionError):
            waiting.until_true(read.exists, within_s=READ_BY_ONE_S)
        return (yield)
    try:
        return (yield)
    finally:
        read.touch()
        config.add_cleanup(lambda: read.unlink(missing_ok=True))


def pytest_collection_finish(session: pytest.Session) -> None:
    """Stop where the installed pytest-xdist does not see the groups: two engines would block."""
    gc.freeze()
    gc.enable()
    if not session.config.getoption("loadgroup", False):
        return
    in_group = [item for item in session.items if item.get_closest_marker("xdist_group")]
    if any("@" not in item.nodeid for item in in_group):
        pytest.exit("pytest-xdist does not group tests with this pytest.", returncode=1)


def _place_in_line(item: pytest.Item) -> int:
    group = item.get_closest_marker("xdist_group")
    return next(
        (
            place
            for place, is_so in enumerate(
                (group, item.get_closest_marker("model"), item.get_closest_marker("system"))
            )
            if is_so
        ),
        3,
    )


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object | None:
    """With `--dist loadgroup`: keep a group together, and of the rest each file."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadGroupScheduling

    class GroupsAndFiles(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return super()._split_scope(nodeid).partition("::")[0]

    return GroupsAndFiles(config, log)


@pytest.fixture(scope="session", autouse=True)
def _no_process_stays_behind(pytestconfig: pytest.Config) -> Iterator[None]:
    """Fail the run when anything that its tests started still runs at the end, and end it."""
    root, _ = pytestconfig.stash[KEPT]
    before = {process.pid for process in psutil.Process().children(recursive=True)}
    yield
    for thread in threading.enumerate():
        if thread.name.startswith("reap-"):  # awaits a process that may have just ended
            thread.join(timeout=1)
    left = [process for process in _started_here(root) if process.pid not in before]
    shown = [_describe(process) for process in left]
    for process in left:
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(left, timeout=10)
    if shown:
        pytest.fail("Processes stayed behind:\n  " + "\n  ".join(shown), pytrace=False)


def _started_here(root: Path) -> list[psutil.Process]:
    """Return our descendants, and detached processes that know this run's folders."""
    children = {process.pid for process in psutil.Process().children(recursive=True)}
    found: list[psutil.Process] = []
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        try:
            command = " ".join(process.cmdline())
            said = " ".join([command, *process.environ().values()])
        except psutil.ZombieProcess:
            command = said = ""
        except (psutil.AccessDenied, psutil.NoSuchProcess):
            continue
        if (process.pid in children or str(root) in said) and ENDS_WITH_US not in command:
            found.append(process)
    return found


def _describe(process: psutil.Process) -> str:
    try:
        return f"{process.pid} {process.status()} {' '.join(process.cmdline())[:200]}"
    except psutil.ZombieProcess:
        return f"{process.pid} zombie: it ended, and nobody awaited it"
    except psutil.NoSuchProcess:
        return f"{process.pid} (ended meanwhile)"


@pytest.fixture(scope="session", autouse=True)
def _no_way_out() -> Iterator[None]:
    """Refuse connections to, and look-ups of, anything but this machine."""
    connect, connect_ex, look_up = (
        socket.socket.connect,
        socket.socket.connect_ex,
        socket.getaddrinfo,
    )

    def guarded_connect(self: socket.socket, address: Any) -> None:
        _check_local(self, address)
        connect(self, address)

    def guarded_connect_ex(self: socket.socket, address: Any) -> int:
        _check_local(self, address)
        return connect_ex(self, address)

    def guarded_look_up(host: Any, *rest: Any, **named: Any) -> Any:
        text = host.decode() if isinstance(host, bytes) else host
        if isinstance(text, str) and text.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if not _is_local(host):
            raise RealRequestError(f"A test looked up {host!r}.")
        return look_up(host, *rest, **named)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", guarded_connect)
        patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
        patch.setattr(socket, "getaddrinfo", guarded_look_up)
        yield


def _check_local(connection: socket.socket, address: object) -> None:
    if connection.family not in (socket.AF_INET, socket.AF_INET6):
        return
    if not (isinstance(address, tuple) and _is_local(address[0])):
        raise RealRequestError(f"A test connected to {address!r}.")


def _is_local(host: object) -> bool:
    if host is None or host in ("", b"", "localhost", b"localhost", socket.gethostname()):
        return True
    try:
        address = ipaddress.ip_address(host.decode() if isinstance(host, bytes) else str(host))
    except ValueError:
        return False
    return address.is_loopback or address.is_unspecified


@pytest.fixture
def own_session(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Session]:
    """Let the process's session be a new one, in whose state nothing was ever deployed."""
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
    session = Session()
    monkeypatch.setattr(session_module, "_made", lambda: session)
    yield session
    session.close()


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Let SIGINT interrupt this process, as it does a program that a user has started.

    A run that a script started in the background (`nohup make test &`) ignores SIGINT, and so do
    all its children until one sets a handler, as a Jupyter kernel does.
    """
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def _engine_of_the_run() -> Iterator[str]:
    """Start one Docker engine; whoever else runs tests on this machine waits for its end.

    Engines share the machine's bridge.
    """
    lock = filelock.FileLock(Path(tempfile.gettempdir()) / "conduit-tests-docker.lock")
    with lock, docker_engine.docker_engine() as url:
        yield url


@pytest.fixture(scope="module")
def engine(_engine_of_the_run: str) -> Iterator[str]:
    """Yield the address of a Docker engine without containers.

    A test that uses it is marked with `needs("docker")`: so are all run by one worker of xdist.
    """
    yield _engine_of_the_run
    docker_engine.remove_containers(_engine_of_the_run)


@pytest.fixture(scope="session")
def lmlite_image(_engine_of_the_run: str) -> str:
    """Build LmLite's image, under the name that it has by default; return that name."""
    from conduit_nb.images.building import default_tag
    from tests.lmlite_image import built_image

    told: list[str] = []
    image = built_image(_engine_of_the_run, default_tag(cuda=False), told)
    assert any("Built" in line for line in told)
    return image


def _can_mount() -> bool:
    """Say whether a mount can be made in a namespace of its own (root, or user namespaces)."""
    unshare = shutil.which("unshare")
    if unshare is None:
        return False
    tried = subprocess.run([unshare, "--map-root-user", "--mount", "true"], capture_output=True)
    return tried.returncode == 0


# What tests may need of the system: how to see whether it is there, and how to get it.
_NODE = Path(__file__).resolve().parent.parent / "extension"
_EXTENSION = _NODE / "labextension/sources.sha256"
_HTML_MANAGER = _NODE / "node_modules/@jupyter-widgets/html-manager/dist/embed-amd.js"

SYSTEM: dict[str, tuple[Callable[[], bool], str]] = {
    "pyarrow": (lambda: importlib.util.find_spec("pyarrow") is not None, "make setup"),
    "chromium": (
        lambda: any(map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))),
        "apt-get install chromium fonts-dejavu-core",
    ),
    "extension": (
        _EXTENSION.is_file,
        "install Node.js 20, then: python scripts/extension.py build",
    ),
    "html-manager": (
        _HTML_MANAGER.is_file,
        "install Node.js 20, then: python scripts/extension.py check",
    ),
    "docker": (docker_engine.can_run, "apt-get install docker.io debootstrap iptables, as root"),
    "openssl": (lambda: shutil.which("openssl") is not None, "apt-get install openssl"),
    "postgresql": (postgres_server.can_run, "apt-get install postgresql"),
    "mount": (_can_mount, "apt-get install util-linux, and run as root or with user namespaces"),
}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip a test whose system needs are not met; with CI=true fail it."""
    for marker in item.iter_markers("needs"):
        for name in marker.args:
            is_there, how = SYSTEM[name]
            if is_there():
                continue
            reason = f"needs {name}: {how}"
            if os.environ.get("CI") == "true":
                pytest.fail(reason, pytrace=False)
            pytest.skip(reason)
