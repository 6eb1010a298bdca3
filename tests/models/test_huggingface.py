"""models/huggingface.py: what the hub has, what it refuses, and what happens without it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import time

import pytest

from conduit_nb.errors import CredentialsError, ModelFilesError, ModelNotFoundError
from conduit_nb.models import huggingface
from conduit_nb.models.hub import find_model, is_open
from conduit_nb.models.safetensors_headers import HubHeaders
from conduit_nb.models.weights import read_hub_model
from conduit_nb.plans.reading import read_planned
from tests.models.hub_server import COMMIT, Hub, hub_server
from tests.models.model_files import CONFIG, model_bytes, write_model

pytest.importorskip("huggingface_hub")

EXTRA = {"README.md": b"# hi", "evil.py": b"import os", "pytorch_model.bin": b"pickle"}
PLANNABLE = {
    **CONFIG,
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
}
IN_ITS_OWN_MOUNTS = ("unshare", "--map-root-user", "--mount")


@pytest.fixture
def hub(cache, monkeypatch):
    """Return a hub with one good model, and bad ones."""
    names = ("config.json", "tokenizer.json")
    only_small = {name: data for name, data in model_bytes().items() if name in names}
    models = {
        "owner/good": {**model_bytes(), **EXTRA},
        "owner/gated": model_bytes(),
        "owner/pickled": {**only_small, "pytorch_model.bin": b"pickle"},
        "owner/ggufs": {f"m-Q{bits}.gguf": b"GGUF" for bits in range(12)},
        "owner/empty": only_small,
    }
    with hub_server(Hub(models, gated={"owner/gated"})) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        yield hub


def test_a_model_is_fetched_and_nothing_that_is_not_needed(hub):
    lines: list[str] = []

    files = find_model("owner/good", progress=lines.append)

    assert sorted(path.name for path in files.folder.iterdir()) == sorted(model_bytes())
    assert (files.revision, files.format) == (COMMIT, "safetensors")
    assert lines[0] == "asking the hub for owner/good"
    assert lines[1].startswith("fetching owner/good: 0 of ")


def test_what_was_fetched_is_found_again_without_the_hub(hub, monkeypatch):
    first = find_model("owner/good")
    requests = len(hub.requests)
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")

    assert find_model("owner/good") == first
    assert find_model("owner/good", revision=COMMIT) == first
    assert len(hub.requests) == requests


def test_a_model_of_which_a_file_is_gone_is_fetched_again(hub):
    folder = find_model("owner/good").folder
    (folder / "model.safetensors").unlink()

    assert (find_model("owner/good").folder / "model.safetensors").is_file()


@pytest.mark.parametrize(
    ("model_id", "revision", "reason", "fact"),
    [
        ("owner/none", None, "missing", "'owner/none'"),
        ("owner/gated", None, "access", "owner/gated"),
        ("owner/good", "v9", "missing", "'v9'"),
        ("owner/good@v9", None, "missing", "'v9'"),
    ],
)
def test_what_cannot_be_had_is_an_error_that_says_why(hub, model_id, revision, reason, fact):
    with pytest.raises(ModelNotFoundError, match=fact) as caught:
        find_model(model_id, revision=revision)

    assert caught.value.reason == reason


@pytest.mark.parametrize(
    ("model_id", "fact"),
    [
        ("owner/pickled", r"pytorch_model\.bin"),
        ("owner/ggufs", r"m-Q0\.gguf"),
        ("owner/empty", r"safetensors"),
    ],
)
def test_weights_that_cannot_be_used_are_an_error_that_names_them(hub, model_id, fact):
    with pytest.raises(ModelFilesError, match=rf"^{model_id} .*{fact}"):
        find_model(model_id)


LOGINS = [
    ({"HF_TOKEN": "hf_good"}, {}),
    ({"HUGGING_FACE_HUB_TOKEN": "hf_good"}, {}),
    ({}, {"huggingface/token": "hf_good\n"}),  # what `hf auth login` writes
    ({"HF_TOKEN_PATH": "{folder}/mine"}, {"mine": "hf_good"}),
    ({}, {"huggingface/token": "hf_good", "huggingface/stored_tokens": "[me]\nhf_token = hf_good"}),
]


@pytest.fixture(params=LOGINS)
def login(request, tmp_path, monkeypatch):
    """Log in to the hub in each of the ways that there are."""
    variables, files = request.param
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("{folder}", str(tmp_path)))
    for name, text in files.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)


@pytest.mark.usefixtures("login")
def test_a_gated_model_is_had_with_every_login_that_the_hubs_own_program_knows(hub):
    hub.tokens = {"hf_good"}
    with HubHeaders("owner/gated") as headers:
        assert headers.config()

    assert find_model("owner/gated").revision == COMMIT


@pytest.mark.parametrize("name", ["HF_TOKEN", "huggingface/token"])
def test_a_token_that_the_hub_refuses_is_an_error_that_says_where_it_stands(
    hub, name, tmp_path, monkeypatch
):
    if name == "HF_TOKEN":
        monkeypatch.setenv(name, "hf_expired")
    else:
        (tmp_path / "huggingface").mkdir()
        (tmp_path / name).write_text("hf_expired")

    for model in ("owner/good", "owner/gated"):
        with pytest.raises(ModelNotFoundError, match="HTTP 401") as fetched:
            find_model(model)
        with pytest.raises(ModelNotFoundError, match="HTTP 401") as read:
            HubHeaders(model).config()
        for caught in (fetched, read):
            assert caught.value.reason == "access"
            assert name in str(caught.value)
            assert "hf auth login" in caught.value.hint
            assert "hf_expired" not in str(caught.value) + caught.value.hint


def test_a_gated_model_says_how_to_log_in_or_whose_terms_are_not_accepted(hub, monkeypatch):
    with pytest.raises(ModelNotFoundError) as nobody:
        find_model("owner/gated")
    monkeypatch.setenv("HF_TOKEN", "hf_other")
    hub.strangers = {"hf_other"}
    with pytest.raises(ModelNotFoundError) as somebody:
        find_model("owner/gated")

    assert nobody.value.reason == somebody.value.reason == "access"
    assert "hf auth login" in nobody.value.hint
    assert "HF_TOKEN" in somebody.value.hint
    assert "hf auth login" not in somebody.value.hint


def test_the_token_stays_at_home_where_the_hubs_own_setting_says_so(hub, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "hf_unknown")
    monkeypatch.setenv("HF_HUB_DISABLE_IMPLICIT_TOKEN", "1")

    with HubHeaders("owner/good") as headers:
        assert headers.config()


def test_a_malformed_login_is_an_error_that_names_its_file(hub, tmp_path):
    path = tmp_path / "huggingface" / "token"
    path.parent.mkdir()
    path.write_text("hf_one hf_two")

    with pytest.raises(CredentialsError) as caught:
        find_model("owner/good")

    assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("model", "opened"), [("owner/good", True), ("owner/gated", False), ("owner/none", False)]
)
def test_whether_anybody_may_have_a_model_is_asked_without_a_token_and_once(
    hub, model, opened, monkeypatch
):
    monkeypatch.setenv("HF_TOKEN", "hf_good")
    hub.tokens = {"hf_good"}

    assert [is_open(model) for _ in range(2)] == [opened, opened]
    assert len(hub.requests) == 1


def test_whether_anybody_may_have_a_model_is_not_known_without_the_hub(cache, monkeypatch):
    assert is_open("owner/good") is None
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")
    assert is_open("owner/other") is None
    assert is_open("/models/mine") is True


@pytest.mark.parametrize("read", [find_model, read_planned, read_hub_model])
def test_a_repository_of_ggufs_alone_is_told_with_its_files_and_who_takes_them(hub, read):
    with pytest.raises(ModelFilesError) as caught:
        read("owner/ggufs")

    assert "m-Q0.gguf, m-Q1.gguf" in str(caught.value)
    assert "m-Q8.gguf" not in str(caught.value)
    assert re.search(r"\b4\b", str(caught.value))
    assert "LmLite" in caught.value.hint
    assert "llama.cpp" in caught.value.hint


def test_what_is_no_model_at_all_is_not_taken_for_ggufs(hub):
    hub.models["owner/texts"] = {"README.md": b"# hi"}

    with pytest.raises(ModelNotFoundError, match=r"owner/texts.*config\.json") as caught:
        read_planned("owner/texts")

    assert caught.value.reason == "missing"


@pytest.mark.parametrize("revision", ["main", COMMIT])
def test_a_revision_may_follow_the_id(hub, revision):
    assert find_model(f"owner/good@{revision}").revision == COMMIT
    planned = read_planned(f"owner/good@{revision}")
    assert planned.model_id == f"owner/good@{revision}"
    assert planned == read_planned("owner/good", revision=revision)


def test_a_plan_reads_the_revision_that_is_named(hub):
    read_planned("owner/good@refs/pr/7")
    read_planned("owner/good", revision="v2")

    requests = [path for path in hub.requests if path.endswith("/config.json")]
    assert requests == [
        "GET /owner/good/resolve/refs/pr/7/config.json",
        "GET /owner/good/resolve/v2/config.json",
    ]


@pytest.mark.parametrize("variable", ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME"])
@pytest.mark.parametrize("lacks", ["tokenizer.json", "model.safetensors"])
def test_a_cache_that_lacks_what_a_plan_does_not_need_is_enough_for_one(
    cache, variable, lacks, tmp_path, monkeypatch
):
    monkeypatch.setenv("CONDUIT_OFFLINE", "1")
    monkeypatch.setenv(variable, str(tmp_path / "mine"))
    folder = tmp_path / "mine" / ("hub" if variable == "HF_HOME" else "")
    repository = folder / "models--owner--good"
    files = {**model_bytes(), "config.json": json.dumps(PLANNABLE).encode()}
    del files[lacks]
    write_model(repository / "snapshots" / COMMIT, files)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(COMMIT)

    assert read_planned("owner/good").spec.model_type == "llama"
    with pytest.raises(ModelNotFoundError):
        find_model("owner/good")


def test_a_hub_that_fails_is_told_from_a_model_that_is_not_there(hub):
    hub.broken = True

    with pytest.raises(ModelNotFoundError, match=rf"{hub.url}.*\b502\b") as caught:
        find_model("owner/good")

    assert caught.value.reason == "unreachable"


def test_a_server_that_is_no_hub_is_a_quick_error(cache, monkeypatch):
    with hub_server(Hub({}, speaks=b'{"hello": "world"}')) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        with pytest.raises(ModelNotFoundError, match=hub.url) as caught:
            find_model("owner/good")

    assert caught.value.reason == "unreachable"
    assert isinstance(caught.value.__cause__.__cause__, KeyError | TypeError | ValueError)


def test_no_network_is_a_quick_error(cache):
    begun = time.monotonic()

    with pytest.raises(ModelNotFoundError, match=r"http://hub\.invalid\b") as caught:
        find_model("owner/good")

    assert caught.value.reason == "unreachable"
    assert time.monotonic() - begun < 5


def test_a_hub_that_does_not_answer_is_given_up(hub, monkeypatch):
    hub.silent = threading.Event()
    monkeypatch.setattr(huggingface, "ANSWER_TIMEOUT_S", 0.2)

    with pytest.raises(ModelNotFoundError, match=r"\b0 s\b") as caught:
        find_model("owner/good")

    assert caught.value.reason == "unreachable"


def test_a_revision_cannot_lead_out_of_the_cache(cache):
    repository = cache.parent / "huggingface" / "hub" / "models--owner--good"
    write_model(repository / "snapshots" / COMMIT)
    (repository / "refs").mkdir()
    (repository / "secret").write_text(COMMIT)

    assert huggingface.cached_files("owner/good", "../secret") is None


@pytest.mark.needs("mount")
def test_a_cache_that_cannot_be_written_is_an_error_that_names_the_setting(hub, tmp_path):
    folder = tmp_path / "read-only"
    folder.mkdir()
    code = (
        "from conduit_nb.errors import StorageError\n"
        "from conduit_nb.models.hub import find_model\n"
        "try:\n    find_model('owner/good')\n"
        "except StorageError as err:\n    print(err, '|', err.hint)"
    )
    script = 'mount -t tmpfs -o ro tmpfs "$1" && HF_HUB_CACHE="$1" exec "$2" -c "$3"'
    ran = subprocess.run(
        [*IN_ITS_OWN_MOUNTS, "sh", "-c", script, "sh", str(folder), sys.executable, code],
        capture_output=True,
        text=True,
        check=True,
    )

    assert "Read-only file system" in ran.stdout
    assert "HF_HUB_CACHE" in ran.stdout
