"""A plugin for the pytest that runs nbval: `--outputs PATH` keeps what the cells have shown.

nbval throws outputs away and knows no display that changes; this writes the notebook as a reader
would see it after the run, so that a notebook is run once and both judged and read.
"""

from __future__ import annotations

import json
from collections.abc import Generator
from pathlib import Path
from typing import Any

import nbformat
import pytest

Message = dict[str, Any]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--outputs", type=Path, required=True)


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(Keeper(config.getoption("--outputs")))


class Keeper:
    """Reads along what the kernel says."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._cells: list[Any] = []
        self._cell_of: dict[str, Any] = {}
        self._shown_as: dict[str, list[Any]] = {}
        self._to_clear: set[int] = set()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> Generator[None]:
        notebook: Any = item.parent
        if not self._cells:
            hear = notebook.get_kernel_message

            def hear_along(*given: Any, **named: Any) -> Message:
                message = hear(*given, **named)
                self._keep(message)
                return message

            notebook.get_kernel_message = hear_along
        cell: Any = item.cell  # type: ignore[attr-defined]  # an item of nbval's
        self._cells.append(nbformat.from_dict({**cell, "outputs": []}))
        return (yield)

    def pytest_sessionfinish(self) -> None:
        self._path.write_text(json.dumps({"cells": self._cells}))

    def _keep(self, message: Message) -> None:
        kind, content = message["msg_type"], message["content"]
        asked_by = message["parent_header"].get("msg_id", "")
        if kind == "execute_input":
            self._cell_of[asked_by] = self._cells[-1]
        display_id = content.get("transient", {}).get("display_id")
        if kind == "update_display_data":
            for output in self._shown_as.get(display_id, []):
                output["data"] = content["data"]
        cell = self._cell_of.get(asked_by)
        if cell is None:
            return
        if kind == "clear_output":
            if content.get("wait"):
                self._to_clear.add(id(cell))
            else:
                cell["outputs"].clear()
        elif kind in ("stream", "display_data", "execute_result", "error"):
            if id(cell) in self._to_clear:
                self._to_clear.remove(id(cell))
                cell["outputs"].clear()
            output = {"output_type": kind, **content}
            cell["outputs"].append(output)
            if display_id is not None:
                self._shown_as.setdefault(display_id, []).append(output)
