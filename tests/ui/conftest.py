"""One JupyterLab and one browser for all these tests, and one page that shows a notebook of each.

All that use the browser are one group of xdist's (those with Docker belong to Docker's): one worker
has them all, and what they share ends with the last of them.

`CONDUIT_SCREENSHOTS=1` writes the pictures of the documentation anew.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, ViewportSize, sync_playwright

from conduit_nb.session import Session
from conduit_nb.testing.runpod_server import RunpodServer, runpod_server
from tests.ui.lab import LabPage, LabServer, browser_of, lab_server

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"
VIEWPORT: ViewportSize = {"width": 1280, "height": 900}
# Only Runpod has prices; its pods are billed, and run nothing.
SETTINGS = {"CONDUIT_GPUHUNT_URL": "http://127.0.0.1:9", "CONDUIT_LMLITE_IMAGE": "conduit/lmlite:1"}


def pytest_itemcollected(item: pytest.Item) -> None:
    """Let one worker run all that share a browser."""
    needed = {name for marker in item.iter_markers("needs") for name in marker.args}
    if "browser" in getattr(item, "fixturenames", ()) and "docker" not in needed:
        item.add_marker(pytest.mark.xdist_group("lab"))


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, browser_of(playwright) as browser:
        yield browser


@pytest.fixture(scope="package")
def cloud() -> Iterator[RunpodServer]:
    with runpod_server() as cloud:
        yield cloud


@pytest.fixture(scope="package")
def _lab(
    tmp_path_factory: pytest.TempPathFactory, browser: Browser, cloud: RunpodServer
) -> Iterator[LabPage]:
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    with (
        lab_server(folder, home, **SETTINGS, **cloud.environment) as server,
        browser.new_context(viewport=VIEWPORT, reduced_motion="reduce") as context,
    ):
        yield LabPage(context, server)


@pytest.fixture(scope="module")
def server(_lab: LabPage) -> Iterator[LabServer]:
    """Yield the server; what the notebooks of a file have started ends with the file."""
    yield _lab.server
    end_all()


@pytest.fixture
def lab(_lab: LabPage, server: LabServer, request: pytest.FixtureRequest) -> Iterator[LabPage]:
    """Yield the page, without a notebook; a test that fails leaves a new page to the next one."""
    failed = request.session.testsfailed
    yield _lab
    _lab.leave(discard=request.session.testsfailed > failed)


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """Yield a page that knows nothing of another, and no JupyterLab."""
    with browser.new_context(viewport=VIEWPORT, reduced_motion="reduce") as context:
        yield context.new_page()


@pytest.fixture
def first_cell(engine: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Yield a cell that loads Conduit and shows it the Docker engine of the tests.

    Name it before `lab`: the kernels end first, then what they have started.
    """
    yield f"import os; os.environ['DOCKER_HOST'] = {engine!r}\n%load_ext conduit_nb"
    monkeypatch.setenv("DOCKER_HOST", engine)
    end_all()


@pytest.fixture
def picture(tmp_path: Path) -> Callable[[Page | Locator, str], Path]:
    """Take a picture; it lands in the documentation where that is asked for."""
    folder = IMAGES if os.environ.get("CONDUIT_SCREENSHOTS") == "1" else tmp_path

    def take(what: Page | Locator, name: str) -> Path:
        path = folder / f"{name}.png"
        what.screenshot(path=path)
        return path

    return take


def end_all() -> None:
    """End everything that the notebooks have started."""
    with closing(Session()) as session:
        session.wait(session.deployments.terminate("all"))
