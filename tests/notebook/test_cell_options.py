"""notebook/cell_options.py: what may stand on the line of a cell."""

from __future__ import annotations

import pytest

from conduit_nb.blocks.ask_options import AskOptions
from conduit_nb.compute.request import deployment_options
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.cell_options import BlockOptions, MapOptions, ModelOptions, task_options
from conduit_nb.options import options_of, parse_options, read_options


def test_the_options_of_a_task_are_those_of_model_question_and_deployment_but_for_its_name():
    names = {one.name for one in task_options()}

    assert names == {
        *(one.name for one in options_of(ModelOptions, AskOptions)),
        *(one.name for one in deployment_options() if one.name != "name"),
    }


def test_no_option_of_a_cell_hides_one_of_its_task():
    of_task = {one.name for one in task_options()}

    for kind in (MapOptions, BlockOptions):
        assert not {one.name for one in options_of(kind)} & of_task


def test_a_block_must_be_told_its_types():
    assert [one.name for one in options_of(BlockOptions) if one.is_required] == ["input", "output"]


def test_options_of_a_map_are_read_as_what_they_are():
    read = parse_options(MapOptions, {"limit": "20", "max_errors": "0", "dry_run": True})

    assert (read.limit, read.max_errors, read.dry_run, read.background) == (20, 0, True, False)


@pytest.mark.parametrize(
    ("given", "param"),
    [({"limit": "0"}, "limit"), ({"max_errors": "-1"}, "max_errors"), ({"out": ""}, "out")],
)
def test_a_value_that_is_not_valid_is_an_error(given: dict[str, object], param: str):
    with pytest.raises(ArgumentError) as caught:
        read_options(options_of(MapOptions), given)

    assert caught.value.param == param
