"""What a user accepts of an offering, whatever the plan.

Layer 2: pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite

from conduit_nb.compute.names import AVAILABILITIES, Availability, ComputeProvider
from conduit_nb.errors import ArgumentError
from conduit_nb.options import option
from conduit_nb.plugins import registered_names
from conduit_nb.spelling import nearest

LEVELS = tuple(level for level in AVAILABILITIES if level != "unknown")
PROVIDERS_GROUP = "conduit_nb.providers"
# Whose offerings there are prices of, beside those that Conduit or a plugin can start.
PRICED_PROVIDERS = (
    "aws",
    "azure",
    "cloudrift",
    "crusoe",
    "cudo",
    "datacrunch",
    "digitalocean",
    "docker",
    "gcp",
    "hotaisle",
    "jarvislabs",
    "kubernetes",
    "lambda",
    "lambdalabs",
    "lium",
    "modal",
    "nebius",
    "oci",
    "runpod",
    "seeweb",
    "tensordock",
    "vastai",
    "verda",
    "vultr",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeploymentConstraint:
    """What a user accepts; what is left out does not matter, but what is sold out is never taken.

    `enterprise`: only providers' own, certified data centres. `single_device`: only offerings of
    one device. `max_usd_per_hour`: for the whole deployment. `regions`, `providers`: only these,
    whatever the case; a region may end in `*`. `min_availability`: at least that much stock
    ("none": even what is sold out; from "low" on, unknown stock is not enough). `interruptible`:
    True for only, False for never.

    Raises ArgumentError where a value cannot be meant.
    """

    max_usd_per_hour: float | None = option(
        None, "Highest price of the whole deployment per hour.", kind="number", metavar="USD"
    )
    regions: tuple[str, ...] | None = option(
        None, "Allowed regions; eu-* allows all that begin with eu-.", kind="names", metavar="a,b"
    )
    providers: tuple[str, ...] | None = option(
        None, "Allowed providers.", kind="names", metavar="a,b"
    )
    min_availability: Availability | None = option(
        None,
        "Lowest stock: none (even what is sold out), low, medium or high.",
        metavar="LEVEL",
        choices=LEVELS,
    )
    interruptible: bool | None = option(
        None, "Only spot offerings; with --no-interruptible none of them.", kind="switch"
    )
    single_device: bool = option(False, "Only offerings of one device.", kind="flag")
    enterprise: bool = option(
        False, "Only certified data centres of the provider's own.", kind="flag"
    )

    def __post_init__(self) -> None:
        for name in ("enterprise", "single_device"):
            _check(name, getattr(self, name), (True, False))
        _check("interruptible", self.interruptible, (True, False, None))
        _check("min_availability", self.min_availability, (*LEVELS, None))
        _check_price(self.max_usd_per_hour)
        for name in ("regions", "providers"):
            object.__setattr__(self, name, _names(name, getattr(self, name)))
        for provider in self.providers or ():
            _check_provider(provider)


def _check(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if not any(value is one or (isinstance(one, str) and value == one) for one in allowed):
        raise ArgumentError(
            f"{name}={value!r} cannot be meant.",
            param=name,
            hint=f"{name} is one of {', '.join(repr(one) for one in allowed)}.",
        )


def _check_price(value: object) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
        raise ArgumentError(
            f"max_usd_per_hour={value!r} cannot be meant.",
            param="max_usd_per_hour",
            hint="It is US dollars per hour for the whole deployment, 0 or more.",
        )
    if not isfinite(value):
        raise ArgumentError(
            f"max_usd_per_hour={value!r} is no limit.",
            param="max_usd_per_hour",
            hint="Leave it out for no limit.",
        )


def _names(field: str, value: str | Iterable[object] | None) -> tuple[str, ...] | None:
    """Return names in lower case; a name alone is meant as one, none at all is an error."""
    if value is None:
        return None
    given = (value,) if isinstance(value, str) else tuple(value)
    names = tuple(name.strip().lower() for name in given if isinstance(name, str) and name.strip())
    if not given or len(names) < len(given):
        raise ArgumentError(
            f"{field}={value!r} leaves nothing to choose from.",
            param=field,
            hint=f"Name some {field}, or leave it out to allow all.",
        )
    return names


def _check_provider(name: str) -> None:
    known = {*ComputeProvider, *PRICED_PROVIDERS, *registered_names(PROVIDERS_GROUP)}
    if name in known:
        return
    raise ArgumentError(
        f"No provider is called {name!r}.",
        param="providers",
        hint=nearest(name, known, cutoff=0.5) or f"Known are {', '.join(sorted(known))}.",
    )
