"""Spans for OpenTelemetry: whether a request is traced, whose trace it belongs to, and where spans are sent.

All of OpenTelemetry that the gateway uses is here, imported when traces are asked for and not before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from aimds import __version__
from aimds.errors import ConfigError

ENDPOINT = "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"
HEADER, ANSWER = "traceparent", "traceresponse"
"""Where a trace comes in (W3C Trace Context) and where its ids are told to the client (the same, level 2)."""
EXPORT_S = 5.0
"""How long one try to hand spans to the collector may take, and how long the end of the gateway waits for the last."""
_HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True, slots=True)
class Tracing:
    """Where spans go and how many there are.

    ``endpoint``: of an OTLP collector over HTTP, None: as the environment says · ``ratio``: share of the requests that
    are traced though they belong to no trace yet · ``follow``: take up the trace that a client names.
    """

    endpoint: str | None = None
    ratio: float = 0.01
    follow: bool = True


@dataclass(frozen=True, slots=True)
class Parent:
    """The span a request was made in: ``trace_id`` of 128 bits, ``span_id`` of 64, and whether it is recorded."""

    trace_id: int
    span_id: int
    sampled: bool


def parent(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """The trace that ``headers`` name; None where there is none, or it cannot be read: that begins a new one."""
    for name, value in headers:
        if name.lower() == HEADER.encode():
            return read(value.decode("latin-1").strip())
    return None


def read(value: str) -> Parent | None:
    """What ``value`` of the header says, of version 00 or a later one that begins alike; None where it is not valid."""
    version, trace_id, span_id, flags = value[:2], value[3:35], value[36:52], value[53:55]
    if value[2:3] + value[35:36] + value[52:53] != "---" or len(flags) != 2:
        return None
    if not _HEX.issuperset(version + trace_id + span_id + flags) or version == "ff":
        return None
    # Later versions may say more, after one more dash.
    if value[55:] and (version == "00" or value[55] != "-"):
        return None
    found = Parent(int(trace_id, 16), int(span_id, 16), bool(int(flags, 16) & 1))
    return found if found.trace_id and found.span_id else None


class Traces:
    """Makes spans with the tracers of ``provider``, an OpenTelemetry TracerProvider that records all it is given.

    Args:
        ratio, follow: see `Tracing`.
        random: decides with ``ratio``.
        wall_ns: nanoseconds since 1970.
    """

    def __init__(
        self,
        provider: Any,
        *,
        ratio: float = 1.0,
        follow: bool = True,
        random: Random | None = None,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self.wall_ns, self._provider, self._tracer = wall_ns, provider, provider.get_tracer("aimds", __version__)
        self._ratio, self._follow, self._random = ratio, follow, random or Random()

    def chosen(self, headers: Iterable[tuple[bytes, bytes]]) -> tuple[bool, Parent | None]:
        """Whether a request with ``headers`` is traced, and in which trace; None: in one of its own."""
        found = parent(headers) if self._follow else None
        return (self._random.random() < self._ratio, None) if found is None else (found.sampled, found)

    def request(self, name: str, within: Parent | None, attributes: Mapping[str, Any], began_ns: int) -> Any:
        """The span of a request."""
        from opentelemetry import trace

        context = trace.set_span_in_context(trace.INVALID_SPAN)
        if within is not None:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            remote = trace.SpanContext(within.trace_id, within.span_id, is_remote=True, trace_flags=flags)
            context = trace.set_span_in_context(trace.NonRecordingSpan(remote))
        return self._tracer.start_span(
            name, context, kind=trace.SpanKind.SERVER, attributes=attributes, start_time=began_ns
        )

    def begin(self, name: str, within: Any, began_ns: int, link: Any = None) -> Any:
        """A span in the span ``within`` (None: in a trace of its own), linked to the span ``link``."""
        from opentelemetry import trace

        context = trace.set_span_in_context(trace.INVALID_SPAN if within is None else within)
        links = None if link is None else [trace.Link(link.get_span_context())]
        return self._tracer.start_span(name, context, links=links, start_time=began_ns)

    def failed(self, span: Any, kind: str) -> None:
        """Say of ``span`` that it ended with an error of this ``kind``, a word of a fixed list."""
        from opentelemetry import trace

        span.set_status(trace.StatusCode.ERROR)
        span.set_attribute("error.type", kind)

    def close(self) -> None:
        """Hand over what is left, within EXPORT_S."""
        self._provider.force_flush(int(EXPORT_S * 1e3))
        self._provider.shutdown()


def answer(span: Any) -> tuple[str, str]:
    """The header that tells a client the ids of ``span``."""
    context = span.get_span_context()
    return ANSWER, f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags):02x}"


def traces(tracing: Tracing | None, environment: Mapping[str, str]) -> Traces | None:
    """What ``tracing`` asks for, or ``environment`` by naming ENDPOINT; None where neither does.

    Raises:
        ConfigError: the packages are not installed, or no endpoint is known.
    """
    if tracing is None:
        if not environment.get(ENDPOINT):
            return None
        tracing = Tracing()
    if not (tracing.endpoint or environment.get(ENDPOINT) or environment.get("OTEL_EXPORTER_OTLP_ENDPOINT")):
        raise ConfigError("traces.endpoint", None, f"the address of a collector, or {ENDPOINT} in the environment")
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON
    except ImportError as error:
        raise ConfigError("traces", error.name, "OpenTelemetry installed: pip install 'aimds[otel]'") from None
    own = {"service.name": environment.get("OTEL_SERVICE_NAME") or "aimds", "service.version": __version__}
    # What is traced was decided before a span is made, so that others cost nothing.
    provider = TracerProvider(resource=Resource.create(own), sampler=ALWAYS_ON)
    exporter = OTLPSpanExporter(endpoint=tracing.endpoint, timeout=EXPORT_S)
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return Traces(provider, ratio=tracing.ratio, follow=tracing.follow)
