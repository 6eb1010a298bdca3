"""cli.py: the program `conduit`, run as a shell runs it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from conduit_nb.cli import main
from conduit_nb.spelling import did_you_mean
from conduit_nb.testing.runpod_server import runpod_server
from tests.plans.model_folders import config_folder

pytestmark = pytest.mark.usefixtures("own_session")  # nothing is deployed

PROMISED = {
    "weights_gib",
    "kv_bytes_per_token",
    "kv_gib",
    "activation_gib",
    "overhead_gib",
    "total_gib",
    "fits",
}


@pytest.fixture
def llama(tmp_path: Path) -> str:
    return str(config_folder(tmp_path, "Llama-3.1-8B-Instruct"))


def test_a_plan_as_json_has_the_promised_fields_for_each_device(
    llama: str, capsys: pytest.CaptureFixture[str]
):
    exit_code = main(["plan", llama, "--tensor-parallel", "2", "--gpu", "H100", "--json"])

    shown = capsys.readouterr()
    document = json.loads(shown.out)
    assert exit_code == 0
    assert shown.err == ""
    assert [set(device) & PROMISED for device in document["devices"]] == [PROMISED] * 2
    assert {device["kv_bytes_per_token"] for device in document["devices"]} == {65_536}


def test_a_plan_as_text_draws_its_bar(llama: str, capsys: pytest.CaptureFixture[str]):
    assert main(["plan", llama, "--gpu", "A10"]) == 0

    text = capsys.readouterr().out
    assert "█" in text
    assert "does not fit" in text


def test_what_does_not_fit_is_an_answer_and_no_error(
    llama: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["plan", llama, "--gpu", "A10", "--json"]) == 0

    document = json.loads(capsys.readouterr().out)
    assert document["fits"] is False
    assert document["largest_max_model_len"] > 0


def test_every_option_of_a_plan_reaches_it(llama: str, capsys: pytest.CaptureFixture[str]):
    asked = "--pipeline-parallel 2 --dtype float16 --kv-dtype fp8 --max-model-len 4096"
    more = "--max-concurrency 8 --runtime sglang --runtime-version 0.5 --replicas 3"

    main(["plan", llama, *asked.split(), *more.split(), "--quantization", "fp8", "--json"])

    document = json.loads(capsys.readouterr().out)
    [model] = document["models"]
    assert (document["pipeline_parallel"], document["replicas"]) == (2, 3)
    assert (document["runtime"], document["runtime_version"]) == ("sglang", "0.5")
    assert (model["max_model_len"], model["max_model_concurrency"]) == (4096, 8)
    assert (model["dtype"], model["kv_dtype"], model["quantization"]) == ("float16", "fp8", "fp8")
    assert [device["kv_bytes_per_token"] for device in document["devices"]] == [32_768, 32_768]


@pytest.mark.parametrize(
    ("arguments", "exit_code", "code"),
    [
        (["plan", "/nowhere/at/all"], 1, "model_not_found"),
        (["plan", "{llama}", "--tensor-parallel", "3"], 1, "plan"),
        (["plan", "{llama}", "--max-model-len", "200000"], 1, "context_length"),
        (["plan", "{llama}", "--runtime", "zebra"], 1, "argument"),
        (["plan", "{llama}", "--tensor-parallel", "many"], 2, "argument"),
        (["plan", "{llama}", "--no-such-option"], 2, "argument"),
        (["plan"], 2, "argument"),
        (["zebra"], 2, "argument"),
        (["offerings", "--objective", "zebra"], 2, "argument"),
        (["offerings", "--providers", "zebra"], 1, "argument"),
    ],
)
def test_an_error_is_two_lines_or_one_document(
    llama: str,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    exit_code: int,
    code: str,
):
    arguments = [llama if argument == "{llama}" else argument for argument in arguments]

    assert main(arguments) == exit_code
    shown = capsys.readouterr()
    assert shown.out == ""
    assert len(shown.err.splitlines()) == 2, shown.err

    assert main([*arguments, "--json"]) == exit_code
    shown = capsys.readouterr()
    assert shown.err == ""
    assert json.loads(shown.out)["error"]["code"] == code


def test_a_mistyped_option_is_compared_with_those_there_are(
    llama: str, capsys: pytest.CaptureFixture[str]
):
    main(["plan", llama, "--tensor-paralel", "2"])

    assert did_you_mean("--tensor-parallel") in capsys.readouterr().err


def test_without_a_word_it_says_what_there_is(capsys: pytest.CaptureFixture[str]):
    assert main([]) == 2
    assert "offerings" in capsys.readouterr().out
    assert main(["--help"]) == 0
    assert "plan" in capsys.readouterr().out


def test_help_loads_no_planner():
    code = (
        "import sys\nfrom conduit_nb.cli import main\nmain(['plan', '--help'])\n"
        "print(*sys.modules, file=sys.stderr)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    planner = {"conduit_nb.session", "conduit_nb.compute.planning"}
    assert not set(ran.stderr.split()) & {*planner, "IPython", "httpx2", "pandas"}


def test_help_loads_nothing_heavy():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['conduit', '--help']\n"
        "try:\n    runpy.run_module('conduit_nb', run_name='__main__')\n"
        "except SystemExit:\n    pass\n"
        "heavy = {'torch', 'transformers', 'pandas', 'numpy', 'IPython'}\n"
        "print(sorted(heavy & set(sys.modules)), file=sys.stderr)"
    )

    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert "Usage" in ran.stdout
    assert ran.stderr.strip() == "[]"


def test_a_reader_that_stops_reading_is_no_error(llama: str):
    command = f"{sys.executable} -m conduit_nb plan {llama} --gpu L4 | head -1"

    ran = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)

    assert ran.stderr == ""


def test_a_terminal_without_letters_for_bars_still_gets_numbers(llama: str):
    ran = subprocess.run(
        [sys.executable, "-m", "conduit_nb", "plan", llama],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )

    assert ran.returncode == 0, ran.stderr
    assert b"14.99" in ran.stdout


def test_offerings_for_a_model_come_from_every_source(llama: str, tmp_path: Path):
    with runpod_server() as cloud:
        environment = {
            **os.environ,
            **cloud.environment,
            "CONDUIT_GPUHUNT_URL": "http://127.0.0.1:9/v3",
            "CONDUIT_CACHE_DIR": str(tmp_path),
        }
        command = ["offerings", "--for", llama, "--runtime", "sglang", "--max-model-len", "8192"]
        more = ["--objective", "usd_per_million_tokens", "--why", "--json"]
        ran = subprocess.run(
            [sys.executable, "-m", "conduit_nb", *command, *more],
            capture_output=True,
            text=True,
            env=environment,
        )

    assert ran.returncode == 0, ran.stderr
    document = json.loads(ran.stdout)
    ranked = document["offerings"]
    assert [one["rank"] for one in ranked] == list(range(1, len(ranked) + 1))
    assert [one["value"] for one in ranked] == sorted(one["value"] for one in ranked)
    assert all(one["fits"] and one["tokens_per_s"]["low"] > 0 for one in ranked)
    assert len(document["excluded"]) == document["excluded_count"]
    assert all(one["why_not"] for one in document["excluded"])
    assert {"gpuhunt"} <= {failure["provider"] for failure in document["failures"]}


def test_a_push_that_fails_is_one_document_and_what_it_says_stands_aside(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")

    assert main(["image", "push", "nowhere.invalid/lmlite:1", "--json"]) == 1
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "provider_unreachable"
    assert "/nowhere/docker.sock" in error["message"]


@pytest.mark.parametrize(
    ("word", "hint"),
    [
        ("map", "%%conduit map"),
        ("panel", " %conduit panel"),
    ],
)
def test_a_word_of_notebooks_alone_is_told_to_be_one(
    word: str, hint: str, capsys: pytest.CaptureFixture[str]
):
    assert main([word]) == 2
    assert hint in capsys.readouterr().err


def test_receipts_of_a_notebook_can_be_read_in_a_shell(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    path = tmp_path / "some.ipynb"
    path.write_text('{"cells": []}')
    assert main(["receipts", str(path)]) == 0
    assert "holds no receipt" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "meant"),
    [("status", did_you_mean("ps")), ("run", "%%conduit map")],
)
def test_a_word_of_another_tool_is_understood(
    word: str, meant: str, capsys: pytest.CaptureFixture[str]
):
    assert main([word]) == 2
    assert meant in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (["help"], ["--help"]),
        (["help", "deploy"], ["deploy", "--help"]),
        (["help", "image", "build"], ["image", "build", "--help"]),
        (["help", "help"], ["help", "--help"]),
        (["help", "-h"], ["help", "--help"]),
    ],
)
def test_help_is_a_command_as_well(
    words: list[str], option: list[str], capsys: pytest.CaptureFixture[str]
):
    codes = (main(words), main(option))
    shown = capsys.readouterr()

    half = len(shown.out) // 2
    assert codes == (0, 0)
    assert shown.out.startswith("Usage: conduit")
    assert shown.out[:half] == shown.out[half:]
    assert shown.err == ""


def test_help_on_a_command_of_notebooks_is_shown_in_a_shell_too(
    capsys: pytest.CaptureFixture[str],
):
    assert main(["help", "map"]) == 0

    assert capsys.readouterr().out.startswith("Usage: %%conduit map ROWS")


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["depoly"], did_you_mean("deploy")),
        (["image", "biuld"], did_you_mean("build")),
        (["mapp"], did_you_mean("map")),
    ],
)
def test_help_on_what_is_no_command_says_what_was_meant(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str]
):
    assert main(["help", *words]) == 2

    assert hint in capsys.readouterr().err


def test_cleaning_up_is_no_failure_where_providers_were_never_set_up(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.delenv("RUNPOD_API_KEY", raising=False)
    monkeypatch.setenv("DOCKER_HOST", "unix:///nowhere/docker.sock")

    assert main(["cleanup", "--json"]) == 0

    shown = capsys.readouterr()
    assert json.loads(shown.out) == []


def test_cleaning_up_names_a_provider_with_a_key_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("RUNPOD_API_KEY", "k")
    monkeypatch.setenv("CONDUIT_RUNPOD_API_URL", "http://127.0.0.1:9")

    assert main(["cleanup", "--json"]) == 1

    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "partly_failed"
    assert "runpod" in error["message"]
