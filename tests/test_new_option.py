"""One field more in DeploymentRequest is an option everywhere: nothing else has to be written."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.system  # a copy of the package, and processes of it

PACKAGE = Path(__file__).resolve().parent.parent / "conduit_nb"
FIELD = """
    rack_colour: str | None = option(None, "Colour of the rack.", metavar="C")
"""
AFTER = "    models: tuple[LmLiteModelConfig, ...] = ()\n"
LOOK = """
import contextlib, io, json, sys
from IPython.core.interactiveshell import InteractiveShell

import conduit_nb
from conduit_nb.cli import main
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.desk.wire import form_document, read_deploy
from conduit_nb.errors import NoOfferingError

parsed = []
real = DeploymentRequest.parse.__func__
DeploymentRequest.parse = classmethod(
    lambda kind, values: parsed.append(real(kind, values)) or parsed[-1]
)


def printed(work):
    with contextlib.redirect_stdout(io.StringIO()) as shown:
        work()
    return shown.getvalue()


def colour_after(work):
    parsed.clear()
    with contextlib.suppress(NoOfferingError):  # this machine may have no GPU
        printed(work)
    return [one.rack_colour for one in parsed]


shell = InteractiveShell.instance()
shell.run_line_magic("load_ext", "conduit_nb")
line = ["deploy", "m/one", "--runtime", "custom", "--image", "i", "--rack-colour", "red"]
body = {"models": ["m/one"], "rack_colour": "red"}
made = DeploymentRequest(rack_colour="red")
completer = shell.Completer
found = {
    "package": conduit_nb.__file__,
    "shell help": printed(lambda: main(["deploy", "--help"])),
    "line help": printed(lambda: print(repr(shell.run_line_magic("conduit", "help deploy")))),
    "cell help": printed(lambda: print(repr(shell.run_line_magic("conduit", "help map")))),
    "shell": colour_after(lambda: main([*line, "--dry-run"])),
    "line": colour_after(lambda: shell.run_line_magic("conduit", " ".join([*line, "--dry-run"]))),
    "python": colour_after(
        lambda: conduit_nb.deploy(
            "m/one", runtime="custom", image="i", rack_colour="red", dry_run=True
        )
    ),
    "block": [
        access.target.rack_colour
        for access in conduit_nb.LMLiteBlock(["m"], rack_colour="red")._access.values()
    ],
    "http": read_deploy(body).rack_colour,
    "form": [one for one in form_document() if one["name"] == "rack_colour"],
    "tab": completer.complete(line_buffer="%conduit deploy X --rack", cursor_pos=24)[1],
    "tab over a cell": completer.complete(line_buffer="%%conduit map df --rack", cursor_pos=23)[1],
    "json": json.loads(made.to_json()),
    "read again": DeploymentRequest.from_json(made.to_json()) == made,
    "identity": made.identity() != DeploymentRequest().identity(),
}
print("FOUND", json.dumps(found))
"""


@pytest.fixture(scope="module")
def found(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return what is found of the option in a copy of the package that has its field."""
    folder = tmp_path_factory.mktemp("copy")
    shutil.copytree(PACKAGE, folder / "conduit_nb", ignore=shutil.ignore_patterns("__pycache__"))
    module = folder / "conduit_nb/compute/request.py"
    source = module.read_text()
    assert AFTER in source
    module.write_text(source.replace(AFTER, AFTER + FIELD.lstrip("\n")))
    own = {name: str(folder) for name in ("CONDUIT_STATE_DIR", "CONDUIT_DATA_DIR", "IPYTHONDIR")}
    ran = subprocess.run(
        [sys.executable, "-c", LOOK],
        cwd=folder,
        env={**os.environ, **own, "PYTHONPATH": str(folder), "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr
    answer = json.loads(ran.stdout.rpartition("FOUND ")[2])
    assert answer["package"] == str(folder / "conduit_nb/__init__.py")
    return answer


@pytest.mark.parametrize("where", ["shell help", "line help", "cell help"])
def test_it_is_in_the_help(found: dict[str, Any], where: str):
    row = next(row for row in found[where].splitlines() if "--rack-colour" in row)

    assert row.split(maxsplit=2) == ["--rack-colour", "C", "Colour of the rack."]


@pytest.mark.parametrize("where", ["shell", "line", "python", "block"])
def test_it_is_accepted_and_part_of_the_request(found: dict[str, Any], where: str):
    assert found[where] == ["red"]


def test_it_is_read_from_a_body(found: dict[str, Any]):
    assert found["http"] == "red"


def test_it_is_a_field_of_the_form_in_the_panels(found: dict[str, Any]):
    [field] = found["form"]

    assert (field["label"], field["kind"]) == ("rack colour", "text")
    assert (field["default"], field["help"]) == (None, "Colour of the rack.")


@pytest.mark.parametrize("where", ["tab", "tab over a cell"])
def test_it_is_offered_by_tab(found: dict[str, Any], where: str):
    assert found[where] == ["--rack-colour"]


def test_it_is_stored_and_tells_one_deployment_from_another(found: dict[str, Any]):
    assert found["json"] == {"rack_colour": "red"}
    assert found["read again"]
    assert found["identity"]
