"""Providers are found by the name they are registered under, foreign ones among them."""

from __future__ import annotations

import pytest

from conduit_nb.compute.names import ComputeProvider
from conduit_nb.errors import ArgumentError
from conduit_nb.providers.local import LocalProvider
from conduit_nb.providers.registry import make_provider, make_sources, provider_names


def test_this_machine_is_registered():
    assert isinstance(make_provider(ComputeProvider.LOCAL), LocalProvider)


@pytest.mark.parametrize("provider", ComputeProvider)
def test_every_provider_that_has_a_public_name_is_registered(provider: ComputeProvider):
    assert provider in provider_names()
    assert make_provider(provider).name == provider


def test_an_unknown_name_is_an_error_that_lists_the_registered_ones():
    with pytest.raises(ArgumentError, match="'lokal'") as caught:
        make_provider("lokal")

    assert caught.value.param == "provider"
    assert "local" in caught.value.hint


def test_this_machine_is_the_first_source_of_offerings_and_price_lists_are_sources_too():
    names = [source.name for source in make_sources()]

    assert names[0] == "local"
    assert set(names) >= {*provider_names(), "runpod", "gpuhunt"}
    assert len(set(names)) == len(names)
