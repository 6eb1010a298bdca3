"""gpuhunt's price lists: read as it publishes them, kept, their age said.

What is served here was read by gpuhunt 0.1.34 itself as well (`GPUHUNT_CATALOG_URL`). It is no
dependency, not even of the tests: its wheel holds a package `tests` that would hide this one.
"""

from __future__ import annotations

import csv
import io
import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest

from conduit_nb import settings
from conduit_nb.compute.constraints import PRICED_PROVIDERS
from conduit_nb.errors import ProviderFailedError
from conduit_nb.providers.gpuhunt import CLOUDS, Gpuhunt

COLUMNS = [
    *("instance_name", "location", "price", "cpu", "memory", "gpu_count", "gpu_name", "gpu_memory"),
    *("spot", "disk_size", "gpu_vendor", "flags", "cpu_arch", "provider_data"),
]
A10G = ["g5.12xlarge", "eu-west-1", "5.67", "48", "192.0", "4", "A10G", "24.0", "False"]
REST = ["", "nvidia", "", "x86", "{}"]
ROWS = {
    "aws": [
        [*A10G, *REST],
        [*A10G[:2], "1.91", *A10G[3:8], "True", *REST],
        ["m5.large", "eu-west-1", "0.1", "2", "8.0", "0", "", "", "False", "", "", "", "x86", "{}"],
    ],
    "gcp": [
        [
            "a3-highgpu-8g",
            "us-central1",
            "88.25",
            "208",
            "1872",
            "8",
            "H100",
            "80.0",
            "False",
            *REST,
        ],
    ],
}


@dataclass
class Lists:
    """What is published, and what was asked for."""

    url: str = ""
    version: str = "20261121-77"
    zips: dict[str, bytes] = field(default_factory=dict[str, bytes])
    asked: list[str] = field(default_factory=list[str])


def zipped(cloud: str, rows: list[list[str]]) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows([COLUMNS, *rows])
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr(f"{cloud}.csv", text.getvalue())
    return content.getvalue()


@contextmanager
def served(lists: Lists) -> Iterator[Lists]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            lists.asked.append(self.path)
            cloud, _, what = self.path.strip("/").partition("/")
            content = lists.zips.get(cloud)
            if content is not None and what == "version":
                content = f"{lists.version}\n".encode()
            elif what != f"{lists.version}/catalog.zip":
                content = None
            self.send_response(404 if content is None else 200)
            self.end_headers()
            self.wfile.write(content or b"<Error>NoSuchKey</Error>")

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    lists.url = f"http://127.0.0.1:{server.server_port}"
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield lists
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture
def lists() -> Iterator[Lists]:
    with served(Lists(zips={cloud: zipped(cloud, rows) for cloud, rows in ROWS.items()})) as found:
        yield found


def source(lists: Lists, folder: Path, *clouds: str) -> Gpuhunt:
    return Gpuhunt(lists.url, clouds=clouds or ("aws", "gcp"), cache_dir=lambda: folder)


async def test_every_instance_with_accelerators_is_offered(lists: Lists, tmp_path: Path):
    listing = await source(lists, tmp_path).offerings()

    assert [(one.provider, one.id) for one in listing.offerings] == [
        ("aws", "g5.12xlarge, eu-west-1"),
        ("aws", "g5.12xlarge, spot, eu-west-1"),
        ("gcp", "a3-highgpu-8g, us-central1"),
    ]
    assert listing.problems == ()


async def test_an_offering_says_price_age_terms_and_real_memory(lists: Lists, tmp_path: Path):
    listing = await source(lists, tmp_path).offerings()

    normal, spot, h100 = listing.offerings
    assert (normal.usd_per_hour, spot.usd_per_hour) == (5.67, 1.91)
    assert (normal.interruptible, spot.interruptible) == (False, True)
    assert (normal.count, normal.vcpus) == (4, 48)
    assert normal.price_as_of == datetime(2026, 11, 21, tzinfo=UTC)
    assert (normal.availability, normal.availability_as_of) == ("unknown", None)
    assert (normal.launchable, normal.enterprise, normal.region) == (False, True, "eu-west-1")
    assert h100.accelerator == "H100"
    assert h100.hardware.accelerator is not None
    assert h100.memory_gib == pytest.approx(79.19)
    assert h100.metadata["version"] == "20261121-77"


async def test_a_list_is_fetched_once_for_each_version(lists: Lists, tmp_path: Path):
    for _ in range(2):
        await source(lists, tmp_path, "aws").offerings()
    lists.version = "20261122-1"
    listing = await source(lists, tmp_path, "aws").offerings()

    assert lists.asked == [
        "/aws/version",
        "/aws/20261121-77/catalog.zip",
        "/aws/version",
        "/aws/version",
        "/aws/20261122-1/catalog.zip",
    ]
    assert listing.offerings[0].price_as_of == datetime(2026, 11, 22, tzinfo=UTC)
    assert [path.name for path in (tmp_path / "gpuhunt").iterdir()] == ["aws.20261122-1.zip"]


async def test_where_the_newest_cannot_be_had_the_kept_one_is_used_and_its_day_said(
    lists: Lists, tmp_path: Path
):
    before = await source(lists, tmp_path, "aws").offerings()
    lists.zips.clear()

    listing = await source(lists, tmp_path, "aws").offerings()

    assert listing.offerings == before.offerings
    [problem] = listing.problems
    assert re.search(r"\baws\b.*\b20261121\b", str(problem))


async def test_a_cloud_whose_list_is_missing_takes_nothing_from_the_others(
    lists: Lists, tmp_path: Path
):
    listing = await source(lists, tmp_path, "azure", "gcp").offerings()

    assert [one.provider for one in listing.offerings] == ["gcp"]
    [problem] = listing.problems
    assert "azure" in str(problem)
    assert problem.hint


async def test_lists_that_are_all_away_are_one_failure(tmp_path: Path):
    with served(Lists()) as lists:
        pass

    with pytest.raises(ProviderFailedError, match=r"\b8\b") as raised:
        await Gpuhunt(lists.url, cache_dir=lambda: tmp_path).offerings()

    assert lists.url in str(raised.value)


async def test_rows_that_say_too_little_are_counted_and_named(lists: Lists, tmp_path: Path):
    tpu = [
        "v5e",
        "us-west4",
        "1.2",
        "24",
        "48",
        "1",
        "v5e",
        "",
        "False",
        "",
        "google",
        "",
        "x86",
        "",
    ]
    free = [*A10G[:2], "0", *A10G[3:], *REST]
    lists.zips["gcp"] = zipped("gcp", [*ROWS["gcp"], tpu, free, ["short"]])

    listing = await source(lists, tmp_path, "gcp").offerings()

    assert len(listing.offerings) == 1
    [problem] = listing.problems
    assert re.search(r"\b3\b.*\bv5e \(", str(problem))


@pytest.mark.parametrize(
    "content",
    [b"no zip", zipped("azure", []), b"PK\x05\x06" + 18 * b"\0"],
    ids=["no zip", "another cloud's", "empty"],
)
async def test_a_list_that_is_no_zipped_csv_is_named(lists: Lists, tmp_path: Path, content: bytes):
    lists.zips["aws"] = content

    with pytest.raises(ProviderFailedError, match=r"\baws\b.*\bCSV\b") as caught:
        await source(lists, tmp_path, "aws").offerings()

    assert "CONDUIT_GPUHUNT_URL" in caught.value.hint
    listing = await source(lists, tmp_path).offerings()
    assert [one.provider for one in listing.offerings] == ["gcp"]


@pytest.mark.parametrize("version", ["", "../../etc", "a" * 50, "<html>"])
async def test_a_version_that_is_none_is_not_followed(lists: Lists, tmp_path: Path, version: str):
    lists.version = version

    with pytest.raises(ProviderFailedError, match=r"\baws\b") as caught:
        await source(lists, tmp_path, "aws").offerings()

    assert caught.value.status is None
    assert "CONDUIT_GPUHUNT_URL" in caught.value.hint
    assert lists.asked == ["/aws/version"]


async def test_an_age_that_nobody_tells_is_not_made_up(lists: Lists, tmp_path: Path):
    lists.version = "latest"

    listing = await source(lists, tmp_path, "aws").offerings()

    assert listing.offerings[0].price_as_of is None


async def test_its_address_is_a_setting(
    lists: Lists, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("CONDUIT_GPUHUNT_URL", f"{lists.url}/")
    monkeypatch.setenv("CONDUIT_CACHE_DIR", str(tmp_path))

    assert settings.gpuhunt_url() == lists.url
    assert (await Gpuhunt(clouds=["gcp"]).offerings()).offerings


def test_every_cloud_is_a_provider_that_a_constraint_can_name():
    assert set(CLOUDS) <= set(PRICED_PROVIDERS)
