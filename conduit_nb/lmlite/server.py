"""The HTTP application over a pool of models: OpenAI's endpoints, health and metrics."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from conduit_nb.lmlite.activity import Activity
from conduit_nb.lmlite.auth import require_key
from conduit_nb.lmlite.chat import parse_chat
from conduit_nb.lmlite.completion import parse_completion
from conduit_nb.lmlite.http_errors import HANDLERS, json_response
from conduit_nb.lmlite.log import RequestLog
from conduit_nb.lmlite.metrics import CONTENT_TYPE, Metrics, RequestCounts
from conduit_nb.lmlite.models_api import ModelsApi
from conduit_nb.lmlite.pool import ModelPool
from conduit_nb.lmlite.serving import Completions
from conduit_nb.protocol import Health


def make_app(pool: ModelPool, activity: Activity, *, key: str, version: str) -> ASGIApp:
    """Return the server's application; `key` is the bearer token that requests must carry."""
    metrics = Metrics(pool)
    about = _About(pool, activity, metrics, key, version)
    chat = Completions(parse_chat, pool, activity, metrics, key)
    text = Completions(parse_completion, pool, activity, metrics, key)
    routes = [
        Route("/health", about.health, methods=["GET"]),
        Route("/metrics", about.metrics, methods=["GET"]),
        *ModelsApi(pool, activity, key).routes(),
        Route("/v1/chat/completions", chat, methods=["POST"]),
        Route("/v1/completions", text, methods=["POST"]),
    ]
    paths = frozenset(route.path for route in routes)
    app = Starlette(routes=routes, exception_handlers=HANDLERS)
    app.router.redirect_slashes = False  # a path that is not there is an error like any other
    # Around all of Starlette, so that an answer for a mistake of ours has its id and its line too.
    return RequestLog(RequestCounts(app, metrics=metrics, paths=paths))


class _About:
    """Answers about the server itself."""

    def __init__(
        self, pool: ModelPool, activity: Activity, metrics: Metrics, key: str, version: str
    ) -> None:
        self._pool = pool
        self._activity = activity
        self._key = key
        self._version = version
        self._metrics = metrics

    async def health(self, request: Request) -> Response:
        """Report that the server is alive; with the key, also its models and state."""
        status = "stopping" if self._activity.is_stopping else "ok"
        if "authorization" not in request.headers:
            return json_response({"status": status})
        require_key(request, self._key)
        models = {
            model["id"]: model["conduit"]["state"]
            for model in self._pool.models()
            if "conduit" in model
        }
        return json_response(
            Health(
                status=status,
                version=self._version,
                device=self._pool.device,
                idle_s=round(self._activity.idle_s, 3),
                models=models,
            )
        )

    async def metrics(self, request: Request) -> Response:
        """Return the server's metrics in Prometheus' text format."""
        require_key(request, self._key)
        return Response(self._metrics.exposition(), headers={"content-type": CONTENT_TYPE})
