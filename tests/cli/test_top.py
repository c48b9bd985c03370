"""`aimds top`: windows between readings, alerts by the shipped rules, the screen, and gateways that do not answer."""

from __future__ import annotations

import contextlib
import io
import json
import math
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from typer.testing import CliRunner

from aimds.__main__ import _run
from aimds.cli import build, top, top_alerts, top_figures
from aimds.cli.top_alerts import alerts
from aimds.cli.top_figures import figures
from aimds.cli.top_view import duration, rate, sparkline, view
from aimds.cli.top_watch import Shown, Watch
from aimds.cli.top_window import Histogram, MetricsError, Sample, Window, read
from aimds.gateway.client import Answer, ServerError
from aimds.metrics import Metrics
from aimds.printable import hidden

ROOT = Path(__file__).parents[2]
URL = "http://gateway.example:8080"
NOON = datetime(2026, 1, 2, 12, 0, 0, tzinfo=UTC)


class Gateway:
    """Answers as one does; ``now`` is its clock, ``down`` what it fails with."""

    def __init__(self) -> None:
        self.metrics, self.now = Metrics(), 100.0
        self.down: ServerError | None = None
        self.ready: dict[str, Any] = {"ready": True, "draining": False}
        self.text: bytes | None = None
        self.asked: list[str] = []

    def request(self, method: str, target: str) -> Answer:
        self.asked.append(target)
        if self.down is not None:
            raise self.down
        if target == "/readyz" and not self.ready["ready"]:
            raise ServerError(503, self.ready)
        found = self.metrics.text() if self.text is None else self.text
        return Answer(200, {}, {"/metrics": found, "/healthz": b'{"version": "9.9"}'}.get(target, b"{}"))

    def sample(self, after: float = 0.0) -> Sample:
        self.now += after
        return read(self.metrics.text(), self.now, URL)

    def watch(self) -> Watch:
        return Watch(URL, self, lambda: self.now)

    def screened(self, allowed: int, blocked: int = 0, unjudged: int = 0) -> None:
        threats = [("jailbreak", blocked)] if blocked else []
        self.metrics.screened([("allow", allowed), ("block", blocked)], threats, unjudged)


def drawn(shown: Shown, width: int = 80, **more: Any) -> str:
    out = io.StringIO()
    Console(file=out, width=width, highlight=False).print(view(shown, NOON, width, **more))
    return out.getvalue()


def samples(*texts: str) -> list[Sample]:
    return [read(text.encode(), 10.0 * i, URL) for i, text in enumerate(texts)]


def test_rates_are_of_the_time_between_two_readings_and_not_since_the_start() -> None:
    gateway = Gateway()
    gateway.screened(1_000_000, 5_000)
    first = gateway.sample()
    gateway.screened(60, 20, 8)
    found = figures(Window(first, gateway.sample(4.0)))
    assert (found.seconds, found.rows_per_s, found.caught_per_s) == (4.0, 20.0, 5.0)
    assert found.actions_per_s == {"allow": 15.0, "block": 5.0}
    assert found.threats_per_s == {"jailbreak": 5.0}
    assert (found.caught, found.failed) == (0.25, 0.1)


def test_quantiles_are_of_the_window_for_each_route_and_for_all() -> None:
    gateway = Gateway()
    for _ in range(1000):
        gateway.metrics.latency.labels("screen").observe(20.0)
    first = gateway.sample()
    for _ in range(90):
        gateway.metrics.latency.labels("screen").observe(0.004)
    for _ in range(10):
        gateway.metrics.latency.labels("batch").observe(0.2)
    found = figures(Window(first, gateway.sample(1.0)))
    assert set(found.latency_by_route) == {"screen", "batch"}
    assert found.latency_by_route["screen"].slow == 0.0
    assert found.latency.slow == pytest.approx(0.1)
    assert found.latency.p50_s == pytest.approx(0.0025 + 0.0025 * 50 / 90)
    assert found.latency.p99_s == pytest.approx(0.1 + 0.15 * 9 / 10)


def test_a_quantile_above_all_buckets_is_the_highest_bound_and_says_so() -> None:
    gateway = Gateway()
    first = gateway.sample()
    gateway.metrics.latency.labels("screen").observe(3600)
    found = figures(Window(first, gateway.sample(1.0))).latency
    assert found.p50_s == 30.0
    assert duration(found.p50_s, found.most_s) == "≥30 s"


@given(st.lists(st.integers(0, 50), min_size=2, max_size=8), st.floats(0.01, 1.0))
def test_a_quantile_lies_in_the_bucket_that_holds_it(counts: list[int], q: float) -> None:
    bounds = tuple(float(2**i) for i in range(len(counts) - 1))
    found = Histogram(bounds, tuple(map(float, counts)), 1.0)
    value = found.quantile(q)
    if not sum(counts):
        assert value is None
        return
    spread = [i for i, n in enumerate(counts) for _ in range(n)]
    i = spread[max(0, math.ceil(round(q * len(spread), 9)) - 1)]
    assert value is not None
    if i == len(bounds):
        assert value == bounds[-1]
    else:
        assert (bounds[i - 1] if i else 0.0) - 1e-9 <= value <= bounds[i] + 1e-9
        assert found.at_most(q) == bounds[i]


def test_a_gateway_started_anew_counts_from_nothing() -> None:
    gateway = Gateway()
    gateway.screened(500)
    first = gateway.sample()
    gateway.metrics = Metrics()
    gateway.screened(700, 50)
    found = figures(Window(first, gateway.sample(10.0)))
    assert found.restarted
    assert found.rows_per_s == 75.0
    before, after = samples("aimds_rows_total 500\n", "aimds_rows_total 40\n")
    assert figures(Window(before, after)).rows_per_s == 4.0
    assert not Window(before, before).restarted


def test_requests_leave_out_probes_and_this_command() -> None:
    gateway = Gateway()
    first = gateway.sample()
    for route, status in (("metrics", "200"), ("health", "200"), ("ready", "503"), ("screen", "200"), ("batch", "200")):
        gateway.metrics.requests.labels(route, status).inc(2)
    assert figures(Window(first, gateway.sample(2.0))).requests_per_s == {"200": 2.0}


@pytest.mark.parametrize(
    "content",
    [b"", b"<html>hello</html>", b"\xff\xfe\x00", b"aimds_rows_total", b'aimds_rows_total{action="a} 1\n', b"up 1\n"],
)
def test_what_are_no_metrics_of_a_gateway_is_an_error_that_names_the_address(content: bytes) -> None:
    with pytest.raises(MetricsError) as caught:
        read(content, 0.0, URL)
    assert str(caught.value).startswith(f"{URL}/metrics: ")


@given(st.binary(max_size=200))
def test_any_bytes_are_metrics_or_an_error(content: bytes) -> None:
    with suppress(MetricsError):
        read(b"aimds_rows_total 1\n" + content, 0.0, URL)


def test_values_that_are_no_numbers_are_left_out() -> None:
    first, last = samples(
        "aimds_queue_rows NaN\naimds_rows_total 1\n",
        'aimds_queue_rows +Inf\naimds_rows_total 11\naimds_detection_latency_seconds_bucket{le="x"} 4\n',
    )
    found = figures(Window(first, last))
    assert (found.queue_rows, found.rows_per_s, found.latency.p50_s) == (0.0, 1.0, None)
    json.dumps(found.document(), allow_nan=False)


def test_no_gateway_metric_is_missing_from_the_view() -> None:
    sources = "".join(path.read_text("utf-8") for path in (ROOT / "engine/cli").glob("top_*.py"))
    families = {family.name for family in Metrics().registry.collect()}
    assert [name for name in families if name not in sources] == []


def rule(name: str) -> tuple[str, str]:
    """Expression and severity of an alert as it is shipped."""
    text = (ROOT / "deploy/prometheus/aimds.rules.yml").read_text("utf-8")
    block = text.split(f"- alert: {name}\n")[1].split("- alert:")[0]
    return block.split("expr:")[1].split("for:")[0], block.split("severity:")[1].split("}")[0].strip()


def test_thresholds_are_those_of_the_shipped_rules() -> None:
    fast, slow = top_alerts.FAST_BURN, top_alerts.SLOW_BURN
    for name, severity, condition in (
        ("AimdsVerdictsFailingFast", "page", f"ratio5m > {fast:g} * {top_alerts.FAILED_BUDGET:g} "),
        ("AimdsVerdictsFailing", "ticket", f"ratio1h > {slow:g} * {top_alerts.FAILED_BUDGET:g} "),
        ("AimdsSlow", "page", f"ratio5m > {fast:g} * {top_alerts.SLOW_BUDGET:g} "),
        ("AimdsQueueGrows", "ticket", f"min_over_time(aimds_queue_rows[5m]) > {top_alerts.QUEUE_ROWS:g}\n"),
        ("AimdsDeniedBurst", "ticket", f"rate(aimds_denied_total[5m])) > {top_alerts.DENIED_PER_S:g}\n"),
        (
            "AimdsConnectionsCutOff",
            "ticket",
            f"rate(aimds_connections_closed_total[5m])) > {top_alerts.CLOSED_PER_S:g}\n",
        ),
        ("AimdsFollowUpsLate", "ticket", f'level=~"{"|".join(top_figures.URGENT)}"}}[5m])) > {top_alerts.LATE:g}\n'),
        ("AimdsFollowUpsFail", "ticket", "(increase(aimds_follow_up_errors_total[15m])) > 0\n"),
        ("AimdsReviewOverdue", "ticket", 'max(aimds_review_items{state="overdue"}) > 0\n'),
        ("AimdsAttackWave", "ticket", f"> {top_alerts.WAVE_TIMES:g} * sum("),
        ("AimdsAttackWave", "ticket", f"(aimds_threats_detected_total[10m])) > {top_alerts.WAVE_PER_S:g}\n"),
    ):
        expression, level = rule(name)
        assert condition in expression, name
        assert level == severity
    rules = (ROOT / "deploy/prometheus/aimds.rules.yml").read_text("utf-8")
    assert 'le="0.05"' in rules


def test_every_shipped_alert_can_be_shown_but_the_one_for_no_answer() -> None:
    rules = (ROOT / "deploy/prometheus/aimds.rules.yml").read_text("utf-8")
    shipped = {line.split()[-1] for line in rules.splitlines() if line.strip().startswith("- alert:")}
    shown = Path(top_alerts.__file__).read_text("utf-8")
    assert {name for name in shipped if f'"{name}"' not in shown} == {"AimdsDown"}


Change = Callable[[Gateway], None]


def _queue(gateway: Gateway) -> None:
    gateway.metrics.queue_rows.set(513)


def _late(gateway: Gateway) -> None:
    for i in range(100):
        gateway.metrics.latency.labels("screen").observe(0.2 if i < 15 else 0.01)


def _cut_off(gateway: Gateway, quic: int, tcp: int) -> None:
    # Over both transports together, each reason for itself.
    gateway.metrics.closed.labels("quic", "unread").inc(quic)
    gateway.metrics.closed.labels("tcp", "unread").inc(tcp)
    gateway.metrics.closed.labels("tcp", "too-many-connections").inc(9)


def _behind(gateway: Gateway) -> None:
    for level in ("high", "low"):
        gateway.metrics.follow_ups.labels(level, "completed").inc(100)
    gateway.metrics.follow_ups_late.labels("high", "completion").inc(6)
    gateway.metrics.follow_ups_late.labels("low", "completion").inc(90)


@pytest.mark.parametrize(
    ("change", "names"),
    [
        (lambda gateway: gateway.screened(1000), []),
        (lambda gateway: gateway.screened(1000, unjudged=15), ["AimdsVerdictsFailingFast"]),
        (lambda gateway: gateway.screened(1000, unjudged=7), ["AimdsVerdictsFailing"]),
        (lambda gateway: gateway.metrics.shed.labels("overloaded").inc(3), ["AimdsVerdictsFailingFast"]),
        (_late, ["AimdsSlow"]),
        (_queue, []),
        (lambda gateway: gateway.metrics.denied.labels("forbidden").inc(51), ["AimdsDeniedBurst"]),
        (lambda gateway: gateway.metrics.denied.labels("forbidden").inc(50), []),
        (lambda gateway: _cut_off(gateway, 6, 5), ["AimdsConnectionsCutOff"]),
        (lambda gateway: _cut_off(gateway, 5, 5), []),
        (_behind, ["AimdsFollowUpsLate"]),
        (lambda gateway: gateway.metrics.follow_up_errors.labels("audit").inc(), ["AimdsFollowUpsFail"]),
        (lambda gateway: gateway.metrics.review_open.labels("overdue").set(1), ["AimdsReviewOverdue"]),
        (lambda gateway: gateway.metrics.review_open.labels("open").set(9), []),
        (lambda gateway: gateway.screened(900, 100), ["AimdsAttackWave"]),
        (lambda gateway: gateway.screened(96, 4), []),
    ],
)
def test_what_passes_a_threshold_is_shown(change: Change, names: list[str]) -> None:
    gateway = Gateway()
    gateway.screened(99_000, 1_000)
    first = gateway.sample()
    change(gateway)
    assert [one.name for one in alerts([first, gateway.sample(10.0)])] == names


def test_a_queue_is_shown_once_it_was_long_at_every_reading() -> None:
    gateway = Gateway()
    found = [gateway.sample()]
    gateway.metrics.queue_rows.set(600)
    found += [gateway.sample(2.0) for _ in range(3)]
    assert alerts(found) == []
    assert [one.name for one in alerts(found[1:])] == ["AimdsQueueGrows"]


def test_alerts_look_back_five_minutes_and_no_further() -> None:
    gateway = Gateway()
    watch = gateway.watch()
    watch.poll()
    gateway.screened(1000, unjudged=100)
    gateway.now += 60.0
    assert [one.name for one in watch.poll().alerts] == ["AimdsVerdictsFailingFast"]
    gateway.screened(1000)
    gateway.now += 200.0
    shown = watch.poll()
    assert shown.figures is not None
    assert shown.figures.failed == 0.0
    assert shown.alerts != ()
    gateway.screened(1000)
    gateway.now += 200.0
    assert watch.poll().alerts == ()


def test_the_state_of_a_gateway_is_told() -> None:
    gateway = Gateway()
    assert (gateway.watch().poll().state, gateway.watch().poll().version) == ("ready", "9.9")
    gateway.ready = {"ready": False, "draining": True}
    assert gateway.watch().poll().state == "draining"
    gateway.ready = {"ready": False}
    assert gateway.watch().poll().state == "not ready"


def test_a_lost_gateway_is_shown_with_what_it_said_last_and_found_again() -> None:
    gateway = Gateway()
    watch = gateway.watch()
    watch.poll()
    gateway.screened(20)
    gateway.now += 2.0
    watch.poll()
    gateway.down, gateway.now = ServerError(0, {"title": "No answer", "detail": "refused"}), gateway.now + 7.0
    shown = watch.poll()
    assert (shown.state, shown.lost, shown.lost_s) == ("lost", "No answer: refused", 7.0)
    assert shown.figures is not None
    assert "NO ANSWER  for 7 s, still trying: No answer: refused" in drawn(shown)
    gateway.down, gateway.now = None, gateway.now + 1.0
    gateway.screened(40)
    shown = watch.poll()
    assert (shown.state, shown.lost) == ("ready", None)
    assert shown.figures is not None
    assert (shown.figures.seconds, shown.figures.rows_per_s) == (8.0, 5.0)


@pytest.mark.parametrize("status", [401, 403])
def test_an_identity_that_is_not_accepted_ends_it_even_later(status: int) -> None:
    gateway = Gateway()
    watch = gateway.watch()
    watch.poll()
    gateway.down = ServerError(status, {"title": "No"})
    with pytest.raises(ServerError) as caught:
        watch.poll()
    assert ("AIMDS_TOKEN" in str(caught.value)) == (status == 401)


def _busy() -> Shown:
    gateway = Gateway()
    watch = gateway.watch()
    watch.poll()
    for i in range(4):
        gateway.screened(100 * (i + 1), 30)
        for route in ("screen", "batch", "stream"):
            gateway.metrics.latency.labels(route).observe(0.3)
        gateway.metrics.batch_rows.observe(40)
        gateway.metrics.batch_seconds.observe(0.01)
        gateway.metrics.denied.labels("unauthenticated").inc()
        gateway.metrics.held.labels("quarantine").set(2)
        gateway.metrics.broken.labels("probing").inc()
        gateway.metrics.follow_ups.labels("high", "completed").inc(3)
        gateway.metrics.follow_up_seconds.labels("audit").observe(0.003)
        gateway.now += 2.0
        shown = watch.poll()
    return shown


@pytest.mark.parametrize("width", [24, 40, 64, 80, 200])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = drawn(_busy(), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert any("jailbreak" in line for line in lines) or width < 40


def test_eighty_columns_and_two_dozen_lines_hold_it_all() -> None:
    lines = drawn(_busy()).splitlines()
    assert len(lines) <= 24, lines
    text = "\n".join(lines)
    for word in (
        "allow",
        "jailbreak",
        "PAGE",
        "AimdsSlow",
        "batches",
        "p99",
        "quarantine 2",
        "unauthenticated",
        "probing",
        "stream",
    ):
        assert word in text
    assert "\x1b" not in text


def test_what_is_cut_off_is_shown_by_reason_and_nothing_where_nothing_is() -> None:
    gateway = Gateway()
    watch = gateway.watch()
    watch.poll()
    assert "cut off" not in drawn(_after(gateway, watch))
    gateway.metrics.closed.labels("quic", "unread").inc(1)
    gateway.metrics.closed.labels("tcp", "unread").inc(1)
    gateway.metrics.unread.labels("quic").inc(10)
    shown = _after(gateway, watch)
    assert shown.figures.closed_per_s == {"unread": 1.0}
    assert shown.figures.unread_per_s == 5.0
    [line] = [line for line in drawn(shown).splitlines() if "cut off" in line]
    assert line.split("cut off")[1].split(", ")[1].strip() == "unread 1.0/s"


def _after(gateway: Gateway, watch: Watch) -> Shown:
    gateway.now += 2.0
    return watch.poll()


def test_without_block_characters_bars_are_plain() -> None:
    assert drawn(_busy(), ascii_only=True).isascii()


HOSTILE = "\\n".join(["\x1b]0;owned\x07", "\u202egnp", "[red]markup[/red]", "\x9b2J", "\U000e0041"])


def test_no_control_character_of_a_label_or_address_reaches_the_terminal() -> None:
    texts = [
        f'aimds_rows_total{{action="{HOSTILE}"}} {n}\naimds_threats_by_type{{threat_type="{HOSTILE}"}} {n}\n'
        f'aimds_denied_total{{reason="{HOSTILE}"}} {n * 100}\naimds_shed_rows_total{{reason="{HOSTILE}"}} {n}\n'
        f'aimds_active_connections{{transport="{HOSTILE}"}} {n}\naimds_requests_total{{route="x",status="{HOSTILE}"}} {n}\n'
        f'aimds_detection_latency_seconds_bucket{{route="{HOSTILE}",le="0.05"}} {n}\n'
        f'aimds_detection_latency_seconds_bucket{{route="{HOSTILE}",le="+Inf"}} {n}\n'
        f'aimds_detection_latency_seconds_count{{route="{HOSTILE}"}} {n}\n'
        for n in (1, 100)
    ]
    both = samples(*texts)
    shown = Shown(HOSTILE, HOSTILE, "ready", figures(Window(*both)), tuple(alerts(both)))
    lost = Shown(HOSTILE, HOSTILE, "lost", shown.figures, lost=HOSTILE)
    assert shown.alerts
    for one in (shown, lost):
        text = drawn(one, 160)
        assert not [character for character in text if hidden(character)]
        assert "[red]markup" in text


def test_a_gateway_that_names_thousands_of_things_fills_no_more_than_a_screen() -> None:
    names = ("denied_total{reason", "shed_rows_total{reason", "threats_by_type{threat_type", "rows_total{action")
    texts = ["".join(f'aimds_{name}="{i}"}} {n}\n' for name in names for i in range(2000)) for n in (0, 100)]
    both = samples(*texts)
    shown = Shown(URL, "1", "ready", figures(Window(*both)), tuple(alerts(both)))
    assert len(shown.alerts) > 2000
    assert len(drawn(shown).splitlines()) < 50


def test_numbers_of_any_size_stay_short() -> None:
    assert [rate(x) for x in (0, 0.05, 12.34, 1234.5, 2.5e6, 1e300)] == [
        "0",
        "0.05",
        "12.3",
        "1,234",
        "2.5M",
        "1.0e+300",
    ]
    assert [duration(x) for x in (None, 0.0041, 0.25, 2.5)] == ["–", "4.1 ms", "250 ms", "2.5 s"]
    assert sparkline([0, 1, 2]) == "▁▅█"
    assert sparkline([0, 0]) == "▁▁"


@contextmanager
def served(answer: Callable[[str], tuple[int, bytes]]) -> Iterator[str]:
    """An HTTP server that gives what ``answer`` says of a path; its address."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            status, body = answer(self.path)
            self.send_response(status)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def answering(gateway: Gateway) -> Callable[[str], tuple[int, bytes]]:
    def answer(path: str) -> tuple[int, bytes]:
        gateway.screened(10, 1)
        try:
            return 200, gateway.request("GET", path).body
        except ServerError as error:
            return error.status, json.dumps(error.problem).encode()

    return answer


def test_one_snapshot_is_printed_plain_and_as_json() -> None:
    with served(answering(Gateway())) as url:
        runner = CliRunner()
        plain = runner.invoke(build(), ["top", url, "--once", "--interval", "0.2"])
        assert plain.exit_code == 0, plain.output
        assert plain.stdout.splitlines()[0].startswith(f"aimds top  {url}  ready  version 9.9")
        assert "jailbreak" in plain.stdout
        assert "\x1b" not in plain.stdout
        found = runner.invoke(build(), ["top", f"{url}/", "--once", "--json", "--interval", "0.2"])
        document = json.loads(found.stdout)
        assert (document["url"], document["state"], document["version"]) == (url, "ready", "9.9")
        assert document["seconds"] > 0.1
        assert document["actions_per_s"]["allow"] == pytest.approx(10 * document["actions_per_s"]["block"])


def test_each_reading_is_a_json_line_until_it_is_interrupted(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway, waits = Gateway(), [0]

    def sleep(seconds: float) -> None:
        waits[0] += 1
        if waits[0] == 3:
            gateway.down = ServerError(500, {"title": "broken \x1b[31m"})
        if waits[0] == 5:
            raise KeyboardInterrupt

    monkeypatch.setattr("time.sleep", sleep)
    with served(answering(gateway)) as url:
        assert _run(["top", url, "--json"]) == 130
    told = capsys.readouterr()
    assert told.err == "interrupted\n"
    assert not [character for character in told.out if hidden(character)]
    assert [json.loads(line)["state"] for line in told.out.splitlines()] == ["ready", "ready", "lost", "lost"]


def test_snapshots_without_a_terminal_stand_below_each_other(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    waits = iter((None, None, None, KeyboardInterrupt))

    def sleep(seconds: float) -> None:
        if (error := next(waits)) is not None:
            raise error

    monkeypatch.setattr("time.sleep", sleep)
    with served(answering(Gateway())) as url:
        assert _run(["top", url]) == 130
    told = capsys.readouterr().out
    assert told.count("aimds top") == 3
    assert "\x1b" not in told


def test_sigterm_gives_the_screen_of_the_terminal_back() -> None:
    with served(answering(Gateway())) as url:
        ours, theirs = pty.openpty()
        asked = [sys.executable, "-m", "aimds", "top", url, "--interval", "0.2"]
        process = subprocess.Popen(
            asked, stdin=theirs, stdout=theirs, stderr=theirs, env={**os.environ, "TERM": "xterm"}
        )
        os.close(theirs)
        shown = b""
        try:
            while b"jailbreak" not in shown:
                shown += os.read(ours, 1 << 16)
            assert b"\x1b[?1049h" in shown
            process.send_signal(signal.SIGTERM)
            with contextlib.suppress(OSError):  # the end of what the terminal was told
                while more := os.read(ours, 1 << 16):
                    shown += more
            assert process.wait(30) == 130
        finally:
            process.kill()
            process.wait()
            os.close(ours)
    assert shown.rfind(b"\x1b[?1049l") > shown.rfind(b"\x1b[?1049h")
    assert b"Traceback" not in shown


def failing(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The one line that such a command ends with."""
    assert _run(["top", *arguments, "--once", "--interval", "0.2"]) == 2
    told = capsys.readouterr()
    assert told.out == ""
    assert told.err.count("\n") == 1
    return told.err


def test_what_cannot_be_asked_is_one_line(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert "url = 'gateway:8080'" in failing(capsys, "gateway:8080")
    assert "url = 'http://x:1/metrics'" in failing(capsys, "http://x:1/metrics")
    assert "No answer: 127.0.0.1:9: " in failing(capsys, "http://127.0.0.1:9")
    assert "no such file" in failing(capsys, "https://127.0.0.1:9", "--ca", str(tmp_path / "none.pem"))
    with served(lambda path: (200, b"<html>")) as url:
        assert "Prometheus' text format" in failing(capsys, url) or "no series" in failing(capsys, url)
    with served(lambda path: (401, b'{"title": "No valid identity was given", "detail": "none"}')) as url:
        assert "No valid identity was given: none; give --token" in failing(capsys, url)
    with served(lambda path: (404, b"not here")) as url:
        assert "status 404" in failing(capsys, url)


def test_a_gateway_that_goes_between_two_readings_fails_a_snapshot() -> None:
    gateway = Gateway()

    def sleep(seconds: float) -> None:
        gateway.down = ServerError(0, {"title": "No answer"})

    with pytest.raises(ServerError, match="No second answer"):
        top.run(gateway.watch(), 1.0, lambda shown: None, once=True, clock=lambda: 0.0, sleep=sleep)


def test_the_name_and_password_in_an_address_are_not_shown() -> None:
    assert top._plain("https://me:secret@gateway:8443/") == "https://gateway:8443"
