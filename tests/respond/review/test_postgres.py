"""The queue on a server: what a file has not got to fear."""

from __future__ import annotations

import dataclasses
import signal
import sys
from pathlib import Path

import postgres_server
import pytest
from review_cases import ADA, BEN, START, case, queue

from aimds.errors import ConfigError, DataError
from aimds.record.subject import Subject
from aimds.respond.review import Filter, Queue, ReviewError, retention, store
from aimds.respond.review.rows import key_of

pytest.importorskip("psycopg")
on_a_server = pytest.mark.parametrize("place", ["postgres"], indirect=True)


@on_a_server
def test_a_server_that_was_started_again_is_used_again(place: str, postgres: postgres_server.Postgres) -> None:
    made = queue(place, case(0), case(1))
    assert made.claim(ADA, START, 1) is not None
    postgres.end()
    with pytest.raises(DataError, match="cannot be used"):
        made.claim(BEN, START)
    postgres.begin()
    with pytest.raises(ReviewError, match="held by ada"):
        made.claim(BEN, START, 1)
    found = made.claim(BEN, START)
    assert found is not None
    assert found.id == 2


@on_a_server
def test_a_server_that_dies_in_the_middle_of_a_step_has_done_nothing_of_it(
    place: str, postgres: postgres_server.Postgres
) -> None:
    made = queue(place, case(0))

    def broken() -> object:
        yield case(1)
        postgres.end(signal.SIGQUIT)
        yield case(2)

    with pytest.raises(DataError, match="cannot be used"):
        made.add(broken(), (), START, "scan")  # type: ignore[arg-type]
    postgres.begin()
    assert made.matching(ADA, START, Filter("all")) == 1
    assert made.add([case(1), case(2)], (), START, "scan").known == 0


@on_a_server
def test_who_waits_for_the_lock_sees_what_was_done_under_it(place: str) -> None:
    first, second = queue(place, case(0)), Queue(place)
    with second.store.change() as base:
        base.execute("SET lock_timeout = '50ms'")
    with first.store.change(), pytest.raises(DataError, match="lock timeout"):
        second.claim(BEN, START)
    assert first.claim(ADA, START) is not None
    assert second.claim(BEN, START) is None


@on_a_server
def test_what_no_text_of_the_server_holds_comes_back_as_it_was(place: str) -> None:
    odd = dataclasses.replace(case(0), request_id="a\x00b", session_id="\ue000\x00\ue000\ue002", text=b"\x00\xff")
    made = queue(place, odd)
    found = made.get(ADA, 1).case
    assert (found.request_id, found.session_id, found.text) == (odd.request_id, odd.session_id, odd.text)
    assert made.matching(ADA, START, Filter(search="a\x00b")) == 1
    assert made.matching(ADA, START, Filter(search="a\ue000\ue002b")) == 0
    assert made.add([odd], (), START, "scan").known == 1
    assert retention.erase(made.store, Subject(request="a\ue000\ue002b"), START, "ben") == 0
    assert retention.erase(made.store, Subject(request="a\x00b"), START, "ben") == 1


@on_a_server
def test_a_number_that_is_none_is_kept_as_in_a_file(place: str) -> None:
    made = queue(place, dataclasses.replace(case(0), score=float("nan")))
    assert made.get(ADA, 1).case.score is None


@on_a_server
def test_the_keys_of_two_queues_differ(place: str, postgres: postgres_server.Postgres) -> None:
    keys = {key_of(one.store.setting("key"), case(0)) for one in (queue(place), queue(postgres.database()))}
    assert len(keys) == 2


@on_a_server
def test_a_database_without_a_queue_names_the_way_out_and_stays_empty(
    place: str, postgres: postgres_server.Postgres
) -> None:
    with pytest.raises(DataError, match="review add"):
        Queue(place)
    name = place.rpartition("/queue")[2].partition("?")[0]
    assert postgres.order("SELECT to_regnamespace('aimds_review')", f"queue{name}") == [(None,)]


@on_a_server
def test_a_queue_of_a_later_format_is_refused(place: str) -> None:
    with queue(place).store.change() as base:
        base.execute("UPDATE settings SET value = ? WHERE name = 'format'", (b"9",))
    with pytest.raises(DataError, match="format 9"):
        Queue(place)


@on_a_server
def test_a_database_that_cannot_hold_all_texts_is_refused(place: str, postgres: postgres_server.Postgres) -> None:
    del place
    with pytest.raises(DataError, match="encoding LATIN1"):
        Queue(postgres.database("LATIN1"), create=True)


@on_a_server
def test_what_is_told_of_a_server_holds_no_password(
    place: str, postgres: postgres_server.Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PGPASSFILE", "/dev/null")
    monkeypatch.setenv("PGPASSWORD", "correct-horse")
    with pytest.raises(DataError) as told:
        Queue(place)
    assert "password authentication failed" in str(told.value)
    assert "correct-horse" not in str(told.value)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://ada:correct-horse@/review",
        "postgres:///review?password=correct-horse",
        "postgresql:///review?sslpassword=correct-horse",
        "postgresql://ada:correct-horse/4@host:x/review",
    ],
)
def test_a_password_in_the_url_is_refused_and_not_repeated(url: str) -> None:
    with pytest.raises(ConfigError) as told:
        Queue(url)
    assert "correct-horse" not in str(told.value)


def test_a_server_behind_a_network_has_to_show_its_certificate(monkeypatch: pytest.MonkeyPatch) -> None:
    from aimds.respond.review.postgres import options

    for name in ("PGHOST", "PGHOSTADDR", "PGSSLMODE", "PGSERVICE"):
        monkeypatch.delenv(name, raising=False)
    assert options("postgresql://db.example/review")["sslmode"] == "verify-full"
    assert options("postgresql://localhost,db.example/review")["sslmode"] == "verify-full"
    assert options("postgresql://db.example/review?sslmode=require")["sslmode"] == "require"
    for near in ("postgresql:///review", "postgresql://127.0.0.1/review", "postgresql:///review?host=/run/postgresql"):
        assert "sslmode" not in options(near)
    for far in ("localhost.example", "127.example", "localhost/review?hostaddr=192.0.2.1", "192.0.2.1"):
        assert options(f"postgresql://{far}")["sslmode"] == "verify-full", far
    assert "sslmode" not in options("postgresql://[::1]/review")
    assert "sslmode" not in options("postgresql://?service=review")
    monkeypatch.setenv("PGHOSTADDR", "192.0.2.1")
    assert options("postgresql://localhost/review")["sslmode"] == "verify-full"
    monkeypatch.delenv("PGHOSTADDR")
    monkeypatch.setenv("PGHOST", "db.example")
    assert options("postgresql:///review")["sslmode"] == "verify-full"
    monkeypatch.setenv("PGSSLMODE", "require")
    assert "sslmode" not in options("postgresql:///review")


def test_without_psycopg_the_way_out_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "aimds.respond.review.postgres", raising=False)
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigError, match=r"pip install 'aimds\[postgres\]'"):
        Queue("postgresql:///review")


def test_what_is_no_url_of_a_server_is_a_file() -> None:
    assert store.place("postgres:/review") == Path("postgres:/review")
    assert store.place("postgres:///review") == "postgres:///review"
