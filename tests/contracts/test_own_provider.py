"""The provider that notebook 07 writes, against the contract that it says every provider keeps."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import psutil
import pytest

from conduit_nb.testing.provider_contract import ProviderContract, ProviderHarness
from tests.local_nodes import marked
from tests.local_nodes import spec as local_spec
from tests.providers.runpod_nodes import SECRETS, name_of

NOTEBOOK = Path(__file__).parents[2] / "notebooks/07_your_own.ipynb"


def own_provider(state_dir: Path) -> Any:
    """Return the notebook's provider, from the source that its cell writes into a file."""
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    (cell,) = [cell for cell in cells if "provider" in cell.metadata.get("tags", [])]
    (source,) = [
        node.value
        for node in ast.walk(ast.parse(cell.source))
        if isinstance(node, ast.Constant) and "class QuietProvider" in str(node.value)
    ]
    names: dict[str, Any] = {"__name__": "quiet_provider"}
    exec(compile(str(source), "quiet_provider.py", "exec"), names)
    return names["QuietProvider"](state_dir)


class TestQuiet(ProviderContract):
    @pytest.fixture
    def harness(self, tmp_path: Path) -> Iterator[ProviderHarness]:
        provider = own_provider(tmp_path)
        yield ProviderHarness(
            provider=provider,
            spec=lambda name: local_spec(name=name),
            secrets=SECRETS,
            exists=lambda name: (tmp_path / "nodes" / f"{name}.json").exists(),
            names=(name_of(1), name_of(2)),
            foreign=name_of(1, installation="ffffffffffff"),
        )
        asyncio.run(end_all(provider))

    async def test_what_it_starts_gives_way_to_everything_else(
        self, harness: ProviderHarness, tmp_path: Path
    ):
        await harness.launch(harness.names[0])
        await harness.until(harness.names[0], "running")

        assert {psutil.Process(pid).nice() for pid in marked(tmp_path)} == {19}


async def end_all(provider: Any) -> None:
    for node in await provider.list_nodes():
        await provider.terminate(node.name)
