"""labserver/extension.py: what Jupyter loads, in a process of its own, and what that costs."""

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from conduit_nb import labserver
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.providers.local import LocalProvider
from conduit_nb.session import Session
from tests.fake_lmlite import FakeRuntime
from tests.labserver.conftest import TOKEN
from tests.waiting import until_true

pytestmark = pytest.mark.system

HEAVY = {"sqlalchemy", "torch", "pandas", "httpx2", "docker"}


def test_jupyter_finds_the_module_that_it_loads():
    (point,) = labserver._jupyter_server_extension_points()

    module = importlib.import_module(point["module"])
    assert callable(module._load_jupyter_server_extension)


def test_jupyter_calls_it_fit_to_load():
    code = (
        "import json, sys\n"
        "from jupyter_server.extension.utils import validate_extension\n"
        "print(json.dumps([bool(validate_extension('conduit_nb.labserver')), sorted(sys.modules)]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    is_valid, loaded = json.loads(done.stdout.splitlines()[-1])

    assert is_valid
    assert not HEAVY & set(loaded) - {"httpx2"}


# JupyterLab in an environment that has nothing but what these need: Conduit without its extras.
LIGHT = ("conduit-nb", "jupyterlab")
LIGHT_LAB = """
import json, sys

MISSING = frozenset(json.loads(sys.argv.pop(1)))

class Hiding:
    def __init__(self, finder):
        self.finder = finder

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in MISSING:
            return None
        return self.finder.find_spec(name, path, target)

    def __getattr__(self, name):
        return getattr(self.finder, name)

sys.meta_path[:] = map(Hiding, sys.meta_path)
from jupyterlab.labapp import main
main()
"""


def missing_where_lab_is() -> set[str]:
    """Return every module that is installed here, but would not be in the light environment."""
    wanted, there = list(LIGHT), set[str]()
    while wanted:
        name = re.sub(r"[-_.]+", "-", wanted.pop()).lower()
        if name in there:
            continue
        there.add(name)
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            needs = importlib.metadata.requires(name) or ()
            plain = [need for need in needs if "extra ==" not in need]
            wanted += [re.split(r"[^\w.-]", need, maxsplit=1)[0] for need in plain]
    return {
        module
        for module, owners in importlib.metadata.packages_distributions().items()
        if not {re.sub(r"[-_.]+", "-", owner).lower() for owner in owners} & there
    }


@contextlib.contextmanager
def light_lab(tmp_path: Path) -> Iterator[httpx2.Client]:
    """Run JupyterLab without the modules that it would not have; yield who asks Conduit in it."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    for name in ("config", "data", "runtime", "root"):
        (tmp_path / name).mkdir()
    command = [
        *(sys.executable, "-c", LIGHT_LAB, json.dumps(sorted(missing_where_lab_is()))),
        *("--no-browser", "--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"),
        *("--ServerApp.port_retries=0", f"--ServerApp.root_dir={tmp_path / 'root'}"),
        *(f"--IdentityProvider.token={TOKEN}", "--ServerApp.allow_root=True"),
        *("--ServerApp.jpserver_extensions={'conduit_nb.labserver': True}", "--LabApp.news_url="),
    ]
    environment = {
        **os.environ,
        "JUPYTER_CONFIG_DIR": str(tmp_path / "config"),
        "JUPYTER_DATA_DIR": str(tmp_path / "data"),
        "JUPYTER_RUNTIME_DIR": str(tmp_path / "runtime"),
    }
    log = tmp_path / "lab.log"
    with (
        log.open("wb") as output,
        subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process,
        httpx2.Client(
            base_url=f"http://127.0.0.1:{port}/conduit/api/",
            headers={"Authorization": f"token {TOKEN}"},
            timeout=60,
        ) as client,
    ):
        try:

            def answers() -> bool:
                assert process.poll() is None, log.read_text()
                with contextlib.suppress(httpx2.TransportError):
                    return client.get("overview").status_code == 200
                return False

            until_true(answers, within_s=120)
            yield client
        finally:
            process.send_signal(signal.SIGKILL)


def done(client: httpx2.Client, answer: httpx2.Response) -> dict[str, object]:
    """Wait until what a 202 began has ended, and return how."""
    assert answer.status_code == 202, answer.text
    action: dict[str, object] = {}

    def has_ended() -> bool:
        action.update(client.get(f"actions/{answer.json()['id']}").json())
        return action["state"] != "running"

    until_true(has_ended, within_s=60)
    return action


def test_where_lab_is_elsewhere_than_the_kernel_the_light_package_is_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("jupyterlab", reason="it is what runs elsewhere")
    missing = missing_where_lab_is()
    assert {"docker", "llguidance", "pytest"} <= missing
    assert not {"conduit_nb", "jupyter_server", "sqlalchemy", "tornado"} & missing
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "own-data"))
    kernel = Session(
        make_runtime=lambda name: FakeRuntime(name=name),
        make_provider=lambda _: LocalProvider(grace_s=1),
        provider_names=lambda: ["local"],
        make_sources=list,
    )
    request = DeploymentRequest(models=(LmLiteModelConfig("m/one"),), runtime="fake", name="mine")
    try:
        with light_lab(tmp_path) as client:
            before = client.get("overview").json()
            kernel.submit(kernel.deployments.deploy(request)).result(60)
            told = client.get("overview", params={"since": before["revision"]}).json()
            (mine,) = told["deployments"]
            assert (before["live"], mine["name"], mine["status"]) == ([], "mine", "running")

            logs = client.get(f"deployments/{mine['id']}/logs").json()
            assert any("fake LmLite begins" in line for line in logs["lines"])

            offered = client.get("offerings").json()
            assert "local" in {one["provider"] for one in offered["offerings"]}

            start = done(client, client.post("deployments", json={"models": ["m/one"]}))
            assert start["state"] == "failed", "nothing here can run a model"
            assert "conduit-nb[lmlite]" in json.dumps(start["error"])

            ended = done(client, client.post(f"deployments/{mine['id']}/terminate"))
            assert ended["state"] == "done", ended
            assert client.get("overview").json()["live"] == []
    finally:
        kernel.wait(kernel.deployments.terminate("all"))
        kernel.close()
