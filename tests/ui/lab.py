"""A real JupyterLab server, and how a test works with its page as a reader does.

Knows JupyterLab's commands and what its page is made of; nothing of Conduit.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import secrets
import shutil
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, expect
from playwright.sync_api import TimeoutError as PlaywrightTimeout

from tests.waiting import until_true

BROWSERS = ("chromium", "chromium-browser", "google-chrome-stable", "google-chrome")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
]
LIGHT = "JupyterLab Light"
SETTINGS = {
    "@jupyterlab/apputils-extension:notification": {"fetchNews": "false", "checkForUpdates": False},
    "@jupyterlab/apputils-extension:themes": {"theme": LIGHT},
    # On a loaded machine the kernel's first list may take more than the second it has by default.
    "@jupyterlab/completer-extension:manager": {"providerTimeout": 30_000},
    # Every output stands in the page, whether it is in sight or not.
    "@jupyterlab/notebook-extension:tracker": {"windowingMode": "none"},
}
PAGE_CONFIG = {"buildCheck": False}  # which starts Node.js, to no end: nothing is built here
OUTPUTS = (".jp-NotebookPanel:not(.lm-mod-hidden) .jp-OutputArea-output",)
SERVER_S = 120
PAGE_S = 60
IN_FRONT = "path => window.jupyterapp?.shell?.currentWidget?.context?.path === path"
READY = "window.jupyterapp.restored.then(() => {}).then(() => panel.context.ready)"
# Commands return their widget: it must not be serialized to Python.
COMMAND = """([name, args]) =>
  window.jupyterapp.commands.execute(name, args).then(() => {})"""
CLOSE_ALL = """async () => {
  const { shell } = window.jupyterapp;
  const opened = () => [...shell.widgets("main")].filter(one => one.context);
  for (const one of opened()) {
    one.context.model.dirty = false;  // else it would ask
    one.close();
  }
  while (opened().length)
    await new Promise(done => setTimeout(done, 20));
}"""
FILES_IN_SIDEBAR = "() => window.jupyterapp.shell.activateById('filebrowser')"
KERNEL_READY = """panel.context.sessionContext.ready
  .then(() => panel.context.sessionContext.session.kernel.info)"""
IN_TIME = """async () => {{
  const panel = window.jupyterapp.shell.currentWidget;
  const late = new Promise(done => setTimeout(() => done("late"), {ms}));
  return await Promise.race([late, {promise}.then(() => "ready")]);
}}"""


def find_browser() -> str | None:
    """Return the path of a Chromium of this machine."""
    return next(filter(None, map(shutil.which, BROWSERS)), None)


@dataclass(frozen=True, kw_only=True)
class LabServer:
    """Where a running JupyterLab answers, and the folder that it shows."""

    url: str
    token: str
    folder: Path

    def address(self, notebook: str, workspace: str) -> str:
        """Return the address of a notebook, in a workspace of its own."""
        return f"{self.url}/lab/workspaces/{workspace}/tree/{notebook}?token={self.token}&reset"

    def get(self, path: str) -> Any:
        """Return what the server's API says."""
        return json.loads(self._ask("GET", path))

    def kernels(self) -> list[dict[str, Any]]:
        """Return the kernels that run. The list fails now and then while one of them ends."""
        found: list[list[dict[str, Any]]] = []

        def is_told() -> bool:
            with contextlib.suppress(urllib.error.HTTPError):
                found.append(self.get("api/kernels"))
            return bool(found)

        until_true(is_told)
        return found[0]

    def end_kernels(self) -> None:
        """Shut down all kernels, and forget whose they were."""

        def have_ended() -> bool:
            with contextlib.suppress(urllib.error.HTTPError):  # one that restarts refuses to end
                for session in self.get("api/sessions"):
                    self._ask("DELETE", f"api/sessions/{session['id']}")
            return not self.kernels()

        until_true(have_ended, within_s=60)

    def _ask(self, method: str, path: str) -> bytes:
        request = urllib.request.Request(
            f"{self.url}/{path}", headers={"Authorization": f"token {self.token}"}, method=method
        )
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def write(self, name: str, *cells: str, goes_on: bool = False) -> str:
        """Put a notebook of these code cells into the folder; return its name.

        With `goes_on` an error in one cell does not keep the next from running.
        """
        kept = {"tags": ["raises-exception"]} if goes_on else {}
        notebook = nbformat.v4.new_notebook(
            cells=[nbformat.v4.new_code_cell(cell, metadata=kept) for cell in cells],
            metadata={"kernelspec": {"display_name": "Python 3", "name": "python3"}},
        )
        nbformat.write(notebook, self.folder / name)
        return name


@contextlib.contextmanager
def lab_server(folder: Path, home: Path, **environment: str) -> Iterator[LabServer]:
    """Run JupyterLab over `folder` on the loopback address; its own files stand in `home`."""
    token, port = secrets.token_hex(16), _free_port()
    settings = home / "app-settings"
    settings.mkdir(parents=True)
    (settings / "overrides.json").write_text(json.dumps(SETTINGS))
    (settings / "page_config.json").write_text(json.dumps(PAGE_CONFIG))
    log = home / "server.log"
    command = [
        *(sys.executable, "-m", "jupyterlab", "--no-browser", "--ServerApp.ip=127.0.0.1"),
        *(
            f"--ServerApp.port={port}",
            "--ServerApp.port_retries=0",
            "--ServerApp.open_browser=False",
        ),
        *(f"--IdentityProvider.token={token}", f"--ServerApp.root_dir={folder}"),
        *("--LabApp.expose_app_in_browser=True", f"--LabApp.app_settings_dir={settings}"),
        *(f"--LabApp.user_settings_dir={home}/user", f"--LabApp.workspaces_dir={home}/spaces"),
        *("--LabApp.news_url=None", "--ServerApp.allow_root=True"),
    ]
    own = {
        "JUPYTER_CONFIG_DIR": str(home / "config"),
        "JUPYTER_DATA_DIR": str(home / "data"),
        "JUPYTER_RUNTIME_DIR": str(home / "runtime"),
        "IPYTHONDIR": str(home / "ipython"),
        "JUPYTER_PREFER_ENV_PATH": "1",
    }
    with (
        log.open("wb") as output,
        subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, **own, **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
        ) as process,
    ):
        server = LabServer(url=f"http://127.0.0.1:{port}", token=token, folder=folder)
        try:
            _await_server(server, process, log)
            yield server
        finally:
            process.terminate()  # ends its kernels, too
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()


class LabPage:
    """One browser page of JupyterLab with one notebook in front.

    To load JupyterLab takes several seconds of CPU time: the page stays for the next test, which
    opens its notebook in it.
    """

    def __init__(self, context: BrowserContext, server: LabServer) -> None:
        self.server = server
        self._context = context
        self._page: Page | None = None

    @property
    def page(self) -> Page:
        """The page; there is one from the first notebook on."""
        assert self._page, "no notebook is open"
        return self._page

    def open(self, notebook: str, *, kernel: bool = True, reload: bool = False) -> None:
        """Open the notebook, as the only one; without `kernel` it may stay without one.

        With `reload`, JupyterLab itself is loaded again: the page keeps none of its state.
        """
        if self._page is None or reload:
            self._load(notebook)
        else:
            self._await(f"({CLOSE_ALL})()")
            self._bring(notebook)
        if kernel:
            self.await_kernel()

    def bring(self, notebook: str) -> None:
        """Open the notebook beside the others, or bring it to the front where it is open."""
        self._bring(notebook)
        self.await_kernel()

    def leave(self, *, discard: bool) -> None:
        """Close the notebooks and shut down their kernels; with `discard`, close the page, too."""
        if self._page and discard:
            self._page.close()
            self._page = None
        if self._page:
            self._await(f"({CLOSE_ALL})()")
            self._page.evaluate(FILES_IN_SIDEBAR)
            if self._page.locator("body").get_attribute("data-jp-theme-light") == "false":
                self.set_theme(LIGHT)
        self.server.end_kernels()

    def _load(self, notebook: str) -> None:
        if self._page is None:
            self._page = self._context.new_page()
        workspace = secrets.token_hex(4)
        for trial in (1, 2):
            self.page.goto(self.server.address(notebook, workspace))
            try:
                self._await_in_front(notebook)
                break
            except (PlaywrightTimeout, TimeoutError):
                if trial == 2:  # about one load in sixty stalls, the cause is unknown
                    raise
                print(f"tests: {notebook} did not load in {PAGE_S} s; once more")

    def _bring(self, notebook: str) -> None:
        self.command("docmanager:open", path=notebook)
        self._await_in_front(notebook)

    def _await_in_front(self, notebook: str) -> None:
        self.page.wait_for_function(IN_FRONT, arg=notebook, timeout=PAGE_S * 1000)
        self._await(READY)

    def await_kernel(self) -> None:
        """Wait until the kernel of the notebook in front has told what it is."""
        self._await(KERNEL_READY)

    def _await(self, promise: str) -> None:
        if self.page.evaluate(IN_TIME.format(ms=PAGE_S * 1000, promise=promise)) != "ready":
            raise TimeoutError(f"{promise}: not within {PAGE_S} s")

    def command(self, name: str, **arguments: object) -> None:
        """Carry out one of JupyterLab's commands and wait for its end."""
        self.page.evaluate(COMMAND, [name, arguments])

    def menu(self, menu: str, item: str) -> None:
        """Click an item of a menu."""
        self.page.locator(".lm-MenuBar-item", has_text=menu).first.click()
        self.page.locator(".lm-Menu-item .lm-Menu-itemLabel", has_text=item).first.click()

    def run_all(self) -> None:
        """Click Run All Cells."""
        self.menu("Run", "Run All Cells")

    def restart_kernel(self) -> None:
        """Click Restart Kernel, and agree."""
        before = {kernel["id"] for kernel in self.server.kernels()}
        self.menu("Kernel", "Restart Kernel…")
        self.page.locator(".jp-Dialog .jp-mod-accept").click()
        self.await_kernel()
        assert {kernel["id"] for kernel in self.server.kernels()} == before

    def save(self) -> None:
        """Save the notebook in front."""
        self.command("docmanager:save")

    @property
    def notebook(self) -> Any:
        """The notebook in front, on the page."""
        return self.page.locator(".jp-NotebookPanel:not(.lm-mod-hidden)")

    def output(self, text: str, *, seconds: float = 60) -> Any:
        """Wait for an output that has this text, and return it."""
        found = self.notebook.locator(".jp-OutputArea-output", has_text=text).last
        expect(found).to_be_attached(timeout=seconds * 1000)
        return found

    def progress(self, pattern: str, *, seconds: float = 60) -> None:
        """Wait until an output says something that the pattern is found in."""
        found = self.notebook.locator(".jp-OutputArea-output", has_text=re.compile(pattern))
        expect(found.first).to_be_attached(timeout=seconds * 1000)

    def outputs(self) -> str:
        """Return the text of all outputs, whether they are in sight or not."""
        return "\n".join(map(_text_of_cell, self._cells()))

    def text_of_cell(self, number: int) -> str:
        """Return the text of the outputs of one cell, counted from 0."""
        return _text_of_cell(self._cells()[number])

    def _cells(self) -> list[dict[str, Any]]:
        return self.page.evaluate(
            "() => window.jupyterapp.shell.currentWidget.context.model.toJSON().cells"
        )

    def serious_findings(self, where: Sequence[str] = OUTPUTS) -> dict[str, list[str]]:
        """Return what axe finds in these parts of the page, rule by rule."""
        # JupyterLab's body has no height and hides what overflows: axe would take all for hidden.
        self.page.evaluate("() => { document.body.style.height = '100vh'; }")
        report = Axe().run(self.page, context={"include": [[one] for one in where]}).response
        self.page.evaluate("() => { document.body.style.height = ''; }")
        assert report["passes"], "axe has looked at nothing"
        return {
            violation["id"]: [node["html"][:300] for node in violation["nodes"]]
            for violation in report["violations"]
            if violation["impact"] in ("serious", "critical")
        }

    def set_theme(self, theme: str) -> None:
        """Choose a theme."""
        self.command("apputils:change-theme", theme=theme)
        light = "true" if "Light" in theme else "false"
        expect(self.page.locator("body")).to_have_attribute("data-jp-theme-light", light)


def _text_of_cell(cell: dict[str, Any]) -> str:
    return "\n".join(_text(output) for output in cell.get("outputs", []))


def _text(output: dict[str, Any]) -> str:
    said = (
        output.get("text") or output.get("data", {}).get("text/plain") or output.get("evalue", "")
    )
    return "".join(said)


@contextlib.contextmanager
def browser_of(playwright: Playwright) -> Iterator[Browser]:
    """Start the Chromium of this machine."""
    browser = playwright.chromium.launch(executable_path=find_browser(), args=ARGUMENTS)
    try:
        yield browser
    finally:
        browser.close()


def _await_server(server: LabServer, process: subprocess.Popen[bytes], log: Path) -> None:
    def answers_or_ended() -> bool:
        with contextlib.suppress(urllib.error.URLError, ConnectionError, TimeoutError):
            server.get("api/status")
            return True
        return process.poll() is not None

    until_true(answers_or_ended, within_s=SERVER_S)
    assert process.poll() is None, f"JupyterLab did not start:\n{log.read_text()[-3000:]}"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]
