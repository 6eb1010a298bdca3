"""child_environment.py: what processes that Conduit starts find, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from conduit_nb.child_environment import command_environment, server_environment

SECRET = "of the user alone"
KEYS = (
    "RUNPOD_API_KEY",
    "CONDUIT_SECRET_KEY",
    "CONDUIT_API_KEY",
    "CONDUIT_DB_URI",
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "OPENAI_API_KEY",
    "VLLM_API_KEY",
    "NVIDIA_API_KEY",
    "HF_OIDC_TOKEN",
    "GITHUB_TOKEN",
    "PGPASSWORD_SECRET",
    "MY_PASSWORD",
    "MODAL_TOKEN_SECRET",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "wandb_api_key",
)
NEEDED = (
    *("PATH", "HOME", "USER", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "LD_PRELOAD"),
    *("PYTHONPATH", "VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CACHE_HOME"),
    *("CUDA_VISIBLE_DEVICES", "CUDA_HOME", "NVIDIA_VISIBLE_DEVICES", "NCCL_DEBUG", "HIP_PATH"),
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "KMP_AFFINITY", "OPENBLAS_NUM_THREADS", "MALLOC_CONF"),
    *("TORCH_HOME", "TORCHINDUCTOR_CACHE_DIR", "PYTORCH_CUDA_ALLOC_CONF", "TRITON_CACHE_DIR"),
    *("VLLM_CPU_KVCACHE_SPACE", "VLLM_ATTENTION_BACKEND", "HF_HOME", "HF_HUB_CACHE", "HF_ENDPOINT"),
    *("HF_TOKEN", "HF_TOKEN_PATH", "HUGGING_FACE_HUB_TOKEN", "HUGGINGFACE_HUB_CACHE"),
    *("TRANSFORMERS_OFFLINE", "TOKENIZERS_PARALLELISM", "CONDUIT_CACHE_DIR", "CONDUIT_OFFLINE"),
    *("CONDUIT_LMLITE_DEVICE", "HTTPS_PROXY", "https_proxy", "SSL_CERT_FILE", "REQUESTS_CA_BUNDLE"),
)


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", "CONDUIT_PASS_ENV"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    for name in ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("made", [server_environment, command_environment])
def test_no_key_of_the_users_is_handed_on(
    made: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
):
    for name in KEYS:
        monkeypatch.setenv(name, SECRET)
    monkeypatch.setenv("MONGO", f"mongodb://me:{SECRET.replace(' ', '')}@host/db")

    found = made()

    assert not set(KEYS) & found.keys()
    assert "MONGO" not in found


def test_a_server_finds_what_servers_need(monkeypatch: pytest.MonkeyPatch):
    for name in NEEDED:
        monkeypatch.setenv(name, "x")

    assert set(NEEDED) <= server_environment().keys()


def test_a_server_finds_nothing_that_is_not_listed(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COMPANY_PLAN", SECRET)
    monkeypatch.setenv("SSH_AUTH_SOCK", SECRET)

    assert SECRET not in server_environment().values()
    assert command_environment()["COMPANY_PLAN"] == SECRET


def test_what_fetches_nothing_gets_no_token_of_the_hub(monkeypatch: pytest.MonkeyPatch):
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        monkeypatch.setenv(name, SECRET)

    assert SECRET not in server_environment(with_hub_token=False).values()
    assert SECRET not in command_environment().values()


@pytest.mark.parametrize("made", [server_environment, command_environment])
def test_a_user_may_name_what_is_handed_on(
    made: Callable[[], dict[str, str]], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_PASS_ENV", "AWS_SECRET_ACCESS_KEY, MY_PLUGIN")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "mine")
    monkeypatch.setenv("MY_PLUGIN", "on")

    found = made()

    assert (found["AWS_SECRET_ACCESS_KEY"], found["MY_PLUGIN"]) == ("mine", "on")


@pytest.mark.parametrize(
    ("variable", "is_folder", "given"),
    [
        ("REQUESTS_CA_BUNDLE", False, "SSL_CERT_FILE"),
        ("CURL_CA_BUNDLE", False, "SSL_CERT_FILE"),
        ("REQUESTS_CA_BUNDLE", True, "SSL_CERT_DIR"),
    ],
)
def test_certificates_are_named_in_the_way_that_a_server_understands(
    variable: str, is_folder: bool, given: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    path = tmp_path if is_folder else tmp_path / "certificates.pem"
    monkeypatch.setenv(variable, str(path))

    assert server_environment()[given] == str(path)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (None, "localhost,127.0.0.1,::1"),
        ("my.host,localhost", "my.host,localhost,127.0.0.1,::1"),
        ("*", "*"),
    ],
)
def test_a_server_asks_this_machine_without_the_proxy(
    before: str | None, after: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("HTTPS_PROXY", "http://me:word@proxy:3128")
    if before is not None:
        monkeypatch.setenv("NO_PROXY", before)

    found = server_environment()

    assert found["HTTPS_PROXY"] == "http://me:word@proxy:3128"
    assert found["NO_PROXY"] == after


def test_without_a_proxy_nothing_is_said_of_one():
    assert not {"NO_PROXY", "no_proxy"} & server_environment().keys()
