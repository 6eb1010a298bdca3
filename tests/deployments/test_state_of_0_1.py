"""What version 0.1 left on a machine: its state opens, and all that it names can be managed.

The state, the records and the guard are frozen in `state_of_0_1`; `restored.py` there says what is
rewritten of them. Only public functions and the program `conduit` are used here, as whoever
upgrades uses them.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest

import conduit_nb
from conduit_nb.cli import main
from tests.deployments.state_of_0_1.requested import REQUESTED
from tests.deployments.state_of_0_1.restored import AGE, Restored, frozen, restored

pytestmark = pytest.mark.system  # real processes

LISTED: dict[str, dict[str, Any]] = {one["name"]: one for one in frozen("ps.json")}
IDS = {name: one["id"] for name, one in LISTED.items() if one["id"] is not None}
(SHARED_SERVER,) = LISTED.keys() - IDS.keys()
THE_SAME = (
    *("name", "id", "provider", "runtime", "status", "nodes"),
    *("usd_per_hour", "device", "region", "models", "detail"),
)
COSTS_THE_SAME = ("name", "provider", "status", "usd_per_hour", "may_spend_usd")
HOUR = timedelta(hours=1)
SOON = timedelta(seconds=60)
"""How long after the state was restored a test may ask."""
SAME_MOMENT = timedelta(seconds=2)


@pytest.fixture
def old(own_session: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Restored]:
    monkeypatch.setenv("CONDUIT_NODE_BOOT_TIMEOUT_S", "30")  # what fails, fails soon
    with restored(tmp_path) as world:
        for name, value in world.cloud.environment.items():
            monkeypatch.setenv(name, value)
        yield world


def run_json(capsys: pytest.CaptureFixture[str], *words: str) -> Any:
    """Return what the program answers as JSON."""
    capsys.readouterr()
    assert main([*words, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def deployed(name: str) -> Any:
    """Ask for what a frozen deployment was asked for, without its name."""
    requested = REQUESTED[name]
    (info,) = conduit_nb.deploy(*requested.models, **requested.options, **requested.bounds)
    return info


def lease_of(name: str) -> datetime:
    """Return the end of a deployment's lease, as the state has it."""
    (lease,) = [one.lease_until for one in conduit_nb.ps() if one.name == name]
    assert lease is not None
    return lease


def guard_leases(old: Restored, name: str) -> list[datetime]:
    """Return the end of the lease that each guard of a deployment keeps."""
    told = [one["lease_until"] for one in old.guards_of(IDS[name])]
    return [datetime.fromtimestamp(moment, UTC) for moment in told]


def frozen_lease(old: Restored, name: str) -> datetime:
    """Return the end of a deployment's lease before anybody extends it."""
    return datetime.fromisoformat(LISTED[name]["lease_until"]) + old.shift


def same_moments(moments: list[datetime]) -> Any:
    """Return what equals these moments but for the rounding of a clock."""
    return pytest.approx(moments, abs=SAME_MOMENT)


def state_file() -> Path:
    """Return where version 0.1 kept its state."""
    return Path(os.environ["CONDUIT_DATA_DIR"]) / "state.sqlite3"


def require_ended(processes: list[psutil.Process]) -> None:
    """Fail where one of the processes still runs."""
    _, alive = psutil.wait_procs(processes, timeout=10)
    assert not alive


def test_everything_is_listed_as_version_0_1_listed_it(
    old: Restored, capsys: pytest.CaptureFixture[str]
):
    listed = {one["name"]: one for one in run_json(capsys, "ps")}

    assert {name: {key: one[key] for key in THE_SAME} for name, one in listed.items()} == {
        name: {key: one[key] for key in THE_SAME} for name, one in LISTED.items()
    }
    assert [one.name for one in conduit_nb.ps()] == list(LISTED)
    for name in IDS:
        lease = datetime.fromisoformat(listed[name]["lease_until"])
        assert [lease] == same_moments([frozen_lease(old, name)])
        rate, before = LISTED[name]["usd_per_hour"], LISTED[name]["spent_usd"]
        least, most = before + rate * (AGE / HOUR), before + rate * ((AGE + SOON) / HOUR)
        assert least <= listed[name]["spent_usd"] <= most
    costs = [{key: row[key] for key in COSTS_THE_SAME} for row in frozen("cost.json")]
    assert [{key: row[key] for key in COSTS_THE_SAME} for row in run_json(capsys, "cost")] == costs
    assert conduit_nb.cleanup() == []


def test_logs_are_read_by_name(old: Restored):
    for name in ("chat", "here", SHARED_SERVER):
        assert any("fake LmLite begins" in line for line in conduit_nb.logs(name))


def test_an_equal_request_finds_what_runs_and_starts_what_is_stopped(old: Restored):
    pods, processes = old.pods(), {name: old.processes_of(name) for name in old.processes}

    found = {name: deployed(name) for name in IDS}

    assert {info.name: info.id for info in found.values()} == IDS
    assert {info.status for info in found.values()} == {"running"}
    assert old.pods() == dict.fromkeys(pods, "RUNNING")
    assert old.creations() == 0
    assert {name: old.processes_of(name) for name in old.processes} == processes


def test_a_block_of_an_equal_request_asks_through_the_guards_of_version_0_1(old: Restored):
    models, options = REQUESTED["chat"].models, dict(REQUESTED["chat"].options)
    del options["runtime"]
    block = conduit_nb.CustomBlock(models, compute_provider=options.pop("provider"), **options)

    assert block(messages=[{"role": "user", "content": "hello"}]).endswith(": hello ")
    assert sum(one["requests"] for one in old.guards_of(IDS["chat"])) == 1
    assert old.creations() == 0


def test_an_extension_moves_the_lease_in_the_state_and_at_every_guard(old: Restored):
    for name, nodes in {"chat": 2, "here": 1}.items():
        assert guard_leases(old, name) == same_moments([frozen_lease(old, name)] * nodes)
        asked_at = datetime.now(UTC)

        (extended,) = conduit_nb.extend(name, 2)

        assert timedelta(0) <= lease_of(name) - asked_at - 2 * HOUR < SOON
        assert extended.lease_until == lease_of(name)
        assert guard_leases(old, name) == same_moments([lease_of(name)] * nodes)


def test_no_extension_goes_beyond_the_money_that_version_0_1_allowed(old: Restored):
    with pytest.raises(conduit_nb.ArgumentError):
        conduit_nb.extend("chat", 3)

    assert [lease_of("chat")] == same_moments([frozen_lease(old, "chat")])
    assert guard_leases(old, "chat") == same_moments([frozen_lease(old, "chat")] * 2)


def test_what_runs_is_stopped_and_what_is_stopped_starts_under_its_guard(old: Restored):
    (stopped,) = conduit_nb.stop("chat")
    (started,) = conduit_nb.start("batch")

    assert (stopped.status, started.status) == ("stopped", "running")
    assert {old.pods()[node] for node in old.nodes_of(IDS["chat"])} == {"EXITED"}
    assert {old.pods()[node] for node in old.nodes_of(IDS["batch"])} == {"RUNNING"}
    assert guard_leases(old, "batch") == same_moments([lease_of("batch")])
    assert old.creations() == 0


def test_each_is_terminated_by_its_name(old: Restored):
    processes = [one for node in old.processes for one in old.processes_of(node)]
    left = list(LISTED)

    for name in LISTED:
        (ended,) = conduit_nb.terminate(name)
        left.remove(name)
        assert (ended.name, ended.status in ("terminated", "stopped")) == (name, True)
        assert [one.name for one in conduit_nb.ps()] == left
        there = {node for other in left if other in IDS for node in old.nodes_of(IDS[other])}
        assert old.pods().keys() == there - old.processes.keys()

    require_ended(processes)
    assert conduit_nb.cost()[-1].usd_per_hour == 0


def test_all_are_terminated_at_once(old: Restored):
    processes = [one for node in old.processes for one in old.processes_of(node)]

    assert sorted(one.name for one in conduit_nb.terminate("all")) == sorted(LISTED)

    assert old.pods() == {}
    require_ended(processes)
    assert conduit_nb.ps() == []


def test_without_the_state_each_is_terminated_by_the_name_that_the_summary_has(old: Restored):
    processes = [one for node in old.nodes_of(IDS["here"]) for one in old.processes_of(node)]
    state_file().write_bytes(b"no database")

    with pytest.raises(conduit_nb.StorageError):
        conduit_nb.terminate("chat")
    assert list(old.pods()) == old.nodes_of(IDS["batch"])
    with pytest.raises(conduit_nb.StorageError):
        conduit_nb.terminate("all")
    assert old.pods() == {}
    require_ended(processes)


def test_a_node_whose_state_is_lost_is_adopted_and_keeps_its_guard(old: Restored):
    state_file().unlink()
    node, *_ = old.nodes_of(IDS["chat"])
    assert old.pods().keys() <= {one.name for one in conduit_nb.ps(all_nodes=True)}

    (adopted,) = conduit_nb.attach(node)
    conduit_nb.extend(adopted.name, 2)

    assert adopted.id == IDS["chat"]
    lease = datetime.fromtimestamp(old.guards_of(IDS["chat"])[0]["lease_until"], UTC)
    assert [lease] == same_moments([lease_of(adopted.name)])
    conduit_nb.terminate(adopted.name)
    assert node not in old.pods()
