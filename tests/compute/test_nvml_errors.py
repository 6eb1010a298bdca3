"""compute/nvml_errors.py: every code has words of its own."""

from __future__ import annotations

import re

import pytest

from conduit_nb.compute.nvml_errors import NVML_ERRORS, explain_nvml_error


def test_every_code_of_the_binding_is_known():
    pynvml = pytest.importorskip("pynvml")
    codes = {value for name, value in vars(pynvml).items() if name.startswith("NVML_ERROR_")}

    assert codes <= set(NVML_ERRORS)


def test_the_three_that_users_meet_are_told_apart():
    missing, mismatch, forbidden = (explain_nvml_error(code, "") for code in (12, 18, 4))

    assert "libnvidia-ml" in missing[0]
    assert "version" in mismatch[0]
    assert "reboot" in mismatch[1].lower()
    assert "permission" in forbidden[0]
    assert "/dev/nvidia" in forbidden[1]


def test_a_code_of_the_future_is_told_in_nvmls_words():
    assert re.search(r"\b77\b.*Flux-Capacitor", explain_nvml_error(77, "Flux-Capacitor")[0])
