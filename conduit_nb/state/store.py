"""The state store: who has what running, kept in a database so that every client sees the same.

SQLite in the data folder, or any database that `CONDUIT_DB_URI` names (tested: PostgreSQL). Every
write takes the counter of revisions first, so writes come one after the other; a record is changed
only as it was read (its `revision`), else StateConflictError says that somebody was quicker.
Synchronous and safe to call from any thread; every call is a transaction of its own.
Layer 3: the only user of SQLAlchemy, with `tables`.
"""

from __future__ import annotations

import functools
import os
import string
from collections.abc import Generator, Iterable, Mapping
from contextlib import contextmanager
from dataclasses import fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import (
    Connection,
    Engine,
    Table,
    create_engine,
    event,
    func,
    insert,
    inspect,
    select,
    update,
)
from sqlalchemy.engine import RowMapping, make_url
from sqlalchemy.exc import ArgumentError as UrlError
from sqlalchemy.exc import DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import NullPool

from conduit_nb import settings
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import ArgumentError, MissingExtraError, StateConflictError, StorageError
from conduit_nb.private_files import make_private_folder
from conduit_nb.state.records import Changes, Charge, ChargeState, DeploymentRecord, NodeRecord
from conduit_nb.state.tables import CHARGES, DEPLOYMENTS, META, MIGRATIONS, NODES

BUSY_TIMEOUT_MS = 15_000
KNOB = "CONDUIT_DB_URI"
WAY_OUT = "To end what runs: conduit terminate all."
NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "fuse.sshfs", "9p"})
_MOMENTS = frozenset(
    {
        *("created_at", "lease_until", "ended_at", "boot_until", "not_after", "ready_at"),
        *("missing_since", "begin", "end"),
    }
)

_WRITES = "conduit_writes"

AnyRecord = TypeVar("AnyRecord", DeploymentRecord, NodeRecord)


class Store:
    """A state store at `url` (see `CONDUIT_DB_URI`); None takes what the settings say."""

    def __init__(self, url: str | None = None) -> None:
        self._url = url or settings.db_uri() or _default_url()
        self._engine = _engine(self._url)
        _make_private_file(self._engine)
        self._is_newer = False
        self._migrate()

    def __repr__(self) -> str:
        return f"Store({make_url(self._url).render_as_string(hide_password=True)!r})"

    def close(self) -> None:
        """Let go of every connection."""
        self._engine.dispose()

    def insert_deployment(self, record: DeploymentRecord) -> DeploymentRecord:
        """Add a deployment; StateConflictError where a live one of that key is there already."""
        with self._writing() as (connection, revision):
            return _insert(connection, DEPLOYMENTS, replace(record, revision=revision))

    def insert_node(
        self,
        record: NodeRecord,
        *,
        as_of: int | None = None,
        charge: ChargeState | None = None,
    ) -> NodeRecord:
        """Add a node: the intent to create it. Who gets this done creates it, nobody else does.

        One that is there already costs what `charge` says, from its `created_at` on. Raises
        StateConflictError where that name, or a live node of that replica, is there; and where
        anything was written after `as_of`, on which the record's budget rests.
        """
        with self._writing() as (connection, revision):
            if as_of is not None and revision != as_of + 1:
                raise StateConflictError("The state has changed meanwhile.", hint="Look again.")
            node = _insert(connection, NODES, replace(record, revision=revision))
            if charge is not None:
                _begin_charge(connection, node, charge, node.created_at)
            return node

    def update_deployment(self, record: DeploymentRecord, **changes: Any) -> DeploymentRecord:
        """Change a deployment as it was read; StateConflictError where it has changed since."""
        with self._writing() as (connection, revision):
            return _update(connection, DEPLOYMENTS, record, {**changes, "revision": revision})

    def update_node(
        self,
        record: NodeRecord,
        *,
        charge: ChargeState | None = None,
        end_charge: bool = False,
        at: datetime | None = None,
        billed_usd: float | None = None,
        **changes: Any,
    ) -> NodeRecord:
        """Change a node as it was read, and in the same step what it is charged from `at` on.

        `charge` begins a span of time at the node's rate in that state, and ends the one before;
        `end_charge` ends it only.
        """
        with self._writing() as (connection, revision):
            node = _update(connection, NODES, record, {**changes, "revision": revision})
            if charge is not None or end_charge:
                assert at is not None, "money has a moment"
                _end_charge(connection, node.name, at, billed_usd)
            if charge is not None:
                assert at is not None, "money has a moment"
                _begin_charge(connection, node, charge, at)
            return node

    def charge_twin(self, node: NodeRecord, twin: str, at: datetime, usd_per_hour: float) -> None:
        """Record what a second node of this name costs until `at`; again: extend that charge."""
        with self._writing() as (connection, _):
            known = update(CHARGES).where(CHARGES.c.node == node.name, CHARGES.c.twin == twin)
            if connection.execute(known.values(end=at.timestamp())).rowcount == 0:
                charge = Charge(
                    node=node.name,
                    deployment=node.deployment,
                    state="running",
                    usd_per_hour=usd_per_hour,
                    begin=node.created_at,
                    end=at,
                    twin=twin,
                )
                connection.execute(insert(CHARGES), [_to_row(charge)])

    def deployment(self, deployment_id: str) -> DeploymentRecord | None:
        """Return the deployment of that id."""
        return self._first(DEPLOYMENTS, DeploymentRecord, id=deployment_id)

    def deployments(
        self, installation: str | None = None, *, live_only: bool = True
    ) -> list[DeploymentRecord]:
        """Return deployments, the oldest first."""
        wanted: dict[str, object] = {"is_live": True} if live_only else {}
        if installation is not None:
            wanted["installation"] = installation
        return self._all(DEPLOYMENTS, DeploymentRecord, wanted)

    def node(self, name: str) -> NodeRecord | None:
        """Return the node of that name."""
        return self._first(NODES, NodeRecord, name=name)

    def nodes(
        self, deployment_id: str | None = None, *, live_only: bool = True
    ) -> list[NodeRecord]:
        """Return nodes, the oldest first."""
        wanted: dict[str, object] = {"is_live": True} if live_only else {}
        if deployment_id is not None:
            wanted["deployment"] = deployment_id
        return self._all(NODES, NodeRecord, wanted)

    def last_attempt(self, deployment_id: str) -> int:
        """Return the greatest number of an attempt that a deployment has had, 0 for none."""
        with self._reading() as connection:
            query = select(func.max(NODES.c.attempt)).where(NODES.c.deployment == deployment_id)
            return connection.execute(query).scalar() or 0

    def charges(
        self, deployment_id: str | None = None, *, since: datetime | None = None
    ) -> list[Charge]:
        """Return charges in their order, those that went on after `since` only."""
        query = select(CHARGES).order_by(CHARGES.c.id)
        if deployment_id is not None:
            query = query.where(CHARGES.c.deployment == deployment_id)
        if since is not None:
            query = query.where((CHARGES.c.end.is_(None)) | (CHARGES.c.end > since.timestamp()))
        with self._reading() as connection:
            return [_charge(row) for row in connection.execute(query).mappings()]

    def state_id(self) -> str:
        """Return the four letters and digits in which the ids of this state's deployments end."""
        with self._reading() as connection:
            number = _meta(connection, "state")
        letters = string.digits + string.ascii_lowercase
        return "".join(letters[number // 36**place % 36] for place in range(4))

    def revision(self) -> int:
        """Return the number of the last write."""
        with self._reading() as connection:
            return _meta(connection, "revision")

    def changes_since(self, revision: int) -> Changes:
        """Return what was written after `revision`: deployments and nodes as they are now."""
        with self._reading() as connection:
            now = _meta(connection, "revision")
            rows = [
                connection.execute(select(table).where(table.c.revision > revision)).mappings()
                for table in (DEPLOYMENTS, NODES)
            ]
            return Changes(
                revision=now,
                deployments=tuple(_record(DeploymentRecord, row) for row in rows[0]),
                nodes=tuple(_record(NodeRecord, row) for row in rows[1]),
            )

    def _first(self, table: Table, kind: type[AnyRecord], **wanted: object) -> AnyRecord | None:
        found = self._all(table, kind, wanted)
        return found[0] if found else None

    def _all(
        self, table: Table, kind: type[AnyRecord], wanted: Mapping[str, object]
    ) -> list[AnyRecord]:
        query = select(table).order_by(table.c.created_at)
        for name, value in wanted.items():
            query = query.where(table.c[name] == value)
        with self._reading() as connection:
            return [_record(kind, row) for row in connection.execute(query).mappings()]

    @contextmanager
    def _reading(self) -> Generator[Connection]:
        with self._mapped(), self._engine.connect() as connection:
            try:
                yield connection
            except (TypeError, ValueError, OverflowError) as err:
                raise StorageError(
                    f"The state in {self!r} holds values that cannot be read ({err}).",
                    hint=f"Restore the database, or set {KNOB} to another. {WAY_OUT}",
                ) from err

    @contextmanager
    def _writing(self) -> Generator[tuple[Connection, int]]:
        """Open a transaction that has taken the next revision, and with it the turn to write."""
        if self._is_newer:
            raise StorageError(
                "The state was written by a newer Conduit; this one only reads it.",
                hint=f"Install the newer conduit-nb, or set {KNOB} to another database. {WAY_OUT}",
            )
        with self._transaction() as connection:
            raised = META.c.value + 1
            connection.execute(update(META).where(META.c.name == "revision").values(value=raised))
            yield connection, _meta(connection, "revision")

    @contextmanager
    def _transaction(self) -> Generator[Connection]:
        """Open a transaction that writes: one after the other, also in SQLite."""
        with self._mapped(), self._engine.connect() as connection:
            writing = connection.execution_options(**{_WRITES: True})
            with writing.begin():
                yield writing

    def _migrate(self) -> None:
        with self._reading() as connection:
            version = _version(connection)
        known = len(MIGRATIONS)
        self._is_newer = version > known
        if version >= known:
            return  # whoever only reads waits for nobody who writes
        with self._transaction() as connection:
            version = _version(connection)  # another client may have been quicker
            for number in range(version, known):
                MIGRATIONS[number](connection)
            if version == 0:
                connection.execute(insert(META), [{"name": "version", "value": known}])
            elif version < known:
                connection.execute(update(META).where(META.c.name == "version").values(value=known))

    @contextmanager
    def _mapped(self) -> Generator[None]:
        """Turn what the database raises into our errors: the one place for it."""
        try:
            yield
        except IntegrityError as err:
            raise StateConflictError("Another client was quicker.", hint="Look again.") from err
        except DBAPIError as err:
            # Its own text may hold values that were written; the driver's does not.
            raise StorageError(
                f"The state in {self!r} cannot be read or written"
                f" ({type(err.orig).__name__}: {str(err.orig).strip()}).",
                hint=f"Check the database and its disk, or set {KNOB} to another. {WAY_OUT}",
            ) from None
        except SQLAlchemyError as err:
            raise StorageError(
                f"The state in {self!r} cannot be used ({type(err).__name__}).",
                hint=f"Check {KNOB}. {WAY_OUT}",
            ) from err


def is_on_network(path: Path, *, mounts: str | None = None) -> bool:
    """Say whether a folder lies on a network file system, where SQLite's WAL does not work.

    `mounts` is the text of /proc/self/mounts; where there is none the answer is no.
    """
    if mounts is None:
        table = Path("/proc/self/mounts")
        mounts = table.read_text() if table.exists() else ""
    found, longest = "", -1
    for line in mounts.splitlines():
        _, point, kind, *_ = line.split(" ")
        folder = point.replace("\\040", " ")
        if path.is_relative_to(folder) and len(folder) > longest:
            found, longest = kind, len(folder)
    return found in NETWORK_FILE_SYSTEMS


def _default_url() -> str:
    path = settings.state_file().absolute()
    make_private_folder(path.parent, knob="CONDUIT_DATA_DIR")
    return f"sqlite:///{path}"


@functools.lru_cache(maxsize=16)  # it holds no connection; the queries that it compiled are kept
def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        if parsed.drivername == "postgresql":
            parsed = parsed.set(drivername="postgresql+psycopg")
        engine = create_engine(parsed, poolclass=NullPool)
    except (UrlError, NoSuchModuleError) as err:
        raise ArgumentError(
            f"{KNOB} is not the address of a database that Conduit knows.",
            param=KNOB,
            hint="Write it like sqlite:////folder/state.sqlite3 or postgresql://user@host/name.",
        ) from err
    except ModuleNotFoundError as err:
        raise MissingExtraError(
            f"The database of {KNOB} needs a package that is not installed ({err.name}).",
            hint="For PostgreSQL: pip install 'conduit-nb[postgres]'.",
        ) from err
    if parsed.get_backend_name() == "sqlite":
        _prepare_sqlite(engine, _busy_timeout_ms(parsed.query.get("timeout")))
    return engine


# A child that is forked while another thread makes the first connection would find its lock locked.
os.register_at_fork(after_in_child=_engine.cache_clear)


def _busy_timeout_ms(seconds: object) -> int:
    """Return how long a write waits for another: `?timeout=` of the address, as SQLite has it."""
    try:
        return round(float(seconds) * 1000) if isinstance(seconds, str) else BUSY_TIMEOUT_MS
    except (ValueError, OverflowError):
        return BUSY_TIMEOUT_MS


def _sqlite_file(engine: Engine) -> Path | None:
    name = engine.url.database
    return Path(name) if name and engine.dialect.name == "sqlite" else None


def _make_private_file(engine: Engine) -> None:
    path = _sqlite_file(engine)
    if path is not None and not path.exists():
        try:
            os.close(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600))
        except OSError as err:
            raise StorageError(
                f"{path} cannot be made ({err.strerror}).",
                hint=f"Make its folder writable, or set {KNOB} or CONDUIT_DATA_DIR. {WAY_OUT}",
            ) from err


def _prepare_sqlite(engine: Engine, busy_timeout_ms: int) -> None:
    path = _sqlite_file(engine)
    journal = "DELETE" if path is not None and is_on_network(path.absolute()) else "WAL"

    def connected(connection: Any, _record: object) -> None:
        connection.isolation_level = None  # SQLAlchemy begins, and as below
        for pragma in (
            f"busy_timeout={busy_timeout_ms}",
            f"journal_mode={journal}",
            "synchronous=FULL",  # what is written before a call that bills is on the disk
        ):
            connection.execute(f"PRAGMA {pragma}")

    def begin(connection: Connection) -> None:
        # Who only reads sees the last whole state at once, however long somebody writes.
        is_writing = connection.get_execution_options().get(_WRITES, False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_writing else "BEGIN")

    event.listen(engine, "connect", connected)
    event.listen(engine, "begin", begin)


def _insert(connection: Connection, table: Table, record: AnyRecord) -> AnyRecord:
    connection.execute(insert(table), [{**_to_row(record), "is_live": record.is_live}])
    return record


def _update(
    connection: Connection, table: Table, record: AnyRecord, changes: Mapping[str, Any]
) -> AnyRecord:
    changed = replace(record, **changes)
    key = next(iter(table.primary_key))
    row = {**_to_row(changed), "is_live": changed.is_live}
    identity = row.pop(key.name)
    wanted = update(table).where(key == identity, table.c.revision == record.revision).values(row)
    if connection.execute(wanted).rowcount != 1:
        raise StateConflictError(
            f"Another client has changed {identity} meanwhile.", hint="Look again, and try again."
        )
    return changed


def _begin_charge(
    connection: Connection, node: NodeRecord, state: ChargeState, at: datetime
) -> None:
    begun = Charge(
        node=node.name,
        deployment=node.deployment,
        state=state,
        usd_per_hour=node.usd_per_hour if state == "running" else node.stopped_usd_per_hour,
        begin=at,
    )
    connection.execute(insert(CHARGES), [_to_row(begun)])


def _end_charge(connection: Connection, node: str, at: datetime, billed_usd: float | None) -> None:
    ended = update(CHARGES).where(CHARGES.c.node == node, CHARGES.c.end.is_(None))
    connection.execute(ended.values(end=at.timestamp(), billed_usd=billed_usd))


def _version(connection: Connection) -> int:
    """Return the number of migrations that the database has had, 0 for an empty one."""
    return _meta(connection, "version") if inspect(connection).has_table(META.name) else 0


def _meta(connection: Connection, name: str) -> int:
    return int(connection.execute(select(META.c.value).where(META.c.name == name)).scalar() or 0)


def _to_row(record: DeploymentRecord | NodeRecord | Charge) -> dict[str, Any]:
    return {one.name: _column(getattr(record, one.name)) for one in fields(record)}


def _column(value: object) -> object:
    if isinstance(value, datetime):
        return value.timestamp()
    return value.to_json() if isinstance(value, DeploymentRequest) else value


def _record(kind: type[AnyRecord], row: RowMapping) -> AnyRecord:
    return kind(**_values(row, (one.name for one in fields(kind))))


def _charge(row: RowMapping) -> Charge:
    return Charge(**_values(row, (one.name for one in fields(Charge))))


def _values(row: RowMapping, names: Iterable[str]) -> dict[str, Any]:
    return {name: _value(row, name) for name in names}


def _value(row: RowMapping, name: str) -> Any:
    if name in _MOMENTS and row[name] is not None:
        return datetime.fromtimestamp(row[name], UTC)
    return _request(row) if name == "request" else row[name]


def _request(row: RowMapping) -> DeploymentRequest:
    """Return what was asked for; where this Conduit cannot read all of it, what the row says."""
    try:
        return DeploymentRequest.from_json(row["request"])
    except (ArgumentError, ValueError, KeyError, TypeError):  # a plugin that is gone, a newer state
        return DeploymentRequest(runtime=row["runtime"], provider=row["provider"], image="unknown")
