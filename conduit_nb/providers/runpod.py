"""Runpod: nodes are pods, rented by the hour on secure or community machines (REST v2).

Knows the API's address and the user's key, both read from the settings at each use. A create call
that broke off is never made again blindly: it says that it may have arrived.
Layer 3.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, cast

from conduit_nb import credentials, settings
from conduit_nb.compute.launch import LaunchSpec
from conduit_nb.compute.offerings import ComputeOffering
from conduit_nb.errors import (
    ArgumentError,
    DeploymentError,
    NoCapacityError,
    ProviderRefusedError,
    ProviderUnreachableError,
)
from conduit_nb.providers.base import Capabilities, Listing, Node
from conduit_nb.providers.guarding import CONFIG_NAME, renewed
from conduit_nb.providers.naming import PREFIX
from conduit_nb.providers.rest import RestClient
from conduit_nb.providers.runpod_catalog import read_catalog
from conduit_nb.providers.runpod_pods import PROVIDER, create_body, to_node

LIST_LAG_S = 60.0
QUIET_S = 1.5  # so long after its last line a log that is not followed is taken for read
NO_SUCH = (404, 410)
CONFLICT = 409


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
        refers_to_secrets=True,
    )

    def __init__(
        self,
        url: str | None = None,
        *,
        key: str | None = None,
        proxy_url: str | None = None,
        now: Callable[[], datetime] = _now,
    ) -> None:
        self._url = url
        self._key = key
        self._proxy_url = proxy_url
        self._now = now

    def __repr__(self) -> str:
        return f"Runpod({self._url!r})"

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
                hint="Choose one of find_offerings().",
            )
        api = self._api()
        body = create_body(spec, secrets, offering, api_url=api.url)
        try:
            pod = await api.post("/pods", body, secret_texts=secrets.values())
        except ProviderRefusedError as err:
            if err.status != 400:
                raise
            raise NoCapacityError(
                f"{offering.id} cannot be had now ({err}).", hint="Take another offering."
            ) from err
        return self._node(pod)

    async def describe(self, name: str, node_id: str | None = None) -> Node | None:
        """Return the pod of that name (or id) as it is now."""
        if node_id is None:
            found = [node for node in await self.list_nodes() if node.name == name]
            return found[0] if found else None
        try:
            return self._node(await self._api().get(f"/pods/{node_id}"))
        except ProviderRefusedError as err:
            if err.status in NO_SUCH:
                return None
            raise

    async def list_nodes(self) -> list[Node]:
        """Return every pod that Conduit has made in this account and that is not gone."""
        answer = cast("dict[str, Any]", await self._api().get("/pods"))
        pods = cast("list[dict[str, Any]]", answer.get("pods") or [])
        nodes = [
            self._node(pod) for pod in pods if str(pod.get("name", "")).startswith(f"{PREFIX}-")
        ]
        return [node for node in nodes if node.status != "gone"]

    async def renew(
        self,
        name: str,
        node_id: str | None = None,
        *,
        boot_until: datetime,
        lease_until: datetime,
        not_after: datetime | None,
    ) -> None:
        """Put the guard's new terms into the pod's environment, from which its next start reads.

        An update replaces the whole environment, so all that is there goes along, references to
        stored secrets as references.
        """
        node = await self.describe(name, node_id)
        if node is None:
            raise DeploymentError(f"Runpod has no pod {name}.", hint="Deploy it again.")
        pod = cast("dict[str, Any]", await self._api().get(f"/pods/{node.id}"))
        env = cast("dict[str, str]", pod.get("env") or {})
        if CONFIG_NAME not in env:
            raise DeploymentError(
                f"{name} has no guard in its environment.",
                hint="Somebody has changed it; terminate it, and deploy again.",
            )
        terms = renewed(
            env[CONFIG_NAME], boot_until=boot_until, lease_until=lease_until, not_after=not_after
        )
        await self._api().patch(
            f"/pods/{node.id}",
            {"env": {**env, CONFIG_NAME: terms}},
            secret_texts=[env.get(json.loads(terms)["key_name"], "")],
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
        """Delete every pod of that name: a create call may have arrived twice."""
        ids = [node.id for node in await self.list_nodes() if node.name == name]
        for pod_id in dict.fromkeys([node_id, *ids]):
            if pod_id is None:
                continue
            try:
                await self._api().delete(f"/pods/{pod_id}")
            except ProviderRefusedError as err:
                if err.status not in NO_SUCH:
                    raise

    async def logs(
        self, name: str, node_id: str | None = None, *, tail: int = 100, follow: bool = False
    ) -> AsyncIterator[str]:
        """Yield the container's lines; a connection that breaks is taken up where it was."""
        pod_id = node_id or await self._id_of(name)
        last_id: str | None = None
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
                            last_id = event_id
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

    async def billed_usd(self, name: str, node_id: str | None = None) -> float | None:
        """Return what Runpod's bill says of the pod, None where it says nothing yet."""
        pod_id = node_id or await self._id_of(name)
        if pod_id is None:
            return None
        answer = cast("dict[str, Any]", await self._api().get("/billing/pods", {"podId": pod_id}))
        records = cast("list[dict[str, Any]]", answer.get("records") or [])
        return sum(float(one["totalAmount"]) for one in records) if records else None

    async def _id_of(self, name: str) -> str | None:
        node = await self.describe(name)
        return node.id if node is not None else None

    async def _act(
        self, name: str, node_id: str | None, action: str, *, already: tuple[str, ...]
    ) -> None:
        """Do one of the actions that the pod allows at this moment."""
        node = await self.describe(name, node_id)
        if node is None:
            if "gone" in already:
                return
            raise DeploymentError(f"Runpod has no pod {name} to {action}.", hint="Deploy it again.")
        if node.status in already:
            return
        pod = cast("dict[str, Any]", await self._api().get(f"/pods/{node.id}"))
        if action not in (pod.get("actions") or []):
            raise DeploymentError(
                f"{name} is {node.detail}, and Runpod does not {action} it now.",
                hint="Wait a moment, or terminate it.",
            )
        try:
            await self._api().post(f"/pods/{node.id}/action", {"action": action})
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
        return to_node(
            cast("Mapping[str, Any]", pod),
            proxy_url=self._proxy_url or settings.runpod_proxy_url(),
        )

    def _api(self) -> RestClient:
        kind = credentials.RUNPOD
        found = credentials.find(kind) if self._key is None else None
        return RestClient(
            self._url or settings.runpod_api_url(),
            provider=self.name,
            key=found.value if found is not None else self._key,
            key_name=found.source if found is not None else kind.variables[0],
            key_cure=kind.cure,
        )


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
