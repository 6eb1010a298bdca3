from __future__ import annotations

import json
from typing import Any

import pytest

from conduit_nb.blocks.records import (
    CommandResult,
    FileReadResult,
    FileWriteResult,
    HttpResult,
    SqlResult,
)
from conduit_nb.schemas import decode, encode, schema_of

RESULTS: list[Any] = [
    CommandResult(
        success=False,
        command="ls",
        return_code=None,
        stdout="",
        stderr="",
        reason="not done after 5 s",
        syntax_ok=True,
    ),
    HttpResult(success=True, status_code=200, data="hello", reason=None),
    FileReadResult(success=False, error_code="ENOENT", data="", reason="gone", path="/a"),
    FileWriteResult(
        success=True, error_code=None, data="YQ==", reason=None, path="/a", is_base64=True
    ),
    SqlResult(success=True, reason=None, rows=[{"a": 1, "b": 1.5, "c": "x", "d": b"x", "e": None}]),
]


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_every_result_is_a_schema_and_survives_json(result: Any):
    assert decode(encode(result), type(result)) == result
    assert json.loads(encode(result))["success"] is result.success


@pytest.mark.parametrize("result", RESULTS, ids=lambda result: type(result).__name__)
def test_no_result_can_be_changed(result: Any):
    with pytest.raises(AttributeError):
        result.success = True


@pytest.mark.parametrize("cls", [CommandResult, HttpResult, FileReadResult, FileWriteResult])
def test_a_model_can_read_and_write_every_result_but_rows(cls: type):
    schema_of(cls).require_model_output()

    assert len(schema_of(cls).instruction) < 40, "a model reads the docstring each time"


def test_content_is_the_bytes_of_the_data_in_either_mode():
    options: dict[str, Any] = {"success": True, "error_code": None, "reason": None, "path": "/a"}

    assert FileReadResult(data="ü", **options).content() == "ü".encode()
    assert FileReadResult(data="AP8=", is_base64=True, **options).content() == b"\x00\xff"
