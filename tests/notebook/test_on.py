"""`--on NAME`: a cell or a block that uses a running deployment, and what rents nothing twice."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pandas as pd
import pytest

import conduit_nb
from conduit_nb.blocks.llm import CustomBlock, LMLiteBlock
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import ArgumentError, EndpointUnreachableError, NearMatchError
from conduit_nb.runs.receipts import read_receipts
from conduit_nb.session import Session
from conduit_nb.testing.runpod_server import RunpodServer
from tests.deployments.deployed import rented
from tests.fake_lmlite import FakeRuntime
from tests.notebook.conftest import Cells
from tests.notebook.echo_session import rented_session

pytestmark = pytest.mark.system  # rented nodes are processes

ANSWERS = ("--answers", '{"mood":"good"}')
VERDICT = "class Verdict:\n    mood: Literal['good', 'bad']\n"
RENT: dict[str, Any] = {"runtime": "custom", "image": "x", "provider": "runpod", "gpu": "L40S"}
CELLS = (
    "%%conduit map rows -o out",
    "%%conduit block judge --input Review --output Verdict",
)
OTHER = "--gpu 'RTX 4090'"
SAME = "--model m/one --runtime custom --image x --provider runpod"


@dataclass
class Review:
    text: str


@dataclass
class Verdict:
    mood: Literal["good", "bad"]


@pytest.fixture
def cloud() -> Iterator[RunpodServer]:
    with ExitStack() as stack:
        yield rented(stack)


@pytest.fixture(autouse=True)
def session(
    cloud: RunpodServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Session]:
    with rented_session(
        tmp_path, monkeypatch, cloud, lambda name: FakeRuntime(ANSWERS, name=name)
    ) as session:
        yield session


@pytest.fixture
def mine() -> DeploymentInfo:
    """A rented deployment that runs."""
    (info,) = conduit_nb.deploy("m/one", "m/two", name="mine", **RENT)
    return info


@pytest.fixture
def rows(cells: Cells) -> pd.DataFrame:
    cells.names["rows"] = pd.DataFrame({"text": ["one", "two", "three"]})
    return cells.names["rows"]


def creations(cloud: RunpodServer) -> int:
    """Return how often a pod was asked for."""
    return sum(one.method == "POST" and one.path.endswith("/pods") for one in cloud.exchanges)


def test_a_map_asks_the_deployment_that_is_named_and_its_first_model(
    cells: Cells, rows: pd.DataFrame, mine: DeploymentInfo, cloud: RunpodServer
):
    cells.run(f"%%conduit map rows -o out --on mine\n{VERDICT}")

    (receipt,) = read_receipts()
    assert cells.names["out"]["mood"].tolist() == ["good"] * 3
    assert (receipt.deployment, receipt.provider, receipt.runtime) == ("mine", "runpod", "custom")
    assert (receipt.model, receipt.device) == ("m/one", mine.device)
    assert mine.usd_per_hour is not None
    assert receipt.usd == pytest.approx(mine.usd_per_hour * receipt.seconds / 3600, rel=0.01)
    assert f"on {mine.device}" in cells.stderr
    assert creations(cloud) == 1
    assert [one.name for one in conduit_nb.ps()] == ["mine"]


def test_another_of_its_models_is_asked_where_that_is_named(
    cells: Cells, rows: pd.DataFrame, mine: DeploymentInfo
):
    cells.run(f"%%conduit map rows -o out --on mine --model m/two\n{VERDICT}")

    (receipt,) = read_receipts()
    assert (receipt.deployment, receipt.model) == ("mine", "m/two")


def test_a_dry_run_says_where_it_would_run_and_boots_nothing(
    cells: Cells, rows: pd.DataFrame, mine: DeploymentInfo, cloud: RunpodServer
):
    said = cells.run(f"%%conduit map rows -o out --on mine --dry-run\n{VERDICT}")

    assert (said.rows, said.place, said.boots) == (3, mine.device, False)
    assert said.usd_per_hour == mine.usd_per_hour
    assert "out" not in cells.names
    assert read_receipts() == []
    assert creations(cloud) == 1


def test_a_map_on_the_shared_server_costs_nothing(cells: Cells, rows: pd.DataFrame):
    conduit_nb.load_model("m/one")
    (shared,) = conduit_nb.ps()
    cells.run(f"%%conduit map rows -o out --on {shared.name} --model m/one\n{VERDICT}")

    (receipt,) = read_receipts()
    assert cells.names["out"]["mood"].tolist() == ["good"] * 3
    assert (receipt.deployment, receipt.provider, receipt.usd) == (shared.name, "local", 0.0)
    assert [one.name for one in conduit_nb.ps()] == [shared.name]


def test_a_block_cell_makes_a_function_that_asks_the_deployment(
    cells: Cells, mine: DeploymentInfo, cloud: RunpodServer
):
    cells.names.update(Review=Review, Verdict=Verdict)
    cells.run("%%conduit block judge --input Review --output Verdict --on mine\nJudge it.")

    judge = cells.names["judge"]
    assert judge(Review("so so")) == Verdict("good")
    assert (judge.model_id, judge.target) == ("m/one", "mine")
    assert creations(cloud) == 1


def test_a_block_in_python_asks_the_deployment(mine: DeploymentInfo, cloud: RunpodServer):
    block = LMLiteBlock(["m/one"], on="mine")

    assert block(input=Review("so so"), output=Verdict) == Verdict("good")
    assert block(messages=[{"role": "user", "content": "Hello?"}]).strip() == ANSWERS[1]
    assert creations(cloud) == 1


@pytest.mark.usefixtures("mine", "rows")
@pytest.mark.parametrize("cell", CELLS)
def test_what_says_what_to_start_is_refused_beside_a_name(cells: Cells, cell: str):
    cells.names.update(Review=Review, Verdict=Verdict)
    for option, param in {
        "--gpu L40S": "gpu",
        "--provider runpod": "compute_provider",
        "--runtime vllm": "runtime",
        "--replicas 2": "replicas",
        "--tensor-parallel 2": "tensor_parallel",
        "--max-usd 1": "max_usd",
        "--hours 1": "hours",
        "--endpoint http://127.0.0.1:9/v1": "on",
    }.items():
        error = cells.fail(f"{cell} --on mine {option}\n{VERDICT}", ArgumentError)

        assert error.param == param, option
        assert error.hint


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"gpu": "L40S"}, "gpu"),
        ({"compute_provider": "runpod"}, "compute_provider"),
        ({"replicas": 2}, "replicas"),
        ({"image": "x"}, "image"),
        ({"max_usd": 1.0}, "max_usd"),
        ({"endpoint": "http://127.0.0.1:9/v1"}, "on"),
        ({"api_key_env": "KEY"}, "api_key_env"),
    ],
)
def test_a_block_has_a_name_or_what_to_start(options: dict[str, Any], param: str):
    with pytest.raises(ArgumentError) as caught:
        LMLiteBlock(["m/one"], on="mine", **options)

    assert caught.value.param == param


@pytest.mark.usefixtures("mine", "rows")
@pytest.mark.parametrize("cell", CELLS)
def test_a_name_that_nothing_has_is_an_error_that_lists_what_runs(cells: Cells, cell: str):
    cells.names.update(Review=Review, Verdict=Verdict)
    for model in ("", "--model m/one"):
        error = cells.fail(f"{cell} --on mien {model}\n{VERDICT}", ArgumentError)

        assert error.param == "on"
        assert "'mien'" in str(error)
        assert "mine" in error.hint
        assert not {"out", "judge"} & cells.names.keys()


def test_a_block_of_a_name_that_nothing_has_says_so_when_it_is_called(mine: DeploymentInfo):
    with pytest.raises(ArgumentError, match="'mien'") as caught:
        LMLiteBlock(["m/one"], on="mien")(input=Review("so so"), output=Verdict)

    assert "mine" in caught.value.hint


def test_what_is_stopped_is_not_started_and_says_so(
    cells: Cells, rows: pd.DataFrame, mine: DeploymentInfo
):
    conduit_nb.stop("mine")
    for line in ("", "--dry-run"):
        error = cells.fail(
            f"%%conduit map rows -o out --on mine {line}\n{VERDICT}", EndpointUnreachableError
        )
        assert "%conduit start mine" in error.hint
    with pytest.raises(EndpointUnreachableError) as caught:
        LMLiteBlock(["m/one"], on="mine")(input=Review("so so"), output=Verdict)

    assert "%conduit start mine" in caught.value.hint
    assert "out" not in cells.names
    assert [one.status for one in conduit_nb.ps()] == ["stopped"]


def test_a_map_that_nearly_matches_what_runs_names_what_differs_and_rents_nothing(
    cells: Cells, rows: pd.DataFrame, cloud: RunpodServer
):
    conduit_nb.deploy("m/one", name="mine", **RENT)
    for options in (OTHER, f"{OTHER} --dry-run", f"{OTHER} --background", "--replicas 2"):
        cell = f"%%conduit map rows -o out {SAME} {options}\n{VERDICT}"
        error = cells.fail(cell, NearMatchError)

        assert error.name == "mine"
        assert "--on mine" in error.hint
        assert error.differences["gpu"] == ("L40S", "RTX 4090" if OTHER in options else "not set")
        assert ("replicas" in error.differences) == ("--replicas" in options)
        assert "out" not in cells.names
    assert creations(cloud) == 1
    assert [one.name for one in conduit_nb.ps()] == ["mine"]


def test_a_map_of_the_same_request_uses_what_runs(
    cells: Cells, rows: pd.DataFrame, cloud: RunpodServer
):
    conduit_nb.deploy("m/one", name="mine", **RENT)
    cells.run(f"%%conduit map rows -o out {SAME} --gpu L40S\n{VERDICT}")

    assert [one.deployment for one in read_receipts()] == ["mine"]
    assert creations(cloud) == 1


def test_a_block_that_nearly_matches_what_runs_rents_nothing(
    mine: DeploymentInfo, cloud: RunpodServer
):
    models = ["m/one", "m/two"]
    block = CustomBlock(models, "runpod", image="x", gpu="RTX 4090")
    with pytest.raises(NearMatchError) as caught:
        block(model_id="m/one", input=Review("so so"), output=Verdict)
    other = CustomBlock(["m/one"], "runpod", image="x", gpu="L40S").task(Review, Verdict)
    assert other(Review("so so")) == Verdict("good"), "other models are another deployment"

    assert caught.value.differences == {"gpu": ("L40S", "RTX 4090")}
    assert creations(cloud) == 2


def test_whoever_wants_both_deploys_the_other_one_by_name(
    cells: Cells, rows: pd.DataFrame, cloud: RunpodServer
):
    conduit_nb.deploy("m/one", name="mine", **RENT)
    cell = f"%%conduit map rows -o out {SAME} {OTHER}\n{VERDICT}"
    cells.fail(cell, NearMatchError)
    conduit_nb.deploy("m/one", name="other", **{**RENT, "gpu": "RTX 4090"})
    cells.run(cell)

    assert [one.deployment for one in read_receipts()] == ["other"]
    assert creations(cloud) == 2
