"""The check of traffic against Runpod's specification finds what is wrong, and nothing else."""

from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.testing.runpod_server.traffic import Exchange
from tests.runpod_specification import Specification, needs_specification, specification

pytestmark = needs_specification
GPU: dict[str, Any] = {
    "id": "g",
    "name": "g",
    "pool": None,
    "manufacturer": "NVIDIA",
    "memory": 24,
    "secure": True,
    "community": False,
    "price": {"secure": 1.0, "community": 0},
    "maxCount": {"secure": 1, "community": 0},
}
PROBLEM = {"title": "x", "status": 400, "detail": "y"}


@pytest.fixture
def rules() -> Specification:
    found = specification()
    assert found is not None
    return found


def exchange(
    method: str = "GET",
    path: str = "/v2/catalog/gpus",
    *,
    body: object = None,
    status: int | None = 200,
    answer: object = None,
    kind: str = "application/json",
    **query: str,
) -> Exchange:
    return Exchange(
        method=method,
        path=path,
        query=query,
        headers={},
        body=b"" if body is None else json.dumps(body).encode(),
        status=status,
        answer_headers={"content-type": kind},
        answer=b"" if answer is None else json.dumps(answer).encode(),
    )


def test_what_is_as_specified_passes(rules: Specification):
    right = [
        exchange(answer={"gpus": [GPU]}, include="AVAILABILITY", product="POD", count="2"),
        exchange(status=429, answer=PROBLEM, kind="application/problem+json"),
        exchange("POST", "/v2/pods/x/action", body={"action": "stop"}, status=None),
        exchange("POST", "/v2/pods", body={"name": "a", "image": "i"}, status=None),
        exchange("DELETE", "/v2/pods/x", status=204, kind=""),
    ]

    assert [problem for one in right for problem in rules.problems_of(one)] == []


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        (exchange(answer={"gpus": [{**GPU, "memory": "24"}]}), "is not of type 'integer'"),
        (exchange(answer={"gpus": [{**GPU, "avail": "LOW"}]}), "avail"),
        (exchange(answer={}), "'gpus' is a required property"),
        (exchange(answer={"gpus": []}, count="two"), "query count"),
        (exchange(answer={"gpus": []}, clouds="SECURE"), "query clouds: unknown"),
        (exchange(answer={"gpus": []}, kind="text/html"), "text/html instead of"),
        (exchange(path="/v2/gpus", status=500), "no such operation"),
        (exchange(status=500, answer=PROBLEM), "application/json instead of"),
        (exchange("POST", "/v2/pods", body={"name": "a"}, status=None), "image"),
        (
            exchange("POST", "/v2/pods", body={"name": "a", "image": "i", "x": 1}, status=None),
            "x",
        ),
        (exchange("DELETE", "/v2/pods/x", status=204, kind="", answer={}), "a body where none"),
        (
            exchange("GET", "/v2/billing/pods", status=None, startTime="yesterday"),
            "query startTime",
        ),
    ],
)
def test_what_is_not_is_told(rules: Specification, wrong: Exchange, told: str):
    problems = rules.problems_of(wrong)

    assert problems
    assert told in " ".join(problems)
