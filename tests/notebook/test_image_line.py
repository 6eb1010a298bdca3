"""notebook/image_line.py: `%conduit image`, as a user writes it; tests/images builds a real one."""

from __future__ import annotations

import pytest

from conduit_nb.errors import ArgumentError, DeploymentError, ProviderUnreachableError
from tests.notebook.conftest import Cells


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("image biuld", "build"),
        ("image push", "takes the name"),
        ("image build one", "build none"),
        ("image build --cdua", "--cuda"),
        ("image", "build|push"),
    ],
)
def test_a_mistake_says_what_was_meant(cells: Cells, line: str, said: str):
    error = cells.fail(f"%conduit {line}", ArgumentError)

    assert said in f"{error} {error.hint}"


def test_without_an_engine_it_says_how_to_get_one(cells: Cells, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_HOST", "tcp://127.0.0.1:9")

    error = cells.fail("%conduit image push mine:1")

    assert isinstance(error, DeploymentError | ProviderUnreachableError)
    assert error.hint
