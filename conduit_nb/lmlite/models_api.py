"""The endpoints about models: list, load ahead of time, unload.

Knows HTTP and the pool of models.
"""

from __future__ import annotations

import asyncio
from typing import Any

from pydantic_core import core_schema
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from conduit_nb.errors import ModelNotFoundError
from conduit_nb.lmlite.activity import Activity
from conduit_nb.lmlite.api_request import MODEL_FIELDS, RequestValidator, model_key, optional
from conduit_nb.lmlite.auth import read_body, require_key
from conduit_nb.lmlite.http_errors import json_response
from conduit_nb.lmlite.pool import ModelPool, stopping
from conduit_nb.models.hub import available_offline
from conduit_nb.protocol import ModelDeleted, ModelInfo, ModelList, ServerMemory

MAX_REPLICAS = 64

_LOAD = RequestValidator(
    {"replicas": optional(core_schema.int_schema(ge=1, le=MAX_REPLICAS))},
    {},
    common=MODEL_FIELDS,
    example='{"model": "owner/name"}',
    hint="It takes model, replicas and conduit (revision, dtype, max_model_len).",
)


class ModelsApi:
    """Answers about models, and loads and unloads them. Every request needs the key."""

    def __init__(self, pool: ModelPool, activity: Activity, key: str) -> None:
        self._pool = pool
        self._activity = activity
        self._key = key

    def routes(self) -> list[Route]:
        """Return the paths; ids hold slashes."""
        return [
            Route("/v1/models", self.models, methods=["GET"]),
            Route("/v1/models/load", self.load, methods=["POST"]),
            Route("/v1/models/{id:path}", self.model, methods=["GET"]),
            Route("/v1/models/{id:path}", self.unload, methods=["DELETE"]),
        ]

    async def models(self, request: Request) -> Response:
        """List what is loaded, what could be without a network, and the memory that is shared."""
        require_key(request, self._key)
        return json_response(
            ModelList(
                object="list",
                data=await self._all(),
                conduit=ServerMemory(devices=self._pool.memory()),
            )
        )

    async def model(self, request: Request) -> Response:
        """Return one model; of its revisions and precisions, the first that was requested."""
        require_key(request, self._key)
        model_id = request.path_params["id"]
        for model in await self._all():
            if model["id"] == model_id:
                return json_response(model)
        raise ModelNotFoundError(
            f"{model_id} is not here.",
            reason="missing",
            hint="Send a request with its id to have it fetched and loaded.",
        )

    async def load(self, request: Request) -> Response:
        """Load a model and its replicas, which takes seconds to minutes; return its state."""
        checked = _LOAD.read(await read_body(request, self._key))
        options: dict[str, Any] = checked.get("conduit") or {}
        key = model_key(checked)
        request.scope["conduit_log"]["model"] = key.model_id
        if self._activity.is_stopping:
            raise stopping()
        with self._activity.request():
            loaded = await self._pool.load(
                key,
                max_model_len=options.get("max_model_len"),
                replicas=checked.get("replicas") or 1,
            )
        return json_response(loaded)

    async def unload(self, request: Request) -> Response:
        """End a model's engines, in the words of OpenAI's own endpoint of that path."""
        require_key(request, self._key)
        model_id = request.path_params["id"]
        request.scope["conduit_log"]["model"] = model_id
        with self._activity.request():
            await self._pool.unload(model_id)
        return json_response(ModelDeleted(id=model_id, object="model", deleted=True))

    async def _all(self) -> list[ModelInfo]:
        listed = self._pool.models()
        known = {model["id"] for model in listed}
        others = [
            ModelInfo(id=name, object="model", created=0, owned_by="conduit")
            for name in await asyncio.to_thread(available_offline)
            if name not in known
        ]
        return [*listed, *others]
