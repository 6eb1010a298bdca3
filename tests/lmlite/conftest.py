"""Models that the tests of LmLite run on: tiny random ones, and the embedded one.

`CONDUIT_TEST_DEVICE=cuda` runs their engines, and what they are compared with, on a GPU
(`make test-gpu`). A test marked `gpu` is about GPUs: it is skipped where torch sees none.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from conduit_nb.lmlite.config import EngineConfig
from tests.lmlite.server_process import FORKS

if TYPE_CHECKING:  # torch is not there where only the light tests run
    from conduit_nb.lmlite.engine import Engine

LoadEngine = Callable[..., "Engine"]
DEVICE = os.environ.get("CONDUIT_TEST_DEVICE", "cpu")
WHERE: dict[str, Any] = {"device": DEVICE, "dtype": "float32"}


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none."""
    if DEVICE == "cpu" and item.get_closest_marker("gpu") is None:
        return
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device here; run `make test-gpu` where there is one")


@pytest.fixture(scope="session", autouse=True)
def _nothing_forks_any_more() -> Iterator[None]:
    """End the process that servers were forked from."""
    yield
    FORKS.close()


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """Return a function that makes a tiny model, each kind once per test run."""
    pytest.importorskip("torch")
    from conduit_nb.testing.tiny_models import make_tiny_model

    made: dict[str, Path] = {}

    def make(family: str = "llama", **options: Any) -> Path:
        key = f"{family}{sorted(options.items())}"
        if key not in made:
            made[key] = make_tiny_model(tmp_path_factory.mktemp(family), family=family, **options)
        return made[key]

    return make


@pytest.fixture(scope="session")
def tiny_model_folder(tiny_model: Callable[..., Path]) -> Path:
    """Return the folder of a tiny Llama-like model."""
    return tiny_model()


@pytest.fixture(scope="session")
def embedded_model_folder() -> Path:
    """Return the folder of the embedded model, fetched and converted where that is still to do."""
    pytest.importorskip("torch")
    from conduit_nb.lmlite.convert import converted
    from conduit_nb.models.hub import EMBEDDED_MODEL_ID, find_model

    return converted(find_model(EMBEDDED_MODEL_ID, progress=print), progress=print)


@pytest.fixture
def load_engine() -> Iterator[LoadEngine]:
    """Return `Engine.load` in float32 with one thread; what it loads is closed after the test."""
    pytest.importorskip("torch")
    from conduit_nb.lmlite.engine import Engine

    loaded: list[Engine] = []

    def load(folder: Path, **config: Any) -> Engine:
        loaded.append(Engine.load(folder, EngineConfig(**{"threads": 1, **WHERE, **config})))
        return loaded[-1]

    yield load
    for engine in loaded:
        engine.close()
