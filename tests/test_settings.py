"""settings.py: what can be set from outside."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable
from pathlib import Path

import pytest

from conduit_nb import settings
from conduit_nb.errors import ArgumentError


@pytest.mark.parametrize("name", ["DATA", "CACHE", "STATE"])
def test_a_folder_is_the_one_in_the_variable_with_the_home_folder_expanded(
    name: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(f"CONDUIT_{name}_DIR", "~/here")

    assert getattr(settings, f"{name.lower()}_dir")() == Path.home() / "here"


@pytest.mark.parametrize("name", ["DATA", "CACHE", "STATE"])
def test_a_folder_that_is_not_set_is_the_platforms_own(name: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv(f"CONDUIT_{name}_DIR", raising=False)

    assert "conduit" in str(getattr(settings, f"{name.lower()}_dir")())


@pytest.mark.parametrize("value", ["0", "-1", "soon", "nan", "inf", "-0", "1e300", "1e-320"])
@pytest.mark.parametrize(
    ("variable", "read"),
    [
        ("CONDUIT_SIDECAR_IDLE_S", settings.sidecar_idle_s),
        ("CONDUIT_BOOT_TIMEOUT_S", settings.boot_timeout_s),
        ("CONDUIT_THREADS", settings.threads),
        ("CONDUIT_LMLITE_MEMORY_GIB", settings.lmlite_memory_gib),
        ("CONDUIT_LEASE_S", settings.lease_s),
        ("CONDUIT_IDLE_S", settings.idle_s),
        ("CONDUIT_NODE_BOOT_TIMEOUT_S", settings.node_boot_timeout_s),
        ("CONDUIT_MAX_USD_PER_DEPLOYMENT", settings.max_usd_per_deployment),
        ("CONDUIT_MAX_USD_PER_DAY", settings.max_usd_per_day),
    ],
)
def test_a_number_that_cannot_be_meant_is_an_error_that_names_the_variable(
    variable: str, read: Callable[[], float], value: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(variable, value)

    with pytest.raises(ArgumentError) as raised:
        read()

    assert raised.value.param == variable
    assert variable in raised.value.hint


@pytest.mark.parametrize("value", ["0.5", "2.5"])
def test_threads_are_whole(value: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_THREADS", value)

    with pytest.raises(ArgumentError, match=value) as raised:
        settings.threads()

    assert raised.value.param == "CONDUIT_THREADS"


def test_the_local_servers_device_and_memory_are_its_own_choice_unless_they_are_set(
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.delenv("CONDUIT_LMLITE_DEVICE", raising=False)
    monkeypatch.delenv("CONDUIT_LMLITE_MEMORY_GIB", raising=False)
    assert (settings.lmlite_device(), settings.lmlite_memory_gib()) == (None, None)

    monkeypatch.setenv("CONDUIT_LMLITE_DEVICE", "cuda:1")
    monkeypatch.setenv("CONDUIT_LMLITE_MEMORY_GIB", "12.5")
    assert (settings.lmlite_device(), settings.lmlite_memory_gib()) == ("cuda:1", 12.5)


def test_threads_that_are_not_set_are_left_to_the_engine(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("CONDUIT_THREADS", raising=False)

    assert settings.threads() is None


def test_an_empty_variable_is_one_that_is_not_set(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_BOOT_TIMEOUT_S", "")
    monkeypatch.setenv("CONDUIT_SECRET_KEY", "")
    monkeypatch.setenv("CONDUIT_MODEL", "")

    assert settings.boot_timeout_s() == 120
    assert settings.secret_key() is None
    assert settings.default_model() == "HuggingFaceTB/SmolLM2-135M-Instruct"


@pytest.mark.parametrize(("value", "is_offline"), [("", False), ("0", False), ("1", True)])
def test_offline_is_on_with_anything_but_zero(
    value: str, is_offline: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_OFFLINE", value)

    assert settings.offline() is is_offline


def test_every_setting_says_its_variable_in_its_docstring():
    tree = ast.parse(inspect.getsource(settings))
    silent = [
        node.name
        for node in tree.body
        if isinstance(node, ast.FunctionDef)
        and not node.name.startswith("_")
        and "CONDUIT_" not in (ast.get_docstring(node) or "")
    ]

    assert not silent


@pytest.mark.parametrize(
    ("variable", "read", "default"),
    [
        ("CONDUIT_RUNPOD_API_URL", settings.runpod_api_url, "https://api.runpod.io/v2"),
        (
            "CONDUIT_RUNPOD_PROXY_URL",
            settings.runpod_proxy_url,
            "https://{id}-{port}.proxy.runpod.net",
        ),
        (
            "CONDUIT_GPUHUNT_URL",
            settings.gpuhunt_url,
            "https://dstack-gpu-pricing.s3.eu-west-1.amazonaws.com/v3",
        ),
    ],
)
def test_an_address_is_the_variables_or_the_real_one(
    variable: str, read: Callable[[], str], default: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.delenv(variable, raising=False)
    assert read() == default

    monkeypatch.setenv(variable, "http://127.0.0.1:8/{id}-{port}/")
    assert read() == "http://127.0.0.1:8/{id}-{port}"

    monkeypatch.setenv(variable, "api.example.org")
    with pytest.raises(ArgumentError, match=r"'api.example.org'") as raised:
        read()
    assert raised.value.param == variable


def test_the_address_of_pods_must_say_where_the_pod_goes(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_RUNPOD_PROXY_URL", "http://127.0.0.1:8")

    with pytest.raises(ArgumentError) as raised:
        settings.runpod_proxy_url()

    assert raised.value.param == "CONDUIT_RUNPOD_PROXY_URL"
    assert "{id}" in raised.value.hint
