"""The local Runpod server's routes: who may call what, and how it is answered.

Layer 6.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from http import HTTPStatus

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from conduit_nb.testing.runpod_server import catalog
from conduit_nb.testing.runpod_server.account import Account
from conduit_nb.testing.runpod_server.billing import bill_pods, to_moment, to_text
from conduit_nb.testing.runpod_server.pods import LogLine
from conduit_nb.testing.runpod_server.proxy import Proxy
from conduit_nb.testing.runpod_server.traffic import PREFIX
from conduit_nb.testing.runpod_server.wire import Refused, read_action, read_change, read_create

Handler = Callable[[Request], Awaitable[Response]]

LOG_POLL_S = 0.05
MOST_TAIL = 5_000
# What a pod's own key may do, on its own pod only.
POD_KEY_READS = {"GET"}


def make_app(account: Account, proxy: Proxy) -> Starlette:
    """Return the API and the proxy of one account."""
    api = _Api(account)
    routes = {
        "/catalog/gpus": {"GET": api.list_gpus},
        "/catalog/gpus/{id:path}": {"GET": api.get_gpu},
        "/catalog/cpus": {"GET": api.list_cpus},
        "/catalog/cpus/{id:path}": {"GET": api.get_cpu},
        "/catalog/datacenters": {"GET": api.list_centers},
        "/catalog/datacenters/{id:path}": {"GET": api.get_center},
        "/pods": {"GET": api.list_pods, "POST": api.create_pod},
        "/pods/{id}": {"GET": api.get_pod, "PATCH": api.update_pod, "DELETE": api.delete_pod},
        "/pods/{id}/action": {"POST": api.act},
        "/pods/{id}/logs": {"GET": api.stream_logs},
        "/billing/pods": {"GET": api.bill_pods},
    }
    methods = ["DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"]
    return Starlette(
        routes=[
            *(
                Route(f"{PREFIX}{path}", _by_method(account, handlers), methods=methods)
                for path, handlers in routes.items()
            ),
            Route("/proxy/{pod_id}-{port:int}", proxy.__call__, methods=methods),
            Route("/proxy/{pod_id}-{port:int}/{path:path}", proxy.__call__, methods=methods),
        ],
        exception_handlers={HTTPException: _problem},
    )


class _Api:
    """One method for each thing that can be asked."""

    def __init__(self, account: Account) -> None:
        self._account = account

    async def list_gpus(self, request: Request) -> Response:
        return JSONResponse({"gpus": catalog.list_gpus(self._account.stock, request.query_params)})

    async def get_gpu(self, request: Request) -> Response:
        gpu_id = request.path_params["id"]
        return JSONResponse(catalog.get_gpu(self._account.stock, gpu_id, request.query_params))

    async def list_cpus(self, request: Request) -> Response:
        return JSONResponse({"cpus": catalog.list_cpus(self._account.stock, request.query_params)})

    async def get_cpu(self, request: Request) -> Response:
        cpu_id = request.path_params["id"]
        return JSONResponse(catalog.get_cpu(self._account.stock, cpu_id, request.query_params))

    async def list_centers(self, request: Request) -> Response:
        centers = catalog.list_centers(self._account.stock, request.query_params)
        return JSONResponse({"dataCenters": centers})

    async def get_center(self, request: Request) -> Response:
        center_id = request.path_params["id"]
        return JSONResponse(
            catalog.get_center(self._account.stock, center_id, request.query_params)
        )

    async def list_pods(self, request: Request) -> Response:
        if request.query_params.get("includeClusterPods", "false") not in ("true", "false"):
            raise Refused(422, "includeClusterPods is true or false.")
        return JSONResponse({"pods": self._account.list_pods()})

    async def create_pod(self, request: Request) -> Response:
        return JSONResponse(self._account.create(read_create(await request.body())), 201)

    async def get_pod(self, request: Request) -> Response:
        return JSONResponse(self._account.get(request.path_params["id"]))

    async def update_pod(self, request: Request) -> Response:
        change = read_change(await request.body())
        return JSONResponse(self._account.update(request.path_params["id"], change))

    async def delete_pod(self, request: Request) -> Response:
        self._account.remove(request.path_params["id"])
        return Response(status_code=204)

    async def act(self, request: Request) -> Response:
        action = read_action(await request.body())
        pod = self._account.act(request.path_params["id"], action)
        return Response(status_code=204) if pod is None else JSONResponse(pod)

    async def bill_pods(self, request: Request) -> Response:
        account = self._account
        return JSONResponse(bill_pods(account.ledger, request.query_params, account.now()))

    async def stream_logs(self, request: Request) -> Response:
        pod = self._account.find(request.path_params["id"])
        source = request.query_params.get("source")
        if source not in (None, "container", "system"):
            raise Refused(422, f"source={source!r} is neither container nor system.")
        begin = _log_begin(pod.log, request)
        return StreamingResponse(
            self._log_events(pod.id, begin, source),
            media_type="text/event-stream",
            headers={"Cache-Control": "no-cache", "X-Accel-Buffering": "no"},
        )

    async def _log_events(
        self, pod_id: str, begin: int, source: str | None
    ) -> AsyncGenerator[bytes]:
        """Yield the log from a place on, until the pod is gone or nobody listens."""
        while True:
            is_last = self._account.is_gone(pod_id)
            lines = self._account.log_lines(pod_id, begin)
            begin += len(lines)
            for line in lines:
                if source in (None, line.source):
                    yield _to_event(line)
            if is_last:
                return
            await asyncio.sleep(LOG_POLL_S)


def _by_method(account: Account, handlers: Mapping[str, Handler]) -> Handler:
    async def serve(request: Request) -> Response:
        handler = handlers.get(request.method)
        if handler is None:
            raise Refused(405, f"This path takes {', '.join(handlers)}.")
        _check_key(account, request)
        return await handler(request)

    return serve


def _check_key(account: Account, request: Request) -> None:
    """Let the account's key do everything, and a pod's own key what its pod may."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not key:
        raise Refused(401, "There is no bearer token.")
    if key == account.key:
        return
    pod = account.pod_of_key(key)
    if pod is None or pod.gone_at is not None:
        raise Refused(401, "The bearer token is not valid.")
    may_end = request.method in POD_KEY_READS or account.behaviour.pod_keys_may_terminate
    if request.path_params.get("id") != pod.id or not may_end:
        raise Refused(403, "The key of a pod may not do this.")


def _log_begin(log: list[LogLine], request: Request) -> int:
    """Return where in the log a stream begins: after an event, from a time, or at its tail."""
    last_id, since = request.headers.get("last-event-id"), request.query_params.get("since")
    if last_id:
        after = [number for number, line in enumerate(log) if line.id == last_id]
        if after:
            return after[0] + 1
        since = last_id.partition("/")[0]
    if since:
        moment = to_moment(since, "since")
        return next((place for place, line in enumerate(log) if line.moment >= moment), len(log))
    tail = request.query_params.get("tail", "100")
    if not tail.isdecimal() or int(tail) > MOST_TAIL:
        raise Refused(422, f"tail={tail!r} is no number from 0 to {MOST_TAIL}.")
    return max(len(log) - int(tail), 0)


def _to_event(line: LogLine) -> bytes:
    data = {"ts": to_text(line.moment), "source": line.source, "line": line.text}
    return f"id: {line.id}\ndata: {json.dumps(data)}\n\n".encode()


async def _problem(request: Request, err: Exception) -> Response:  # noqa: ARG001  # starlette's
    assert isinstance(err, HTTPException)
    body: dict[str, object] = {
        "title": HTTPStatus(err.status_code).phrase,
        "status": err.status_code,
        "detail": err.detail,
    }
    if isinstance(err, Refused) and err.errors:
        body["errors"] = list(err.errors)
    headers = dict(err.headers or {})
    return JSONResponse(body, err.status_code, headers, media_type="application/problem+json")
