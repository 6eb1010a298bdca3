"""notebook/offerings_line.py: `%conduit offerings`, as a user writes it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from conduit_nb import session as session_module
from conduit_nb.errors import ArgumentError
from conduit_nb.notebook.offerings_line import live_offerings
from conduit_nb.notebook.panels.offering_table import LiveOfferings
from conduit_nb.notebook.planning import offerings
from conduit_nb.session import Session
from conduit_nb.testing.runpod_server import RunpodServer, runpod_server
from tests.notebook.conftest import Cells
from tests.notebook.panels.views import listening, say
from tests.plans.model_folders import config_folder


@pytest.fixture
def cloud(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[RunpodServer]:
    """A Runpod of our own; the price lists are nowhere, and none of an earlier day is kept."""
    with runpod_server() as cloud:
        for name, value in cloud.environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("CONDUIT_GPUHUNT_URL", "http://127.0.0.1:9/v3")
        monkeypatch.setenv("CONDUIT_CACHE_DIR", str(tmp_path / "cache"))
        yield cloud


def test_offerings_of_every_source_stand_in_one_table(cells: Cells, cloud: RunpodServer):
    view = cells.run("%conduit offerings")

    providers = {offering.provider for offering in view.ranked}
    assert {"local", "runpod"} <= providers
    assert any("gpuhunt" in str(failure) for failure in view.failures)
    assert "Missing: gpuhunt" in repr(view)


def test_only_who_presses_refresh_asks_a_provider_within_the_minute(
    cells: Cells, cloud: RunpodServer, monkeypatch: pytest.MonkeyPatch
):
    session = Session()
    monkeypatch.setattr(session_module, "_made", lambda: session)
    options = {"providers": ("runpod",)}
    with listening(monkeypatch) as view:
        live = live_offerings(offerings(**options), options)
        assert isinstance(live, LiveOfferings)
        once = len(cloud.exchanges)
        offerings(**options)
        assert len(cloud.exchanges) == once > 0

        say(live.table, kind="refresh")
        view.await_("table")
        assert len(cloud.exchanges) == 2 * once
        live.table.close()
    session.close()


def test_offerings_for_a_model_are_ranked_and_explained(
    cells: Cells, cloud: RunpodServer, tmp_path: Path
):
    llama = config_folder(tmp_path, "Llama-3.1-8B-Instruct")

    view = cells.run(
        f"%conduit offerings --for {llama} --runtime sglang --max-model-len 8192 --providers runpod"
        " --no-interruptible --single-device --objective usd_per_hour --why"
    )

    prices = [offering.usd_per_hour for offering in view.ranked]
    assert prices == sorted(prices)
    assert all(offering.count == 1 for offering in view.ranked)
    assert view.best.total_gib > 20
    frame = view.why()
    assert set(frame[frame["rank"].isna()]["why_not"]) >= {"sold out"}
    assert "Left out" in repr(view)


def test_a_table_that_asks_for_prices_again_reads_no_model_again(
    cloud: RunpodServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
):
    llama = config_folder(tmp_path, "Llama-3.1-8B-Instruct")
    session = Session()
    monkeypatch.setattr(session_module, "_made", lambda: session)
    options = {"providers": ("runpod",), "models": (str(llama),)}
    with listening(monkeypatch) as view:
        live = live_offerings(offerings(**options), options)
        assert isinstance(live, LiveOfferings)
        shutil.rmtree(llama)

        say(live.table, kind="refresh")

        assert view.await_("table")["rows"]
        live.table.close()
    session.close()


def test_a_gpu_and_a_price_limit_what_is_shown(cells: Cells, cloud: RunpodServer):
    cells.run("%conduit offerings --gpu 'RTX 4090' --max-usd-per-hour 0.7 --json")

    document = json.loads(cells.stdout)
    assert {one["accelerator"] for one in document["offerings"]} == {"RTX 4090"}
    assert max(one["usd_per_hour"] for one in document["offerings"]) <= 0.7
    assert document["reason_counts"]["price"] > 0


@pytest.mark.parametrize(
    ("line", "param", "fact"),
    [
        ("offerings --min-availability lots", "min_availability", "lots"),
        ("offerings --max-usd-per-hour -1", "max_usd_per_hour", "-1"),
        ("offerings --providers runpodd", "providers", "runpodd"),
        ("offerings --tensor-parallel 2", "tensor_parallel", ""),
        ("offerings --timeout-s 0", "timeout_s", "0"),
        ("offerings --regions ,", "regions", ""),
    ],
)
def test_a_mistake_is_an_error_of_two_lines(cells: Cells, line: str, param: str, fact: str):
    error = cells.fail(f"%conduit {line}", ArgumentError)

    assert error.param == param
    assert fact in str(error)
    assert len(error._render_traceback_()) == 2
