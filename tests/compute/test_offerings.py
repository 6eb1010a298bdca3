"""compute/offerings.py: the providers that come with Conduit."""

from __future__ import annotations

import pytest

from conduit_nb.compute.offerings import ComputeProvider
from conduit_nb.providers.registry import make_provider, provider_names


@pytest.mark.parametrize("provider", ComputeProvider)
def test_every_provider_of_the_enum_is_registered_and_can_be_made(provider: ComputeProvider):
    assert provider in provider_names()
    assert make_provider(provider).name == provider


def test_a_provider_may_be_written_as_its_name():
    assert ComputeProvider("local") is ComputeProvider.LOCAL
    assert f"{ComputeProvider.LOCAL}" == "local"
