"""What is told about deployments and models is plain data."""

from __future__ import annotations

import dataclasses
import json
from datetime import UTC, datetime

import pytest

from conduit_nb.deployments.info import DeploymentInfo, ServedModel

DEPLOYMENT = DeploymentInfo(
    name="lmlite-local-1",
    provider="local",
    runtime="lmlite",
    status="running",
    url="http://127.0.0.1:1",
    started_at=datetime(2026, 1, 1, tzinfo=UTC),
    models={"m": "ready"},
)


@pytest.mark.parametrize("told", [DEPLOYMENT, ServedModel(id="m", state="available")])
def test_it_can_be_written_as_json(told: DeploymentInfo | ServedModel):
    assert json.loads(json.dumps(dataclasses.asdict(told), default=str))


def test_it_does_not_change_under_who_holds_it():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DEPLOYMENT.status = "stopped"  # type: ignore[misc]  # which is what is tested

    assert dataclasses.replace(DEPLOYMENT, status="stopped").name == DEPLOYMENT.name
