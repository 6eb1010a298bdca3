"""plans/options.py: one table of options, which says what the dataclasses behind it take."""

from __future__ import annotations

from dataclasses import fields
from typing import get_args

from conduit_nb.compute.constraints import DeploymentConstraint
from conduit_nb.compute.names import AVAILABILITIES
from conduit_nb.compute.objectives import Objective
from conduit_nb.plans.answer import PlanOptions
from conduit_nb.plans.options import (
    CONSTRAINT_OPTIONS,
    GPU_OPTION,
    JSON_OPTION,
    LEVELS,
    LIMIT_OPTION,
    OBJECTIVES,
    OFFERINGS_OPTIONS,
    PLAN_OPTIONS,
    WHY_OPTION,
    option_lines,
)


def test_every_field_of_a_plan_is_an_option_with_the_same_default():
    options = {option.name: option.default for option in PLAN_OPTIONS}

    assert options == {field.name: field.default for field in fields(PlanOptions)}


def test_every_field_of_a_constraint_is_an_option_with_the_same_default():
    options = {option.name: option.default for option in CONSTRAINT_OPTIONS}

    assert options == {field.name: field.default for field in fields(DeploymentConstraint)}


def test_the_choices_are_those_that_the_planner_knows():
    assert get_args(Objective) == OBJECTIVES
    assert {*LEVELS, "unknown"} == {*AVAILABILITIES}


def test_no_two_options_of_a_word_are_written_alike():
    options = (*OFFERINGS_OPTIONS, *PLAN_OPTIONS, WHY_OPTION, LIMIT_OPTION, JSON_OPTION)

    for written in ([one.flag for one in options], [one.name for one in options]):
        assert len(written) == len(set(written))


def test_a_help_text_names_every_option_within_a_screens_width():
    text = option_lines((*PLAN_OPTIONS, GPU_OPTION, *CONSTRAINT_OPTIONS))

    assert all(option.flag in text for option in (*PLAN_OPTIONS, GPU_OPTION, *CONSTRAINT_OPTIONS))
    assert max(map(len, text.splitlines())) <= 100
