"""What every verb of `conduit` prints with `--json`, compared with the files in tests/golden."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Generator, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import click
import docker
import pytest

from conduit_nb import session as session_module
from conduit_nb.commands import program
from conduit_nb.runs.receipts import MIME, Receipt, keep_receipt
from conduit_nb.session import Session
from conduit_nb.testing.runpod_server import RunpodServer
from tests.deployments.deployed import rented
from tests.docker_engine import BASE_IMAGE
from tests.fake_lmlite import ECHO_IMAGE, ECHO_SERVER
from tests.golden_answers import FOLDER, GoldenAnswers
from tests.image_registry import image_registry
from tests.lmlite_image import PACKAGES
from tests.notebook.echo_session import echo_session
from tests.plans.model_folders import config_folder

pytestmark = pytest.mark.system  # rented nodes are real processes

NOWHERE = "http://127.0.0.1:9"
NO_DOCKER = "unix:///nowhere/docker.sock"
WITH_PIP = "conduit/with-pip:1"
RENT = (
    *("deploy", "m/one", "--runtime", "custom", "--provider", "runpod", "--gpu", "L40S"),
    *("--image", ECHO_IMAGE, "--command", f"python3 {ECHO_SERVER} --port {{port}}"),
)
RECEIPT = Receipt(
    title="Verdict",
    model="m/one",
    rows=3,
    done=2,
    failed=1,
    prompt_tokens=120,
    completion_tokens=45,
    seconds=1.5,
    started_at="yesterday",
    schema_hash="0123456789abcdef",
)


@pytest.fixture(autouse=True)
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this machine have no Docker, no cached models but the embedded one, and no keys."""
    monkeypatch.setenv("DOCKER_HOST", NO_DOCKER)
    monkeypatch.setenv("CONDUIT_GPUHUNT_URL", f"{NOWHERE}/v3")
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")
    monkeypatch.setenv("CONDUIT_EMBEDDED_WHEEL", str(tmp_path / "embedded.whl"))
    monkeypatch.setenv("CONDUIT_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))


@pytest.fixture
def golden(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> GoldenAnswers:
    return GoldenAnswers(capsys, {str(tmp_path): "<folder>"})


@pytest.fixture
def llama(tmp_path: Path) -> str:
    return str(config_folder(tmp_path, "Llama-3.1-8B-Instruct"))


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch) -> Iterator[RunpodServer]:
    with ExitStack() as stack:
        server = rented(stack)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@contextmanager
def another_state(path: Path) -> Generator[None]:
    """Let the process's session be a new one of this installation, with a state of its own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONDUIT_DB_URI", f"sqlite:///{path}")
        session = Session()
        patch.setattr(session_module, "_made", lambda: session)
        try:
            yield
        finally:
            session.close()


@pytest.mark.usefixtures("own_session")
def test_verbs_answer_where_nothing_was_deployed(golden: GoldenAnswers):
    golden.check("ps/nothing", "ps")
    golden.check("ps/all_nothing", "ps", "--all")
    golden.check("cost/nothing", "cost")
    golden.check("models/available", "models")
    golden.check("logs/nothing", "logs")
    golden.check("cleanup/nothing", "cleanup")
    golden.check("stop/nothing", "stop")
    golden.check("stop/all_nothing", "stop", "all")
    golden.check("terminate/all_nothing", "terminate", "all")


@pytest.mark.usefixtures("own_session", "cloud")
def test_offerings_list_what_is_rented_and_what_is_left_out(golden: GoldenAnswers, llama: str):
    of_runpod = ("offerings", "--providers", "runpod", "--gpu")

    golden.check("offerings/of_a_gpu", *of_runpod, "MI300X")
    golden.check("offerings/for_a_model", *of_runpod, "H100", "--for", llama, "--why")
    golden.check(
        "offerings/ranked_for_a_model",
        *(*of_runpod, "A100", "--for", llama, "--objective", "usd_per_million_tokens"),
    )
    golden.check(
        "offerings/one_provider_unreachable",
        *("offerings", "--providers", "runpod,docker", "--gpu", "MI300X", "--single-device"),
    )


def test_a_plan_has_terms_devices_and_reasons(golden: GoldenAnswers, llama: str):
    golden.check("plan/fits", "plan", llama, "--gpu", "H100", "--tensor-parallel", "2")
    golden.check("plan/does_not_fit", "plan", llama, "--gpu", "A10")


@pytest.mark.usefixtures("own_session", "cloud")
def test_a_rented_deployment_answers_through_its_life(golden: GoldenAnswers):
    golden.check("deploy/dry_run", *RENT, "--name", "mine", "--dry-run")
    golden.check("deploy/spend_cap", *RENT, "--max-usd", "0.001")
    golden.check("deploy/rented", *RENT, "--name", "mine")
    golden.check("deploy/rented_already", *RENT, "--name", "mine")
    golden.check("deploy/dry_run_of_what_runs", *RENT, "--name", "mine", "--dry-run")
    golden.check("deploy/name_taken", *RENT, "--name", "mine", "--tensor-parallel", "2")
    golden.check("ps/running", "ps")
    golden.check("cost/running", "cost")
    golden.check("logs/rented", "logs", "mine", "--tail", "1")
    golden.check("extend/running", "extend", "mine", "--hours", "2")
    golden.check("extend/beyond_its_money", "extend", "mine", "--hours", "7")
    golden.check("start/running", "start", "mine")
    golden.check("restart/running", "restart", "mine")
    golden.check("stop/running", "stop", "mine")
    golden.check("ps/stopped", "ps")
    golden.check("cost/stopped", "cost")
    golden.check("stop/stopped", "stop", "mine")
    golden.check("extend/stopped", "extend", "mine")
    golden.check("restart/stopped", "restart", "mine")
    golden.check("start/stopped", "start", "mine")
    golden.check("stop/misspelled", "stop", "mnie")
    golden.check("terminate/running", "terminate", "mine")
    golden.check("cost/terminated", "cost")


@pytest.mark.usefixtures("own_session", "cloud")
def test_what_cannot_be_rented_is_an_error_with_its_code(golden: GoldenAnswers):
    golden.check("deploy/no_offering", *RENT, "--gpu", "H100")
    golden.check("deploy/unknown_gpu", *RENT, "--gpu", "zebra")
    golden.check("deploy/no_image", "deploy", "m/one", "--runtime", "custom", *RENT[4:6])
    golden.check("ps/nothing", "ps")
    golden.check("cost/nothing", "cost")


@pytest.mark.usefixtures("own_session", "cloud")
def test_everything_can_be_stopped_and_ended_at_once(golden: GoldenAnswers):
    golden.check("deploy/without_a_name", *RENT, "--hours", "0.5", "--max-usd", "2")
    golden.check("terminate/all", "terminate", "all")
    golden.check("deploy/rented", *RENT, "--name", "mine")
    golden.check("stop/all", "stop", "all")
    golden.check("terminate/all_stopped", "terminate", "all")


@pytest.mark.usefixtures("own_session", "cloud")
def test_a_node_that_no_deployment_names_is_shown_attached_and_cleaned_up(
    golden: GoldenAnswers, tmp_path: Path
):
    with another_state(tmp_path / "first.sqlite3"):
        golden.check("deploy/rented", *RENT, "--name", "mine")
    (shown,) = golden.check("ps/all_unclaimed", "ps", "--all")
    golden.check("attach/unclaimed", "attach", shown["name"])
    golden.check("attach/attached_already", "attach", shown["name"])
    with another_state(tmp_path / "third.sqlite3"):
        golden.check("cleanup/of_another_state", "cleanup")
        golden.check("cleanup/forced", "cleanup", "--force")


def test_the_server_of_this_machine_answers_through_its_life(
    golden: GoldenAnswers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with echo_session(tmp_path, monkeypatch):
        golden.check("deploy/local", "deploy", "m/one")
        (shown,) = golden.check("ps/local", "ps")
        golden.check("models/loaded", "models")
        golden.check("logs/local", "logs", "--tail", "1")
        golden.check("deploy/local_with_a_name", "deploy", "m/one", "--name", "mine")
        golden.check("start/local", "start", shown["name"])
        golden.check("restart/local", "restart", shown["name"])
        golden.check("extend/local", "extend", shown["name"])
        golden.check("terminate/local", "terminate", shown["name"])
        golden.check("deploy/local", "deploy", "m/one")
        golden.check("stop/local", "stop", shown["name"])


@pytest.mark.usefixtures("own_session")
def test_receipts_are_those_of_this_installation_or_of_a_notebook(
    golden: GoldenAnswers, tmp_path: Path
):
    golden.check("receipts/nothing", "receipts")
    keep_receipt(RECEIPT)
    golden.check("receipts/of_this_installation", "receipts")
    path = tmp_path / "some.ipynb"
    shown = replace(
        RECEIPT,
        revision="main",
        runtime="vllm",
        runtime_version="0.19",
        provider="runpod",
        deployment="mine",
        device="L40S",
        usd=0.01,
        is_stopped=True,
        start_seconds=30.5,
    )
    path.write_text(json.dumps({"cells": [{"outputs": [{"data": {MIME: asdict(shown)}}]}]}))
    golden.check("receipts/of_a_notebook", "receipts", str(path))


@pytest.mark.usefixtures("own_session", "cloud")
def test_doctor_names_everything_that_it_has_looked_at(golden: GoldenAnswers):
    golden.check("doctor/findings", "doctor")


@pytest.mark.usefixtures("own_session")
def test_a_state_that_cannot_be_read_is_an_error_with_its_code(
    golden: GoldenAnswers, tmp_path: Path
):
    broken = tmp_path / "broken.sqlite3"
    broken.write_text("no database at all" * 100)
    with another_state(broken):
        golden.check("ps/broken_state", "ps")
        golden.check("cost/broken_state", "cost")
        golden.check("terminate/broken_state", "terminate", "all")


@pytest.mark.usefixtures("own_session")
def test_a_setting_that_is_no_number_is_an_error_that_names_it(
    golden: GoldenAnswers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_MAX_USD_PER_DAY", "lots")
    golden.check("cost/setting_that_is_no_number", "cost")


@pytest.mark.usefixtures("own_session")
def test_a_provider_that_does_not_answer_fails_the_cleaning_up(
    golden: GoldenAnswers, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("RUNPOD_API_KEY", "k")
    monkeypatch.setenv("CONDUIT_RUNPOD_API_URL", NOWHERE)
    golden.check("cleanup/provider_unreachable", "cleanup")


@pytest.mark.needs("docker")
@pytest.mark.usefixtures("own_session")
def test_an_image_is_built_and_pushed(
    golden: GoldenAnswers, engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("DOCKER_HOST", engine)
    monkeypatch.setenv("CONDUIT_PACKAGE_URL", empty_wheel(tmp_path))
    with image_registry() as registry:
        golden.hide(registry.address, "<registry>")
        registry.push("1", b"one")
        with closing(docker.DockerClient(base_url=engine)) as client:
            add_base_image(client)
            client.images.pull(f"{registry.address}/one", tag="1")

        golden.check("image_build/built", "image", "build", "--base", WITH_PIP, "--tag", "built:1")
        golden.check("image_build/failed_step", "image", "build", "--base", BASE_IMAGE)
        golden.check("image_push/pushed", "image", "push", f"{registry.address}/one:1")
        golden.check("image_push/unknown_image", "image", "push", f"{registry.address}/two:1")
        assert registry.received == ["1"]


def empty_wheel(folder: Path) -> str:
    """Make what `image build` takes for a wheel of Conduit, and return its path."""
    path = folder / "conduit_nb-1-py3-none-any.whl"
    path.touch()
    return str(path)


def add_base_image(client: docker.DockerClient) -> None:
    """Make an image whose pip installs nothing: what is built from it is not run."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.addfile(tarfile.TarInfo(f"{PACKAGES}/pip/__main__.py"))
    made = client.containers.create(BASE_IMAGE, "true")
    made.put_archive("/", packed.getvalue())
    made.commit(*WITH_PIP.split(":"))
    made.remove()


@pytest.mark.usefixtures("own_session")
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("conduit/unknown_verb", ["zebra"]),
        ("conduit/unknown_option", ["--zebra"]),
        ("conduit/no_verb", []),
        ("conduit/verb_of_notebooks", ["map"]),
        ("help/no_json", ["help"]),
        ("plan/unknown_model", ["plan", "/nowhere/at/all"]),
        ("plan/unknown_option", ["plan", "m/one", "--zebra", "2"]),
        ("plan/no_number", ["plan", "m/one", "--tensor-parallel", "many"]),
        ("plan/no_model", ["plan"]),
        ("offerings/unknown_provider", ["offerings", "--providers", "zebra"]),
        ("offerings/unknown_objective", ["offerings", "--objective", "zebra"]),
        ("offerings/unknown_option", ["offerings", "--zebra"]),
        ("deploy/no_model", ["deploy"]),
        ("deploy/unknown_option", ["deploy", "m/one", "--zebra"]),
        ("deploy/unknown_runtime", ["deploy", "m/one", "--runtime", "zebra"]),
        ("deploy/unknown_provider", ["deploy", "m/one", "--provider", "zebra"]),
        ("deploy/no_duration", ["deploy", "m/one", "--runtime", "custom", "--hours", "0"]),
        ("deploy/no_replicas", ["deploy", "m/one", "--replicas", "many"]),
        ("deploy/negative_number", ["deploy", "m/one", "--max-usd", "-1"]),
        ("deploy/no_key", list(RENT)),
        ("ps/unknown_option", ["ps", "--zebra"]),
        ("models/unknown_option", ["models", "--zebra"]),
        ("receipts/no_notebook", ["receipts", "/nowhere/some.ipynb"]),
        ("logs/unknown_name", ["logs", "zebra"]),
        ("logs/negative_number", ["logs", "--tail", "-1"]),
        ("stop/unknown_name", ["stop", "zebra"]),
        ("start/unknown_name", ["start", "zebra"]),
        ("start/no_name", ["start"]),
        ("restart/unknown_name", ["restart", "zebra"]),
        ("restart/unknown_option", ["restart", "zebra", "--zebra"]),
        ("terminate/unknown_name", ["terminate", "zebra"]),
        ("terminate/no_name", ["terminate"]),
        ("extend/unknown_name", ["extend", "zebra"]),
        ("extend/no_number", ["extend", "zebra", "--hours", "many"]),
        ("extend/negative_number", ["extend", "zebra", "--hours", "-1"]),
        ("attach/unknown_node", ["attach", "zebra"]),
        ("attach/no_node", ["attach"]),
        ("cleanup/unknown_option", ["cleanup", "--zebra"]),
        ("cost/unknown_option", ["cost", "--zebra"]),
        ("doctor/unknown_option", ["doctor", "--zebra"]),
        ("image/no_verb", ["image"]),
        ("image/unknown_verb", ["image", "zebra"]),
        ("image_build/unknown_option", ["image", "build", "--zebra"]),
        ("image_build/no_docker", ["image", "build"]),
        ("image_push/no_name", ["image", "push"]),
        ("image_push/no_docker", ["image", "push", "m/one:1"]),
    ],
)
def test_a_failure_has_its_code_and_its_exit_code(
    golden: GoldenAnswers,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    arguments: list[str],
):
    monkeypatch.setenv("CONDUIT_PACKAGE_URL", empty_wheel(tmp_path))
    golden.check(name, *arguments)


def test_every_verb_has_an_answer_and_an_error_on_record():
    verbs = {name for name, command in leaf_commands(program("shell")) if takes_json(command)}
    recorded = {verb: exit_codes(verb) for verb in verbs}

    assert len(verbs) > 10
    assert {verb for verb, codes in recorded.items() if 0 not in codes} == set()
    assert {verb for verb, codes in recorded.items() if not codes - {0}} == set()


def test_every_file_of_an_answer_belongs_to_a_test():
    source = Path(__file__).read_text(encoding="utf-8")
    names = [path.relative_to(FOLDER).with_suffix("") for path in FOLDER.rglob("*.json")]

    assert [str(name) for name in names if f'"{name}"' not in source] == []


def leaf_commands(command: click.Command, name: str = "") -> Iterator[tuple[str, click.Command]]:
    """Yield every command that is no group, by its words with `_` between."""
    if not isinstance(command, click.Group):
        yield name, command
        return
    for word, inner in command.commands.items():
        yield from leaf_commands(inner, f"{name}_{word}".lstrip("_"))


def takes_json(command: click.Command) -> bool:
    return any("--json" in parameter.opts for parameter in command.params)


def exit_codes(verb: str) -> set[int]:
    """Return the exit codes of all answers of a verb that are on record."""
    return {
        json.loads(path.read_text(encoding="utf-8"))["exit_code"]
        for path in (FOLDER / verb).glob("*.json")
    }
