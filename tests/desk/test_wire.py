"""desk/wire.py: what is sent and what is read."""

from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import pytest

from conduit_nb.compute.request import DeploymentRequest, deployment_options
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.desk.wire import (
    LONGEST_BODY_BYTES,
    LONGEST_TEXT,
    Action,
    action_document,
    deployment_document,
    form_document,
    key_of,
    log_document,
    read_body,
    read_deploy,
    read_hours,
    read_tail,
)
from conduit_nb.errors import ArgumentError

NOON = datetime(2026, 11, 27, 12, tzinfo=UTC)


def info(**changes: object) -> DeploymentInfo:
    told: dict[str, object] = {
        "name": "mine",
        "provider": "runpod",
        "runtime": "vllm",
        "status": "running",
        "url": "https://somewhere",
        "id": "abcd1234",
        "models": {"m/one": "ready"},
        "lease_until": NOON,
        "spent_usd": 1.5,
        **changes,
    }
    return DeploymentInfo(**told)  # type: ignore[arg-type]  # by name


def test_a_deployment_is_told_without_what_grows_by_itself():
    document = deployment_document(info())

    assert document["key"] == "abcd1234"
    assert document["lease_until"] == "2026-11-27T12:00:00+00:00"
    assert document == deployment_document(info(spent_usd=2.5, idle_s=3.0))
    assert json.dumps(document, allow_nan=False)


def test_no_address_and_no_key_goes_to_the_panels():
    assert "url" not in deployment_document(info())
    assert "somewhere" not in json.dumps(deployment_document(info()))


def test_a_shared_server_is_known_by_its_name():
    assert key_of(info(id=None, name="lmlite-1")) == "sidecar:lmlite-1"


def test_foreign_text_is_cut_and_made_safe():
    document = deployment_document(info(detail="\x1b[31m" + "x" * 10_000_000))
    (line,) = log_document(["a\u202eb" + "y" * 10_000_000])["lines"]

    assert len(document["detail"]) <= LONGEST_TEXT + 10
    assert "\x1b" not in document["detail"]
    assert len(line) <= LONGEST_TEXT + 10
    assert "\u202e" not in line


def test_an_action_is_told_as_it_stands():
    action = Action(id="1", word="stop", target="all", state="running", began_at=NOON)

    assert action_document(action)["began_at"] == "2026-11-27T12:00:00+00:00"
    assert action_document(action)["ended_at"] is None


@pytest.mark.parametrize(
    "body", [b"{", b"[]", b"1", b"\xff", b"[" * 20_000, b" " * (LONGEST_BODY_BYTES + 1)]
)
def test_a_body_that_is_no_object_is_refused(body: bytes):
    with pytest.raises(ArgumentError) as caught:
        read_body(body)

    assert caught.value.hint


def test_no_body_is_an_empty_object():
    assert read_body(b"") == {}
    assert read_hours({}) == 1.0
    assert read_hours({"hours": 2}) == 2.0


@pytest.mark.parametrize("text", ["0", "-1", "x", "", "1e3", "99999999999999999999", "2001"])
def test_a_tail_that_cannot_be_meant_is_refused(text: str):
    with pytest.raises(ArgumentError) as caught:
        read_tail(text)
    assert caught.value.param == "tail"


def test_a_tail_is_a_number_of_lines():
    assert read_tail("50") == 50


def test_a_deployment_is_asked_for_in_the_words_of_the_magic():
    request = read_deploy(
        {
            "models": ["m/one", "m/two@v2"],
            "provider": "any",
            "runtime": "vllm",
            "gpu": "L4",
            "max_usd": 2,
            "hours": 0.5,
            "name": "mine",
        }
    )

    assert [model.model_id for model in request.models] == ["m/one", "m/two"]
    assert [model.revision for model in request.models] == [None, "v2"]
    assert (request.provider, request.runtime, request.gpu) == (None, "vllm", "L4")
    assert (request.max_usd, request.lease_s, request.name) == (2.0, 1800.0, "mine")
    assert read_deploy({"models": ["m/one"]}).is_shared


@pytest.mark.parametrize(
    ("told", "param"),
    [
        ({}, "models"),
        ({"models": []}, "models"),
        ({"models": [""]}, "model_id"),
        ({"models": [3]}, "models"),
        ({"models": ["m"] * 33}, "models"),
        ({"models": ["m"], "unknown": 1}, "unknown"),
        ({"models": ["m"], "gpu": 4}, "gpu"),
        ({"models": ["m"], "gpu": "x" * 5_000}, "gpu"),
        ({"models": ["m"], "max_usd": True}, "max_usd"),
        ({"models": ["m"], "max_usd": 0}, "max_usd"),
        ({"models": ["m"], "hours": float("inf")}, "hours"),
        ({"models": ["m"], "hours": "soon"}, "hours"),
        ({"models": ["m"], "hours": 1e9}, "hours"),
        ({"models": ["m"], "hours": 1e-320}, "hours"),
        ({"models": ["m"], "hours": 10**400}, "hours"),
        ({"models": ["m"], "hours": float("nan")}, "hours"),
        ({"models": ["m"], "max_usd": 1e300}, "max_usd"),
    ],
)
def test_a_deployment_that_cannot_be_meant_is_refused(told: dict[str, object], param: str):
    with pytest.raises(ArgumentError) as caught:
        read_deploy(told)

    assert caught.value.param == param
    assert caught.value.hint


# What people fill in for an option, by its kind, where it has no choices.
FILLED_IN = {
    "text": "some",
    "texts": "one",
    "names": "local, docker",
    "count": "2",
    "whole": "0",
    "number": "1.5",
    "usd": "1.5",
    "hours": "0.5",
    "seconds": "90",
    "flag": "true",
    "switch": "no",
    "range": "1-4",
    "command": "serve '{model}' --port {port}",
}


def test_a_form_has_every_option_once_as_it_is_declared():
    form = json.loads(json.dumps(form_document(), allow_nan=False))

    for shown, one in zip(form, deployment_options(), strict=True):
        assert (shown["name"], shown["kind"], shown["help"]) == (one.name, one.kind, one.help)
        assert (shown["choices"], shown["units"]) == (list(one.choices), one.units)
        assert shown["is_basic"] == one.is_basic
    names = [shown["name"] for shown in form]
    assert len(set(names)) == len(names)
    own = {one.name for one in fields(DeploymentRequest)} - {"models", "constraint"}
    assert own < set(names)


@pytest.mark.parametrize(
    ("name", "label", "default", "units"),
    [
        ("max_usd_per_hour", "max USD per hour", None, None),
        ("max_usd", "max USD", None, "USD"),
        ("gpu_count", "GPU count", None, None),
        ("max_model_len", "max model length", None, None),
        ("hours", "hours", None, "h"),
        ("idle_s", "idle", None, "s"),
        ("provider", "provider", "local", None),
        ("replicas", "replicas", "1", None),
        ("tensor_parallel", "tensor parallel", 1, None),
        ("command", "command", None, None),
        ("enterprise", "enterprise", False, None),
    ],
)
def test_a_form_names_options_and_their_defaults_as_people_write_them(
    name: str, label: str, default: object, units: str | None
):
    [shown] = [one for one in form_document() if one["name"] == name]

    assert (shown["label"], shown["default"], shown["units"]) == (label, default, units)
    assert shown["default"] is default or default is not None


def test_a_default_that_is_sent_back_is_what_is_left_out():
    shown = {one["name"]: one["default"] for one in form_document() if one["default"] is not None}

    sent = read_deploy({"models": ["m/one"], **shown})

    assert len(shown) > 5
    assert sent == read_deploy({"models": ["m/one"]})


@pytest.mark.parametrize("one", form_document(), ids=lambda one: one["name"])
def test_every_option_can_be_sent_back_as_a_text(one: dict[str, Any]):
    text = one["choices"][-1] if one["choices"] else FILLED_IN[one["kind"]]
    sent = read_deploy({"models": ["m/one"], one["name"]: text})

    assert sent != read_deploy({"models": ["m/one"]})
