"""A model tier beside the verdict, for those who ask for one."""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from desk import ATTACK, BOOM, NDJSON, PEER, SECRET, Desk, Fake, forwards, ndjson, taken
from live import INSECURE, Live, live

from aimds.errors import DataError
from aimds.gateway.batching import Batcher
from aimds.gateway.frames import Setup
from aimds.gateway.hooks import Hooks
from aimds.gateway.judges import Judges
from aimds.gateway.protocol import Service
from aimds.gateway.routing import Routing
from aimds.gateway.settings import Audit, Screening, load
from aimds.gateway.worker import Worker
from aimds.metrics import Metrics
from aimds.route.choices import CHOICES
from aimds.route.ledger import Ledger
from aimds.route.tiers import Budgets, Tiers

TIERS = """
output_tokens = 100
[[tier]]
name = "house"
model = "m"
place = "local"
input_price = 1.0
output_price = 1.0
context = 4096
capability = 0.1
[[tier]]
name = "large"
model = "m"
place = "remote"
input_price = 10.0
output_price = 10.0
context = 4096
capability = 1.0
[budget.tenants]
poor = 0.0005
"""
HARD = "Prove step by step why the sum of the first n odd numbers is n squared, and explain why each step is needed."
COMMAND = (sys.executable, str(Path(__file__).parent / "fake_judge.py"))


@pytest.fixture
def tiers(tmp_path: Path) -> Path:
    (tmp_path / "tiers.toml").write_text(TIERS)
    return tmp_path / "tiers.toml"


def asked(running: Live, text: str, query: str = "?route=any", **more: Any) -> Any:
    status, _, body = running.ask("POST", f"/v1/screen{query}", json.dumps({"text": text, **more}))
    assert status == 200, body
    return json.loads(body)


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("audited", [False, True])
def test_who_asks_is_told_a_tier_and_nobody_else(tiers: Path, tmp_path: Path, processes: int, audited: bool) -> None:
    settings = replace(INSECURE, tiers=tiers, screening=Screening(workers=processes))
    if audited:
        settings = replace(settings, audit=Audit(tmp_path / "audit.log", None, "all"))
    with live(settings, judge=COMMAND) as running:
        easy, hard = asked(running, "hello")["route"], asked(running, HARD)["route"]
        assert (easy["tier"], easy["reason"], easy["sends"], easy["fallbacks"]) == (
            "house",
            "cheapest",
            "text",
            ["large"],
        )
        assert (hard["tier"], hard["cost"]) == ("large", hard["strongest_cost"])
        assert easy["cost"] == pytest.approx((easy["input_tokens"] + 100) / 1e6)
        assert set(easy) == set(CHOICES.names) - {"request_id", "tenant", "cache"}
        plain = asked(running, "hello", "")
        assert "route" not in plain
        routed = asked(running, "hello")
        assert {name: value for name, value in routed.items() if name != "route"} == plain
        assert asked(running, HARD, "?route=local")["route"]["tier"] == "house"
        assert (
            asked(running, f"{ATTACK} now")["route"] | {"cost": 0.0, "tier": None, "reason": "blocked"}
            == (asked(running, f"{ATTACK} now")["route"])
        )
        brief = asked(running, "hello", "?verdict=brief&route=any")
        assert brief["route"]["tier"] == "house"
        assert "evidence" not in brief
        metrics = running.ask("GET", "/metrics")[2].decode()
    assert 'aimds_routed_requests_total{reason="cheapest",tier="house"} 3.0' in metrics
    assert 'aimds_routed_requests_total{reason="blocked",tier="none"} 2.0' in metrics
    assert 'aimds_routed_cost_total{tier="large"}' in metrics


def test_what_is_private_stays_local(tiers: Path) -> None:
    with live(replace(INSECURE, tiers=tiers)) as running:
        found = asked(running, f"card {SECRET}, {HARD}")["route"]
    assert (found["private"], found["tier"], found["reason"], found["fallbacks"]) == (True, "house", "stretched", [])


def test_turns_and_lines_are_told_a_tier_each(tiers: Path) -> None:
    with live(replace(INSECURE, tiers=tiers)) as running:
        body = json.dumps({"turns": [{"text": "hello"}, {"text": f"{ATTACK}"}]})
        found = json.loads(running.ask("POST", "/v1/sessions/s/turns?route=any", body)[2])["verdicts"]
        assert [one["route"]["tier"] for one in found] == ["house", None]
        for path in ("batch", "stream"):
            answer = running.ask(
                "POST",
                f"/v1/screen/{path}?route=any",
                ndjson({"text": "hello"}, {"text": HARD}),
                content_type="application/x-ndjson",
            )
            lines = sorted(map(json.loads, answer[2].splitlines()), key=lambda one: str(one["request_id"]))
            assert [one["route"]["tier"] for one in lines] == ["house", "large"]


def streamed(
    tiers: Path, texts: list[str], screener: Fake, *, processes: int, query: str, tenants: tuple[str, ...] = ("a",)
) -> list[Any]:
    """Answers to the lines of a stream, in their order; those of each of ``tenants``, in turn, are queued as one job."""

    async def run() -> list[Any]:
        judges = Judges(Setup(Screening(), ("warm",)), processes, COMMAND) if processes else None
        if judges is not None:
            await judges.start()
        metrics = Metrics()
        worker = Worker(screener, judges=judges, route=Routing(Tiers.load(tiers), metrics))
        service = Service(Batcher(), Hooks(worker.work, worker.unjudged, forwards), metrics=metrics, has_tiers=True)
        worker.attach(service)
        try:
            loop = asyncio.get_running_loop()
            stream = service.open("POST", f"/v1/screen/stream{query}", NDJSON, PEER, loop.time())
            rows = (
                {"text": text, "deadline_ms": 90_000, "tenant": tenants[i % len(tenants)]}
                for i, text in enumerate(texts)
            )
            stream.receive(ndjson(*rows), loop.time())
            assert (service.batcher.queued_rows, service.batcher.running) == (len(texts), 0)
            stream.end(loop.time())
            assert len(stream.jobs) == len(tenants)
            async with asyncio.timeout(60):
                while not stream.ended:
                    await asyncio.sleep(0.02)
            found = sorted(map(json.loads, taken(stream).splitlines()), key=lambda one: int(one["request_id"]))
            assert [one["request_id"] for one in found] == [str(i) for i in range(len(texts))]
            return found
        finally:
            worker.close()
            if judges is not None:
                await judges.close()

    return asyncio.run(run())


@pytest.mark.parametrize("processes", [0, 1])
@pytest.mark.parametrize("query", ["?route=any", "?route=any&verdict=brief", "?route=local"])
@pytest.mark.parametrize("tenants", [("a",), ("a", "b", "c")])
def test_lines_that_are_queued_together_are_told_a_tier_each(
    tiers: Path, processes: int, query: str, tenants: tuple[str, ...]
) -> None:
    texts = ["hello", HARD, f"{ATTACK} now", BOOM, HARD, "hello"]
    found = streamed(tiers, texts, Fake(), processes=processes, query=query, tenants=tenants)
    hard = "house" if "local" in query else "large"
    assert [one["route"]["tier"] for one in found] == ["house", hard, None, None, hard, "house"]
    assert [one["status"] for one in found] == ["ok", "ok", "ok", "error", "ok", "ok"]
    assert [one["action"] == "allow" for one in found] == [True, True, False, False, True, True]


@pytest.mark.parametrize("processes", [0, 1])
def test_lines_that_are_queued_together_are_charged_each(tiers: Path, processes: int) -> None:
    found = streamed(tiers, ["hello"] * 6, Fake(), processes=processes, query="?route=any", tenants=("poor",))
    assert [one["route"]["reason"] for one in found] == ["cheapest"] * 4 + ["budget"] * 2


def test_lines_queued_with_one_that_ends_a_process_are_told_a_tier_all_the_same(tiers: Path) -> None:
    found = streamed(tiers, ["hello", "DIE", HARD], Fake(), processes=1, query="?route=any")
    assert [one["status"] for one in found] == ["ok", "error", "ok"]
    assert [one["route"]["tier"] for one in found if "route" in one] == ["house", "large"]
    assert found[1]["problem"]["status"] == 500


def test_lines_that_are_queued_together_without_a_choice_are_told_none(tiers: Path) -> None:
    assert not any("route" in one for one in streamed(tiers, ["hello", HARD], Fake(), processes=0, query=""))


def test_a_budget_is_charged_for_what_is_asked_and_not_for_an_answer_given_again(tiers: Path) -> None:
    with live(replace(INSECURE, tiers=tiers)) as running:
        for _ in range(3):
            status, _, body = running.ask(
                "POST",
                "/v1/screen?route=any",
                json.dumps({"text": "hello", "tenant": "poor"}),
                idempotency_key="one",
            )
            assert (status, json.loads(body)["route"]["tier"]) == (200, "house")
        found = [asked(running, "hello", tenant="poor")["route"] for _ in range(5)]
        assert [one["reason"] for one in found] == ["cheapest"] * 3 + ["budget"] * 2
        assert asked(running, "hello", tenant="rich")["route"]["reason"] == "cheapest"


def test_the_same_key_with_another_choice_is_another_request(tiers: Path) -> None:
    with live(replace(INSECURE, tiers=tiers)) as running:
        body = json.dumps({"text": "hello"})
        assert running.ask("POST", "/v1/screen", body, idempotency_key="one")[0] == 200
        assert running.ask("POST", "/v1/screen?route=any", body, idempotency_key="one")[0] == 409


@pytest.mark.parametrize(
    ("target", "kind", "status"),
    [
        ("/v1/screen?route=best", "application/json", 400),
        ("/v1/screen/batch?route=any", "application/vnd.apache.arrow.stream", 406),
        ("/v1/screen/output?route=any", "text/plain", 422),
    ],
)
def test_a_choice_that_cannot_be_given_is_refused(target: str, kind: str, status: int) -> None:
    exchange = Desk(has_tiers=True).open(target, [(b"content-type", kind.encode())])
    assert exchange.status == status


def test_without_tiers_a_choice_is_refused() -> None:
    exchange = Desk().open("/v1/screen?route=any")
    assert exchange.status == 422
    assert b"no model tiers" in taken(exchange)


class Odd(Fake):
    """Gives verdicts that no tier can be chosen for."""

    def _verdicts(self, batch: pa.RecordBatch, scores: Any) -> pa.RecordBatch:
        found = super()._verdicts(batch, scores)
        place = found.schema.get_field_index("spans")
        return found.set_column(place, "spans", pa.array([0] * len(found)))


def test_a_choice_that_breaks_fails_those_who_asked_alone(tiers: Path) -> None:
    with live(replace(INSECURE, tiers=tiers), Odd()) as running:
        brief = "?verdict=brief"
        assert asked(running, "hello", brief)["action"] == "allow"
        assert running.ask("POST", f"/v1/screen{brief}&route=any", json.dumps({"text": "hello"}))[0] == 500


def test_a_choice_that_breaks_fails_each_line_that_was_queued_together(tiers: Path) -> None:
    texts = ["hello", HARD, "hello"]
    found = streamed(tiers, texts, Odd(), processes=0, query="?verdict=brief&route=any")
    assert [one["problem"]["status"] for one in found] == [500] * 3
    assert "tier could not be chosen" in found[0]["error"]
    assert all(one["action"] == "allow" for one in streamed(tiers, texts, Odd(), processes=0, query="?verdict=brief"))


def test_settings_name_the_tiers_and_a_file_that_is_none_is_refused(tiers: Path, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text('[routing]\ntiers = "tiers.toml"\n')
    assert load(tmp_path / "a.toml").tiers == tiers
    with pytest.raises(DataError), live(replace(INSECURE, tiers=tmp_path / "none.toml")):
        pass


def test_a_reload_takes_up_other_tiers_and_what_was_spent_stays_spent(tiers: Path) -> None:
    now = [replace(INSECURE, tiers=tiers)]
    with live(now[0], reread=lambda: now[0]) as running:
        assert [asked(running, "hello", tenant="poor")["route"]["reason"] for _ in range(4)] == ["cheapest"] * 4
        tiers.write_text(TIERS.replace('"house"', '"cellar"').replace("poor = 0.0005", "poor = 0.0006"))
        running.call(running.gateway.reload())
        found = [asked(running, "hello", tenant="poor")["route"] for _ in range(2)]
        assert [(one["tier"], one["reason"]) for one in found] == [("cellar", "cheapest"), (None, "budget")]
        tiers.write_text("[[tier]]\n")
        running.call(running.gateway.reload())
        assert "tiers" in running.gateway.reloads.last["error"]
        assert asked(running, "hello")["route"]["tier"] == "cellar"


def test_a_reload_begins_and_ends_to_name_tiers(tiers: Path) -> None:
    now = [INSECURE]
    with live(INSECURE, reread=lambda: now[0]) as running:

        def status() -> int:
            return running.ask("POST", "/v1/screen?route=any", json.dumps({"text": "hello"}))[0]

        assert status() == 422
        now[0] = replace(INSECURE, tiers=tiers)
        running.call(running.gateway.reload())
        assert status() == 200
        now[0] = INSECURE
        running.call(running.gateway.reload())
        assert status() == 422


def test_another_period_begins_budgets_anew_and_the_same_does_not() -> None:
    ledger = Ledger(Budgets(period_s=60.0, default=1.0))
    with ledger.hold(["a"], 30.0) as held:
        held.booked += 0.75
    ledger.use(Budgets(period_s=60.0, default=2.0))
    assert ledger.spent("a", 31.0) == 0.75
    ledger.use(Budgets(period_s=3600.0, default=2.0))
    assert ledger.spent("a", 32.0) == 0.0
