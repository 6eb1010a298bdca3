"""runs/receipts.py: what a run was and cost, kept and read again."""

from __future__ import annotations

import dataclasses
import json
import stat
from dataclasses import dataclass
from pathlib import Path

import pytest

from conduit_nb.errors import StorageError
from conduit_nb.runs.receipts import (
    FILE_NAME,
    KEPT,
    MAX_RECEIPT_BYTES,
    MIME,
    Receipt,
    keep_receipt,
    read_notebook,
    read_receipts,
    schema_hash,
    to_receipt,
)
from conduit_nb.schemas import schema_of

ONE = Receipt(
    title="Row -> Verdict",
    model="m/one",
    rows=3,
    done=3,
    failed=1,
    prompt_tokens=30,
    completion_tokens=9,
    seconds=1.5,
    started_at="2026-11-27T14:00:00+00:00",
    schema_hash="0123456789abcdef",
    device="L4",
    usd=0.01,
)


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CONDUIT_STATE_DIR", str(tmp_path / "state"))
    return tmp_path / "state"


def test_receipts_are_kept_in_order_for_their_user_only(state: Path):
    two = dataclasses.replace(ONE, model="m/two", is_stopped=True)
    keep_receipt(ONE)
    keep_receipt(two)

    assert read_receipts() == [ONE, two]
    assert stat.S_IMODE((state / FILE_NAME).stat().st_mode) == 0o600


def test_the_oldest_go_in_time(state: Path):
    keep_receipt(ONE)
    line = (state / FILE_NAME).read_text()
    too_many = 2 + KEPT * MAX_RECEIPT_BYTES // len(line)
    (state / FILE_NAME).write_text(line * too_many)

    keep_receipt(dataclasses.replace(ONE, model="m/new"))

    assert len(read_receipts()) == KEPT
    assert read_receipts()[-1].model == "m/new"


def test_a_broken_line_costs_only_itself(state: Path):
    keep_receipt(ONE)
    with (state / FILE_NAME).open("ab") as file:
        file.write(b'{"title": "cut\n[1]\n\xff\n{"title": 1}\n')
    keep_receipt(ONE)

    assert read_receipts() == [ONE, ONE]


def test_what_a_later_conduit_adds_is_ignored_and_wrong_kinds_are_refused():
    stored = dataclasses.asdict(ONE)

    assert to_receipt({**stored, "mood": "new"}) == ONE
    assert to_receipt({**stored, "usd": "<b>"}) is None
    assert to_receipt({**stored, "rows": None}) is None
    assert to_receipt([stored]) is None


def test_a_notebook_is_read_without_a_kernel(tmp_path: Path):
    stored = dataclasses.asdict(ONE)
    output = {"output_type": "display_data", "data": {MIME: stored, "text/plain": "x"}}
    cells = [{"cell_type": "code", "outputs": [output, {"text": "no"}]}, {"cell_type": "markdown"}]
    path = tmp_path / "a.ipynb"
    path.write_text(json.dumps({"cells": cells}))

    assert read_notebook(path) == [ONE]


def test_a_file_that_is_not_a_notebook_is_refused_by_name(tmp_path: Path):
    (tmp_path / "a.ipynb").write_text("{")

    with pytest.raises(StorageError, match=r"a\.ipynb") as caught:
        read_notebook(tmp_path / "a.ipynb")

    assert isinstance(caught.value.__cause__, ValueError)


def test_a_schema_has_the_hash_of_what_the_model_is_held_to():
    @dataclass
    class Verdict:
        """Say how it feels."""

        mood: str

    @dataclass
    class Other:
        """Say how it feels."""

        mood: int

    assert len(schema_hash(schema_of(Verdict))) == 16
    assert schema_hash(schema_of(Verdict)) == schema_hash(schema_of(Verdict))
    assert schema_hash(schema_of(Other)) != schema_hash(schema_of(Verdict))
