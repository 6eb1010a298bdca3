"""Bodies are read exactly as strictly as Runpod's specification says."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from conduit_nb.testing.runpod_server.traffic import Exchange
from conduit_nb.testing.runpod_server.wire import Refused, read_action, read_change, read_create
from tests.runpod_specification import needs_specification, specification

Reader = Callable[[bytes], object]
RIGHT = {"name": "n", "image": "i"}
CREATES: list[dict[str, Any]] = [
    RIGHT,
    {**RIGHT, "gpu": {"id": "g"}},
    {**RIGHT, "gpu": {"id": "g", "count": 2, "minCudaVersion": "12.4"}},
    {**RIGHT, "gpu": {"id": "g", "minCudaVersion": "12"}},
    {**RIGHT, "gpu": {"id": "g", "count": 0}},
    {**RIGHT, "gpu": {"id": "g", "name": "x"}},
    {**RIGHT, "gpu": {}},
    {**RIGHT, "cpu": {"id": "c", "vcpuCount": 2}},
    {**RIGHT, "cpu": {"id": "c", "vcpuCount": 1}},
    {**RIGHT, "cpu": {"id": "", "vcpuCount": 2}},
    {**RIGHT, "cloud": "COMMUNITY"},
    {**RIGHT, "cloud": "community"},
    {**RIGHT, "disk": 0},
    {**RIGHT, "disk": 1},
    {**RIGHT, "disk": True},
    {**RIGHT, "env": {"A": "1"}},
    {**RIGHT, "env": {"A": 1}},
    {**RIGHT, "ports": ["80/http"]},
    {**RIGHT, "ports": "80/http"},
    {**RIGHT, "registry": None},
    {**RIGHT, "args": None},
    {**RIGHT, "mounts": {}},
    {**RIGHT, "mounts": {"persistent": {"size": 10, "path": "/p"}}},
    {**RIGHT, "mounts": {"persistent": {"size": 9, "path": "/p"}}},
    {**RIGHT, "mounts": {"persistent": {"size": 10}}},
    {**RIGHT, "mounts": {"network": [{"volumeId": "v", "path": "/p"}] * 2}},
    {**RIGHT, "mounts": {"other": 1}},
    {**RIGHT, "dataCenterIds": ["US-KS-2"]},
    {**RIGHT, "dataCenterIds": [1]},
    {**RIGHT, "startSsh": True, "startJupyter": False, "globalNetworking": False},
    {**RIGHT, "startSsh": "yes"},
    {**RIGHT, "locked": True},
    {"name": "n", "templateId": "t"},
    {"name": "n", "templateId": ""},
    {"name": "", "image": "i"},
    {"name": "n"},
    {"image": "i"},
    {},
]
CHANGES: list[dict[str, Any]] = [
    {},
    {"name": "n"},
    {"name": ""},
    {"locked": True},
    {"locked": 1},
    {"image": "i", "env": {}, "ports": [], "registry": None},
    {"cloud": "SECURE"},
    {"gpu": {"id": "g"}},
]
ACTIONS: list[dict[str, Any]] = [
    {"action": "stop"},
    {"action": "resume"},
    {"action": "stop", "now": True},
    {},
]
CASES = [
    *[("POST", "/v2/pods", read_create, body) for body in CREATES],
    *[("PATCH", "/v2/pods/x", read_change, body) for body in CHANGES],
    *[("POST", "/v2/pods/x/action", read_action, body) for body in ACTIONS],
]


def shown(value: object) -> str:
    return getattr(value, "__name__", str(value))


@needs_specification
@pytest.mark.parametrize(("method", "path", "read", "body"), CASES, ids=shown)
def test_a_body_is_refused_where_the_specification_refuses_it(
    method: str, path: str, read: Reader, body: dict[str, Any]
):
    rules = specification()
    assert rules is not None
    content = json.dumps(body).encode()
    asked = Exchange(
        method=method,
        path=path,
        query={},
        headers={},
        body=content,
        status=None,
        answer_headers={},
        answer=b"",
    )
    problems = list(rules.request_problems(asked))

    assert is_refused(read, content) == bool(problems), problems


def is_refused(read: Reader, content: bytes) -> bool:
    try:
        read(content)
    except Refused as refused:
        return refused.status_code == 422
    return False


@pytest.mark.parametrize("content", [b"", b"{", b"[1", b"\xff"])
def test_what_is_no_json_is_a_bad_request(content: bytes):
    with pytest.raises(Refused) as refused:
        read_create(content)

    assert refused.value.status_code == 400


@pytest.mark.parametrize("content", [b"[]", b"null", b'"name"'])
def test_what_is_no_object_is_not_valid(content: bytes):
    with pytest.raises(Refused) as refused:
        read_create(content)

    assert refused.value.status_code == 422


def test_a_refusal_names_every_field_and_repeats_no_value():
    with pytest.raises(Refused) as refused:
        read_create(b'{"name": 7, "env": {"TOKEN": ["secret"]}, "image": "i"}')

    assert [error.partition(":")[0] for error in refused.value.errors] == ["$.name", "$.env.TOKEN"]
    assert "secret" not in str(refused.value.errors)
