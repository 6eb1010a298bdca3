"""A fault fits by method and by the whole path, as often as it says."""

from __future__ import annotations

import pytest

from conduit_nb.testing.runpod_server import Fault


@pytest.mark.parametrize(
    ("fault", "fits"),
    [
        (Fault(), True),
        (Fault(method="POST"), False),
        (Fault(path="/pods"), False),
        (Fault(path="/pods/.*"), True),
        (Fault(method="GET", path="/pods/x"), True),
        (Fault(times=0), False),
    ],
)
def test_a_fault_fits_what_it_names(fault: Fault, fits: bool):
    assert fault.fits("GET", "/pods/x") is fits
