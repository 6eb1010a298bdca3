"""compute/constraints.py: what is accepted is checked when it is said."""

from __future__ import annotations

import dataclasses
import math

import pytest

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.errors import ArgumentError


def test_nothing_said_accepts_everything():
    constraint = DeploymentConstraint()

    assert not constraint.enterprise
    assert not constraint.single_device
    assert constraint.max_usd_per_hour is None
    assert constraint.providers is None


def test_names_are_taken_alone_in_lists_and_in_any_case():
    constraint = DeploymentConstraint(providers="RunPod", regions=["EU-1 ", "us-*"])  # type: ignore[arg-type]  # what users write

    assert constraint.providers == ("runpod",)
    assert constraint.regions == ("eu-1", "us-*")


def test_an_unknown_provider_gets_the_nearest():
    with pytest.raises(ArgumentError, match="'runpot'") as raised:
        DeploymentConstraint(providers=("runpot",))

    assert raised.value.param == "providers"
    assert "runpod" in raised.value.hint


def test_a_provider_that_is_like_none_gets_the_list():
    with pytest.raises(ArgumentError, match="'zzzzzz'") as raised:
        DeploymentConstraint(providers=("zzzzzz",))

    assert raised.value.param == "providers"
    assert "local" in raised.value.hint


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("enterprise", "yes"),
        ("single_device", 1),
        ("interruptible", "spot"),
        ("min_availability", "unknown"),
        ("min_availability", "lots"),
        ("max_usd_per_hour", -1),
        ("max_usd_per_hour", math.nan),
        ("max_usd_per_hour", math.inf),
        ("max_usd_per_hour", True),
        ("max_usd_per_hour", "2"),
        ("regions", ()),
        ("regions", ("",)),
        ("providers", (7,)),
    ],
)
def test_what_cannot_be_meant_is_an_error_that_names_it(field: str, value: object):
    with pytest.raises(ArgumentError, match=field) as raised:
        DeploymentConstraint(**{field: value})  # type: ignore[arg-type]  # the point of the test

    assert raised.value.param == field
    assert raised.value.hint


def test_a_constraint_cannot_be_changed_afterwards():
    with pytest.raises(dataclasses.FrozenInstanceError):
        DeploymentConstraint().enterprise = True  # type: ignore[misc]  # the point of the test
