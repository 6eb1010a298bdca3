"""deployments/context.py: states follow the table, and somebody else's change is no obstacle."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, get_args

import pytest

from conduit_nb.deployments.context import (
    DEPLOYMENTS,
    NOBODY,
    NODES,
    at_work,
    is_given_up,
    is_gone,
    may_become,
    this_process,
)
from conduit_nb.errors import DeploymentEndedError
from conduit_nb.state.records import (
    ENDED_DEPLOYMENTS,
    ENDED_NODES,
    DeploymentState,
    NodeState,
)
from tests import waiting
from tests.deployments.deployed import Bench
from tests.state.stores import NOW, deployment, node


async def test_a_change_is_made_on_what_another_client_has_changed_meanwhile(tmp_path: Path):
    context = Bench(tmp_path).context()
    read = context.store.insert_node(node())
    context.store.update_node(read, url="http://elsewhere")

    changed = await context.set_node(read, status="booting")

    assert (changed.status, changed.url) == ("booting", "http://elsewhere")


async def test_what_has_ended_meanwhile_is_not_brought_back(tmp_path: Path):
    context = Bench(tmp_path).context()
    read = context.store.insert_node(node())
    record = context.store.insert_deployment(deployment())
    context.store.update_node(read, status="failed", ended_at=NOW)
    context.store.update_deployment(record, status="failed", ended_at=NOW)

    with pytest.raises(DeploymentEndedError, match=r"\bfailed\b.*\bbooting\b"):
        await context.set_node(read, status="booting")
    with pytest.raises(DeploymentEndedError, match=r"\bfailed\b.*\brunning\b"):
        await context.set_deployment(record, status="running")


async def test_every_write_and_call_has_a_checkpoint_before_and_after(tmp_path: Path):
    passed: list[str] = []
    context = Bench(tmp_path, checkpoint=passed.append).context()

    async def called() -> int:
        return 7

    await context.write(context.store.insert_node, node())
    assert await context.call("launch", called()) == 7

    assert passed == ["before insert_node", "after insert_node", "before launch", "after launch"]


@pytest.mark.parametrize(
    ("table", "states", "ended"),
    [
        (DEPLOYMENTS, get_args(DeploymentState), ENDED_DEPLOYMENTS),
        (NODES, get_args(NodeState), ENDED_NODES),
    ],
    ids=["deployments", "nodes"],
)
def test_every_state_is_known_and_leads_to_an_end_that_nothing_follows(
    table: Mapping[str, frozenset[str]], states: tuple[str, ...], ended: frozenset[str]
):
    assert set(table) == set(states)
    assert {state for state in states if not table[state]} == ended
    for state in states:
        reached: set[Any] = {state}
        while more := {after for one in reached for after in table[one]} - reached:
            reached |= more
        assert reached & ended


def test_nothing_that_may_bill_is_called_failed_without_being_ended():
    assert {before for before, after in NODES.items() if "failed" in after} == {
        "launching",
        "terminating",
    }


def test_a_state_may_stay():
    assert may_become("running", "running", NODES)
    assert may_become("terminated", "terminated", NODES)
    assert not may_become("terminated", "running", NODES)


async def test_what_takes_long_is_told_until_it_is_over(tmp_path: Path):
    told: list[float] = []
    async with Bench(tmp_path).context().telling(told.append, every_s=0.01):
        await waiting.until(lambda: len(told) >= 3)
    count = len(told)

    await waiting.until(lambda: True)
    assert told == sorted(told)
    assert len(told) == count


async def test_what_goes_wrong_meanwhile_is_what_is_raised(tmp_path: Path):
    with pytest.raises(ValueError, match="inside"):
        async with Bench(tmp_path).context().telling(lambda _: None, every_s=0.01):
            raise ValueError("inside")


def test_this_process_is_there():
    assert is_gone(this_process()) is False


def test_a_process_that_has_ended_is_gone_and_so_is_another_of_its_number():
    told = subprocess.run(
        [
            sys.executable,
            "-c",
            "from conduit_nb.deployments.context import *; print(this_process())",
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
