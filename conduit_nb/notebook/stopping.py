"""The stop button while something is being deployed: what it had started ends, and is told of.

Knows no IPython.
Layer 7.
"""

from __future__ import annotations

import asyncio
import time

from conduit_nb.blocks.host import Running, result_of
from conduit_nb.compute.request import DeploymentRequest
from conduit_nb.deployments.info import DeploymentInfo
from conduit_nb.errors import Interrupted
from conduit_nb.events import Notice
from conduit_nb.session import Session

CLEAN_UP_S = 120.0
"""A provider may take its time to end a node; nobody is told that it has ended before it has."""

SETTLE_S = 15.0
LOOK_EVERY_S = 0.25


def wait_or_end(session: Session, request: DeploymentRequest) -> DeploymentInfo:
    """Have the request running; an interrupt ends what this has started, then raises Interrupted.

    What ran before stays. A second interrupt goes through at once; the ending goes on all the same.
    """
    if request.is_shared:  # it costs nothing, and what others use must not end
        return session.wait(session.deployments.deploy(request))
    before = session.wait(session.deployments.find(request))
    running = Running()
    try:
        work = session.submit(running.carry_out(lambda: session.deployments.deploy(request)))
        return result_of(work)
    except KeyboardInterrupt:
        session.events.emit(Notice(text="Stopping: what was started is being ended."))
        running.cancel()
        running.wait_for_end(CLEAN_UP_S)
    left = session.wait(_settled(session, request))
    if left is None:
        raise Interrupted(
            "Stopped while it started: what it had started is ended, nothing of it costs any more.",
            hint="Run it again to deploy it.",
        )
    if before is not None and before.id == left.id:
        raise Interrupted(
            f"Stopped: {left.name} was there before and is {left.status}.",
            hint=f"End it: %conduit terminate {left.name}.",
        )
    if left.status == "terminating":
        raise Interrupted(
            f"Stopped while {left.provider} was being asked: {left.name} is being ended, and is"
            " looked for again whenever Conduit looks.",
            hint="Look in a minute: %conduit ps.",
        )
    raise Interrupted(
        f"Stopped, and {left.name} is {left.status}: it may cost ${left.usd_per_hour or 0:,.2f}/h.",
        hint=f"End it: %conduit terminate {left.name}.",
    )


async def _settled(session: Session, request: DeploymentRequest) -> DeploymentInfo | None:
    """Return what is left when nothing of it is being ended any more, or after a while.

    A provider that was being asked for a node may show it late; each look ends what it shows.
    """
    deadline = time.monotonic() + SETTLE_S
    while True:
        left = await session.deployments.find(request)
        if left is None or left.status != "terminating" or time.monotonic() > deadline:
            return left
        await asyncio.sleep(LOOK_EVERY_S)
        await session.deployments.look()
