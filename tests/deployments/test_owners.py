"""deployments/owners.py: whether somebody is still at work."""

from __future__ import annotations

import subprocess
import sys

from conduit_nb.deployments.owners import NOBODY, at_work, is_given_up, is_gone, this_process


def test_this_process_is_there():
    assert is_gone(this_process()) is False


def test_a_process_that_has_ended_is_gone_and_so_is_another_of_its_number():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from conduit_nb.deployments.owners import *; print(this_process())",
        ],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    host, pid, _ = this_process().split("|")

    assert is_gone(told) is True
    assert is_gone(f"{host}|{pid}|1.000") is True


def test_of_another_machine_nobody_here_knows():
    assert is_gone("elsewhere|1|1.0") is None
    assert is_gone("") is None


def test_what_this_process_owns_is_given_up_unless_it_works_on_it():
    with at_work("d1"), at_work("d1"):
        assert is_given_up(this_process(), "d1") is False
        assert is_given_up(this_process(), "d2") is True
    assert is_given_up(this_process(), "d1") is True


def test_what_another_process_owns_is_given_up_when_that_is_gone():
    assert is_given_up(NOBODY, "d1") is True
    assert is_given_up("elsewhere|1|1.0", "d1") is None
