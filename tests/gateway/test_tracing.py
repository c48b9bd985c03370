"""Traces: what a traceparent says, which spans a request leaves, what they hold, and that nothing is there when off."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pytest
from desk import ARROW, ATTACK, JSON, NDJSON, PEER, Desk, feed, forwards, ipc, ndjson, taken
from hypothesis import given
from hypothesis import strategies as st
from live import INSECURE, live

from aimds.errors import ConfigError
from aimds.gateway import certificates
from aimds.gateway.batching import BatchConfig, Batcher
from aimds.gateway.client import Client
from aimds.gateway.hooks import Hooks
from aimds.gateway.output import OutputConfig
from aimds.gateway.protocol import Service
from aimds.gateway.settings import Screening, load
from aimds.gateway.traced import MOST_PIECES, TracedService
from aimds.gateway.tracing import ENDPOINT, Parent, Traces, Tracing, parent, read, traces

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
GIVEN = f"00-{TRACE}-{SPAN}-01"
MARK = "Xyzzy"
ids = st.integers(1, (1 << 64) - 1)


@given(ids, ids, st.integers(0, 255))
def test_a_traceparent_is_read_as_it_was_written(trace_id: int, span_id: int, flags: int) -> None:
    text = f"00-{trace_id:032x}-{span_id:016x}-{flags:02x}"
    assert read(text) == Parent(trace_id, span_id, bool(flags & 1))
    assert read("cc" + text[2:]) == read("cc" + text[2:] + "-more") == read(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        GIVEN[:-1],
        GIVEN + "0",
        GIVEN + "-more",
        GIVEN.upper(),
        GIVEN.replace("-", "_"),
        "ff" + GIVEN[2:],
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}-{SPAN}-0g",
        f"0x-{TRACE}-{SPAN}-01",
        f"00-{TRACE[:-1]}\u0664-{SPAN}-01",
    ],
)
def test_a_traceparent_that_is_not_valid_names_no_trace(text: str) -> None:
    assert read(text) is None


@given(st.text(max_size=80))
def test_any_traceparent_is_read_or_not(text: str) -> None:
    found = read(text)
    assert found is None or (found.trace_id > 0 and found.span_id > 0)


def test_the_header_is_found_whatever_its_case() -> None:
    assert parent([(b"host", b"x"), (b"TraceParent", GIVEN.encode())]) == read(GIVEN)
    assert parent([(b"host", b"x")]) is None
    assert parent([(b"traceparent", b"\xff\xfe")]) is None


class Traced(Desk):
    """A desk whose service is traced; ``now`` is also its wall clock."""

    def __init__(self, *, batch: BatchConfig | None = None, output: OutputConfig | None = None, **options: Any) -> None:
        pytest.importorskip("opentelemetry.sdk", reason="opentelemetry-sdk is not installed")
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import SimpleSpanProcessor
        from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
        from opentelemetry.sdk.trace.sampling import ALWAYS_ON

        super().__init__()
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=ALWAYS_ON)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.traces = Traces(provider, random=Random(1), wall_ns=lambda: round(self.now * 1e9), **options)
        hooks = Hooks(lambda: None, self.screener.unjudged, forwards)
        self.service: Service = TracedService(self.traces, Batcher(batch), hooks, output=output)

    def spans(self, name: str = "") -> list[Any]:
        """Spans that have ended, in that order."""
        return [one for one in self.exporter.get_finished_spans() if one.name == name or not name]


def named(spans: list[Any]) -> list[str]:
    return [one.name for one in spans]


def ids_of(span: Any) -> tuple[int, int]:
    return span.context.trace_id, span.context.span_id


def test_a_request_leaves_a_span_and_in_it_its_wait_and_its_verdict_linked_to_the_batch() -> None:
    desk = Traced()
    exchange = desk.open("/v1/screen", [*JSON, (b":method", b"POST"), (b"traceparent", GIVEN.encode())])
    feed(desk, exchange, json.dumps({"text": ATTACK}).encode())
    desk.now += 0.25
    desk.run()
    queue, judge, request, batch = desk.spans()
    assert named([queue, judge, request, batch]) == ["aimds.queue", "aimds.judge", "POST /v1/screen", "aimds.batch"]
    assert f"{request.context.trace_id:032x}-{request.parent.span_id:016x}" == f"{TRACE}-{SPAN}"
    assert request.parent.is_remote
    for one in (queue, judge):
        assert (one.context.trace_id, one.parent.span_id) == ids_of(request)
    assert batch.parent is None
    assert batch.context.trace_id != request.context.trace_id
    assert [(one.context.trace_id, one.context.span_id) for one in judge.links] == [ids_of(batch)]
    assert [(one.context.trace_id, one.context.span_id) for one in batch.links] == [ids_of(request)]
    assert dict(request.attributes) == {
        "http.request.method": "POST",
        "http.route": "/v1/screen",
        "network.protocol.version": "3",
        "http.response.status_code": 200,
    }
    assert dict(judge.attributes) == {"aimds.rows": 1, "aimds.action.block": 1, "aimds.threat.direct_injection": 1}
    assert dict(batch.attributes) == {"aimds.batch.rows": 1, "aimds.batch.pieces": 1, "aimds.batch.not_judged": 0}
    assert request.start_time == queue.start_time == 100_000_000_000
    assert queue.end_time == judge.start_time == batch.start_time == 100_250_000_000
    assert judge.end_time == batch.end_time == request.end_time == 100_251_000_000


def test_the_client_is_told_the_ids_of_its_request() -> None:
    desk = Traced()
    exchange = desk.ask("/v1/screen", b'{"text": "fine"}')
    (request,) = desk.spans("POST /v1/screen")
    told = read(dict(exchange.headers)["traceresponse"])
    assert told == Parent(*ids_of(request), True)
    refused = desk.ask("/v1/screen", b"{}", [(b"content-type", b"text/html")])
    assert refused.status == 415
    assert "traceresponse" in dict(refused.headers)
    assert desk.spans()[-1].attributes["http.response.status_code"] == 415


def test_requests_of_one_batch_are_linked_to_the_same_batch_and_keep_their_own_traces() -> None:
    desk = Traced()
    exchanges = [desk.open("/v1/screen") for _ in range(3)]
    for exchange in exchanges:
        exchange.receive(b'{"text": "fine"}', desk.now)
        exchange.end(desk.now)
    desk.run()
    (batch,) = desk.spans("aimds.batch")
    requests = desk.spans("POST /v1/screen")
    assert len({one.context.trace_id for one in requests}) == 3
    assert {one.context.span_id for one in batch.links} == {one.context.span_id for one in requests}
    assert {one.links[0].context.span_id for one in desk.spans("aimds.judge")} == {batch.context.span_id}


@pytest.mark.parametrize(
    ("target", "headers", "body"),
    [
        ("/v1/screen/batch", ARROW, ipc(pa.table({"text": ["a", ATTACK, "b"]}))),
        ("/v1/screen/batch", NDJSON, ndjson({"text": "a"}, {"text": ATTACK}, {"text": "b"})),
        ("/v1/sessions/s1/turns", JSON, json.dumps({"turns": [{"text": t} for t in ("a", ATTACK, "b")]}).encode()),
        ("/v1/screen/stream?verdict=brief", NDJSON, ndjson({"text": "a"}, {"text": ATTACK}, {"text": "b"})),
        ("/v1/screen/output", NDJSON, ndjson({"text": "a"}, {"text": ATTACK}, {"text": "b"})),
    ],
)
def test_verdicts_of_every_route_are_counted(target: str, headers: Any, body: bytes) -> None:
    desk = Traced(output=OutputConfig(step_bytes=1, look_back_bytes=16))
    exchange = desk.ask(target, body, headers)
    assert exchange.status == 200
    judged = desk.spans("aimds.judge")
    blocked = sum(one.attributes.get("aimds.action.block", 0) for one in judged)
    assert blocked >= 1
    if "output" not in target:
        assert sum(one.attributes["aimds.rows"] for one in judged) == 3
        assert (blocked, sum(one.attributes.get("aimds.action.allow", 0) for one in judged)) == (1, 2)
    path = target.partition("?")[0].replace("s1", "{id}")
    assert desk.spans()[-2].name == f"POST {path}" or f"POST {path}" in named(desk.spans())


def test_no_text_id_name_or_address_is_in_a_span() -> None:
    desk = Traced()
    one = {"text": f"{MARK} {ATTACK}", "request_id": MARK, "session_id": MARK, "tenant": MARK}
    secret = [(b"idempotency-key", MARK.encode()), (b"authorization", b"Bearer " + MARK.encode())]
    peer = replace(PEER, address=MARK)
    desk.ask(f"/v1/screen?x={MARK}", json.dumps(one).encode(), [*JSON, *secret], peer=peer)
    desk.ask(f"/v1/sessions/{MARK}/turns", json.dumps({**one, "text": "BOOM"}).encode(), JSON)
    desk.ask("/v1/screen/stream", ndjson(one, {"unknown": MARK}), [*NDJSON, (b"tracestate", b"a=" + MARK.encode())])
    desk.ask("/v1/screen", json.dumps({MARK: 1}).encode())
    desk.ask(f"/v1/{MARK}", b"", method=MARK)
    spans = desk.spans()
    assert len(spans) >= 10
    assert [one for one in spans if MARK in one.to_json()] == []
    keys = {key for one in spans for key in one.attributes}
    fixed = {"http.request.method", "http.route", "network.protocol.version", "http.response.status_code", "error.type"}
    assert all(key in fixed or key.startswith("aimds.") for key in keys)
    assert "aimds.not_judged" in keys


def test_rows_that_wait_past_their_deadline_are_an_error_of_the_wait() -> None:
    desk = Traced(batch=BatchConfig(slots=1))
    first, second = (desk.open("/v1/screen") for _ in range(2))
    for exchange in (first, second):
        exchange.receive(b'{"text": "fine", "deadline_ms": 50}', desk.now)
        exchange.end(desk.now)
    desk.now += 1.0
    desk.run()
    assert (first.status, second.status) == (504, 504)
    waits = desk.spans("aimds.queue")
    assert [one.attributes["error.type"] for one in waits] == ["deadline-exceeded"] * 2
    assert [one.attributes["error.type"] for one in desk.spans("POST /v1/screen")] == ["504"] * 2
    assert desk.spans("aimds.batch") == []


def test_a_client_that_leaves_ends_its_span() -> None:
    desk = Traced()
    exchange = desk.open("/v1/screen")
    exchange.abort(desk.now)
    (span,) = desk.spans()
    assert span.attributes["error.type"] == "client-gone"
    assert isinstance(desk.service, TracedService)
    assert desk.service._spans == {}


def test_a_long_stream_leaves_spans_of_its_first_rows_only() -> None:
    desk = Traced()
    count = MOST_PIECES + 50
    exchange = desk.ask("/v1/screen/stream", ndjson(*({"text": "fine"} for _ in range(count))), NDJSON)
    assert taken(exchange).count(b"\n") == count
    assert len(desk.spans("aimds.judge")) == MOST_PIECES


def test_a_trace_that_is_not_recorded_leaves_nothing_and_the_ratio_decides_where_there_is_none() -> None:
    desk = Traced(ratio=0.25)
    for _ in range(20):
        exchange = desk.ask("/v1/screen", b'{"text": "x"}', [*JSON, (b"traceparent", GIVEN[:-1].encode() + b"0")])
        assert "traceresponse" not in dict(exchange.headers)
    assert desk.spans() == []
    for _ in range(200):
        desk.ask("/v1/screen", b'{"text": "x"}')
    assert 25 <= len(desk.spans("POST /v1/screen")) <= 75


def test_a_trace_of_the_client_is_not_taken_up_where_that_is_off() -> None:
    desk = Traced(follow=False)
    desk.ask("/v1/screen", b'{"text": "x"}', [*JSON, (b"traceparent", GIVEN.encode())])
    (request,) = desk.spans("POST /v1/screen")
    assert request.parent is None
    assert f"{request.context.trace_id:032x}" != TRACE


def test_health_and_metrics_are_not_traced() -> None:
    desk = Traced()
    for target in ("/healthz", "/readyz", "/metrics", "/nothing"):
        desk.open(target, method="GET")
    assert desk.spans() == []


@pytest.fixture
def collected(monkeypatch: pytest.MonkeyPatch) -> Traced:
    desk = Traced()
    desk.traces.wall_ns = time.time_ns
    monkeypatch.setattr("aimds.app.gateway.traces", lambda tracing, environment: desk.traces)
    return desk


def test_a_running_gateway_hands_its_spans_over(collected: Traced) -> None:
    with live() as server:
        status, headers, _ = server.ask("POST", "/v1/screen", '{"text": "x"}', traceparent=GIVEN)
        assert (status, headers["traceresponse"][3:35]) == (200, TRACE)
        server.ask("GET", "/metrics")
    (request,) = collected.spans("POST /v1/screen")
    assert request.attributes["network.protocol.version"] == "1.1"
    assert {one.context.trace_id for one in collected.spans("aimds.judge")} == {request.context.trace_id}


def test_rows_that_came_over_quic_and_were_judged_in_another_process_are_traced(
    collected: Traced, tmp_path: Path
) -> None:
    now = datetime.now(UTC)
    ca = certificates.authority("ca", now)
    certificates.write(tmp_path, "ca", ca)
    certificates.write(tmp_path, "server", certificates.issue(ca, "server", ["127.0.0.1"], now))
    served = replace(
        INSECURE,
        certificate=tmp_path / "server.pem",
        key=tmp_path / "server.key",
        screening=Screening(workers=1),
    )
    judge = (sys.executable, str(Path(__file__).parent / "fake_judge.py"))
    with (
        live(served, judge=judge, warm=("warm",)) as server,
        Client(f"https://127.0.0.1:{server.gateway.port}", ca=tmp_path / "ca.pem") as client,
    ):
        answer = client.request("POST", "/v1/screen", json.dumps({"text": ATTACK}).encode(), {"traceparent": GIVEN})
    assert answer.headers["traceresponse"][3:35] == TRACE
    (request,) = collected.spans("POST /v1/screen")
    (judged,) = collected.spans("aimds.judge")
    (batch,) = collected.spans("aimds.batch")
    assert request.attributes["network.protocol.version"] == "3"
    assert f"{request.parent.span_id:016x}" == SPAN
    assert judged.attributes["aimds.action.block"] == 1
    assert judged.links[0].context.span_id == batch.context.span_id


def test_without_settings_there_is_no_tracing_and_nothing_of_it_is_loaded() -> None:
    with live() as server:
        assert type(server.gateway.service) is Service
    code = (
        "import sys; from aimds.gateway.tracing import traces; assert traces(None, {}) is None;"
        "sys.exit(any(name.startswith('opentelemetry') for name in sys.modules))"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_settings_name_the_collector(tmp_path: Path) -> None:
    file = tmp_path / "aimds.toml"
    file.write_text('[traces]\nendpoint = "http://127.0.0.1:4318/v1/traces"\nratio = 0.5\nfollow = false\n')
    assert load(file).traces == Tracing("http://127.0.0.1:4318/v1/traces", 0.5, False)
    file.write_text("[traces]\n")
    assert load(file).traces == Tracing()
    for wrong in ('endpoint = "collector:4318"', "ratio = 2", "follow = 1", "other = 1"):
        file.write_text(f"[traces]\n{wrong}\n")
        with pytest.raises(ConfigError, match="traces"):
            load(file)


def test_traces_without_a_collector_or_its_packages_are_an_error_that_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=ENDPOINT):
        traces(Tracing(), {})
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(ConfigError, match=r"aimds\[otel\]"):
        traces(None, {ENDPOINT: "http://127.0.0.1:9/v1/traces"})


def test_what_breaks_in_tracing_breaks_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    desk = Traced()

    def broken(*arguments: Any) -> Any:
        raise ValueError("a span broke")

    for name in ("begin", "request"):
        monkeypatch.setattr(desk.traces, name, broken)
        exchange = desk.ask("/v1/screen", b'{"text": "fine"}')
        assert (exchange.status, json.loads(taken(exchange))["action"]) == (200, "allow")


def test_a_collector_that_is_gone_harms_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")
    monkeypatch.setattr("aimds.gateway.tracing.EXPORT_S", 0.2)
    with live(replace(INSECURE, traces=Tracing("http://127.0.0.1:9/v1/traces", ratio=1.0))) as server:
        assert server.screen("x")[0] == 200


def test_a_collector_gets_the_spans() -> None:
    pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="the OTLP exporter is not installed")
    from http.server import BaseHTTPRequestHandler, HTTPServer
    from threading import Thread

    got: list[bytes] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *arguments: Any) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = Thread(target=collector.handle_request)
        thread.start()
        address = f"http://127.0.0.1:{collector.server_port}/v1/traces"
        with live(replace(INSECURE, traces=Tracing(address))) as server:
            assert server.ask("POST", "/v1/screen", '{"text": "x"}', traceparent=GIVEN)[0] == 200
        thread.join()
    assert bytes.fromhex(TRACE) in got[0]
    assert b"POST /v1/screen" in got[0]
