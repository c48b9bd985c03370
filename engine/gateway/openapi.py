"""The OpenAPI 3.1 document of the routes, made from the same tables that serve them."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from aimds import __version__
from aimds.gateway.headers import ARROW, DEADLINE, JSON, NDJSON, TEXT
from aimds.gateway.identity import ROUTES, Route
from aimds.gateway.problem import CONTENT_TYPE, KINDS
from aimds.gateway.rows import Chunk, Row, Turns
from aimds.schema import VERDICTS

_SUMMARIES = {
    "screen": "Screen one request.",
    "batch": "Screen a batch; verdicts come back in the same order, in chunks as they finish.",
    "stream": "A long-lived stream: a request a line in, verdicts out as each is ready, matched by request_id.",
    "output": "Screen a model's response while it streams.",
    "turns": "Screen turns of a session.",
    "status": "Queue, batches, versions.",
    "reload": "Take up changed signatures, policy, keys and certificates.",
    "sessions": "Sessions that are held: in quarantine, or limited.",
    "release": "Let a session go.",
    "metrics": "Metrics in Prometheus' text format.",
    "health": "The process is alive, and can judge or may again.",
    "ready": "Requests are taken.",
    "openapi": "This document.",
}
_IN = {"screen": (JSON,), "turns": (JSON,), "batch": (ARROW, NDJSON), "stream": (NDJSON,), "output": (NDJSON, TEXT)}
_OUT = {"batch": (ARROW, NDJSON), "stream": (NDJSON,), "output": (NDJSON,), "metrics": (TEXT,)}


def document() -> dict[str, Any]:
    """The document."""
    _, schemas = msgspec.json.schema_components([Row, Turns, Chunk], ref_template="#/components/schemas/{name}")
    schemas = {**schemas, "Verdict": _verdict(), "Problem": _problem()}
    paths: dict[str, dict[str, Any]] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method.lower()] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {"title": "AIMDS gateway", "version": __version__},
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": {
                "bearer": {"type": "http", "scheme": "bearer", "description": "A JWT or an API key."},
                "mtls": {"type": "mutualTLS"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    out: dict[str, Any] = {
        "operationId": route.name,
        "summary": _SUMMARIES[route.name],
        "responses": {
            "200": {"description": "Done.", "content": {kind: {} for kind in _OUT.get(route.name, (JSON,))}},
            "default": {
                "description": "Refused.",
                "content": {CONTENT_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            },
        },
    }
    if route.role is not None:
        out["security"] = [{"bearer": []}, {"mtls": []}]
        out["description"] = f"Needs the role {route.role}."
    parameters = []
    if "{id}" in route.path:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": {"type": "string"}})
    if route.name == "release":
        parameters.append({"name": "tenant", "in": "query", "schema": {"type": "string"}})
    if route.name in _IN:
        schema = {"$ref": f"#/components/schemas/{_body(route.name)}"}
        content = {kind: {"schema": schema} if kind in (JSON, NDJSON) else {} for kind in _IN[route.name]}
        out["requestBody"] = {"required": True, "content": content}
        parameters += [
            {"name": DEADLINE, "in": "header", "schema": {"type": "number", "exclusiveMinimum": 0}},
            {"name": "Priority", "in": "header", "schema": {"type": "string"}, "description": "RFC 9218, u=0 to u=7."},
            {"name": "verdict", "in": "query", "schema": {"enum": ["full", "brief"]}},
        ]
        if route.name != "output":
            parameters.append({"name": "route", "in": "query", "schema": {"enum": ["any", "local"]}})
        if route.name in ("screen", "turns", "batch"):
            parameters.append({"name": "Idempotency-Key", "in": "header", "schema": {"type": "string"}})
    if route.name == "screen":
        verdict = {"schema": {"$ref": "#/components/schemas/Verdict"}}
        out["responses"]["200"]["content"] = {JSON: verdict}
    if parameters:
        out["parameters"] = parameters
    return out


def _body(route: str) -> str:
    return {"turns": "Turns", "output": "Chunk"}.get(route, "Row")


def _verdict() -> dict[str, Any]:
    properties = {field.name: _type(field.type, nullable=field.nullable) for field in VERDICTS}
    return {"type": "object", "properties": properties, "required": list(properties)}


def _type(kind: pa.DataType, *, nullable: bool) -> dict[str, Any]:
    if pa.types.is_map(kind):
        return {"type": "object", "additionalProperties": {"type": "number"}}
    if pa.types.is_list(kind):
        return {"type": "array", "items": _type(kind.value_type, nullable=False)}
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        return {"type": "object", "properties": {field.name: _type(field.type, nullable=False) for field in fields}}
    name = "number" if pa.types.is_floating(kind) else "integer" if pa.types.is_integer(kind) else "string"
    return {"type": [name, "null"] if nullable else name}


def _problem() -> dict[str, Any]:
    return {
        "type": "object",
        "description": "RFC 9457. The last part of type is one of " + ", ".join(KINDS) + ".",
        "properties": {
            "type": {"type": "string"},
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "retry_after_s": {"type": "number"},
            "limit": {"type": "integer", "description": "What was exceeded."},
            "setting": {"type": "string", "description": "The setting of the gateway that holds the limit."},
            "known": {"type": "array", "items": {"type": "string"}, "description": "What an unknown value may be."},
            "role": {"type": "string", "description": "The role that the request needs."},
        },
        "required": ["type", "title", "status", "detail"],
    }
