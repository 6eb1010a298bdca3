from __future__ import annotations

import asyncio
import gc
import re
import sqlite3
import threading
import time
import weakref
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from conduit_nb.blocks.host import use_host
from conduit_nb.blocks.records import SqlResult
from conduit_nb.blocks.sqlite import Sqlite3Block
from conduit_nb.errors import ArgumentError, SchemaError, StorageError
from conduit_nb.schemas import decode, encode
from tests.loop_host import LoopHost

ENDLESS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n"


@dataclass
class Query:
    sql_command: str


def rows(block: Sqlite3Block[Query], sql: str) -> list[dict[str, Any]]:
    result = block(Query(sql_command=sql))
    assert result.success, result.reason
    return [dict(row) for row in result.rows]


def test_rows_come_as_dicts_of_every_kind_of_value(host: LoopHost):
    block = Sqlite3Block(Query)

    result = block(Query(sql_command="SELECT 1 AS a, 1.5 AS b, 'ü' AS c, x'00ff' AS d, NULL AS e"))

    assert result.rows == [{"a": 1, "b": 1.5, "c": "ü", "d": b"\x00\xff", "e": None}]
    assert (result.success, result.reason) == (True, None)
    assert decode(encode(result), SqlResult) == result


def test_a_database_in_memory_lasts_as_long_as_its_block(host: LoopHost):
    block = Sqlite3Block(Query)

    block(Query(sql_command="CREATE TABLE t (a)"))
    block(Query(sql_command="INSERT INTO t VALUES (1)"))

    assert rows(block, "SELECT * FROM t") == [{"a": 1}]
    assert not Sqlite3Block(Query)(Query(sql_command="SELECT * FROM t")).success


def test_a_block_works_from_any_thread(host: LoopHost):
    block = Sqlite3Block(Query)
    block(Query(sql_command="CREATE TABLE t (a)"))

    def insert(number: int) -> None:
        with use_host(host):
            block(Query(sql_command=f"INSERT INTO t VALUES ({number})"))

    threads = [threading.Thread(target=insert, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert rows(block, "SELECT count(*) AS n FROM t") == [{"n": 8}]


def test_what_is_wrong_with_the_sql_is_a_failure(host: LoopHost):
    result = Sqlite3Block(Query)(Query(sql_command="SELECT * FROM nowhere"))

    assert (result.success, result.rows) == (False, [])
    assert result.reason == "no such table: nowhere"


@pytest.mark.parametrize("sql", ["", "  ", "SELECT 'a\0b'", "SELECT 9" + "9" * 400 + "e999"])
def test_odd_sql_is_a_result_and_no_exception(host: LoopHost, sql: str):
    assert isinstance(Sqlite3Block(Query)(Query(sql_command=sql)), SqlResult)


def test_several_statements_run_and_the_last_rows_count(host: LoopHost):
    sql = "CREATE TABLE t (a TEXT); INSERT INTO t VALUES (';'), ('--'); SELECT a FROM t; -- end"

    assert rows(Sqlite3Block(Query), sql) == [{"a": ";"}, {"a": "--"}]


def test_a_trigger_is_one_statement(host: LoopHost):
    block = Sqlite3Block(Query)
    block(
        Query(
            sql_command="CREATE TABLE t (a); CREATE TABLE log (a);"
            "CREATE TRIGGER r AFTER INSERT ON t BEGIN INSERT INTO log VALUES (1); SELECT 2; END;"
            "INSERT INTO t VALUES (5);"
        )
    )

    assert rows(block, "SELECT count(*) AS n FROM log") == [{"n": 1}]


def test_several_statements_are_carried_out_all_or_none(host: LoopHost):
    block = Sqlite3Block(Query)
    block(Query(sql_command="CREATE TABLE t (a)"))

    result = block(Query(sql_command="INSERT INTO t VALUES (1); INSERT INTO nowhere VALUES (2)"))

    assert not result.success
    assert rows(block, "SELECT count(*) AS n FROM t") == [{"n": 0}]


def test_a_transaction_left_open_is_rolled_back_and_said(host: LoopHost):
    block = Sqlite3Block(Query)
    block(Query(sql_command="CREATE TABLE t (a)"))

    result = block(Query(sql_command="BEGIN; INSERT INTO t VALUES (1)"))

    assert "transaction" in (result.reason or "")
    assert rows(block, "SELECT count(*) AS n FROM t") == [{"n": 0}]
    done = block(Query(sql_command="/* mine */ BEGIN; INSERT INTO t VALUES (1); COMMIT"))
    assert done.success


def test_what_cannot_run_in_a_transaction_runs(host: LoopHost, tmp_path: Path):
    block = Sqlite3Block(Query, str(tmp_path / "a.db"))

    assert rows(block, "-- first\nPRAGMA journal_mode=WAL") == [{"journal_mode": "wal"}]
    assert rows(block, "VACUUM;") == []
    block.close()


def test_columns_of_one_name_are_all_kept(host: LoopHost):
    assert rows(Sqlite3Block(Query), "SELECT 1 AS a, 2 AS a, 3 AS a_2") == [
        {"a": 1, "a_2": 2, "a_2_2": 3}
    ]


def test_text_that_is_no_utf8_is_no_error(host: LoopHost):
    assert rows(Sqlite3Block(Query), "SELECT CAST(x'61ff' AS TEXT) AS a") == [{"a": "a\ufffd"}]


def test_more_rows_than_allowed_is_no_success_and_changes_nothing(host: LoopHost):
    block = Sqlite3Block(Query, max_rows=2)
    block(Query(sql_command="CREATE TABLE t (a)"))

    result = block(Query(sql_command="INSERT INTO t VALUES (1), (2), (3) RETURNING a"))

    assert not result.success
    assert "max_rows=2" in (result.reason or "")
    assert rows(block, "SELECT count(*) AS n FROM t") == [{"n": 0}]


def test_a_number_that_json_cannot_hold_is_a_failure(host: LoopHost):
    result = Sqlite3Block(Query)(Query(sql_command="SELECT 9e999 AS a"))

    assert not result.success
    assert "infinite" in (result.reason or "")


def test_a_timeout_ends_the_query_and_the_block_goes_on(host: LoopHost):
    block = Sqlite3Block(Query, timeout_seconds=0.3)
    started = time.monotonic()

    result = block(Query(sql_command=ENDLESS))

    assert time.monotonic() - started < 10
    assert "0.3 s" in (result.reason or "")
    assert rows(block, "SELECT 1 AS a") == [{"a": 1}]


async def test_cancelling_ends_the_query_and_no_other(host: LoopHost):
    with use_host(host):
        block = Sqlite3Block(Query)
        endless = asyncio.create_task(block.run(Query(sql_command=ENDLESS)))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(block.run(Query(sql_command="SELECT 1 AS a")))
        await asyncio.sleep(0.05)

        endless.cancel()
        with pytest.raises(asyncio.CancelledError):
            await endless

        async with asyncio.timeout(10):
            assert (await waiting).rows == [{"a": 1}]


async def test_cancelling_what_still_waits_for_its_turn_keeps_it_from_running(host: LoopHost):
    with use_host(host):
        block = Sqlite3Block(Query)
        await block.run(Query(sql_command="CREATE TABLE t (a)"))
        endless = asyncio.create_task(block.run(Query(sql_command=ENDLESS)))
        waiting = asyncio.create_task(block.run(Query(sql_command="INSERT INTO t VALUES (1)")))
        await asyncio.sleep(0.1)

        waiting.cancel()
        await asyncio.sleep(0)
        endless.cancel()
        await asyncio.gather(endless, waiting, return_exceptions=True)

        assert (await block.run(Query(sql_command="SELECT * FROM t"))).rows == []


@pytest.mark.parametrize("form", ["{}", "sqlite:///{}", "file:{}?mode=rwc"])
def test_a_database_is_named_by_path_or_url(host: LoopHost, tmp_path: Path, form: str):
    path = tmp_path / "a.db"
    block = Sqlite3Block(Query, form.format(path))
    block(Query(sql_command="CREATE TABLE t (a)"))
    block.close()

    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT name FROM sqlite_master").fetchall() == [("t",)]


def test_a_url_without_a_path_is_a_database_in_memory(host: LoopHost):
    assert rows(Sqlite3Block(Query, "sqlite://"), "PRAGMA database_list")[0]["file"] == ""


def test_a_database_of_another_kind_is_refused():
    with pytest.raises(ArgumentError, match="postgresql://host/db") as caught:
        Sqlite3Block(Query, "postgresql://host/db")

    assert caught.value.param == "database_url"


def test_a_database_that_cannot_be_opened_is_said_when_the_block_is_made(tmp_path: Path):
    path = str(tmp_path / "gone" / "a.db")

    with pytest.raises(StorageError, match=re.escape(path)) as caught:
        Sqlite3Block(Query, path)

    assert isinstance(caught.value.__cause__, sqlite3.OperationalError)


def test_a_file_that_is_no_database_is_a_failure(host: LoopHost, tmp_path: Path):
    (tmp_path / "a.db").write_text("no database at all, " * 100)

    result = Sqlite3Block(Query, str(tmp_path / "a.db"))(Query(sql_command="SELECT 1 FROM t"))

    assert "not a database" in (result.reason or "")


def test_the_schema_file_is_run_when_the_block_is_made(host: LoopHost, tmp_path: Path):
    (tmp_path / "schema.sql").write_text("CREATE TABLE t (a); INSERT INTO t VALUES ('x;y');")

    block = Sqlite3Block(Query, schema_file=tmp_path / "schema.sql")

    assert rows(block, "SELECT a FROM t") == [{"a": "x;y"}]


@pytest.mark.parametrize("content", [None, b"\xff\xfe", b"CREATE TABEL t (a)"])
def test_a_schema_file_that_does_not_work_is_said_when_the_block_is_made(
    tmp_path: Path, content: bytes | None
):
    if content is not None:
        (tmp_path / "schema.sql").write_bytes(content)

    with pytest.raises(ArgumentError, match=r"schema\.sql") as caught:
        Sqlite3Block(Query, schema_file=tmp_path / "schema.sql")

    assert caught.value.param == "schema_file"


def test_a_block_that_nobody_has_any_more_closes_its_connection(host: LoopHost):
    block = Sqlite3Block(Query)
    block(Query(sql_command="SELECT 1"))
    gone = weakref.ref(block)

    del block
    gc.collect()

    assert gone() is None  # an unclosed connection would warn, which fails the test


def test_a_closed_block_says_so(host: LoopHost):
    block = Sqlite3Block(Query)
    block.close()
    block.close()

    with pytest.raises(ArgumentError, match="closed"):
        block(Query(sql_command="SELECT 1"))


def test_an_input_without_the_field_is_refused():
    @dataclass
    class Order:
        sql: str

    with pytest.raises(SchemaError, match=r"Order.*'sql_command'") as caught:
        Sqlite3Block(Order)  # type: ignore[type-var]  # the mistake under test

    assert "`sql_command: str`" in caught.value.hint
