"""Runpod: nodes are pods, rented by the hour on secure or community machines (REST v2).

Knows the API's address and the user's key, both read from the settings at each use. A create call
that broke off, or whose reply cannot be read, is never made again blindly: it says that it may have
arrived. An action of that kind is looked after: the pod itself tells whether it has happened.
Layer 3.
"""

from __future__ import annotations

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, aclosing
from datetime import UTC, datetime
from typing import Any, cast

from conduit_nb import credentials, settings
from conduit_nb.compute.launch import GuardTerms, LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import (
    ArgumentError,
    DeploymentError,
    NoCapacityError,
    ProviderError,
    ProviderFailedError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from conduit_nb.providers.base import Capabilities, Listing, Node
from conduit_nb.providers.guarding import CONFIG_NAME, renewed
from conduit_nb.providers.rest import RestClient
from conduit_nb.providers.runpod_catalog import read_catalog
from conduit_nb.providers.runpod_pods import (
    PROVIDER,
    by_server_clock,
    create_body,
    fields_of,
    is_ours,
    to_node,
)

LIST_LAG_S = 60.0
QUIET_S = 1.5  # so long after its last line a log that is not followed is taken for read
NO_SUCH = (404, 410)
CONFLICT = 409
POLL_S = 2.0
# How often a call is made whose effect cannot be seen, and how long to wait before each look.
TRIES = 4
TRY_AGAIN_S = 1.0
# How long to wait before a log that broke off is taken up again: ever longer, up to the last.
RECONNECT_S = (0.5, 1.0, 2.0, 5.0, 15.0)


def _now() -> datetime:
    return datetime.now(UTC)


class Runpod:
    """Runpod's pods; without a key, with the one that the user has (see credentials.RUNPOD)."""

    name = PROVIDER
    capabilities = Capabilities(
        can_stop=True,
        is_billable=True,
        runs_images=True,
        list_lag_s=LIST_LAG_S,
        poll_s=POLL_S,
        refers_to_secrets=True,
    )

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        proxy_url: str | None = None,
        now: Callable[[], datetime] = _now,
        pause: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._url = url
        self._pause = pause
        self._key = key
        self._proxy_url = proxy_url
        self._now = now

    def __repr__(self) -> str:
        return f"Runpod({self._url!r})"

    def kept_open(self) -> AbstractAsyncContextManager[None]:
        """Share connections to the API between all calls within the block."""
        return self._api().kept_open()

    def server_now(self) -> datetime | None:
        """Return the time at Runpod by its last reply to this process, None before the first."""
        return self._api().server_now()

    async def offerings(self, *, timeout_s: float = 20) -> Listing:
        """Return every GPU and CPU type, for each cloud, number of devices and data centre."""
        return await read_catalog(self._api(), read_at=self._now(), timeout_s=timeout_s)

    async def launch(
        self,
        spec: LaunchSpec,
        secrets: Mapping[str, str],
        offering: ComputeOffering | None = None,
    ) -> Node:
        """Create a pod; a refusal that names no rule is taken for missing capacity.

        The API has no code for "sold out" (status 400 stands for any rule), so the next offering
        is to be tried; where all refuse alike, the request itself is to blame.
        """
        if offering is None:
            raise ArgumentError(
                "Runpod rents what an offering says, and none is given.",
                param="offering",
                hint="Choose one of find_offerings().",
            )
        api = self._api()
        body = create_body(spec, secrets, offering, api_url=api.url, server_now=api.server_now())
        try:
            pod = await api.post("/pods", body, secret_texts=secrets.values())
        except ProviderRefusedError as err:
            if err.status != 400:
                raise
            raise NoCapacityError(
                f"{offering.id} cannot be had now ({err}).", hint="Take another offering."
            ) from err
        try:
            return self._node(pod)
        except ProviderFailedError as err:
            err.may_have_arrived = True  # the reply was one of success
            raise

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        """Return the pod of that name (or id) as it is now."""
        if node_id is None:
            found = [node for node in await self.list_nodes() if node.name == name]
            return found[0] if found else None
        pod = await self._pod(node_id)
        return None if pod is None else self._node(pod)

    async def list_nodes(self) -> list[Node]:
        """Return every pod that Conduit has made in this account and that is not gone."""
        api = self._api()
        pods: object = (await api.get("/pods")).get("pods")
        if not isinstance(pods, list):
            raise api.unreadable()
        nodes = [self._node(pod) for pod in cast("list[object]", pods) if is_ours(pod)]
        return [node for node in nodes if node.status != "gone"]

    async def renew(
        self,
        name: str,
        node_id: str | None = None,
        *,
        boot_until: datetime,
        lease_until: datetime,
        not_after: datetime | None,
        as_of: datetime | None = None,
    ) -> None:
        """Put the guard's new terms into the pod's environment, from which its next start reads.

        An update replaces the whole environment, so all that is there goes along, references to
        stored secrets as references. Whether it was taken is seen in the pod itself.
        """
        api, pod = self._api(), await self._found(name, node_id, "renew")
        env = _environment(pod, api)
        if CONFIG_NAME not in env:
            raise DeploymentError(
                f"{name} has no guard in its environment.",
                hint="It was changed outside Conduit: terminate it, and deploy again.",
            )
        new = by_server_clock(
            GuardTerms(
                idle_s=0,
                boot_until=boot_until,
                lease_until=lease_until,
                not_after=not_after,
                as_of=as_of,
            ),
            api.server_now(),
        )
        terms, key_name = renewed(env[CONFIG_NAME], new)
        failure: ProviderError | None = None
        for _ in range(TRIES):
            try:
                await api.patch(
                    f"/pods/{pod['id']}",
                    {"env": {**env, CONFIG_NAME: terms}},
                    secret_texts=[env.get(key_name, "")],
                )
            except ProviderError as err:
                if not err.may_have_arrived:
                    raise
                failure = err
            now = _environment(await self._found(name, str(pod["id"]), "renew"), api)
            if {**env, CONFIG_NAME: terms}.items() <= now.items():  # Runpod may add its own
                return
            await self._pause(TRY_AGAIN_S)
        raise failure or ProviderFailedError(
            f"{PROVIDER} did not take the new lease of {name}.", hint="Try again in a moment."
        )

    async def start(self, name: str, node_id: str | None = None) -> None:
        """Start a stopped pod again, on the machine that it is tied to."""
        await self._act(name, node_id, "start", already=("starting", "running"))

    async def stop(self, name: str, node_id: str | None = None) -> None:
        """Stop a pod; its disk goes on to cost."""
        await self._act(name, node_id, "stop", already=("stopped", "gone"))

    async def restart(self, name: str, node_id: str | None = None) -> None:
        """Start a pod's container anew."""
        await self._act(name, node_id, "restart", already=())

    async def terminate(self, name: str, node_id: str | None = None) -> None:
        """Delete every pod of that name: a create call may have arrived twice.

        The pod that is known is deleted first, whatever the list says.
        """
        if node_id is not None:
            await self._delete(node_id)
        try:
            listed = await self.list_nodes()
        except ProviderError:
            if node_id is None:
                raise
            return  # a twin, should there be one, is found by the next look at the list
        for node in listed:
            if node.name == name and node.id is not None and node.id != node_id:
                await self._delete(node.id)

    async def terminate_one(self, node_id: str) -> None:
        """Delete the pod of that id, and no other of its name."""
        await self._delete(node_id)

    async def logs(
        self, name: str, node_id: str | None = None, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        """Yield the container's lines; a connection that breaks is taken up where it was."""
        pod_id = node_id or await self._id_of(name)
        last_id: str | None = None
        breaks = 0
        while pod_id is not None:
            query: dict[str, str | int] = {"source": "container"}
            if last_id is None:
                query["tail"] = max(tail, 1)
            headers = {"Last-Event-ID": last_id} if last_id else None
            try:
                async with self._api().events(
                    f"/pods/{pod_id}/logs", query=query, headers=headers
                ) as events:
                    async with aclosing(_read_on(events, follow=follow)) as lines:
                        async for event_id, line in lines:
                            last_id, breaks = event_id, 0
                            if tail > 0 or follow:
                                yield line
                    return
            except ProviderUnreachableError:
                if not follow:
                    raise
            except ProviderRefusedError as err:
                if err.status in NO_SUCH:
                    return
                raise
            await self._pause(RECONNECT_S[min(breaks, len(RECONNECT_S) - 1)])
            breaks += 1

    async def billed_usd(self, name: str, node_id: str | None = None) -> float | None:
        """Return what Runpod's bill says of the pod, None where it says nothing yet."""
        pod_id = node_id or await self._id_of(name)
        if pod_id is None:
            return None
        api = self._api()
        records: object = (await api.get("/billing/pods", {"podId": pod_id})).get("records")
        if not isinstance(records, list):
            raise api.unreadable()
        own = [
            one
            for one in cast("list[object]", records)
            if fields_of(one).get("podId", pod_id) == pod_id
        ]
        amounts = [_billed(one) for one in own]
        readable = [amount for amount in amounts if amount is not None]
        if len(readable) < len(amounts):
            raise api.unreadable()
        return sum(readable) if readable else None

    async def _id_of(self, name: str) -> str | None:
        node = await self.describe(name)
        return node.id if node is not None else None

    async def _pod(self, pod_id: str) -> dict[str, Any] | None:
        """Return the pod of that id as the API tells it, None where it knows of none."""
        api = self._api()
        try:
            pod = await api.get(f"/pods/{pod_id}")
        except ProviderRefusedError as err:
            if err.status in NO_SUCH:
                return None
            raise
        if pod.get("id") != pod_id:
            raise api.unreadable()
        return pod

    async def _found(self, name: str, node_id: str | None, action: str) -> dict[str, Any]:
        """Return the pod, which must be there."""
        pod_id = node_id or await self._id_of(name)
        pod = await self._pod(pod_id) if pod_id is not None else None
        if pod is None:
            raise DeploymentError(f"Runpod has no pod {name} to {action}.", hint="Deploy it again.")
        return pod

    async def _delete(self, pod_id: str) -> None:
        try:
            await self._api().delete(f"/pods/{pod_id}")
        except ProviderRefusedError as err:
            if err.status not in NO_SUCH:
                raise

    async def _act(
        self, name: str, node_id: str | None, action: str, *, already: tuple[str, ...]
    ) -> None:
        """Do one of the actions that the pod allows at this moment, and see that it is done.

        A call that may have arrived is followed by a look at the pod, and made again where that is
        in its old state. Raises that call's error where the pod never gets to another.
        """
        failure: ProviderError | None = None
        for attempt in range(TRIES):
            try:
                pod_id = node_id or await self._id_of(name)
                pod = await self._pod(pod_id) if pod_id is not None else None
                if pod is None and "gone" in already:
                    return
                if pod is None or pod_id is None:
                    raise DeploymentError(
                        f"Runpod has no pod {name} to {action}.", hint="Deploy it again."
                    )
                node = self._node(pod)
                if node.status in already:
                    return
                if failure is not None and not already and node.status == "starting":
                    return  # a restart that is under way needs no other
                self._require_allowed(name, node, pod, action)
                await self._post_action(name, pod_id, action)
            except ProviderError as err:
                if not err.retryable or (attempt == 0 and not err.may_have_arrived):
                    raise
                failure = err
            else:
                return
            await self._pause(TRY_AGAIN_S)
        assert failure is not None, "an attempt returns or fails"
        raise failure

    def _require_allowed(self, name: str, node: Node, pod: Mapping[str, Any], action: str) -> None:
        """Raise DeploymentError where the pod's list of actions lacks this one."""
        actions: object = pod.get("actions")
        if isinstance(actions, list) and action not in cast("list[object]", actions):
            raise DeploymentError(
                f"{name} is {node.detail}: Runpod does not allow {action} now.",
                hint="Wait a moment, or terminate it.",
            )

    async def _post_action(self, name: str, pod_id: str, action: str) -> None:
        try:
            await self._api().post(f"/pods/{pod_id}/action", {"action": action})
        except ProviderRefusedError as err:
            if err.status == 400:
                raise NoCapacityError(
                    f"{name} cannot {action} now ({err}).",
                    hint="Its machine may have no free device: terminate it, and deploy again.",
                ) from err
            if err.status != CONFLICT:
                raise
            raise DeploymentError(
                f"{name} takes no {action} now ({err}).", hint="Look again in a moment."
            ) from err

    def _node(self, pod: object) -> Node:
        return to_node(pod, proxy_url=self._proxy_url or settings.runpod_proxy_url())

    def _api(self) -> RestClient:
        kind = credentials.RUNPOD
        found = credentials.find(kind) if self._key is None else None
        return RestClient(
            self._url or settings.runpod_api_url(),
            provider=self.name,
            key=found.value if found is not None else self._key,
            key_name=found.source if found is not None else kind.variables[0],
            key_cure=kind.cure,
            pause=self._pause,
        )


def _environment(pod: Mapping[str, Any], api: RestClient) -> dict[str, str]:
    """Return a pod's environment, which is about to be replaced as a whole."""
    env: object = pod.get("env")
    if not isinstance(env, dict):
        raise api.unreadable()
    variables = cast("dict[object, object]", env)
    if not all(isinstance(text, str) for pair in variables.items() for text in pair):
        raise api.unreadable()
    return cast("dict[str, str]", variables)


def _billed(record: object) -> float | None:
    """Return the amount of one record of a bill, None where it has none."""
    amount: object = fields_of(record).get("totalAmount")
    if isinstance(amount, bool) or not isinstance(amount, int | float):
        return None
    try:
        usd = float(amount)
    except OverflowError:
        return None
    return usd if math.isfinite(usd) and usd >= 0 else None


async def _read_on(
    events: AsyncGenerator[Any], *, follow: bool
) -> AsyncGenerator[tuple[str | None, str]]:
    """Yield each event's id and line; without `follow` until nothing comes for a moment."""
    async with aclosing(events):
        while True:
            try:
                async with asyncio.timeout(None if follow else QUIET_S):
                    event = await anext(events)
            except (StopAsyncIteration, TimeoutError):
                return
            try:
                told = cast("dict[str, Any]", json.loads(event.data))
                yield event.id or None, str(told["line"])
            except (ValueError, KeyError, TypeError):
                continue
