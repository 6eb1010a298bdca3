"""state/store.py: the same on SQLite and on a real PostgreSQL, for any number of clients."""

from __future__ import annotations

import errno
import os
import re
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import create_engine, text

from conduit_nb import settings
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.errors import ArgumentError, MissingExtraError, StateConflictError, StorageError
from conduit_nb.state.records import DeploymentRecord
from conduit_nb.state.store import Store, is_on_network
from tests.state.postgres_server import postgres_server
from tests.state.stores import NOW, deployment, node

HAMMERS = """
import sys
from conduit_nb.errors import StateConflictError
from conduit_nb.state.store import Store
from tests.state.stores import deployment, node
store, who = Store(sys.argv[1]), sys.argv[2]
try:
    store.insert_deployment(deployment(id=f"dep{who}", key="shared"))
    print("first", flush=True)
except StateConflictError:
    print("second", flush=True)
for _ in range(25):
    while True:
        record = store.deployment("dep00001")
        try:
            store.update_deployment(record, wanted_replicas=record.wanted_replicas + 1)
            break
        except StateConflictError:
            continue
"""
WRITES = """
import sys
from dataclasses import replace
from conduit_nb.state.store import Store
from tests.state.stores import NOW, node
store = Store(sys.argv[1])
print("begin", flush=True)
for number in range(10**6):
    made = store.insert_node(node(name=f"n{number}", replica=number))
    made = store.update_node(made, status="running", charge="running", at=NOW)
"""


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    with postgres_server() as url:
        yield url


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.needs("postgresql"))])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'state.sqlite3'}"
    server: str = request.getfixturevalue("postgres")
    engine = create_engine(server.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        for table in ("conduit_meta", "conduit_deployments", "conduit_nodes", "conduit_charges"):
            connection.execute(text(f"DROP TABLE IF EXISTS {table}"))
    engine.dispose()
    return server


@pytest.fixture
def store(url: str) -> Store:
    return Store(url)


def test_records_are_read_as_they_were_written(store: Store):
    made = store.insert_deployment(deployment())
    begun = store.insert_node(node())

    assert store.deployment("dep00001") == made
    assert store.node(begun.name) == begun
    assert store.deployments() == [made]
    assert store.deployments("another") == []
    assert store.nodes("dep00001") == [begun]
    assert store.last_attempt("dep00001") == 1
    assert store.last_attempt("none") == 0


def test_one_live_deployment_has_a_key_and_an_ended_one_frees_it(store: Store):
    first = store.insert_deployment(deployment())
    with pytest.raises(StateConflictError):
        store.insert_deployment(deployment(id="dep00002"))
    store.insert_deployment(deployment(id="dep00003", installation="i2"))
    store.update_deployment(first, status="terminated", ended_at=NOW)

    second = store.insert_deployment(deployment(id="dep00002"))

    assert store.deployments("i1") == [second]
    assert len(store.deployments("i1", live_only=False)) == 2


def test_one_live_node_has_a_replica(store: Store):
    first = store.insert_node(node())
    with pytest.raises(StateConflictError):
        store.insert_node(node(name="another", attempt=2))
    store.update_node(first, status="failed", ended_at=NOW)

    assert store.insert_node(node(name="another", attempt=2)).is_live


def test_a_record_is_changed_only_as_it_was_read(store: Store):
    read = store.insert_deployment(deployment())
    changed = store.update_deployment(read, status="running")
    with pytest.raises(StateConflictError, match="dep00001"):
        store.update_deployment(read, status="failed")

    assert store.deployment("dep00001") == changed
    assert changed.revision > read.revision


def test_a_change_that_failed_left_nothing(store: Store):
    made = store.insert_node(node())
    stale = replace(made, revision=made.revision - 1)
    before = store.revision()
    with pytest.raises(StateConflictError):
        store.update_node(stale, status="running", charge="running", at=NOW)

    assert store.charges() == []
    assert store.revision() == before


def test_what_a_node_is_charged_changes_with_its_state(store: Store):
    made = store.insert_node(node())
    running = store.update_node(made, status="booting", charge="running", at=NOW)
    hour, day = NOW + timedelta(hours=1), NOW + timedelta(days=1)
    stopped = store.update_node(running, status="stopped", charge="stopped", at=hour)
    store.update_node(stopped, status="terminated", end_charge=True, at=day, billed_usd=0.7)

    first, second = store.charges("dep00001")
    assert (first.state, first.usd_per_hour, first.begin, first.end) == ("running", 0.5, NOW, hour)
    assert (second.state, second.usd_per_hour, second.end) == ("stopped", 0.01, day)
    assert second.billed_usd == 0.7
    assert store.charges(since=hour) == [second]


def test_changes_are_told_from_a_revision_on(store: Store):
    made = store.insert_deployment(deployment())
    begun = store.insert_node(node())
    before = store.revision()
    changed = store.update_node(begun, status="booting")

    changes = store.changes_since(before)

    assert changes.deployments == ()
    assert changes.nodes == (changed,)
    assert changes.revision == changed.revision
    assert store.changes_since(0).deployments == (made,)
    assert not store.changes_since(changes.revision).nodes


def test_processes_at_once_lose_no_update_and_make_one_deployment(store: Store, url: str):
    store.insert_deployment(deployment())
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", HAMMERS, url, str(number)], stdout=subprocess.PIPE, text=True
        )
        for number in range(3)
    ]
    said = [process.communicate(timeout=120)[0].strip() for process in processes]

    assert [process.returncode for process in processes] == [0, 0, 0]
    assert sorted(said) == ["first", "second", "second"]
    found = store.deployment("dep00001")
    assert found is not None
    assert found.wanted_replicas == 1 + 3 * 25


def test_threads_of_one_store_lose_no_update(store: Store):
    store.insert_deployment(deployment())

    def add() -> None:
        for _ in range(10):
            while True:
                record = store.deployment("dep00001")
                assert isinstance(record, DeploymentRecord)
                try:
                    store.update_deployment(record, wanted_replicas=record.wanted_replicas + 1)
                    break
                except StateConflictError:
                    continue

    threads = [threading.Thread(target=add) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    found = store.deployment("dep00001")
    assert found is not None
    assert found.wanted_replicas == 41


def test_a_process_killed_while_it_writes_leaves_a_state_that_reads(store: Store, url: str):
    with subprocess.Popen(
        [sys.executable, "-c", WRITES, url], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "begin\n"
        while len(store.nodes()) < 20:
            pass
        process.send_signal(signal.SIGKILL)
    nodes = store.nodes()

    charged = [charge.node for charge in store.charges()]
    assert {one.name for one in nodes if one.status == "running"} == set(charged)
    assert len(charged) == len(set(charged))
    store.insert_node(node(name="after", replica=10**7))


@pytest.mark.parametrize("stored", ['{"rack_colour": "red"}', "no JSON", '{"provider": "gone!"'])
def test_a_request_that_cannot_be_read_is_what_its_row_says(store: Store, url: str, stored: str):
    store.insert_deployment(deployment())
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE conduit_deployments SET request = :it"), {"it": stored})
    engine.dispose()

    [found] = store.deployments()

    assert (found.request.runtime, found.request.provider) == ("vllm", "runpod")
    assert (
        found.request.identity() != DeploymentRequest(runtime="vllm", provider="runpod").identity()
    )


def test_a_state_of_a_newer_conduit_is_read_and_not_written(store: Store, url: str):
    made = store.insert_deployment(deployment())
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("UPDATE conduit_meta SET value = 99 WHERE name = 'version'"))
    engine.dispose()
    newer = Store(url)

    assert newer.deployments() == [made]
    with pytest.raises(StorageError) as caught:
        newer.update_deployment(made, status="running")
    assert re.search(r"\bconduit-nb\b.*CONDUIT_DB_URI", caught.value.hint)


def test_a_state_of_an_older_conduit_becomes_one_of_ours(store: Store, url: str):
    made = store.insert_node(node(), charge="running")
    engine = create_engine(url.replace("postgresql:", "postgresql+psycopg:"))
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE conduit_charges DROP COLUMN twin"))
        connection.execute(text("UPDATE conduit_meta SET value = 2 WHERE name = 'version'"))
    engine.dispose()

    for _ in range(2):
        later = Store(url)
        later.charge_twin(made, "pod2", made.created_at + timedelta(hours=1), 0.5)

    own, twin = later.charges()
    assert (own.twin, own.end) == (None, None)
    assert (twin.twin, twin.begin, twin.usd_per_hour) == ("pod2", made.created_at, 0.5)
    assert twin.end == made.created_at + timedelta(hours=1)


class TestSqlite:
    def test_the_file_is_ours_alone_and_in_the_data_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ):
        monkeypatch.setenv("CONDUIT_DATA_DIR", str(tmp_path / "data"))
        monkeypatch.delenv("CONDUIT_DB_URI", raising=False)
        Store().insert_deployment(deployment())

        (file,) = (tmp_path / "data").glob("*.sqlite3")
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        with sqlite3.connect(file) as connection:
            assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        connection.close()

    def test_a_file_that_is_no_database_is_told(self, tmp_path: Path):
        (tmp_path / "x").write_bytes(b"no database at all, " * 100)
        with pytest.raises(StorageError, match=r"/x\b.*\bDatabaseError\b") as caught:
            Store(f"sqlite:///{tmp_path / 'x'}")

        assert "CONDUIT_DB_URI" in caught.value.hint

    def test_a_folder_that_is_not_there_is_told(self, tmp_path: Path):
        why = os.strerror(errno.ENOENT)
        with pytest.raises(StorageError, match=rf"none/x\b.*{why}"):
            Store(f"sqlite:///{tmp_path / 'none' / 'x'}")

    def test_wal_is_for_local_disks(self):
        mounts = (
            "/dev/sda1 / ext4 rw 0 0\nserver:/home /home nfs4 rw 0 0\n"
            "tmpfs /home/me/fast tmpfs rw 0 0\nx /my\\040disk cifs rw 0 0\n"
        )

        assert is_on_network(Path("/home/me/data"), mounts=mounts)
        assert is_on_network(Path("/my disk/data"), mounts=mounts)
        assert not is_on_network(Path("/home/me/fast/data"), mounts=mounts)
        assert not is_on_network(Path("/var/lib"), mounts=mounts)
        assert not is_on_network(Path("/homes"), mounts=mounts)


def test_who_reads_waits_for_nobody_who_writes(tmp_path: Path):
    url = f"sqlite:///{tmp_path / 'state.sqlite3'}"
    store = Store(url)
    store.insert_deployment(deployment())
    with closing(sqlite3.connect(tmp_path / "state.sqlite3", isolation_level=None)) as writer:
        writer.execute("BEGIN IMMEDIATE")
        began = time.monotonic()

        found = Store(url).deployments()
        found += store.deployments()

        assert time.monotonic() - began < 5, "it waited for the writer"
        writer.execute("ROLLBACK")
    assert [one.id for one in found] == [deployment().id] * 2


@pytest.mark.parametrize("url", ["no address", "oracle+nothing://x"])
def test_an_address_that_names_no_database_is_an_error_that_names_the_variable(url: str):
    with pytest.raises(ArgumentError) as caught:
        Store(url)

    assert caught.value.param == "CONDUIT_DB_URI"


def test_a_database_whose_driver_is_not_installed_is_an_error_that_names_the_variable():
    with pytest.raises(MissingExtraError, match=r"CONDUIT_DB_URI.*\bMySQLdb\b") as caught:
        Store("mysql://u@h/d")

    assert "pip install" in caught.value.hint


def test_a_password_in_the_address_is_never_told(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("CONDUIT_DB_URI", "postgresql://me:s3cret@127.0.0.1:1/x?connect_timeout=2")
    assert settings.db_uri() is not None
    with pytest.raises(StorageError) as caught:
        Store()

    assert "s3cret" not in repr(caught.value) + caught.value.hint
    assert caught.value.__cause__ is None


def test_libraries_of_databases_are_loaded_by_the_store_alone():
    code = (
        "import sys; import conduit_nb.state.records, conduit_nb.state.ledger,"
        " conduit_nb.state.summary; assert 'sqlalchemy' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], env={**os.environ})

    assert done.returncode == 0
