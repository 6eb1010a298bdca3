"""notebook/keeping.py: `attach` and `cleanup`, with real processes of two installations."""

from __future__ import annotations

from pathlib import Path

import pytest

import conduit_nb
from conduit_nb.providers.local import LocalProvider
from tests.deployments.deployed import Bench, request
from tests.notebook.echo_session import echo_session


async def _theirs(folder: Path) -> str:
    """Deploy something as another installation does, and return its node's name."""
    bench = Bench(folder)
    bench.local = LocalProvider(grace_s=1)
    (node,) = bench.nodes(await bench.service().deploy(request()))
    return node.name


async def test_what_another_installation_runs_is_shown_left_alone_and_adopted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "theirs").mkdir()
    with echo_session(tmp_path, monkeypatch):
        name = await _theirs(tmp_path / "theirs")
        (shown,) = conduit_nb.ps()
        ended = conduit_nb.cleanup()
        (adopted,) = conduit_nb.attach(name)
        listed = conduit_nb.ps()
        (terminated,) = conduit_nb.terminate(adopted.name)
        left = conduit_nb.ps()

    assert (shown.name, shown.status) == (name, "running")
    assert "another installation" in (shown.detail or "")
    assert ended == []
    assert [one.name for one in listed] == [adopted.name]
    assert "another key" in (adopted.detail or "")
    assert terminated.status == "terminated"
    assert left == []
