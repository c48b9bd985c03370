"""The OpenAPI 3.1 document of the routes, made from the same tables that serve them."""

from __future__ import annotations

from typing import Any

import msgspec
import pyarrow as pa

from aimds import __version__
from aimds.gateway.headers import ARROW, DEADLINE, JSON, KEY, MAX_KEY, NDJSON, TEXT
from aimds.gateway.identity import ROUTES, Route
from aimds.gateway.problem import CONTENT_TYPE, KINDS
from aimds.gateway.rows import BRIEF, Chunk, Row, Turns
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
_QUERY = {
    "release": {"tenant": "Whose session it is, for who may name any."},
    "output": {
        "request_id": "Of the response; stands in the record of each window.",
        "session_id": "The session that the response belongs to.",
        "tenant": "Whose it is, for who may name any.",
    },
}
"""What may be asked for besides, in the query of a route."""
_SAID: dict[str, Any] = {"type": "string"}
_FLAG: dict[str, Any] = {"type": "boolean"}
_REPLAYED = {
    "idempotency-replayed": {
        "schema": {"const": "true"},
        "description": "The answer to an earlier request of this key.",
    }
}
_RETRY = {
    "Retry-After": {
        "schema": {"type": "integer", "minimum": 1},
        "description": "Seconds; with 429, and with most of 503.",
    }
}


def document() -> dict[str, Any]:
    """The document."""
    _, schemas = msgspec.json.schema_components([Row, Turns, Chunk], ref_template="#/components/schemas/{name}")
    schemas = {
        **schemas,
        "Verdict": _verdict(tuple(VERDICTS.names)),
        "BriefVerdict": _verdict(BRIEF),
        "Window": _window(),
        "Failure": _failure(),
        "Problem": _problem(),
    }
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
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key", "description": "An API key."},
                "mtls": {"type": "mutualTLS"},
            },
        },
    }


def _operation(route: Route) -> dict[str, Any]:
    answer = _answers().get(route.name)
    content = {kind: {} if kind == ARROW or answer is None else {"schema": answer} for kind in _out(route)}
    done: dict[str, Any] = {"description": "Done.", "content": content}
    keyed = route.name in ("screen", "turns", "batch")
    if keyed:
        done["headers"] = _REPLAYED
    out: dict[str, Any] = {
        "operationId": route.name,
        "summary": _SUMMARIES[route.name],
        "responses": {
            "200": done,
            "default": {
                "description": "Refused.",
                "headers": _RETRY,
                "content": {CONTENT_TYPE: {"schema": _ref("Problem")}},
            },
        },
    }
    if route.name in ("health", "ready"):
        out["responses"]["503"] = {**done, "description": "Not now."}
    if route.role is not None:
        out["security"] = [{"bearer": []}, {"key": []}, {"mtls": []}]
        out["description"] = f"Needs the role {route.role}."
    parameters = []
    if "{id}" in route.path:
        parameters.append({"name": "id", "in": "path", "required": True, "schema": _SAID})
    for name, told in _QUERY.get(route.name, {}).items():
        parameters.append({"name": name, "in": "query", "schema": _SAID, "description": told})
    if route.name in _IN:
        schema = _ref(_body(route.name))
        if route.name == "turns":
            schema = {"anyOf": [_ref("Row"), schema]}
        taken = {kind: {"schema": schema} if kind in (JSON, NDJSON) else {} for kind in _IN[route.name]}
        out["requestBody"] = {"required": True, "content": taken}
        parameters += [
            {"name": DEADLINE, "in": "header", "schema": {"type": "number", "exclusiveMinimum": 0}},
            {"name": "Priority", "in": "header", "schema": _SAID, "description": "RFC 9218, u=0 to u=7."},
        ]
        if route.name != "output":
            parameters.append({"name": "verdict", "in": "query", "schema": {"enum": ["full", "brief"]}})
            parameters.append({"name": "route", "in": "query", "schema": {"enum": ["any", "local"]}})
        if keyed:
            parameters.append({"name": KEY, "in": "header", "schema": {**_SAID, "minLength": 1, "maxLength": MAX_KEY}})
    if parameters:
        out["parameters"] = parameters
    return out


def _out(route: Route) -> tuple[str, ...]:
    return _OUT.get(route.name, (JSON,))


def _ref(name: str) -> dict[str, Any]:
    return {"$ref": f"#/components/schemas/{name}"}


def _object(**properties: dict[str, Any]) -> dict[str, Any]:
    """An object that has all of them."""
    return {"type": "object", "properties": properties, "required": list(properties)}


def _answers() -> dict[str, dict[str, Any]]:
    """What each route answers with, of a stream each line."""
    verdict = {"anyOf": [_ref("Verdict"), _ref("BriefVerdict")]}
    held = _object(
        session_action=_SAID,
        tenant={"type": ["string", "null"]},
        session_id=_SAID,
        sender={"type": ["string", "null"]},
        since={**_SAID, "format": "date-time"},
        seconds_left={"type": ["integer", "null"]},
        request_id={"type": ["string", "null"]},
    )
    count = {"type": "integer", "minimum": 0}
    return {
        "screen": verdict,
        "turns": _object(verdicts={"type": "array", "items": verdict}),
        "batch": {"anyOf": [*verdict["anyOf"], _ref("Failure")]},
        "stream": {"anyOf": [*verdict["anyOf"], _ref("Failure")]},
        "output": {"anyOf": [_ref("Window"), _ref("Failure")]},
        "status": _object(
            queued_rows=count, queued_bytes=count, running_batches=count, open_requests=count, draining=_FLAG
        ),
        "reload": {"type": "object"},
        "sessions": _object(sessions={"type": "array", "items": held}),
        "release": _object(released=_SAID),
        "metrics": _SAID,
        "health": _object(status=_SAID, version=_SAID),
        "ready": _object(ready=_FLAG, draining=_FLAG),
        "openapi": {"type": "object"},
    }


def _body(route: str) -> str:
    return {"turns": "Turns", "output": "Chunk"}.get(route, "Row")


def _verdict(names: tuple[str, ...]) -> dict[str, Any]:
    fields = [VERDICTS.field(name) for name in names]
    properties = {field.name: _type(field.type, nullable=field.nullable) for field in fields}
    routed = {"type": "object", "description": "With route=any or local: the model tier."}
    return {"type": "object", "properties": {**properties, "route": routed}, "required": list(properties)}


def _window() -> dict[str, Any]:
    names = ("action", "threat_type", "score", "evidence", "spans", "status", "error")
    versions = ("model_version", "signature_version", "policy_version")
    count = {"type": "integer", "minimum": 0}
    return _object(
        seq=count,
        judged={**count, "description": "Bytes of the response so far."},
        released={**count, "description": "Bytes that may be passed on."},
        final=_FLAG,
        **{name: _type(VERDICTS.field(name).type, nullable=VERDICTS.field(name).nullable) for name in names},
        **dict.fromkeys(versions, _SAID),
    )


def _failure() -> dict[str, Any]:
    found = _object(status={"const": "error"}, error=_SAID, problem=_ref("Problem"))
    found["description"] = "A row without a verdict; without request_id the answer breaks off."
    found["properties"]["request_id"] = _SAID
    return found


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
