"""lmlite/convert.py: a GGUF becomes a folder that can be served, once, whole or not at all."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

pytest.importorskip("torch")

from conduit_nb.errors import ModelError, ModelFilesError
from conduit_nb.lmlite.convert import converted, main
from conduit_nb.models.files import check_model_folder
from conduit_nb.models.hub import find_model
from conduit_nb.models.spec import context_tokens
from tests.lmlite.tiny_gguf import write_tiny_gguf

COMMAND = (sys.executable, "-m", "conduit_nb.lmlite.convert")
IN_ITS_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")


@pytest.fixture(scope="module")
def tiny_gguf(tmp_path_factory) -> Path:
    return write_tiny_gguf(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """Return an empty cache of this test's own."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("CONDUIT_CACHE_DIR", str(folder))
    return folder


def visible(cache: Path) -> list[str]:
    """Return what a cache holds except locks."""
    return [path.name for path in (cache / "models").iterdir() if path.suffix != ".lock"]


def test_safetensors_need_no_conversion(tiny_model_folder, cache):
    assert converted(find_model(str(tiny_model_folder))) == tiny_model_folder
    assert not cache.exists()


@pytest.mark.parametrize("kept", [6_000, 60_000])
def test_a_gguf_that_was_cut_short_is_an_error_that_leaves_nothing(
    tiny_gguf, cache, tmp_path, kept
):
    broken = tmp_path / "broken.gguf"
    broken.write_bytes(tiny_gguf.read_bytes()[:kept])

    with pytest.raises(ModelFilesError, match=r"broken\.gguf\b.*: \w+Error"):
        converted(find_model(str(broken)))

    assert visible(cache) == []


@dataclass(frozen=True, kw_only=True)
class Killed:
    """What became of a cache in which a conversion was killed, and then made by two at once."""

    cache: Path
    workers: list[psutil.Process]
    alive: list[psutil.Process]
    left: list[str]
    codes: list[int]
    folders: set[str]
    output: str


@pytest.fixture(scope="module")
def killed(tiny_gguf, tmp_path_factory) -> Killed:
    """Kill a conversion in the middle; then let two processes at once convert the same model."""
    cache = tmp_path_factory.mktemp("killed") / "cache"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONDUIT_CACHE_DIR", str(cache))
        process = _start(tiny_gguf)
        _until(process, "converting")
        workers = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(signal.SIGKILL)
        process.communicate()
        _, alive = psutil.wait_procs(workers, timeout=10)
        left = visible(cache)
        started = [_start(tiny_gguf) for _ in range(2)]
        answers = [one.communicate(timeout=120) for one in started]
    return Killed(
        cache=cache,
        workers=workers,
        alive=alive,
        left=left,
        codes=[one.returncode for one in started],
        folders={out.strip() for out, _ in answers},
        output="".join(err for _, err in answers),
    )


def test_a_kill_in_the_middle_leaves_nothing_broken_and_nothing_running(killed):
    assert killed.workers
    assert not killed.alive
    assert [name for name in killed.left if not name.startswith(".making-")] == []


def test_two_processes_at_once_convert_once_also_after_a_kill(killed):
    assert killed.codes == [0, 0]
    assert len(killed.folders) == 1
    assert killed.output.count("converting") == 1
    assert "waiting for another process" in killed.output


def test_a_converted_model_can_be_served_and_is_not_converted_again(
    tiny_gguf, killed, load_engine, monkeypatch
):
    monkeypatch.setenv("CONDUIT_CACHE_DIR", str(killed.cache))
    lines: list[str] = []
    (folder,) = map(Path, killed.folders)

    again = converted(find_model(str(tiny_gguf)), progress=lines.append)

    check_model_folder(folder)
    assert context_tokens(folder) == 256
    assert load_engine(folder).encode_chat([{"role": "user", "content": "hi"}])
    assert again == folder
    assert lines == []
    words = [line.split()[0] for line in killed.output.splitlines()]
    assert [word for word in words if word != "waiting"] == ["reading", "converting", "writing"]
    assert visible(killed.cache) == [folder.name]


def test_a_conversion_that_the_system_kills_is_an_error_that_names_the_signal(tiny_gguf, cache):
    def kill_the_worker(line: str) -> None:
        if line.startswith("converting"):
            for child in psutil.Process().children():
                if "conduit_nb.lmlite.convert" in child.cmdline():
                    os.kill(child.pid, signal.SIGKILL)

    with pytest.raises(ModelError, match="signal 9") as caught:
        converted(find_model(str(tiny_gguf)), progress=kill_the_worker)

    assert "tiny.gguf" in str(caught.value)
    assert "memory" in caught.value.hint


@pytest.mark.needs("mount")
@pytest.mark.parametrize(
    ("options", "facts"),
    [
        ("size=128k", r".*tiny\.gguf .*\d GiB.*\d GiB"),  # known before it begins
        ("size=196k", r"(?!.*GiB.*GiB).*\d GiB"),  # weights fit, the tokenizer does not
        ("ro,size=1m", f".*{os.strerror(errno.EROFS)}"),
    ],
)
def test_a_cache_that_cannot_take_it_is_an_error_that_leaves_nothing(
    tiny_gguf, cache, options, facts
):
    cache.mkdir()
    script = f'mount -t tmpfs -o {options} tmpfs "$1" && shift && "$@"; find "$CONDUIT_CACHE_DIR"'
    command = [*COMMAND, "--model", str(tiny_gguf)]
    ran = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, "sh", "-c", script, "sh", str(cache), *command],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "StorageError" in ran.stderr
    assert re.search(rf"StorageError: {facts}", ran.stderr)
    assert "CONDUIT_CACHE_DIR" in ran.stderr
    assert "safetensors" not in ran.stdout
    assert ".making" not in ran.stdout


def test_a_module_where_the_user_stands_does_not_take_the_place_of_a_library(
    tiny_gguf, cache, tmp_path, monkeypatch
):
    (tmp_path / "gguf.py").write_text("raise SystemExit('mine')")
    (tmp_path / "broken.gguf").write_bytes(tiny_gguf.read_bytes()[:6_000])
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ModelFilesError) as caught:  # the library's own, not ours
        converted(find_model("./broken.gguf"))

    assert "mine" not in str(caught.value)


def test_the_command_prints_the_folder_alone_to_stdout(tiny_model_folder, capsys):
    assert main(["--model", str(tiny_model_folder)]) == 0

    assert capsys.readouterr().out == f"{tiny_model_folder}\n"


def test_the_command_says_in_two_lines_what_is_wrong(tmp_path, capsys):
    assert main(["--model", str(tmp_path / "none")]) == 1

    output = capsys.readouterr().err
    assert output.startswith("ModelNotFoundError: ")
    assert len(output.splitlines()) == 2


@pytest.mark.parametrize(
    "arguments", [[], ["a", "b"], ["--embedded", "--model", "x"], ["--embedded", "a", "b", "c"]]
)
def test_the_command_refuses_what_it_cannot_mean(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)

    assert "--embedded" in capsys.readouterr().err


@pytest.mark.model
def test_the_embedded_model_keeps_its_context_and_its_chat_template(embedded_model_folder):
    config = json.loads((embedded_model_folder / "config.json").read_bytes())

    assert context_tokens(embedded_model_folder) == 8192
    assert config["dtype"] == "float32"
    assert (embedded_model_folder / "chat_template.jinja").is_file()


def _start(gguf: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*COMMAND, "--model", str(gguf)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _until(process: subprocess.Popen[str], word: str) -> None:
    """Return when the process has reported `word`."""
    assert process.stderr is not None
    lines: Iterator[str] = iter(process.stderr.readline, "")
    assert any(word in line for line in lines)
