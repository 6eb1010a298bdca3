"""A revision of a model, on every line that names one: what is read, and what is served."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb.cli import main
from conduit_nb.errors import ArgumentError
from conduit_nb.providers.runpod import Runpod
from conduit_nb.runtimes.registry import make_runtime
from conduit_nb.testing.pod_processes import PodProcesses
from conduit_nb.testing.runpod_server import runpod_server
from tests.fake_lmlite import ECHO_SERVER
from tests.models.hub_server import COMMIT, Hub, hub_server
from tests.models.published import config_of
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session

MODEL = "owner/name"
WRITTEN = f"{MODEL}@{COMMIT}"
by_shell_and_cell = pytest.mark.parametrize("where", ["shell", "cell"])
# What is started as `vllm`: it notes what it was told, and echoes.
PROGRAM = """#!/bin/sh
printf '%s\\n' "$@" > {told}
while [ "$1" != --port ]; do shift; done
CONDUIT_API_KEY="$VLLM_API_KEY" exec {python} {server} --port "$2"
"""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    files = {"config.json": json.dumps(config_of("Qwen3-0.6B")).encode()}
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    with hub_server(Hub({MODEL: files})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def revisions_read(hub: Hub) -> set[str]:
    """Return the revisions whose files were asked for."""
    files = [line.partition("/resolve/")[2] for line in hub.requests if "/resolve/" in line]
    return {file.partition("/")[0] for file in files}


@by_shell_and_cell
@pytest.mark.parametrize(
    "line",
    [
        f"plan {WRITTEN}",
        f"plan {MODEL} --revision {COMMIT}",
        f"offerings --for {WRITTEN} --providers local",
    ],
)
def test_a_plan_is_of_the_revision_that_is_named(
    where: str, line: str, hub: Hub, cells: Cells, capsys: pytest.CaptureFixture[str]
):
    if where == "shell":
        assert main([*line.split(), "--json"]) == 0
        text = capsys.readouterr().out
    else:
        cells.run(f"%conduit {line} --json")
        text = cells.stdout

    document = json.loads(text)
    [planned] = document.get("plan", document)["models"]
    assert planned["model_id"] == WRITTEN
    assert revisions_read(hub) == {COMMIT}


def test_what_is_deployed_by_a_line_is_served_at_its_revision(
    hub: Hub, cells: Cells, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    program, told = tmp_path / "bin" / "vllm", tmp_path / "told"
    program.parent.mkdir()
    program.write_text(PROGRAM.format(told=told, python=sys.executable, server=ECHO_SERVER))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{program.parent}{os.pathsep}{os.environ['PATH']}")
    line = f"{WRITTEN} --runtime vllm --provider runpod"
    with runpod_server(start_container=PodProcesses(grace_s=5)) as cloud:
        runpod = Runpod(cloud.url, key=cloud.key, proxy_url=cloud.proxy_url)
        with echo_session(tmp_path, monkeypatch, provider=runpod, make_runtime=make_runtime):
            [info] = cells.run(f"%conduit deploy {line}")

    words = told.read_text().splitlines()
    assert info.status == "running"
    assert words[:2] == ["serve", MODEL]
    assert words[words.index("--revision") + 1] == COMMIT
    assert revisions_read(hub) == {COMMIT}


@by_shell_and_cell
@pytest.mark.parametrize(
    "line", ["plan a/b c/d", "offerings --for a/b --for c/d", "deploy a/b c/d --dry-run"]
)
def test_one_revision_of_several_models_is_refused(
    where: str, line: str, cells: Cells, capsys: pytest.CaptureFixture[str]
):
    if where == "shell":
        assert main([*line.split(), "--revision", "v1"]) == 1
        said, hint = capsys.readouterr().err.splitlines()
    else:
        error = cells.fail(f"%conduit {line} --revision v1", ArgumentError)
        said, hint = str(error), error.hint
        assert error.param == "revision"

    assert re.search(r"revision='v1'.*\b2\b", said)
    assert "owner/name@revision" in hint
