"""deployments/overview.py: what it costs, as the ledger has it."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from conduit_nb.deployments.overview import cost_report, write_overview
from conduit_nb.state.summary import read_summary
from tests.deployments.deployed import INSTALLATION, Bench
from tests.state.stores import deployment, node


async def test_costs_are_told_for_each_deployment_and_the_day(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    context = Bench(tmp_path).context()
    begun = context.clock() - timedelta(hours=1)
    record = context.store.insert_deployment(
        deployment(installation=INSTALLATION.id, lease_until=begun + timedelta(hours=2))
    )
    made = context.store.insert_node(node(deployment=record.id, usd_per_hour=0.5))
    context.store.update_node(made, status="booting", charge="running", at=begun)
    context.store.insert_deployment(deployment(id="foreign1", installation="another", key="k2"))

    report = await cost_report(context)
    await write_overview(context)

    (cost,) = report.deployments
    assert (cost.record.id, cost.usd_per_hour) == (record.id, 0.5)
    assert cost.spent_usd == pytest.approx(0.5, abs=0.01)
    assert report.today_usd <= cost.spent_usd + 1e-9
    summary = read_summary()
    assert summary is not None
    assert (summary.deployments, summary.nodes, summary.usd_per_hour) == (1, 1, 0.5)
    assert summary.next_end == record.lease_until


async def test_where_nothing_runs_there_is_nothing_to_pay(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    report = await cost_report(Bench(tmp_path).context())

    assert (report.deployments, report.usd_per_hour, report.today_usd) == ((), 0, 0)
