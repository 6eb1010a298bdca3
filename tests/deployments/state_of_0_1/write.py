"""Writes the files of this folder: what the version of `written.json`'s commit leaves on a machine.

Ran once, with `python -m tests.deployments.state_of_0_1.write`, on that commit; it documents how
the files came to be, and need not run on later versions. Public functions of `conduit_nb` deploy
onto the local Runpod server and onto this machine; then, while everything runs, it copies:

- `data/`: the installation's file, and the state database as SQL
- `state/`: the records of local nodes, and the summary
- `processes.json`: how each local node was started: its arguments, and its variables
- `pods.json`: the pods that are there, each with the call that created it
- `ps.json`, `cost.json`: what `conduit ps --json` and `conduit cost --json` said
- `guard_of_0_1.txt`: the guard, as the pods carry it

Paths and the name of the machine are replaced by those of a made-up one, the guard's source in the
environment of pods by the name of its file. The installation's id and secret are made up.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import shutil
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, redirect_stdout
from importlib.metadata import version
from io import StringIO
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

import conduit_nb
from conduit_nb.cli import main as conduit
from conduit_nb.testing.runpod_server import RunpodServer, runpod_server
from conduit_nb.testing.tiny_models import make_tiny_model
from tests.deployments.state_of_0_1.model_server import make_program
from tests.deployments.state_of_0_1.pods import container_starter
from tests.deployments.state_of_0_1.requested import PROGRAM, REQUESTED

FOLDER = Path(__file__).parent
ROOT = FOLDER.parents[2]
INSTALLATION = {
    "id": "0123456789abcdef",
    "secret": b"a secret of tests, and no others".hex(),
}
MACHINE = "machine-of-0-1"
GUARD = "guard_of_0_1.txt"
GUARD_SOURCE = "CONDUIT_GUARD_SOURCE"
OF_THE_NODE = ("CONDUIT_GUARD", "CONDUIT_NODE", "CONDUIT_API_KEY", "VLLM_API_KEY")
"""The variables that the local provider sets for a node, beside the user's own."""


def main() -> None:
    """Deploy, copy, and end everything again."""
    with TemporaryDirectory() as temporary:
        folder = Path(temporary)
        program = make_program(folder / "model-server")
        with runpod_server(start_container=container_starter(program)) as cloud:
            os.environ.update(cloud.environment)
            os.environ["CONDUIT_DATA_DIR"] = str(folder / "data")
            os.environ["CONDUIT_STATE_DIR"] = str(folder / "state")
            os.environ["CONDUIT_VLLM_PYTHON"] = str(program)
            os.environ["CONDUIT_OFFLINE"] = "1"
            (folder / "data").mkdir(mode=0o700)
            (folder / "data/installation.json").write_text(json.dumps(INSTALLATION))
            with _deployed(folder):
                copy(folder, program, cloud)


@contextmanager
def _deployed(folder: Path) -> Iterator[None]:
    try:
        for name, requested in REQUESTED.items():
            conduit_nb.deploy(*requested.models, **requested.options, **requested.bounds, name=name)
        conduit_nb.stop("batch")
        conduit_nb.terminate("ended")
        model = str(make_tiny_model(folder / "tiny"))
        conduit_nb.load_model(model)  # which starts the shared local server
        conduit_nb.unload_model(model)
        yield
    finally:
        conduit_nb.stop("all")


def copy(folder: Path, program: Path, cloud: RunpodServer) -> None:
    """Copy what is there now into the folder of this file."""
    for name in ("data", "state"):
        shutil.rmtree(FOLDER / name, ignore_errors=True)
    made_up = made_up_names(folder, program)
    listed, costs = said("ps"), said("cost")
    written = {
        "commit": commit_of_main(),
        "version": version("conduit-nb"),
        "written_at": time.time(),
        "machine": MACHINE,
        "runpod": cloud.url.removesuffix("/v2"),
    }
    with closing(sqlite3.connect(folder / "data/state.sqlite3")) as database:
        keep("data/state.sql", made_up("\n".join(database.iterdump())))
    for path in (folder / "data/installation.json", *(folder / "state").rglob("*.json")):
        keep(str(path.relative_to(folder)), made_up(path.read_text()))
    keep("processes.json", made_up(as_json(processes(folder))))
    keep("pods.json", made_up(as_json(pods(cloud))))
    keep("ps.json", made_up(as_json(listed)))
    keep("cost.json", made_up(as_json(costs)))
    keep("written.json", as_json(written))


def commit_of_main() -> str:
    """Return the last commit of main that this checkout has; this folder came after it."""
    command = ["git", "merge-base", "HEAD", "main"]
    ran = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return ran.stdout.strip()


def said(word: str) -> Any:
    """Return what the program answers."""
    with redirect_stdout(StringIO()) as out:
        assert conduit([word, "--json"]) == 0
    return json.loads(out.getvalue())


def processes(folder: Path) -> list[dict[str, Any]]:
    """Return how each local node was started; the guard's moments are not in any file."""
    found: list[dict[str, Any]] = []
    for path in sorted((folder / "state/nodes").glob("*.json")):
        record = json.loads(path.read_text())
        process = psutil.Process(record["pid"])
        environment = process.environ()
        found.append(
            {
                "name": record["name"],
                "arguments": process.cmdline(),
                "environment": {
                    name: environment[name] for name in OF_THE_NODE if name in environment
                },
            }
        )
    return found


def pods(cloud: RunpodServer) -> list[dict[str, Any]]:
    """Return each pod that is there, with the body of the call that created it."""
    created = {
        json.loads(one.answer)["id"]: json.loads(one.body)
        for one in cloud.exchanges
        if one.method == "POST" and one.status == 201
    }
    found: list[dict[str, Any]] = []
    for pod in cloud.account.pods():
        if pod.status != "TERMINATED":
            body = created[pod.id]
            source = zlib.decompress(base64.b64decode(body["env"][GUARD_SOURCE])).decode()
            keep(GUARD, source)
            body["env"][GUARD_SOURCE] = GUARD
            found.append({"id": pod.id, "status": pod.status, "created": body})
    return found


def made_up_names(folder: Path, program: Path) -> Callable[[str], str]:
    """Return what replaces the paths and the name of this machine in a text."""
    names = {
        str(program): PROGRAM,
        str(folder): "/srv/conduit",
        str(ROOT / "conduit_nb"): "/srv/python/conduit_nb",
        sys.executable: "/srv/python/bin/python",
        str(Path.home()): "/srv/user",
        platform.node(): MACHINE,
    }

    def made_up(text: str) -> str:
        for name, other in names.items():
            text = text.replace(name, other)
        return text

    return made_up


def as_json(document: object) -> str:
    """Return the document in lines that a person can compare."""
    return json.dumps(document, indent=1)


def keep(name: str, text: str) -> None:
    """Write a file of this folder."""
    path = FOLDER / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text.rstrip("\n") + "\n")


if __name__ == "__main__":
    main()
