"""What instances with accelerators cost at the big clouds: the price lists that gpuhunt publishes.

Each cloud's list is a zipped CSV under a version that begins with its day (`20261123-77`). The
newest is kept in the cache folder; where it cannot be had, the kept one is used and its age said.
Prices only: nothing says what is in stock, and nothing here starts an instance.
Layer 3.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import re
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import cast

from conduit_nb import settings
from conduit_nb.compute.accelerators import GIB_PER_GB
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ConduitError, ProviderFailedError
from conduit_nb.private_files import to_storage_error, write_private_file
from conduit_nb.providers.base import Listing
from conduit_nb.providers.devices import find_device
from conduit_nb.providers.rest import RestClient

# Runpod's list is left out: Runpod itself is asked. Whose list it is, and whether the provider runs
# data centres of its own that are certified (SOC 2, ISO 27001).
CLOUDS: Mapping[str, bool] = {
    "aws": True,
    "azure": True,
    "cloudrift": False,
    "gcp": True,
    "lambdalabs": True,
    "nebius": True,
    "oci": True,
    "verda": True,
}
MOST_BYTES = 2**28  # of one list, unzipped: far above what there is, far below what hurts
ROWS_SHOWN = 3


class Gpuhunt:
    """The published lists of `clouds`; `url` and `cache_dir` are the settings' where not given."""

    name = "gpuhunt"

    def __init__(
        self,
        url: str | None = None,
        *,
        clouds: Sequence[str] = tuple(CLOUDS),
        cache_dir: Callable[[], Path] = settings.cache_dir,
    ) -> None:
        self._url = url
        self._clouds = clouds
        self._cache_dir = cache_dir

    def __repr__(self) -> str:
        return f"Gpuhunt({self._url!r}, clouds={list(self._clouds)})"

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        """Return every instance with accelerators; a cloud whose list is missing is a problem.

        Raises ProviderFailedError where there is no list at all.
        """
        listings = await asyncio.gather(*(self._cloud(cloud, timeout_s) for cloud in self._clouds))
        offerings = tuple(offering for listing in listings for offering in listing.offerings)
        problems = tuple(problem for listing in listings for problem in listing.problems)
        if problems and not offerings:
            raise ProviderFailedError(
                f"None of {len(listings)} price lists can be had: {problems[0]}",
                hint=problems[0].hint,
            )
        return Listing(offerings=offerings, problems=problems)

    async def _cloud(self, cloud: str, timeout_s: float) -> Listing:
        problems: list[ConduitError] = []
        try:
            # The kept list must be read in time as well.
            version, content = await self._newest(cloud, timeout_s * 0.8)
        except ConduitError as err:
            kept = await asyncio.to_thread(self._kept, cloud)
            problems.append(_without_newest(err, kept))
            if kept is None:
                return Listing(offerings=(), problems=tuple(problems))
            version, content = kept
        try:
            listing = await asyncio.to_thread(_read, cloud, version, content)
        except ConduitError as err:
            return Listing(offerings=(), problems=(*problems, err))
        return Listing(offerings=listing.offerings, problems=(*problems, *listing.problems))

    async def _newest(self, cloud: str, timeout_s: float) -> tuple[str, bytes]:
        """Return the version and the zip of the newest list, the kept one where it is that."""
        api = RestClient(self._url or settings.gpuhunt_url(), provider=f"gpuhunt's list of {cloud}")
        answer = await api.send("GET", f"/{cloud}/version", timeout_s=timeout_s)
        version = answer.content.decode(errors="replace").strip()
        if not re.fullmatch(r"[\w-]{1,40}", version):
            raise ProviderFailedError(
                f"gpuhunt's list of {cloud} has no version.", hint="Check CONDUIT_GPUHUNT_URL."
            )
        path = self._folder() / f"{cloud}.{version}.zip"
        if path.is_file():
            return version, await asyncio.to_thread(_content, path)
        answer = await api.send("GET", f"/{cloud}/{version}/catalog.zip", timeout_s=timeout_s)
        await asyncio.to_thread(self._keep, path, answer.content)
        return version, answer.content

    def _folder(self) -> Path:
        return self._cache_dir() / "gpuhunt"

    def _keep(self, path: Path, content: bytes) -> None:
        """Keep the list instead of the cloud's older ones."""
        write_private_file(path, content, knob="CONDUIT_CACHE_DIR")
        cloud = path.name.split(".")[0]
        for other in self._folder().glob(f"{cloud}.*.zip"):
            if other != path:
                other.unlink(missing_ok=True)

    def _kept(self, cloud: str) -> tuple[str, bytes] | None:
        for path in sorted(self._folder().glob(f"{cloud}.*.zip"), reverse=True):
            return path.name.split(".")[1], _content(path)
        return None


def _without_newest(err: ConduitError, kept: tuple[str, bytes] | None) -> ConduitError:
    instead = f"; the list of {kept[0].split('-')[0]} is used" if kept else ""
    return ProviderFailedError(f"{str(err).rstrip('.')}{instead}.", hint=err.hint)


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as err:
        raise to_storage_error(err, path, knob="CONDUIT_CACHE_DIR") from err


def _read(cloud: str, version: str, content: bytes) -> Listing:
    """Return what a zipped list offers; rows that say too little are counted and named."""
    day = _day(version)
    offerings: list[ComputeOffering] = []
    left_out: list[str] = []
    for row in _rows(cloud, content):
        if row.get("gpu_count") == "0":
            continue
        try:
            offerings.append(_offering(cloud, version, day, row))
        except (KeyError, ValueError, ConduitError) as err:
            left_out.append(f"{row.get('instance_name')} ({err})")
    problems: list[ConduitError] = []
    if left_out:
        shown = "; ".join(left_out[:ROWS_SHOWN]) + ("; …" if len(left_out) > ROWS_SHOWN else "")
        problems.append(
            ProviderFailedError(
                f"gpuhunt's list of {cloud}: {len(left_out)} rows left out: {shown}.",
                hint="They say no memory or no price; the other rows are not affected.",
            )
        )
    return Listing(offerings=tuple(offerings), problems=tuple(problems))


def _rows(cloud: str, content: bytes) -> Iterator[Mapping[str, str]]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive, archive.open(f"{cloud}.csv") as file:
            text = file.read(MOST_BYTES).decode()
    except (zipfile.BadZipFile, KeyError, UnicodeDecodeError) as err:
        raise ProviderFailedError(
            f"gpuhunt's list of {cloud} is no zipped CSV ({err}).",
            hint="Check CONDUIT_GPUHUNT_URL, or ask again later.",
        ) from err
    yield from cast("Iterator[Mapping[str, str]]", csv.DictReader(io.StringIO(text), restval=""))


def _offering(
    cloud: str, version: str, day: datetime | None, row: Mapping[str, str]
) -> ComputeOffering:
    usd_per_hour = float(row["price"])
    if not usd_per_hour > 0:
        raise ValueError(f"price {usd_per_hour:g}")
    accelerator, memory_gib = find_device(row["gpu_name"], memory_gb=float(row["gpu_memory"]))
    is_spot = row["spot"].lower() == "true"
    details: object = json.loads(row.get("provider_data") or "{}")
    return ComputeOffering(
        provider=cloud,
        id=f"{row['instance_name']}{', spot' if is_spot else ''}, {row['location']}",
        accelerator=accelerator,
        memory_gib=memory_gib,
        count=int(row["gpu_count"]),
        region=row["location"] or None,
        usd_per_hour=usd_per_hour,
        vcpus=float(row["cpu"]),
        ram_gib=float(row["memory"]) * GIB_PER_GB,
        price_as_of=day,
        interruptible=is_spot,
        enterprise=CLOUDS.get(cloud, False),
        launchable=False,
        metadata={
            "instance_name": row["instance_name"],
            "source": "gpuhunt",
            "version": version,
            "flags": tuple((row.get("flags") or "").split()),
            "details": details,
        },
    )


def _day(version: str) -> datetime | None:
    """Return the day a version begins with, None where it begins with something else."""
    try:
        return datetime.strptime(version[:8], "%Y%m%d").replace(tzinfo=UTC)
    except ValueError:
        return None
