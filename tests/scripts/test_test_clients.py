"""scripts/test_clients.py: what it installs, and how it finds the server that it starts."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Any:
    """Return the module, with a folder of its own to install into."""
    monkeypatch.syspath_prepend(ROOT / "scripts")
    import test_clients

    monkeypatch.setattr(test_clients, "FOLDER", tmp_path / "clients")
    return test_clients


def test_every_client_is_pinned_and_every_one_that_is_checked_is_installed(script):
    tree = ast.parse(script.CHECKS.read_text())
    imported = {
        (node.module or "").split(".")[0] if isinstance(node, ast.ImportFrom) else alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    }

    names = {re.split(r"[\[=]", one)[0].replace("-slim", "") for one in script.CLIENTS}
    assert all(re.fullmatch(r"[\w\[\]-]+==[\w.]+", one) for one in script.CLIENTS)
    assert {name.replace("-", "_") for name in names} <= imported


def test_what_is_installed_is_not_installed_again_until_the_pins_move(script, monkeypatch):
    ran: list[list[str]] = []
    script.FOLDER.mkdir()
    monkeypatch.setattr(
        script.subprocess, "run", lambda command, **_: ran.append([str(one) for one in command])
    )

    first, second = script.clients_python(), script.clients_python()
    assert first == second == str(script.FOLDER / "bin" / "python")
    assert len(ran) == 2
    assert list(script.CLIENTS) == ran[1][-len(script.CLIENTS) :]

    monkeypatch.setattr(script, "CLIENTS", (*script.CLIENTS, "another==1"))
    script.clients_python()
    assert len(ran) == 4


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("INFO boot\nINFO started url=http://127.0.0.1:5 pid=1\n", "http://127.0.0.1:5"),
        ("INFO boot\nno memory\n", None),
    ],
)
def test_the_address_is_read_from_the_servers_log(script, capfd, said, expected):
    with subprocess.Popen(
        [sys.executable, "-c", f"print({said!r})"], stdout=subprocess.PIPE, text=True
    ) as server:
        assert script.address(server) == expected

    assert ("no memory" in capfd.readouterr().err) == (expected is None)


def test_the_checks_find_the_server_in_their_environment(script):
    read = set(re.findall(r'os\.environ\["(\w+)"\]', script.CHECKS.read_text()))

    assert read <= script.environment("http://127.0.0.1:5", "k").keys()
    assert script.environment("http://127.0.0.1:5", "k")["CONDUIT_CLIENTS_URL"].endswith("/v1")
