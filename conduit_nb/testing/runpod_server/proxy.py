"""The way to a pod's HTTP ports: `/proxy/{id}-{port}/…` goes to where its container listens.

As the real one it is open to everybody and cuts what is silent for too long.
Layer 6.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator

import httpx2
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse

from conduit_nb.testing.runpod_server.account import Account
from conduit_nb.testing.runpod_server.wire import Refused

CUT_AFTER_S = 100.0
# What belongs to one connection, not to the message (RFC 9110), and what the client makes anew.
NOT_PASSED_ON = {
    "connection",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
}


class Proxy:
    """Passes requests on to containers; `cut_after_s` is how long one may be silent."""

    def __init__(self, account: Account, *, cut_after_s: float = CUT_AFTER_S) -> None:
        self._account = account
        self._client = httpx2.AsyncClient(
            timeout=httpx2.Timeout(cut_after_s),
            trust_env=False,
            follow_redirects=False,
            verify=False,  # plain HTTP on this machine: no certificate needs to be loaded
        )

    async def aclose(self) -> None:
        """Close the connections to containers."""
        await self._client.aclose()

    async def __call__(self, request: Request) -> Response:
        """Answer what the container answers, as it comes."""
        local_port = self._local_port(
            request.path_params["pod_id"], int(request.path_params["port"])
        )
        if local_port is None:
            return PlainTextResponse("Nothing is found at this address.", 404)
        # As it came: a part of the path may hold what would begin a query once it is decoded.
        path = request.scope["raw_path"].decode("latin-1").split("/", 3)[3:]
        query = f"?{request.url.query}" if request.url.query else ""
        url = f"http://127.0.0.1:{local_port}/{''.join(path)}{query}"
        passed_on = [
            (name, value) for name, value in request.headers.items() if name not in NOT_PASSED_ON
        ]
        asked = self._client.build_request(
            request.method, url, headers=passed_on, content=await request.body()
        )
        try:
            answer = await self._client.send(asked, stream=True)
        except httpx2.TimeoutException:
            return PlainTextResponse("The pod took too long to answer.", 524)
        except httpx2.TransportError:
            return PlainTextResponse("The pod does not answer.", 502)
        headers = {
            name: value
            for name, value in answer.headers.items()
            if name not in NOT_PASSED_ON | {"content-length"}
        }
        return StreamingResponse(_content(answer), answer.status_code, headers)

    def _local_port(self, pod_id: str, port: int) -> int | None:
        try:
            pod = self._account.find(pod_id)
        except Refused:
            return None
        if pod.container is None or port not in pod.published_ports("http"):
            return None
        return pod.container.ports.get(port)


async def _content(answer: httpx2.Response) -> AsyncGenerator[bytes]:
    """Yield the bytes as they come; what breaks or is silent too long ends there."""
    try:
        async for piece in answer.aiter_raw():
            yield piece
    except httpx2.TransportError:
        return
    finally:
        await answer.aclose()
