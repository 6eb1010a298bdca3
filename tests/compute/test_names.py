"""compute/names.py: the words that requests and offerings share."""

from __future__ import annotations

from conduit_nb.compute.names import AVAILABILITIES, ComputeProvider
from conduit_nb.providers.registry import provider_names


def test_every_provider_that_comes_with_conduit_is_registered_and_written_as_its_name():
    assert {str(one) for one in ComputeProvider} <= {*provider_names()}
    assert f"{ComputeProvider.RUNPOD}" == "runpod"


def test_stock_is_named_from_none_to_plenty_and_may_be_unknown():
    assert AVAILABILITIES == ("none", "low", "medium", "high", "unknown")
