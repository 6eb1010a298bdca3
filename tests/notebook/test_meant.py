"""The word that was meant, in every error about a name: in a magic, in the shell, in Python."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import make_dataclass
from pathlib import Path

import pandas as pd
import pytest

import conduit_nb
from conduit_nb.cli import main
from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.errors import ConduitError
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.session import Session
from conduit_nb.spelling import did_you_mean
from conduit_nb.testing.runpod_server import runpod_server
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import echo_session

EMBEDDED = "HuggingFaceTB/SmolLM2-135M-Instruct"
MISTYPED = "HuggingFaceTB/SmolLM2-135M-Instrct"

# What people write, in words that cells and the shell share, and what they meant.
LINES = {
    "subcommand": ("deply m", "deploy"),
    "option": ("plan m --tensor-paralel 2", "--tensor-parallel"),
    "option of a word": ("logs --tial 3", "--tail"),
    "choice": ("offerings --objective usd_per_gb", "usd_per_gib"),
    "word of image": ("image biuld", "build"),
    "provider": ("deploy m --provider runpdo", "runpod"),
    "provider of offerings": ("offerings --providers runpd", "runpod"),
    "runtime": ("deploy m --runtime vlm", "vllm"),
    "runtime of a plan": (f"plan {EMBEDDED} --runtime vlm", "vllm"),
    "model": (f"plan {MISTYPED}", EMBEDDED),
    "model of offerings": (f"offerings --for {MISTYPED}", EMBEDDED),
    "GPU": (f"plan {EMBEDDED} --gpu RTX4O90", "RTX 4090"),
    "GPU of offerings": ("offerings --providers local --gpu L40SS", "L40S"),
    "dtype": (f"plan {EMBEDDED} --dtype bfloat61", "bfloat16"),
    "quantization": (f"plan {EMBEDDED} --quantization awk", "awq"),
    "mixture": (f"plan {EMBEDDED} --quantization gguf:Q4KM", "Q4_K_M"),
}
NAMES = [f"{word} redaer" for word in ("stop", "start", "restart", "terminate", "extend", "logs")]


def asked(meant: str) -> str:
    """Return how a hint begins that asks whether `meant`, and perhaps others, were meant."""
    return did_you_mean(meant).removesuffix("?")


@pytest.fixture(autouse=True)
def _offline(own_session: Session, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the hub and the price lists out of reach."""
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")
    monkeypatch.setenv("CONDUIT_GPUHUNT_URL", "http://127.0.0.1:9/v3")


@pytest.fixture
def reader(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let a deployment run that is called reader."""
    with echo_session(tmp_path, monkeypatch):
        conduit_nb.deploy("m/one", runtime="custom", image="x", name="reader")
        yield


@pytest.mark.parametrize("what", LINES)
def test_a_magic_names_what_was_meant(cells: Cells, what: str):
    line, meant = LINES[what]

    error = cells.fail(f"%conduit {line}")

    assert error.hint.startswith(asked(meant)), error.hint


@pytest.mark.parametrize("what", LINES)
def test_the_shell_names_what_was_meant(capsys: pytest.CaptureFixture[str], what: str):
    line, meant = LINES[what]

    assert main(line.split()) in (1, 2)

    said, hint = capsys.readouterr().err.splitlines()[-2:]
    assert asked("") not in said, "once is enough"
    assert hint.strip().startswith(asked(meant)), hint


PYTHON: dict[str, tuple[Callable[[], object], str]] = {
    "provider": (lambda: conduit_nb.deploy("m", provider="runpdo"), "runpod"),
    "provider of a constraint": (lambda: DeploymentConstraint(providers=("dcker",)), "docker"),
    "runtime": (lambda: conduit_nb.deploy("m", runtime="vlm"), "vllm"),
    "runtime of a plan": (lambda: conduit_nb.plan(EMBEDDED, runtime="vlm"), "vllm"),
    "model": (lambda: conduit_nb.plan(MISTYPED), EMBEDDED),
    "model, but for its case": (lambda: conduit_nb.plan(EMBEDDED.lower()), EMBEDDED),
    "GPU": (lambda: conduit_nb.plan(EMBEDDED, gpu="H100 SXN 80GB"), "H100 SXM"),
    "objective": (lambda: conduit_nb.find_offerings(objective="usd_per_hr"), "usd_per_hour"),
    "dtype": (lambda: LmLiteModelConfig("m", dtype="flaot32"), "float32"),  # pyright: ignore[reportArgumentType]  # it is mistyped
    "quantization": (lambda: LmLiteModelConfig("m", quantization="int08"), "int8"),  # pyright: ignore[reportArgumentType]  # it is mistyped
}


@pytest.mark.parametrize("what", PYTHON)
def test_python_names_what_was_meant(what: str):
    call, meant = PYTHON[what]

    with pytest.raises(ConduitError) as caught:
        call()

    assert caught.value.hint.startswith(asked(meant)), caught.value.hint


@pytest.mark.parametrize("line", NAMES)
@pytest.mark.usefixtures("reader")
def test_a_deployment_is_compared_with_those_that_run(
    cells: Cells, capsys: pytest.CaptureFixture[str], line: str
):
    assert cells.fail(f"%conduit {line}").hint.startswith(did_you_mean("reader"))
    assert main(line.split()) == 1
    assert f"\n  {did_you_mean('reader')}" in capsys.readouterr().err


def test_a_gpu_that_nobody_makes_is_no_gpu_that_is_sold_out(monkeypatch: pytest.MonkeyPatch):
    with runpod_server() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(ConduitError) as caught:
            conduit_nb.deploy(EMBEDDED, provider="runpod", gpu="RTX4O90")

    assert caught.value.hint.startswith(asked("RTX 4090")), caught.value.hint


def test_a_public_name_is_compared_with_those_there_are():
    with pytest.raises(AttributeError, match=re.escape(did_you_mean("LMLiteBlock"))):
        conduit_nb.LmLiteBlok  # noqa: B018  # pyright: ignore[reportAttributeAccessIssue, reportUnknownMemberType]  # it is mistyped


# Names of one's own: a schema, a block, a column, a variable.
CELLS = {
    "schema in a class": ("%%conduit schema\nclass New:\n    one: Revew", "Review"),
    "schema in quotes": ("%%conduit schema\nclass New:\n    one: 'list[Revew]'", "Review"),
    "schema of the cell": (
        "%%conduit schema\nclass Inner:\n    one: str\nclass New:\n    two: Iner",
        "Inner",
    ),
    "schema of a block": ("%%conduit block double --input Revew --output Review", "Review"),
    "block": ("%%conduit pipeline twice\nshuot >> shout", "shout"),
    "column": ("%%conduit map df --columns reveiw\nclass A:\n    x: int", "review"),
    "rows": ("%%conduit map rowz\nclass A:\n    x: int", "rows"),
    "option": ("%%conduit map df --colums review\nclass A:\n    x: int", "--columns"),
}


@pytest.mark.parametrize("what", CELLS)
def test_a_cell_names_what_was_meant(cells: Cells, what: str):
    cells.run("%%conduit schema\nclass Review:\n    review: str")
    cells.run("%%conduit block shout --input Review --output Review")
    cells.names["df"] = cells.names["rows"] = pd.DataFrame({"review": ["good"], "stars": [5]})
    cell, meant = CELLS[what]

    error = cells.fail(cell)

    assert did_you_mean(meant) in error.hint, error.hint


def test_python_names_a_schema_that_was_meant():
    class Review: ...

    made = make_dataclass("Made", [("one", "Revew")], namespace={"__module__": __name__})

    with pytest.raises(ConduitError) as caught:
        conduit_nb.schema_of(made)

    assert caught.value.hint.startswith(did_you_mean("Review")), caught.value.hint
