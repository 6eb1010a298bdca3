"""A small market: four offerings, one of them sold out, and a source that did not answer."""

from __future__ import annotations

from typing import Any

from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import ProviderAuthError
from conduit_nb.providers.sources import Market, SourceFailure


def offered(name: str, accelerator: str | None, gib: float, usd: float, **more: Any) -> Any:
    more = {"provider": "runpod", "region": "EU-1", "availability": "high", **more}
    return ComputeOffering(
        id=name, accelerator=accelerator, memory_gib=gib, usd_per_hour=usd, **more
    )


L40S = offered("l40s", "L40S", 44.4, 0.86)
TWO_L4 = offered("l4", "L4", 22.0, 0.80, count=2, launchable=False, region="US-1")
A100 = offered("a100", "A100 SXM 80GB", 79.1, 1.49, interruptible=True)
SOLD_OUT = offered("h100", "H100 SXM", 79.2, 2.99, availability="none")
MARKET = Market(
    offerings=(A100, SOLD_OUT, TWO_L4, L40S),
    failures=(SourceFailure(provider="other", error=ProviderAuthError("No key.", hint="Set it.")),),
)
