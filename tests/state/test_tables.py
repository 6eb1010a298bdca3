"""state/tables.py: tables have a column for every field of a record, and no other but `is_live`."""

from __future__ import annotations

from dataclasses import fields

import pytest
from sqlalchemy import Table

from conduit_nb.state.records import Charge, DeploymentRecord, NodeRecord
from conduit_nb.state.tables import CHARGES, DEPLOYMENTS, NODES


@pytest.mark.parametrize(
    ("table", "record", "more"),
    [
        (DEPLOYMENTS, DeploymentRecord, {"is_live"}),
        (NODES, NodeRecord, {"is_live"}),
        (CHARGES, Charge, {"id"}),
    ],
    ids=["deployments", "nodes", "charges"],
)
def test_every_field_has_its_column(table: Table, record: type, more: set[str]):
    assert set(table.columns.keys()) == {one.name for one in fields(record)} | more
