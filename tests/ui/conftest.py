"""A server and a browser for each file of tests, a page for each test.

`CONDUIT_SCREENSHOTS=1` writes the pictures of the documentation anew.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, sync_playwright

from tests.ui.lab import LabPage, LabServer, browser_of, lab_server

ROOT = Path(__file__).parents[2]
IMAGES = ROOT / "docs/images"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright, browser_of(playwright) as browser:
        yield browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabServer]:
    home = tmp_path_factory.mktemp("lab")
    folder = home / "notebooks"
    shutil.copytree(ROOT / "notebooks", folder, ignore=shutil.ignore_patterns(".*"))
    with lab_server(folder, home) as server:
        yield server
    end_all()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    context = browser.new_context(viewport={"width": 1280, "height": 900}, reduced_motion="reduce")
    try:
        yield context.new_page()
    finally:
        context.close()


@pytest.fixture
def lab(page: Page, server: LabServer) -> LabPage:
    return LabPage(page, server)


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
    stop = "import conduit_nb; conduit_nb.stop('all')"
    subprocess.run([sys.executable, "-c", stop], check=True, timeout=120)
