"""A server of one's own: on a free port, one account each, gone at the end."""

from __future__ import annotations

import threading

import httpx2
import pytest

from conduit_nb import credentials, settings
from conduit_nb.testing.runpod_server import Stock, runpod_server
from conduit_nb.testing.runpod_server.stock import L40S, Machine
from tests.testing.runpod_server.conftest import POD, client_of


def test_two_servers_are_two_accounts():
    with runpod_server() as first, runpod_server() as second:
        with client_of(first) as api:
            api.post("/pods", json=POD)

        assert first.url != second.url
        with client_of(second) as api:
            assert api.get("/pods").json() == {"pods": []}
        with client_of(second, first.key) as api:
            assert api.get("/pods").status_code == 401


def test_nothing_listens_and_no_thread_runs_afterwards():
    before = set(threading.enumerate())
    with runpod_server() as cloud:
        url = cloud.url

    with pytest.raises(httpx2.ConnectError):
        httpx2.get(f"{url}/pods", trust_env=False, verify=False)
    assert set(threading.enumerate()) <= before


def test_its_environment_leads_there(monkeypatch: pytest.MonkeyPatch):
    with runpod_server() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)

        assert settings.runpod_api_url() == cloud.url
        assert settings.runpod_proxy_url() == cloud.proxy_url
        found = credentials.find(credentials.RUNPOD)
        assert found is not None
        assert (found.value, found.source) == (cloud.key, "RUNPOD_API_KEY")


def test_the_stock_is_what_the_test_says():
    stock = Stock(gpus=[L40S], machines=[Machine(gpu_id=L40S.id, center="EU-RO-1", gpus=1)])
    with runpod_server(stock=stock) as cloud, client_of(cloud) as api:
        assert [gpu["id"] for gpu in api.get("/catalog/gpus").json()["gpus"]] == [L40S.id]
        gpu = {"id": L40S.id, "count": 1}

        answers = [api.post("/pods", json={**POD, "gpu": gpu}).status_code for _ in range(2)]

    assert answers == [201, 400]
