"""The JSON interface as data: its routes are made of it, and so is its OpenAPI description."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import msgspec
from aiohttp import web

from pifleet.page.api import Api
from pifleet.page.board import Moment, State
from pifleet.page.labelled import LabelledSet
from pifleet.page.links import Link
from pifleet.page.messages import Begun, Choices, Done, Replay, Screen, Words, Written
from pifleet.page.reading import ReadImage
from producer.review.estimate import Estimate

OPENAPI = "3.1.0"  # its schemas are JSON Schema, which msgspec writes
COMPONENTS = "#/components/schemas/{name}"
JOB = "/api/jobs/{job:[0-9a-f]{8}}"
FILE_FIELD = {"type": "string", "format": "binary"}
TEXT_FIELD = {"type": "string"}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One thing that can be asked.

    Attributes:
        method: of HTTP.
        path: as aiohttp has it, with what a part of it may be.
        handler: the method of ``Api``, whose docstring describes it.
        answer: the type of its JSON; a string is a media type that is no JSON.
        body: the type of the JSON that it takes.
        form: the fields of the form that it takes.
        query: the parameters that it takes.
    """

    method: str
    path: str
    handler: str
    answer: Any
    body: Any = None
    form: dict[str, Any] | None = None
    query: tuple[str, ...] = ()

    @property
    def plain_path(self) -> str:
        """Its path, as OpenAPI has it."""
        return (
            self.path.replace(":[0-9a-f]{8}", "")
            .replace(r":\d{1,12}", "")
            .replace(":submission|failures|corrected", "")
        )


FORM = {
    "model": TEXT_FIELD,
    "symbols": TEXT_FIELD,
    "pattern": TEXT_FIELD,
    "lexicon": FILE_FIELD,
}
ENDPOINTS = (
    Endpoint("GET", "/api/choices", "choices", Choices),
    Endpoint(
        *("POST", "/api/read", "read", list[ReadImage]),
        form={**FORM, "where": {"enum": ["here", "fleet"]}, "images": FILE_FIELD},
    ),
    Endpoint("GET", "/api/state", "state", State),
    Endpoint("GET", "/api/events", "events", "text/event-stream"),
    Endpoint("GET", "/api/fleet/history", "history", dict[str, list[Moment]]),
    Endpoint("GET", "/api/links", "other_pages", list[Link]),
    Endpoint(
        *("POST", "/api/jobs", "begin", Begun),
        form={**FORM, "list": FILE_FIELD, "folder": TEXT_FIELD},
    ),
    Endpoint("DELETE", "/api/problems", "forget_problems", Done),
    Endpoint("POST", f"{JOB}/cancel", "cancel", Done),
    Endpoint("POST", f"{JOB}/collect", "collect", Done),
    Endpoint("POST", f"{JOB}/replay", "replay", Done, body=Replay),
    Endpoint("GET", f"{JOB}/{{file:submission|failures|corrected}}.csv", "download", "text/csv"),
    Endpoint("GET", f"{JOB}/review", "screen", Screen, query=("order", "after", "most")),
    Endpoint("POST", f"{JOB}/corrections", "say", Estimate, body=Words),
    Endpoint("POST", f"{JOB}/corrected", "write_corrected", Written),
    Endpoint("POST", f"{JOB}/labelled-set", "write_labelled", LabelledSet),
    Endpoint("GET", f"{JOB}/images/{{index:\\d{{1,12}}}}", "picture", "image/png"),
)


async def description(request: web.Request) -> dict[str, Any]:
    """Describe the interface, for this server."""
    return describe()


def describe() -> dict[str, Any]:
    """Build the OpenAPI description."""
    types = [e.answer for e in ENDPOINTS if not isinstance(e.answer, str)]
    types += [endpoint.body for endpoint in ENDPOINTS if endpoint.body is not None]
    schemas, components = msgspec.json.schema_components(types, ref_template=COMPONENTS)
    by_type = dict(zip(map(str, types), schemas, strict=True))
    paths: dict[str, dict[str, Any]] = {}
    for endpoint in ENDPOINTS:
        operation = _operation(endpoint, by_type)
        paths.setdefault(endpoint.plain_path, {})[endpoint.method.lower()] = operation
    error = {"type": "object", "properties": {"error": TEXT_FIELD}, "required": ["error"]}
    return {
        "openapi": OPENAPI,
        "info": {"title": "pifleet", "version": version("pifleet")},
        "security": [{"token": []}],
        "paths": paths,
        "components": {
            "schemas": {**components, "Error": error},
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _operation(endpoint: Endpoint, by_type: dict[str, Any]) -> dict[str, Any]:
    summary = (getattr(Api, endpoint.handler).__doc__ or "").strip()
    parts = [part.strip("{}") for part in endpoint.plain_path.split("/") if part.startswith("{")]
    parameters = [_parameter(part.partition("}")[0], "path") for part in parts]
    parameters += [_parameter(name, "query") for name in endpoint.query]
    operation: dict[str, Any] = {
        "operationId": endpoint.handler,
        "summary": summary,
        "parameters": parameters,
        "responses": {
            "200": {"description": "done", "content": _content(endpoint.answer, by_type)},
            "default": {
                "description": "what is wrong, and the next step",
                "content": _json({"$ref": COMPONENTS.format(name="Error")}),
            },
        },
    }
    if endpoint.body is not None:
        operation["requestBody"] = {"content": _json(by_type[str(endpoint.body)])}
    if endpoint.form is not None:
        form = {"type": "object", "properties": endpoint.form}
        operation["requestBody"] = {"content": {"multipart/form-data": {"schema": form}}}
    return operation


def _content(answer: Any, by_type: dict[str, Any]) -> dict[str, Any]:
    return {answer: {}} if isinstance(answer, str) else _json(by_type[str(answer)])


def _json(schema: Any) -> dict[str, Any]:
    return {"application/json": {"schema": schema}}


def _parameter(name: str, place: str) -> dict[str, Any]:
    return {"name": name, "in": place, "required": place == "path", "schema": TEXT_FIELD}
