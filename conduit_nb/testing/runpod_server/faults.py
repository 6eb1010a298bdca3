"""How the local Runpod server can be told to fail.

`Fault` spoils single answers; `Behaviour` is how its world is. Both may be changed at any time.
Layer 6.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Literal


@dataclass(slots=True, kw_only=True)
class Fault:
    """Spoils the next `times` requests that it fits: answers a status, hangs up, or never answers.

    `path` is a regular expression for the whole path after `/v2`. With `takes_effect` the request
    is carried out all the same.
    """

    answer: int | Literal["drop", "hang"] = 500
    method: str | None = None
    path: str | None = None
    detail: str = "It failed because it was told to."
    retry_after_s: int | None = None
    takes_effect: bool = False
    times: int = 1

    def fits(self, method: str, path: str) -> bool:
        """Say whether it spoils this request."""
        return (
            self.times > 0
            and self.method in (None, method)
            and (self.path is None or re.fullmatch(self.path, path) is not None)
        )


@dataclass(slots=True, kw_only=True)
class Behaviour:
    """How pods and the account behave, in seconds of the server's clock.

    `provisioning_s`, `starting_s`   how long a pod stays in each state
    `never_boots`                    pods whose name it fits (a regular expression) stay STARTING
    `sold_out`                       GPU ids that are refused, whatever the catalogue says
    `list_lag_s`                     the list shows what was there so long ago
    `terminated_s`                   a terminated pod is still found by its id for so long
    `restarts_containers`            a container that exits is started again
    `has_balance`                    without, nothing starts: 402
    `pod_keys_may_terminate`         a pod's own key may stop and terminate that pod
    """

    provisioning_s: float = 0.0
    starting_s: float = 0.0
    never_boots: str | None = None
    sold_out: set[str] = field(default_factory=set[str])
    list_lag_s: float = 0.0
    terminated_s: float = 0.0
    restarts_containers: bool = True
    has_balance: bool = True
    pod_keys_may_terminate: bool = True
