"""The OpenAPI 3.1 document, rendered from the same table and models that validate."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import orjson
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from gateway.api.http.replay import HEADER
from gateway.api.http.routing import JSON, Route
from gateway.api.wire.problems import PROBLEM_JSON, TITLES
from gateway.api.wire.shapes import Problem, Query

Names = Mapping[tuple[Any, JsonSchemaMode], Mapping[str, Any]]

_REF = "#/components/schemas/{model}"
_ABOUT = (
    "Busy time of people whose calendars live in iCloud, and what may be written there. "
    "Times are RFC 3339 with an offset, windows are half-open, zones are IANA names. Errors are "
    "application/problem+json (RFC 9457) with a stable `code`. Every POST that changes something "
    f"takes an `{HEADER}`: the same key and body get the same answer for 24 hours."
)
_SECURITY = {
    "type": "http",
    "scheme": "bearer",
    "description": "An API key. Scopes: admin includes platform, platform includes freebusy:read.",
}


def build_document(routes: Sequence[Route], *, version: str) -> dict[str, Any]:
    """Render the OpenAPI document of the routes."""
    definitions = models_json_schema(_models(routes), ref_template=_REF)
    names, schema = definitions
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route, names)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "iCloud CalDAV gateway",
            "version": version,
            "summary": "Free/busy, calendars and appointments on top of iCloud.",
            "description": _ABOUT,
            "license": {"name": "GPL-3.0-or-later", "identifier": "GPL-3.0-or-later"},
        },
        "servers": [{"url": "."}],  # where this document lies, whatever proxy is before it
        "tags": [{"name": name} for name in dict.fromkeys(route.tag for route in routes)],
        "paths": paths,
        "components": {
            "schemas": schema.get("$defs", {}),
            "securitySchemes": {"key": _SECURITY},
        },
    }


def dump_document(document: dict[str, Any]) -> bytes:
    """Serialise the document."""
    return orjson.dumps(document)


def _models(routes: Iterable[Route]) -> list[tuple[type[BaseModel], JsonSchemaMode]]:
    found: dict[tuple[type[BaseModel], JsonSchemaMode], None] = {(Problem, "serialization"): None}
    for route in routes:
        if route.body is not None:
            found[(route.body, "validation")] = None
        if route.answer is not None:
            found[(route.answer, "serialization")] = None
    return list(found)


def _operation(route: Route, names: Names) -> dict[str, Any]:
    operation: dict[str, Any] = {
        "operationId": operation_id(route),
        "summary": route.summary,
        "description": _description(route),
        "tags": [route.tag],
        "parameters": [*_path_parameters(route), *_query_parameters(route.query), *_headers(route)],
        "responses": _responses(route, names),
        "security": [] if route.scope is None else [{"key": [route.scope]}],
    }
    if route.body is not None:
        schema = names[(route.body, "validation")]
        operation["requestBody"] = {"required": True, "content": {JSON: {"schema": schema}}}
    return operation


def operation_id(route: Route) -> str:
    """Name an operation after its handler."""
    return re.sub(r"_(\w)", lambda found: found[1].upper(), route.handler.__name__)


def _description(route: Route) -> str:
    text = (route.handler.__doc__ or route.summary).strip()
    scope = "Public." if route.scope is None else f"Needs the scope `{route.scope}`."
    codes = ", ".join(f"`{code}`" for code in route.problems)
    return f"{text} {scope}" + (f" Codes worth handling: {codes}." if codes else "")


def _path_parameters(route: Route) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "in": "path",
            "required": True,
            "schema": {"type": "string", "pattern": "^[A-Za-z0-9_-]{1,64}$"},
        }
        for name in re.findall(r"{(\w+)}", route.path)
    ]


def _query_parameters(query: type[Query]) -> list[dict[str, Any]]:
    schema = query.model_json_schema(mode="validation", ref_template=_REF)
    required = schema.get("required", [])
    return [
        {"name": name, "in": "query", "required": name in required, "schema": _text_form(found)}
        for name, found in schema.get("properties", {}).items()
    ]


def _text_form(schema: dict[str, Any]) -> dict[str, Any]:
    """Drop null from a parameter's schema: a query parameter is left out, never null."""
    kept = {name: value for name, value in schema.items() if name not in ("anyOf", "title")}
    choices = [choice for choice in schema.get("anyOf", []) if choice.get("type") != "null"]
    if kept.get("default", "") is None:
        del kept["default"]
    return {**kept, **choices[0]} if choices else kept


def _headers(route: Route) -> list[dict[str, Any]]:
    if route.method != "POST" or route.scope is None:
        return []
    schema = {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"}
    return [{"name": HEADER, "in": "header", "required": False, "schema": schema}]


def _responses(route: Route, names: Names) -> dict[str, Any]:
    good: dict[str, Any] = {"description": "Done."}
    content: dict[str, Any] = {}
    if route.answer is not None:
        content[JSON] = {"schema": names[(route.answer, "serialization")]}
    if route.media != JSON:
        content[route.media] = {"schema": {"type": "string"}}
    if content:
        good["content"] = content
    responses = {str(route.status): good}
    if route.conditional:
        responses["304"] = {"description": "Nothing has changed since the ETag given."}
    problem = {PROBLEM_JSON: {"schema": names[(Problem, "serialization")]}}
    for status in _problem_statuses(route):
        responses[str(status)] = {"description": TITLES[status], "content": problem}
    return responses


def _problem_statuses(route: Route) -> list[int]:
    statuses = {415, 500, 503}
    if route.scope is not None:
        statuses |= {401, 403, 422, 429}
    if "{" in route.path:
        statuses |= {404, 429}
    if route.body is not None or route.method in ("POST", "PUT", "PATCH", "DELETE"):
        statuses |= {400, 404, 408, 409, 413, 422, 507}
    if route.upstream:
        statuses.add(502)
    if len(route.query.model_fields):
        statuses |= {404, 409, 422}
    return sorted(statuses)
