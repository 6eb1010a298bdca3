"""plans/options.py: what a plan and a list of offerings are asked, read as every option is."""

from __future__ import annotations

from typing import Any, get_args

import pytest

from conduit_nb.compute.constraints import LEVELS, DeploymentConstraint
from conduit_nb.compute.names import AVAILABILITIES
from conduit_nb.compute.objectives import Objective
from conduit_nb.errors import ArgumentError
from conduit_nb.options import options_of, read_options
from conduit_nb.plans.options import GPU, LIMIT, OBJECTIVES, WHY, OfferingsOptions, PlanOptions
from conduit_nb.spelling import did_you_mean

OPTIONS = (*options_of(OfferingsOptions, DeploymentConstraint, PlanOptions), WHY, LIMIT)


def test_the_choices_are_those_that_the_planner_knows():
    assert get_args(Objective) == OBJECTIVES
    assert {*LEVELS, "unknown"} == {*AVAILABILITIES}


def test_every_field_is_an_option():
    for kind in (PlanOptions, OfferingsOptions):
        assert {one.name for one in options_of(kind)} == {*kind.__dataclass_fields__}
    assert GPU.name == "gpu"


@pytest.mark.parametrize(
    ("given", "name", "read"),
    [
        ({"interruptible": True}, "interruptible", True),
        ({"interruptible": "no"}, "interruptible", False),
        ({"single_device": True}, "single_device", True),
        ({"regions": "eu-*,us-1"}, "regions", ("eu-*", "us-1")),
        ({"models": ("a", "b")}, "models", ("a", "b")),
        ({"concurrency": "16"}, "max_concurrency", 16),
        ({"max_model_concurrency": 16}, "max_concurrency", 16),
        ({"max_usd_per_hour": "1.5"}, "max_usd_per_hour", 1.5),
        ({"min_availability": "low"}, "min_availability", "low"),
        ({"timeout_s": "5"}, "timeout_s", 5.0),
    ],
)
def test_an_option_is_read_as_its_kind(given: dict[str, Any], name: str, read: object):
    assert read_options(OPTIONS, given) == {name: read}


@pytest.mark.parametrize(
    ("given", "param"),
    [
        ({"max_usd_per_hour": "nan"}, "max_usd_per_hour"),
        ({"max_usd_per_hour": "-1"}, "max_usd_per_hour"),
        ({"limit": "0"}, "limit"),
        ({"min_availability": "lots"}, "min_availability"),
        ({"why": "because"}, "why"),
        ({"concurrency": 1, "max_concurrency": 2}, "max_concurrency"),
    ],
)
def test_a_value_that_is_not_valid_is_an_error_that_names_the_option(
    given: dict[str, Any], param: str
):
    with pytest.raises(ArgumentError) as caught:
        read_options(OPTIONS, given)

    assert caught.value.param == param


def test_an_objective_is_compared_with_those_there_are():
    with pytest.raises(ArgumentError) as caught:
        read_options(OPTIONS, {"objective": "usd_per_gb"})

    assert caught.value.hint == did_you_mean("usd_per_gib")
