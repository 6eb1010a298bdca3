"""labserver/handlers.py: a real Jupyter server is asked as JupyterLab asks it."""

from __future__ import annotations

import asyncio

import httpx2
import pytest

from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.desk.wire import form_document
from conduit_nb.errors import (
    ArgumentError,
    ModelError,
    SpendCapError,
    StateConflictError,
    StorageError,
)
from conduit_nb.labserver.handlers import status_of
from conduit_nb.models.config import LmLiteModelConfig
from conduit_nb.session import Session
from tests.labserver.conftest import Panel

REQUEST = DeploymentRequest(models=(LmLiteModelConfig("m/one"),), runtime="fake", name="mine")


async def test_nothing_runs_and_nothing_costs(panel: Panel):
    told = await panel.told("overview")

    assert (told["deployments"], told["live"], told["nodes"]) == ([], [], 0)
    assert (told["usd_per_hour"], told["whole"]) == (0, True)


async def test_a_deployment_is_begun_told_extended_and_ended(panel: Panel):
    asked = {"models": ["m/one"], "runtime": "fake", "name": "mine", "max_usd": 2}
    begun = await panel.done(await panel.post("deployments", asked))
    assert (begun["word"], begun["target"], begun["state"]) == ("deploy", "m/one", "done")

    told = await panel.told("overview")
    (mine,) = told["deployments"]
    assert (mine["name"], mine["status"], mine["nodes"]) == ("mine", "running", "1/1")
    assert (told["nodes"], told["live"], told["spent"]) == (1, [mine["id"]], {mine["id"]: 0})

    nothing_new = await panel.told(f"overview?since={told['revision']}")
    assert (nothing_new["deployments"], nothing_new["whole"]) == ([], False)
    assert nothing_new["live"] == told["live"]

    extended = await panel.post(f"deployments/{mine['id']}/extend", {"hours": 3})
    assert (await panel.done(extended))["state"] == "done"
    changed = await panel.told(f"overview?since={told['revision']}")
    assert changed["deployments"][0]["lease_until"] > mine["lease_until"]

    logs = await panel.told(f"deployments/{mine['id']}/logs?tail=50")
    assert any("fake LmLite begins" in line for line in logs["lines"])

    ended = await panel.done(await panel.post(f"deployments/{mine['id']}/terminate"))
    assert ended["state"] == "done"
    assert (await panel.told(f"overview?since={changed['revision']}"))["live"] == []


async def test_what_a_kernel_changes_is_told_at_the_next_question(panel: Panel, session: Session):
    before = await panel.told("overview")
    session.submit(session.deployments.deploy(REQUEST)).result(60)

    told = await panel.told(f"overview?since={before['revision']}")

    assert [one["name"] for one in told["deployments"]] == ["mine"]


async def test_the_options_of_a_deployment_are_told_for_a_form(panel: Panel):
    told = await panel.told("options")

    assert told == {"options": form_document()}


async def test_terminate_all_ends_everything(panel: Panel):
    for model in ("m/one", "m/two"):
        asked = {"models": [model], "runtime": "fake"}
        await panel.done(await panel.post("deployments", asked))
    assert (await panel.told("overview"))["nodes"] == 2

    await panel.done(await panel.post("deployments/all/terminate"))

    assert (await panel.told("overview"))["live"] == []


async def test_what_cannot_be_done_is_the_actions_error(panel: Panel):
    await panel.done(
        await panel.post("deployments", {"models": ["m/one"], "runtime": "fake", "name": "mine"})
    )
    (mine,) = (await panel.told("overview"))["deployments"]

    action = await panel.done(await panel.post(f"deployments/{mine['id']}/stop"))

    assert action["state"] == "failed"
    assert action["error"]["code"] == "deployment"
    assert "%conduit terminate mine" in action["error"]["hint"]


async def test_a_model_of_this_machine_is_loaded_by_the_shared_server(
    panel: Panel, session: Session
):
    begun = await panel.done(await panel.post("deployments", {"models": ["m/one"]}))
    assert (begun["word"], begun["target"], begun["state"]) == ("deploy", "m/one", "done"), begun

    (shared,) = (await panel.told("overview"))["deployments"]

    assert (shared["id"], shared["status"]) == (None, "running")
    unloading = session.submit(session.deployments.unload("m/one"))
    assert await asyncio.wrap_future(unloading), "it was loaded"


async def test_the_shared_server_is_told_and_stopped(panel: Panel, session: Session):
    session.submit(session.endpoint(DeploymentRequest())).result(60)
    (shared,) = (await panel.told("overview"))["deployments"]
    assert shared["key"] == f"sidecar:{shared['name']}"

    refused = await panel.post(f"deployments/{shared['key']}/restart")
    assert refused.status_code == 400
    await panel.done(await panel.post(f"deployments/{shared['key']}/stop"))

    assert (await panel.told("overview"))["live"] == []


@pytest.mark.parametrize(
    ("path", "told", "param", "fact"),
    [
        ("deployments", {}, "models", ""),
        ("deployments", {"models": ["m"], "prize": 1}, "prize", "'prize'"),
        ("deployments", {"models": ["m"], "max_usd": -1}, "max_usd", "-1"),
        ("deployments", {"models": ["m"], "hours": 1e300}, "hours", "1e+300"),
        ("deployments/unknown/extend", {"hours": 1e9}, "hours", "1000000000.0"),
        ("deployments/unknown/extend", {"hours": -1}, "hours", "-1"),
        ("deployments/unknown/terminate", {}, "key", "'unknown'"),
        ("deployments/unknown/explode", {}, "key", "'unknown'"),
    ],
)
async def test_what_cannot_be_meant_is_refused(
    panel: Panel, path: str, told: object, param: str, fact: str
):
    answer = await panel.post(path, told)
    error = answer.json()["error"]

    assert (answer.status_code, error["code"], error["param"]) == (400, "argument", param)
    assert fact in error["message"]
    assert error["hint"]


async def test_what_is_no_json_is_refused(panel: Panel):
    answer = await panel.client.post(f"{panel.base}/deployments", content=b"{")

    assert answer.status_code == 400
    assert "JSON" in answer.json()["error"]["message"]


@pytest.mark.parametrize(
    "path", ["overview", "offerings", "options", "deployments/x/logs", "actions/x"]
)
async def test_without_the_token_nothing_is_told(panel: Panel, path: str):
    async with httpx2.AsyncClient() as stranger:
        answer = await stranger.get(f"{panel.base}/{path}")

    assert answer.status_code == 403
    assert "deployments" not in answer.text


async def test_without_the_token_nothing_is_done(panel: Panel):
    await panel.done(await panel.post("deployments", {"models": ["m/one"], "runtime": "fake"}))
    async with httpx2.AsyncClient() as stranger:
        answer = await stranger.post(f"{panel.base}/deployments/all/terminate", json={})

    assert answer.status_code == 403
    assert (await panel.told("overview"))["nodes"] == 1


async def test_a_cookie_alone_does_nothing_without_the_xsrf_token(panel: Panel):
    """A page of somebody else can make a browser send the cookie, and nothing more."""
    root = panel.base.removesuffix("/conduit/api")
    async with httpx2.AsyncClient() as browser:
        token = panel.client.headers["Authorization"].removeprefix("token ")
        assert (await browser.get(f"{root}/login")).status_code == 200
        logged_in = await browser.get(f"{root}/api/status?token={token}")
        assert logged_in.status_code == 200
        assert (await browser.get(f"{panel.base}/overview")).status_code == 200
        forged = await browser.post(f"{panel.base}/deployments/all/terminate", json={})
        xsrf = browser.cookies["_xsrf"]
        meant = await browser.post(
            f"{panel.base}/deployments/all/terminate", json={}, headers={"X-XSRFToken": xsrf}
        )

    assert forged.status_code == 403
    assert "XSRF" in forged.text.upper()
    assert meant.status_code == 202
    assert (await panel.done(meant))["state"] == "done"


async def test_answers_are_kept_by_nobody(panel: Panel):
    answer = await panel.get("overview")

    assert answer.headers["Cache-Control"] == "no-store"
    assert answer.headers["Content-Type"] == "application/json"


async def test_offerings_are_told_with_who_failed(panel: Panel):
    told = await panel.told("offerings")

    assert [(one["accelerator"], one["usd_per_hour"]) for one in told["offerings"]] == [
        ("L4", 0.42)
    ]
    assert told["failures"][0]["provider"] == "far"
    assert told["failures"][0]["code"] == "provider_unreachable"


def test_each_error_has_the_status_that_fits():
    assert status_of(ArgumentError("x")) == 400
    assert status_of(SpendCapError("x", left_usd=0)) == 402
    assert status_of(StateConflictError("x")) == 409
    assert status_of(StorageError("x")) == 503
    assert status_of(ModelError("x")) == 502
