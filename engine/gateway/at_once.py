"""Routes that are answered at once, since nothing is screened: health, metrics, the state, sessions that are held."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from aimds import __version__
from aimds.gateway import openapi
from aimds.gateway.exchange import Exchange, Fixed
from aimds.gateway.headers import JSON, Head
from aimds.gateway.identity import Identity, Route
from aimds.gateway.problem import Problem
from aimds.ids import short
from aimds.metrics import CONTENT_TYPE

if TYPE_CHECKING:
    from aimds.gateway.protocol import Service


def at_once(service: Service, route: Route, part: str, head: Head, identity: Identity) -> Exchange:
    """The answer of ``route`` to ``identity``; ``part`` of its path stands in braces.

    Raises:
        Problem: the session is not held, or not of this identity.
    """
    hooks = service.hooks
    match route.name:
        case "metrics":
            return Fixed("metrics", 200, [("content-type", CONTENT_TYPE)], _metrics(service))
        case "ready":
            ready = hooks.ready() and not service.draining
            return _json("ready", 200 if ready else 503, {"ready": ready, "draining": service.draining})
        case "openapi":
            return _json("openapi", 200, openapi.document())
        case "reload":
            return _json("reload", 200, hooks.reload())
        case "sessions":
            return _json("sessions", 200, {"sessions": hooks.held(identity)})
        case "release":
            tenant = identity.tenant_of(head.query.get("tenant"))
            if not hooks.release(None if tenant is None else short(tenant), short(part), identity):
                raise Problem("not-held", f"session {part[:200]!r} of tenant {tenant!r} is not held")
            return _json("release", 200, {"released": part})
        case "status":
            return _json("status", 200, _state(service))
    alive = hooks.alive()
    return _json("health", 200 if alive else 503, {"status": "ok" if alive else "device lost", "version": __version__})


def _state(service: Service) -> dict[str, Any]:
    batcher = service.batcher
    return {
        "queued_rows": batcher.queued_rows,
        "queued_bytes": batcher.queued_bytes,
        "running_batches": batcher.running,
        "waiting_tenants": batcher.waiting_tenants,
        "open_requests": service.open_requests,
        "batch_base_ms": round(batcher.time.base_s * 1e3, 3),
        "batch_us_per_kb": round(batcher.time.pace_s * 1e9, 3),
        "draining": service.draining,
        **service.hooks.state(),
    }


def _metrics(service: Service) -> bytes:
    service.hooks.gauges()
    metrics, batcher = service.metrics, service.batcher
    metrics.queue_rows.set(batcher.queued_rows)
    metrics.queue_bytes.set(batcher.queued_bytes)
    metrics.exchanges.set(service.open_requests)
    return metrics.text()


def _json(route: str, status: int, content: dict[str, Any]) -> Exchange:
    return Fixed(route, status, [("content-type", JSON)], json.dumps(content, ensure_ascii=True).encode())
