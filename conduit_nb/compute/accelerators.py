"""Accelerators by name: usable memory, bandwidth, peaks by type, link, power.

Knows how providers, drivers and people spell them. The figures are in accelerator_table.py.
Layer 2: pure.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import combinations
from typing import Literal

from conduit_nb.compute import accelerator_table as table
from conduit_nb.compute.vram import ComputeDtype
from conduit_nb.errors import ArgumentError
from conduit_nb.spelling import nearest

GIB_PER_GB = 1e9 / 2**30

Vendor = Literal["NVIDIA", "AMD", "Apple"]
Link = Literal["nvlink", "bridge", "infinity_fabric", "pcie", "unified"]
"""How devices of one node reach each other; a "bridge" ties two cards, where somebody put one."""

ARCHITECTURES = {
    "7.0": "Volta",
    "7.5": "Turing",
    "8.0": "Ampere",
    "8.6": "Ampere",
    "8.9": "Ada",
    "9.0": "Hopper",
    "10.0": "Blackwell",
    "10.3": "Blackwell",
    "12.0": "Blackwell",
    "12.1": "Blackwell",
    "gfx908": "CDNA",
    "gfx90a": "CDNA 2",
    "gfx942": "CDNA 3",
    "gfx950": "CDNA 4",
}
LINKS: Mapping[str, Link] = {
    "NV": "nvlink",
    "BR": "bridge",
    "IF": "infinity_fabric",
    "PCIe": "pcie",
    "unified": "unified",
}
TYPES = ("fp32", "tf32", "bf16", "fp16", "fp8", "fp4", "int8")

# Apple lets the GPU have two thirds of the memory of small machines and three quarters of that of
# large ones (Metal's recommendedMaxWorkingSetSize): the smaller share fits both.
APPLE_SHARE = 2 / 3
# What a driver keeps for itself, where nobody measured it: this share, within these bounds.
# Measured cards keep 0.3 to 0.9 GiB, from 0.4 % of a B200 to 2.9 % of a T4.
RESERVED_SHARE = 0.015
RESERVED_GIB = (0.5, 1.0)

# Sizes count as the same within this share: 180 and 192 GB are both said of a B200.
SAME_SIZE = 0.07

# Words that say nothing about which card it is, and those that only say in which form it comes.
_SILENT = re.compile(
    r"nvidia|amd|geforce|tesla|quadro|radeon|instinct|generation|edition|workstation|blackwell"
    r"|gpu|graphics|tensor|core|grace|hopper|superchip|mega|ac|oam|hbm\de?"
)
_FORMS = {"sxm", "pcie", "nvl", "fhhl", "server", "maxq", "ws"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Accelerator:
    """One kind of device. Of Apple's, `memory_gb` is the largest that is sold.

    `memory_mib` is what the driver reports, `usable_gib` what a process can have of it;
    `tflops` holds the dense peak of each type that the hardware multiplies (int8: TOPs);
    `bandwidth_gb_per_s` is the memory's, `link_gb_per_s` that to a neighbour, both directions.
    """

    name: str
    vendor: Vendor
    architecture: str
    compute_capability: tuple[int, int] | None
    memory_gb: int
    memory_mib: int | None
    usable_gib: float
    bandwidth_gb_per_s: float
    tflops: Mapping[str, float] = field(hash=False)
    link: Link
    link_gb_per_s: float
    power_w: int | None
    aliases: tuple[str, ...] = ()

    def supports(self, dtype: ComputeDtype) -> bool:
        """Say whether the hardware itself multiplies that type."""
        return dtype in self.tflops


def find_accelerator(name: str, *, memory_gib: float | None = None) -> Accelerator:
    """Return the accelerator of that name or alias, whatever its case, spaces and dashes.

    Where a name fits several ("A100"), `memory_gib` decides, or ArgumentError lists them; its
    `param` is "gpu", as every caller of ours names it, or "memory_gib".
    """
    found = find_accelerators(name, memory_gib=memory_gib)
    if len(found) == 1:
        return found[0]
    if found:
        raise ArgumentError(
            f"{name!r} may be any of {len(found)} accelerators.",
            param="gpu",
            hint=f"Say which: {', '.join(accelerator.name for accelerator in found)}.",
        )
    everything = find_accelerators(name)
    if everything and memory_gib is not None:
        sizes = ", ".join(f"{one.name} ({one.usable_gib:.1f} GiB)" for one in everything)
        raise ArgumentError(
            f"No {name!r} has {memory_gib:g} GiB.",
            param="memory_gib",
            hint=f"There are: {sizes}.",
        )
    near = nearest(name, (one.name for one in ACCELERATORS), cutoff=0.5, most=3, alike=_compact)
    raise ArgumentError(
        f"No accelerator is called {name!r}.",
        param="gpu",
        hint=near or "Names are like L40S, RTX 4090, H100 SXM.",
    )


def find_accelerators(name: str, *, memory_gib: float | None = None) -> tuple[Accelerator, ...]:
    """Return every accelerator that the name fits, none where it is unknown.

    `memory_gib` may be what is sold, what the driver reports or what a process can have.
    """
    exact = _BY_NAME.get(_compact(name))
    if exact is not None and _has_size(exact, memory_gib):
        return (exact,)
    words, said_gib = _words(name)
    family = _BY_FAMILY.get("".join(words)) or _BY_FAMILY.get(
        "".join(word for word in words if word not in _FORMS), ()
    )
    return tuple(
        accelerator
        for accelerator in family
        if _has_size(accelerator, memory_gib) and _has_size(accelerator, said_gib)
    )


def _has_size(accelerator: Accelerator, memory_gib: float | None) -> bool:
    if memory_gib is None:
        return True
    sizes = [float(accelerator.memory_gb), accelerator.usable_gib]
    if accelerator.memory_mib is not None:
        sizes.append(accelerator.memory_mib / 1024)
    return any(abs(memory_gib - size) <= SAME_SIZE * size for size in sizes)


def _compact(name: str) -> str:
    """Return what two spellings of a name have in common."""
    return re.sub(r"^(nvidia|amd)", "", re.sub(r"[^a-z0-9]", "", name.lower()))


def _words(name: str) -> tuple[list[str], float | None]:
    """Return the words of a name that matter, and the memory in GB that it says."""
    text = name.lower().replace("max-q", "maxq")
    size = re.search(r"(?<![a-z0-9.])(\d+)\s*g(?:i?b)?(?![a-z0-9])", text)
    if size is not None:
        text = text[: size.start()] + " " + text[size.end() :]
    words = [re.sub(r"^sxm\d$", "sxm", word) for word in re.findall(r"[a-z0-9]+", text)]
    kept = [word for word in words if not _SILENT.fullmatch(word)]
    return kept, float(size.group(1)) if size is not None else None


def _read(text: str, vendor: Vendor) -> Iterator[Accelerator]:
    for line in text.strip().splitlines():
        name = line[:20].strip()
        arch, gb, mib, bandwidth, *peaks, link, watts = line[20:].split()
        assert len(peaks) == len(TYPES), name
        memory_mib = None if mib == "-" else int(mib)
        kind, _, link_gb_per_s = link.partition("/")
        yield Accelerator(
            name=name,
            vendor=vendor,
            architecture=ARCHITECTURES.get(arch, arch.upper()),
            compute_capability=_capability(arch),
            memory_gb=int(gb),
            memory_mib=memory_mib,
            usable_gib=_usable_gib(name, vendor, int(gb), memory_mib),
            bandwidth_gb_per_s=float(bandwidth),
            tflops={
                kind: float(peak) for kind, peak in zip(TYPES, peaks, strict=True) if peak != "-"
            },
            link=LINKS[kind.rstrip("0123456789")],
            link_gb_per_s=float(link_gb_per_s or bandwidth),
            power_w=None if watts == "-" else int(watts),
            aliases=table.ALIASES.get(name, ()),
        )


def _capability(arch: str) -> tuple[int, int] | None:
    major, dot, minor = arch.partition(".")
    return (int(major), int(minor)) if dot else None


def _usable_gib(name: str, vendor: Vendor, memory_gb: int, memory_mib: int | None) -> float:
    if name in table.USABLE_GIB:
        return table.USABLE_GIB[name]
    if vendor == "Apple":
        return round(memory_gb * APPLE_SHARE, 2)
    total_gib = memory_gb * GIB_PER_GB if memory_mib is None else memory_mib / 1024
    least_gib, most_gib = RESERVED_GIB
    return round(total_gib - min(max(least_gib, RESERVED_SHARE * total_gib), most_gib), 2)


def _families(accelerators: tuple[Accelerator, ...]) -> dict[str, tuple[Accelerator, ...]]:
    """Return the accelerators by what is left of their names without size, and less and less form.

    "A100 SXM 80GB" is found as a100sxm and as a100.
    """
    families: dict[str, tuple[Accelerator, ...]] = {}
    for accelerator in accelerators:
        for name in (accelerator.name, *accelerator.aliases):
            words, _ = _words(name)
            forms = [word for word in words if word in _FORMS]
            for count in range(len(forms) + 1):
                for dropped in combinations(forms, count):
                    key = "".join(word for word in words if word not in dropped)
                    others = families.get(key, ())
                    if accelerator not in others:
                        families[key] = (*others, accelerator)
    return families


ACCELERATORS: tuple[Accelerator, ...] = (
    *_read(table.DATA_CENTRE, "NVIDIA"),
    *_read(table.WORKSTATION, "NVIDIA"),
    *_read(table.CONSUMER, "NVIDIA"),
    *_read(table.AMD, "AMD"),
    *_read(table.APPLE, "Apple"),
)
_BY_NAME = {
    _compact(name): accelerator
    for accelerator in ACCELERATORS
    for name in (accelerator.name, *accelerator.aliases)
}
_BY_FAMILY = _families(ACCELERATORS)
