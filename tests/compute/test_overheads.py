"""compute/overheads.py: the table, by runtime and version."""

from __future__ import annotations

import pytest

from conduit_nb.compute.overheads import TABLE, overheads_of
from conduit_nb.errors import ArgumentError


def test_a_version_covers_its_patches():
    assert overheads_of("vllm", "0.19.1") == overheads_of("vllm", "0.19") == overheads_of("vllm")


@pytest.mark.parametrize(("runtime", "version"), [("vllm", "0.1"), ("vllm", "0.190"), ("x", None)])
def test_what_was_not_measured_is_refused_with_what_was(runtime, version):
    with pytest.raises(ArgumentError, match=rf"\b{runtime}\b") as caught:
        overheads_of(runtime, version)

    assert caught.value.param == ("runtime_version" if version else "runtime")
    assert "vllm 0.19" in caught.value.hint


def test_every_row_names_its_sources_and_stands_there_once():
    assert all(row.source and row.activation_source for row in TABLE)
    assert len({(row.runtime, row.version) for row in TABLE}) == len(TABLE)
