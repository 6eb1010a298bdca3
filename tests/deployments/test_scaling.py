"""deployments/scaling.py: up at once, down slowly, never beyond the bounds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from conduit_nb.compute.request import Replicas
from conduit_nb.deployments.scaling import wanted_replicas

BOUNDS = Replicas(min=1, max=4)


@pytest.mark.parametrize(
    ("now", "in_flight", "wanted"),
    [(1, 0, 1), (1, 8, 1), (1, 9, 2), (1, 100, 4), (3, 9, 3), (3, 8, 2), (2, 3, 1), (2, 5, 2)],
)
def test_replicas_follow_what_waits(now: int, in_flight: int, wanted: int):
    assert wanted_replicas(BOUNDS, now=now, in_flight=in_flight, per_replica=8) == wanted


@given(st.integers(1, 4), st.integers(0, 200), st.integers(1, 32))
def test_they_stay_within_the_bounds_and_settle(now: int, in_flight: int, per_replica: int):
    seen = [now]
    for _ in range(10):
        seen.append(
            wanted_replicas(BOUNDS, now=seen[-1], in_flight=in_flight, per_replica=per_replica)
        )

    assert all(BOUNDS.min <= one <= BOUNDS.max for one in seen)
    assert seen[-1] == seen[-2]
