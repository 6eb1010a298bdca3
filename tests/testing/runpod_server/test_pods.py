"""A pod knows its settings, its disk, its ports, and hides what is secret."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from conduit_nb.testing.runpod_server.pods import ACTIONS, Pod

NOW = datetime(2026, 11, 23, tzinfo=UTC)


@pytest.fixture
def pod() -> Pod:
    return Pod(
        name="n",
        image="i",
        cloud="SECURE",
        center="c",
        usd_per_hour=1.0,
        created_at=NOW,
        since=NOW,
    )


def test_it_pays_for_both_of_its_disks(pod: Pod):
    pod.apply({"disk": 30, "mounts": {"persistent": {"size": 10, "path": "/w"}}})

    assert pod.total_disk_gb == 40


def test_a_change_without_mounts_leaves_them(pod: Pod):
    pod.apply({"mounts": {"persistent": {"size": 10, "path": "/w"}}})
    pod.apply({"mounts": {}, "env": {}})

    assert pod.mounts == {"persistent": {"size": 10, "path": "/w"}}


def test_its_ports_are_told_apart_by_protocol(pod: Pod):
    pod.apply({"ports": ["8000/http", "22/tcp"]})

    assert pod.published_ports() == (8000, 22)
    assert pod.published_ports("http") == (8000,)


def test_no_state_takes_an_action_that_leads_nowhere(pod: Pod):
    assert all(
        ("start" in actions) != ("stop" in actions) for actions in ACTIONS.values() if actions
    )
    assert ACTIONS["TERMINATED"] == ()


def test_its_key_and_its_variables_are_not_shown(pod: Pod):
    pod.apply({"env": {"TOKEN": "hf_secret"}})

    assert pod.key not in repr(pod)
    assert "hf_secret" not in repr(pod)


def test_what_costs_nothing_is_told_so(pod: Pod):
    assert pod.to_wire(NOW)["cost"] == 1.0
    pod.enter("EXITED", NOW)
    assert pod.to_wire(NOW)["cost"] == 0.0
