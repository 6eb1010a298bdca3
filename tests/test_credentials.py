"""credentials.py: keys where users keep them, and what is said of files that are malformed."""

from __future__ import annotations

import hashlib
import json
import os
import traceback
from pathlib import Path

import pytest

from conduit_nb import credentials
from conduit_nb.credentials import HUB, KINDS, RUNPOD, DockerEngine, Kind, docker_engine, find
from conduit_nb.errors import CredentialsError

KEY = "rpa_0123456789abcdefSECRET"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return an empty home folder; nothing is told by variables."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("HF_HOME", "XDG_CACHE_HOME", "DOCKER_HOST"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def write(path: Path, text: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def file_of(kind: Kind) -> Path:
    path = kind.file()
    assert path is not None
    return path


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_without_a_login_there_is_no_key_and_a_cure(kind: Kind):
    assert find(kind) is None
    assert kind.variables[0] in kind.cure
    assert kind.login in kind.cure


@pytest.mark.parametrize(
    "text",
    [
        f'[default]\napi_key = "{KEY}"\n',
        f'[other]\napi_key = "rpa_other"\n\n[default]\napi_key = "{KEY}"\n',
        f"apikey = '{KEY}'\napiurl = 'https://api.example/graphql'\n",  # runpodctl
        f'apiKey = "{KEY}"\n',
        f'\ufeff[default]\napi_key = " {KEY}\\n"\n',
    ],
)
def test_the_login_of_runpods_programs_is_found(text: str, home: Path):
    path = write(home / ".runpod" / "config.toml", text)

    found = find(RUNPOD)

    assert found is not None
    assert (found.value, found.source) == (KEY, str(path))


@pytest.mark.parametrize("text", ["", "[default]\n", '[work]\napi_key = "x"\n', "apiurl = 'u'\n"])
def test_a_file_of_runpods_programs_without_a_key_is_no_key(text: str, home: Path):
    write(home / ".runpod" / "config.toml", text)

    assert find(RUNPOD) is None


@pytest.mark.parametrize(
    ("variable", "value", "file"),
    [
        ("HF_HOME", "{home}/hf", "hf/token"),
        ("HF_HOME", "~/hf", "hf/token"),
        ("HF_HOME", "$HOME/hf", "hf/token"),
        ("XDG_CACHE_HOME", "{home}/cache", "cache/huggingface/token"),
        ("HF_TOKEN_PATH", "~/mine", "mine"),
        ("LANG", "C", ".cache/huggingface/token"),
    ],
)
def test_the_login_of_hugging_faces_program_is_found_where_it_was_written(
    variable: str, value: str, file: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value.replace("{home}", str(home)))
    path = write(home / file, "hf_token\n")

    found = find(HUB)

    assert found is not None
    assert (found.value, found.source) == ("hf_token", str(path))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_variable_goes_before_the_file_and_an_empty_one_is_none(
    kind: Kind, monkeypatch: pytest.MonkeyPatch
):
    write(
        file_of(kind), '[default]\napi_key = "of-the-file"\n' if kind is RUNPOD else "of-the-file"
    )

    for name in reversed(kind.variables):  # the first of them goes before the others
        monkeypatch.setenv(name, f" {name}-value\n")
        found = find(kind)
        assert found is not None
        assert (found.value, found.source) == (f"{name}-value", name)
    for name in kind.variables:
        monkeypatch.setenv(name, " \n")
    found = find(kind)
    assert found is not None
    assert found.value == "of-the-file"


MALFORMED = {
    "Runpod API key": [
        f'[default]\napi_key = "{KEY}',
        f"{KEY}\n",
        f'default = "{KEY}"\n',
        f'[default]\napi_key = ["{KEY}"]\n',
        f'[default]\napi_key = "two {KEY}"\n',
        b"\xff\xfe\x00" + KEY.encode(),
    ],
    "Hugging Face token": [f"{KEY} and more", f"{KEY}\n{KEY}", b"\xff\xfe" + KEY.encode()],
}


@pytest.mark.parametrize(
    ("kind", "text"),
    [(kind, text) for kind in KINDS for text in [*MALFORMED[kind.name], "x" * 1_000_001]],
)
def test_a_malformed_file_is_an_error_that_names_it_and_shows_nothing_of_it(
    kind: Kind, text: str | bytes
):
    path = write(file_of(kind), text)

    with pytest.raises(CredentialsError) as caught:
        find(kind)

    shown = "".join([*traceback.format_exception(caught.value), str(caught.value.__cause__)])
    assert str(path) in str(caught.value)
    assert kind.login in caught.value.hint
    assert KEY not in shown + caught.value.hint


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("value", ["two words", "li\nne", '"quoted"', "’curly’", "tab\there"])
def test_a_variable_that_can_hold_no_key_is_an_error_that_names_it(
    kind: Kind, value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(kind.variables[0], value)

    with pytest.raises(CredentialsError) as caught:
        find(kind)

    assert kind.variables[0] in str(caught.value)
    assert value not in str(caught.value) + caught.value.hint


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_file_that_cannot_be_read_is_an_error_that_names_it(kind: Kind):
    file_of(kind).mkdir(parents=True)  # as good as one without permission, also for root

    with pytest.raises(CredentialsError) as caught:
        find(kind)

    assert str(file_of(kind)) in str(caught.value)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_a_home_that_is_no_folder_holds_no_login(kind: Kind, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", os.devnull)

    assert find(kind) is None


def test_a_key_is_in_no_repr(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("RUNPOD_API_KEY", KEY)

    assert KEY not in repr(find(RUNPOD))


def context(folder: Path, name: str, meta: object) -> Path:
    """Write a context as `docker context create` does, and return its file."""
    identity = hashlib.sha256(name.encode()).hexdigest()
    text = meta if isinstance(meta, str) else json.dumps(meta)
    return write(folder / "contexts" / "meta" / identity / "meta.json", text)


def at(host: str) -> dict[str, object]:
    return {"Name": "c", "Metadata": {}, "Endpoints": {"docker": {"Host": host}}}


def test_docker_is_where_it_always_is_unless_something_else_is_said(home: Path):
    write(home / ".docker" / "config.json", '{"auths": {}}')

    assert docker_engine().address == credentials.DEFAULT_DOCKER_HOST


def test_dockers_settings_are_followed_in_dockers_own_order(
    home: Path, monkeypatch: pytest.MonkeyPatch
):
    folder = home / ".docker"
    config = write(folder / "config.json", '{"currentContext": "rootless"}')
    context(folder, "rootless", at("unix:///run/user/1000/docker.sock"))
    context(folder, "far", at("tcp://10.0.0.9:2376"))
    (folder / "contexts" / "tls" / hashlib.sha256(b"far").hexdigest() / "docker").mkdir(
        parents=True
    )

    current = docker_engine()
    monkeypatch.setenv("DOCKER_CONTEXT", "far")
    named = docker_engine()
    monkeypatch.setenv("DOCKER_HOST", "unix:///mine.sock")
    host = docker_engine()

    assert current.address == "unix:///run/user/1000/docker.sock"
    assert str(config) in current.source
    assert named.address == "tcp://10.0.0.9:2376"
    assert "DOCKER_CONTEXT" in named.source
    assert named.certificates is not None
    assert host == DockerEngine(address="unix:///mine.sock", source="DOCKER_HOST")


def test_dockers_configuration_may_lie_elsewhere(home: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(home / "elsewhere"))
    write(home / "elsewhere" / "config.json", '{"currentContext": "mine"}')
    context(home / "elsewhere", "mine", at("unix:///mine.sock"))

    assert docker_engine().address == "unix:///mine.sock"


def test_the_context_named_default_needs_no_file(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("DOCKER_CONTEXT", "default")

    assert docker_engine().address == credentials.DEFAULT_DOCKER_HOST


@pytest.mark.parametrize("by", ["DOCKER_CONTEXT", "config.json"])
def test_a_context_that_does_not_exist_is_named_with_what_names_it(
    by: str, home: Path, monkeypatch: pytest.MonkeyPatch
):
    if by == "DOCKER_CONTEXT":
        monkeypatch.setenv("DOCKER_CONTEXT", "gone")
    else:
        write(home / ".docker" / "config.json", '{"currentContext": "gone"}')

    with pytest.raises(CredentialsError, match="'gone'") as caught:
        docker_engine()

    assert by in str(caught.value)
    assert "docker context" in caught.value.hint


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("config.json", '{"currentContext": "mine", "auths": {"r": "SECRET"'),
        ("config.json", '["SECRET"]'),
        ("config.json", '{"currentContext": ["SECRET"]}'),
        ("meta.json", '{"Endpoints": "SECRET"'),
        ("meta.json", '{"Endpoints": "SECRET"}'),
        ("meta.json", '{"Endpoints": {"docker": {"Host": ""}}}'),
        ("meta.json", "[" * 100_000),
    ],
)
def test_a_malformed_file_of_dockers_is_an_error_that_names_it(file: str, text: str, home: Path):
    write(home / ".docker" / "config.json", '{"currentContext": "mine"}')
    path = context(home / ".docker", "mine", at("unix:///mine.sock"))
    if file == "config.json":
        path = home / ".docker" / "config.json"
    write(path, text)

    with pytest.raises(CredentialsError) as caught:
        docker_engine()

    assert str(path) in str(caught.value)
    assert "SECRET" not in "".join(traceback.format_exception(caught.value))
