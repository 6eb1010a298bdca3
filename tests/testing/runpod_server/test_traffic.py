"""Faults spoil answers: refused, dropped or never given, with or without effect."""

from __future__ import annotations

import httpx2
import pytest

from conduit_nb.testing.runpod_server import Fault, RunpodServer
from tests.testing.runpod_server.conftest import POD, client_of


def test_a_fault_spoils_as_many_requests_as_it_says(cloud: RunpodServer, api: httpx2.Client):
    cloud.spoil(Fault(answer=503, times=2))

    assert [api.get("/pods").status_code for _ in range(3)] == [503, 503, 200]


def test_a_fault_spoils_only_what_it_fits(cloud: RunpodServer, api: httpx2.Client):
    fault = Fault(answer=429, method="POST", path="/pods", retry_after_s=7)
    cloud.spoil(fault)

    assert api.get("/pods").status_code == 200
    refused = api.post("/pods", json=POD)

    assert (refused.status_code, refused.headers["retry-after"]) == (429, "7")
    assert refused.json()["detail"] == fault.detail
    assert api.get("/pods").json() == {"pods": []}


@pytest.mark.parametrize("takes_effect", [True, False])
def test_a_connection_that_is_dropped_may_leave_a_pod_behind(
    cloud: RunpodServer, api: httpx2.Client, takes_effect: bool
):
    cloud.spoil(Fault(answer="drop", method="POST", takes_effect=takes_effect))

    with pytest.raises(httpx2.TransportError):
        api.post("/pods", json=POD)

    assert len(api.get("/pods").json()["pods"]) == int(takes_effect)
    dropped = next(one for one in cloud.exchanges if one.method == "POST")
    assert (dropped.status, dropped.answer) == (None, b"")


def test_a_failure_may_have_had_its_effect(cloud: RunpodServer, api: httpx2.Client):
    cloud.spoil(Fault(answer=500, takes_effect=True))

    assert api.post("/pods", json=POD).status_code == 500
    assert len(api.get("/pods").json()["pods"]) == 1


def test_an_answer_that_never_comes_holds_up_nobody_else(cloud: RunpodServer, api: httpx2.Client):
    cloud.spoil(Fault(answer="hang", method="GET"))

    with client_of(cloud) as other, pytest.raises(httpx2.ReadTimeout):
        other.get("/pods", timeout=0.2)

    assert api.get("/pods").status_code == 200


def test_what_went_over_the_wire_is_kept(cloud: RunpodServer, api: httpx2.Client):
    api.get("/catalog/gpus", params={"include": "AVAILABILITY", "product": "POD"})

    [exchange] = cloud.exchanges
    assert (exchange.method, exchange.path, exchange.status) == ("GET", "/v2/catalog/gpus", 200)
    assert exchange.query == {"include": "AVAILABILITY", "product": "POD"}
    assert exchange.answer.startswith(b'{"gpus":')
    assert cloud.key not in repr(exchange)
