"""The installation's id and secret: made once, kept private, or taken from outside."""

from __future__ import annotations

import errno
import json
import os
import pickle
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from conduit_nb.errors import ArgumentError, StorageError
from conduit_nb.state.installation import endpoint_key, load_installation

SECRET = "an outside secret of some length"


@pytest.fixture
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "data"
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(folder))
    monkeypatch.delenv("CONDUIT_SECRET_KEY", raising=False)
    return folder


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_first_call_makes_it_and_the_next_finds_it(data_dir: Path):
    made = load_installation()

    assert load_installation() == made
    assert len(made.secret) == 32
    assert made.id


def test_only_its_user_may_read_it(data_dir: Path):
    load_installation()

    assert mode(data_dir) == 0o700
    assert {mode(path) for path in data_dir.iterdir()} == {0o600}


def test_a_file_that_others_may_read_is_made_private(data_dir: Path):
    made = load_installation()
    (data_dir / "installation.json").chmod(0o644)

    assert load_installation() == made
    assert mode(data_dir / "installation.json") == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a file away")
def test_a_file_of_another_user_is_refused(data_dir: Path):
    load_installation()
    os.chown(data_dir / "installation.json", 65534, 65534)

    with pytest.raises(StorageError, match=r"installation\.json.*\b65534\b") as caught:
        load_installation()

    assert "CONDUIT_DATA_DIR" in caught.value.hint


def test_processes_that_start_at_once_make_one_installation(data_dir: Path):
    code = (
        "from conduit_nb.state.installation import load_installation as load;"
        "made = load(); print(made.id, made.secret.hex())"
    )
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(6)
    ]
    told = {process.communicate(timeout=60)[0] for process in processes}

    assert len(told) == 1
    assert told.pop().split()[0] == load_installation().id


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"[]", b'{"id": "x"}', b'{"id": "x", "secret": "zz"}', b'{"id":"x","secret":"ab"}'],
)
def test_a_broken_file_is_an_error_that_says_what_to_do(data_dir: Path, content: bytes):
    load_installation()
    (data_dir / "installation.json").write_bytes(content)

    with pytest.raises(StorageError, match=r"installation\.json") as caught:
        load_installation()

    assert "conduit terminate all" in caught.value.hint
    assert (data_dir / "installation.json").read_bytes() == content


def test_a_folder_that_cannot_be_written_is_an_error_that_names_the_variable(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    data_dir.parent.joinpath("file").write_text("in the way")
    monkeypatch.setenv("CONDUIT_DATA_DIR", str(data_dir.parent / "file" / "data"))

    with pytest.raises(StorageError) as caught:
        load_installation()

    assert "CONDUIT_DATA_DIR" in caught.value.hint


@pytest.mark.needs("mount")
def test_a_read_only_file_system_is_an_error_that_names_the_variable(data_dir: Path):
    data_dir.mkdir()
    code = (
        "from conduit_nb.errors import StorageError\n"
        "from conduit_nb.state.installation import load_installation\n"
        "try:\n    load_installation()\n"
        "except StorageError as error:\n    print(error, error.hint)\n"
    )
    script = f"mount -t tmpfs -o ro tmpfs {data_dir} && {sys.executable} -c '{code}'"
    command = ["unshare", "--map-root-user", "--mount", "sh", "-c", script]

    told = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout

    assert os.strerror(errno.EROFS) in told
    assert "CONDUIT_DATA_DIR" in told
    assert list(data_dir.iterdir()) == []


def test_the_secret_may_come_from_outside_and_then_nothing_is_written(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_SECRET_KEY", SECRET)

    first, second = load_installation(), load_installation()

    assert first == second
    assert first.secret == SECRET.encode()
    assert SECRET not in first.id
    assert not data_dir.exists()


def test_another_secret_is_another_installation(data_dir: Path, monkeypatch: pytest.MonkeyPatch):
    own = load_installation()
    monkeypatch.setenv("CONDUIT_SECRET_KEY", SECRET)
    outside = load_installation()
    monkeypatch.setenv("CONDUIT_SECRET_KEY", f"{SECRET}!")

    assert len({own.id, outside.id, load_installation().id}) == 3


def test_a_short_secret_is_refused_without_showing_it(
    data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_SECRET_KEY", "hunter2")

    with pytest.raises(ArgumentError) as caught:
        load_installation()

    assert caught.value.param == "CONDUIT_SECRET_KEY"
    assert "hunter2" not in str(caught.value) + caught.value.hint


def test_each_deployment_has_a_key_of_its_own_and_every_client_derives_the_same(data_dir: Path):
    made = load_installation()

    assert made.endpoint_key("a") == endpoint_key("a")
    assert made.endpoint_key("a") != made.endpoint_key("b")
    assert len(made.endpoint_key("a")) == 64
    assert made.endpoint_key("a") not in (data_dir / "installation.json").read_text()


def test_the_secret_is_not_shown(data_dir: Path):
    made = load_installation()

    assert made.secret.hex() not in repr(made)
    assert repr(made.secret) not in repr(made)
    assert pickle.loads(pickle.dumps(made)) == made
    assert json.loads((data_dir / "installation.json").read_text())["id"] == made.id
