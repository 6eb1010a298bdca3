"""compute/offerings.py: the providers that come with Conduit."""

from __future__ import annotations

import pytest

from conduit_nb.compute.offerings import ComputeProvider


def test_a_provider_may_be_written_as_its_name():
    assert ComputeProvider("local") is ComputeProvider.LOCAL
    assert f"{ComputeProvider.LOCAL}" == "local"


def test_a_name_that_is_none_of_ours_is_no_member():
    with pytest.raises(ValueError, match="lokal"):
        ComputeProvider("lokal")
