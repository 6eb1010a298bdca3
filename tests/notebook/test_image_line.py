"""notebook/image_line.py: `%conduit image`, as a user writes it; tests/images builds a real one."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError, DeploymentError, ProviderUnreachableError
from conduit_nb.spelling import did_you_mean
from tests.notebook.conftest import Cells


@pytest.mark.parametrize(
    ("line", "param", "fact"),
    [
        ("image biuld", "command", did_you_mean("build")),
        ("image push", "tag", "%conduit image push NAME"),
        ("image build one", None, "'one'"),
        ("image build --cdua", "cdua", did_you_mean("--cuda")),
        ("image", None, "%conduit image build|push"),
    ],
)
def test_a_mistake_says_what_was_meant(cells: Cells, line: str, param: str | None, fact: str):
    error = cells.fail(f"%conduit {line}", ArgumentError)

    assert error.param == param
    assert fact in f"{error} {error.hint}"


def test_without_an_engine_it_says_how_to_get_one(cells: Cells, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")

    error = cells.fail("%conduit image push mine:1")

    assert isinstance(error, DeploymentError | ProviderUnreachableError)
    assert error.hint
