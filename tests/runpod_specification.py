"""Runpod's own specification, where it is at hand, held against what goes over the wire.

It is read from the folder that `CONDUIT_SPECS` names, else from `../shared/specs` beside the
checkout, and is no part of this project.
"""

from __future__ import annotations

import json
import re
from collections.abc import Generator, Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator, FormatChecker
from referencing import Registry
from referencing.jsonschema import DRAFT202012

from conduit_nb import settings
from conduit_nb.testing.runpod_server import RunpodServer, runpod_server
from conduit_nb.testing.runpod_server.traffic import Exchange

FILE = "runpod_openapi_v2.json"
BESIDE = Path(__file__).resolve().parent.parent.parent / "shared" / "specs"
URI = "urn:runpod"
FORMATS = FormatChecker()


@FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is not None


def specification_path() -> Path | None:
    path = (settings.specs_dir() or BESIDE) / FILE
    return path if path.is_file() else None


needs_specification = pytest.mark.skipif(
    specification_path() is None, reason=f"set CONDUIT_SPECS to a folder that holds {FILE}"
)


class Specification:
    """What may be asked and answered; problems are told in words, nothing where all is right."""

    def __init__(self, path: Path) -> None:
        self.document: dict[str, Any] = json.loads(path.read_text())
        resource = DRAFT202012.create_resource(self.document)
        self._registry = Registry().with_resource(URI, resource)

    def problems_of(self, exchange: Exchange) -> list[str]:
        """Return what is wrong with a request (unless it was refused as such) and its answer."""
        where = f"{exchange.method} {exchange.path} -> {exchange.status}"
        problems = list(self.answer_problems(exchange))
        if exchange.status not in (400, 401, 403, 404, 405, 422):
            problems += self.request_problems(exchange)
        return [f"{where}: {problem}" for problem in problems]

    def request_problems(self, exchange: Exchange) -> Iterator[str]:
        """Yield what is wrong with the query and the body."""
        template, operation = self._operation(exchange)
        if operation is None:
            yield "there is no such operation"
            return
        pointer = f"/paths/{_escaped(template)}/{exchange.method.lower()}"
        known = dict(self._parameters(operation, pointer))
        for name, text in exchange.query.items():
            if name not in known:
                yield f"query {name}: unknown"
                continue
            for problem in self._schema_problems(_decoded(text, known[name][0]), known[name][1]):
                yield f"query {name}: {problem}"
        if "requestBody" in operation:
            schema = f"{pointer}/requestBody/content/application~1json/schema"
            for problem in self._schema_problems(_parsed(exchange.body), schema):
                yield f"body {problem}"
        elif exchange.body:
            yield "a body where none is taken"

    def answer_problems(self, exchange: Exchange) -> Iterator[str]:
        """Yield what is wrong with status, kind and body of the answer."""
        template, operation = self._operation(exchange)
        if exchange.status is None or operation is None or exchange.status == 405:
            return
        responses = operation["responses"]
        code = str(exchange.status) if str(exchange.status) in responses else "default"
        pointer = f"/paths/{_escaped(template)}/{exchange.method.lower()}/responses/{code}"
        if "$ref" in responses[code]:
            pointer = responses[code]["$ref"].removeprefix("#")
        content = self._at(pointer).get("content")
        kind = exchange.answer_headers.get("content-type", "").partition(";")[0]
        if content is None:
            if exchange.answer:
                yield "a body where none is given"
            return
        if kind not in content:
            yield f"{kind or 'no content type'} instead of {', '.join(content)}"
            return
        if kind.endswith("json"):
            schema = f"{pointer}/content/{_escaped(kind)}/schema"
            yield from self._strict_problems(_parsed(exchange.answer), schema)
        elif kind == "text/event-stream":
            for event in exchange.answer.decode().strip().split("\n\n"):
                if event and not re.fullmatch(
                    r'id: \S+\ndata: \{"ts": .*"source": .*"line": .*\}', event
                ):
                    yield f"the event {event!r}"

    def _strict_problems(self, value: Any, pointer: str) -> Iterator[str]:
        """Yield the problems, and fields that no schema names: a slip in an optional one."""
        schema = {"$ref": f"{URI}#{pointer}", "unevaluatedProperties": False}
        yield from self._problems(value, schema)
        resolved = self._at(pointer)
        if "$ref" in resolved:
            resolved = self._at(resolved["$ref"].removeprefix("#"))
        for name, part in resolved.get("properties", {}).items():
            items = part.get("items", {}).get("$ref")
            for item in (value.get(name) or []) if items else []:
                yield from self._problems(
                    item, {"$ref": f"{URI}{items}", "unevaluatedProperties": False}
                )

    def _schema_problems(self, value: Any, pointer: str) -> Iterator[str]:
        yield from self._problems(value, {"$ref": f"{URI}#{pointer}"})

    def _problems(self, value: Any, schema: dict[str, Any]) -> Iterator[str]:
        validator = Draft202012Validator(schema, registry=self._registry, format_checker=FORMATS)
        for error in validator.iter_errors(value):
            yield f"{error.json_path}: {error.message[:300]}"

    def _operation(self, exchange: Exchange) -> tuple[str, dict[str, Any] | None]:
        fitting = [
            template
            for template in self.document["paths"]
            if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), exchange.path)
        ]
        template = min(fitting, key=lambda one: one.count("{"), default="")
        item = self.document["paths"].get(template, {})
        return template, item.get(exchange.method.lower())

    def _parameters(
        self, operation: dict[str, Any], pointer: str
    ) -> Iterator[tuple[str, tuple[dict[str, Any], str]]]:
        for number, one in enumerate(operation.get("parameters", [])):
            place = f"{pointer}/parameters/{number}"
            if "$ref" in one:
                place = one["$ref"].removeprefix("#")
            parameter = self._at(place)
            if parameter["in"] == "query":
                yield parameter["name"], (parameter["schema"], f"{place}/schema")

    def _at(self, pointer: str) -> dict[str, Any]:
        value: Any = self.document
        for part in pointer.removeprefix("/").split("/"):
            name = part.replace("~1", "/").replace("~0", "~")
            value = value[int(name)] if isinstance(value, list) else value[name]
        return value


@cache
def specification() -> Specification | None:
    path = specification_path()
    return None if path is None else Specification(path)


@contextmanager
def specified_runpod_server(**options: Any) -> Generator[RunpodServer]:
    """Serve as `runpod_server`, and in the end hold all traffic against the specification."""
    with runpod_server(**options) as cloud:
        yield cloud
        check_traffic(cloud.exchanges)


def check_traffic(exchanges: Iterable[Exchange]) -> None:
    """Fail where anything that went over the wire is not as specified."""
    rules = specification()
    if rules is not None:
        problems = [problem for exchange in exchanges for problem in rules.problems_of(exchange)]
        assert not problems, "\n" + "\n".join(problems)


def _decoded(text: str, schema: dict[str, Any]) -> object:
    """Return a query's text as the value that the schema means."""
    if schema.get("type") == "array":
        return text.split(",")
    if schema.get("type") == "integer":
        return int(text) if re.fullmatch(r"-?\d+", text) else text
    if schema.get("type") == "boolean":
        return {"true": True, "false": False}.get(text, text)
    return text


def _parsed(content: bytes) -> object:
    return json.loads(content) if content else None


def _escaped(text: str) -> str:
    return text.replace("~", "~0").replace("/", "~1")
