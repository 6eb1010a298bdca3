"""The tables of the state store, and how they came to be: migrations are only ever added.

Layer 3.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Float,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    insert,
    inspect,
    text,
)

STATES = 36**4
"""How many ids of states there are: what four letters and digits tell apart."""

metadata = MetaData()

META = Table(
    "conduit_meta",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("value", Integer, nullable=False),
)
# Moments are seconds since the epoch: the same in every database.
DEPLOYMENTS = Table(
    "conduit_deployments",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("installation", String(64), nullable=False),
    Column("key", String(64), nullable=False),
    Column("name", Text, nullable=False),
    Column("runtime", Text, nullable=False),
    Column("provider", Text),
    Column("request", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("created_at", Float, nullable=False),
    Column("lease_until", Float, nullable=False),
    Column("idle_s", Float, nullable=False),
    Column("max_usd", Float, nullable=False),
    Column("wanted_replicas", Integer, nullable=False),
    Column("owner", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("ended_at", Float),
    Column("revision", Integer, nullable=False, index=True),
    Column("is_live", Boolean, nullable=False),
)
NODES = Table(
    "conduit_nodes",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("deployment", String(32), nullable=False, index=True),
    Column("replica", Integer, nullable=False),
    Column("attempt", Integer, nullable=False),
    Column("provider", Text, nullable=False),
    Column("status", String(16), nullable=False),
    Column("owner", Text, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("boot_until", Float, nullable=False),
    Column("usd_per_hour", Float, nullable=False),
    Column("stopped_usd_per_hour", Float, nullable=False),
    Column("budget_usd", Float),
    Column("not_after", Float),
    Column("provider_id", Text),
    Column("offering", Text, nullable=False),
    Column("models", Text, nullable=False),
    Column("url", Text),
    Column("detail", Text, nullable=False),
    Column("ready_at", Float),
    Column("missing_since", Float),
    Column("ended_at", Float),
    Column("revision", Integer, nullable=False, index=True),
    Column("is_live", Boolean, nullable=False),
)
CHARGES = Table(
    "conduit_charges",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=True),
    Column("node", String(64), nullable=False, index=True),
    Column("deployment", String(32), nullable=False, index=True),
    Column("state", String(16), nullable=False),
    Column("usd_per_hour", Float, nullable=False),
    Column("begin", Float, nullable=False),
    Column("end", Float),
    Column("billed_usd", Float),
    Column("twin", Text),
)
# One live deployment of a key, one live node of a replica: who is second gets an error.
_LIVE = text("is_live")
Index(
    "conduit_one_live_deployment",
    DEPLOYMENTS.c.installation,
    DEPLOYMENTS.c.key,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)
Index(
    "conduit_one_live_replica",
    NODES.c.deployment,
    NODES.c.replica,
    unique=True,
    sqlite_where=_LIVE,
    postgresql_where=_LIVE,
)


def _first(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(insert(META), [{"name": "revision", "value": 0}])


def _second(connection: Connection) -> None:
    """Give the state an id of its own, as one installation may have several states."""
    connection.execute(insert(META), [{"name": "state", "value": secrets.randbelow(STATES)}])


def _third(connection: Connection) -> None:
    """Let a charge be that of a second node of the same name."""
    if "twin" not in {column["name"] for column in inspect(connection).get_columns(CHARGES.name)}:
        connection.execute(text(f"ALTER TABLE {CHARGES.name} ADD COLUMN twin TEXT"))


MIGRATIONS: tuple[Callable[[Connection], None], ...] = (_first, _second, _third)
"""What made each version out of the one before; the version is how many there are."""
