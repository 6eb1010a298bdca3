"""A real IPython shell with the extension loaded, and a model server on a real socket."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any, TypeVar, overload

import pytest
from IPython.core.interactiveshell import ExecutionResult, InteractiveShell
from IPython.utils.capture import RichOutput, capture_output
from traitlets.config import Config

from conduit_nb.errors import ConduitError
from tests.notebook.openai_server import OpenAIServer, openai_server

Failure = TypeVar("Failure", bound=ConduitError)


@dataclass
class Cells:
    """Runs cells as a user would and keeps what they showed."""

    shell: InteractiveShell
    stdout: str = ""
    stderr: str = ""
    outputs: list[RichOutput] = field(default_factory=list)

    @property
    def names(self) -> dict[str, Any]:
        """The user's variables."""
        return self.shell.user_ns

    def run(self, cell: str) -> Any:
        """Run a cell that must succeed, and return its value."""
        result = self._run(cell)
        result.raise_error()
        return result.result

    @overload
    def fail(self, cell: str) -> ConduitError: ...
    @overload
    def fail(self, cell: str, kind: type[Failure]) -> Failure: ...
    def fail(self, cell: str, kind: type[ConduitError] = ConduitError) -> ConduitError:
        """Run a cell that must fail with `kind`, and return the error."""
        result = self._run(cell)
        error = result.error_before_exec or result.error_in_exec
        assert isinstance(error, kind), f"{error!r}\n{self.stdout}\n{self.stderr}"
        return error

    def _run(self, cell: str) -> ExecutionResult:
        with capture_output() as captured:
            result = self.shell.run_cell(cell)
        self.stdout, self.stderr, self.outputs = (
            captured.stdout,
            captured.stderr,
            captured.outputs,
        )
        return result


@pytest.fixture
def shell() -> Iterator[InteractiveShell]:
    """A fresh IPython, without history on disk."""
    InteractiveShell.clear_instance()
    before = sys.modules["__main__"], sys.displayhook, sys.excepthook
    config = Config({"HistoryManager": {"enabled": False, "hist_file": ":memory:"}})
    shell = InteractiveShell.instance(config=config, user_module=ModuleType("__main__"))
    yield shell
    shell.run_line_magic("unload_ext", "conduit_nb")
    InteractiveShell.clear_instance()
    sys.modules["__main__"], sys.displayhook, sys.excepthook = before


@pytest.fixture
def cells(shell: InteractiveShell) -> Cells:
    """The shell with the extension loaded."""
    shell.run_line_magic("load_ext", "conduit_nb")
    return Cells(shell)


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    """A model server to give as `--endpoint`."""
    with openai_server() as server:
        yield server
