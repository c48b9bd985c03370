"""A proxy that chooses the model: by privacy, complexity, price and budget, with fallbacks and what was spent."""

from __future__ import annotations

import asyncio
import json
import tomllib
from typing import Any

import pytest
from desk import ATTACK, SECRET
from live import Live
from stub_model import Asked, Stub, answered, chat, proxied, streamed

from aimds.errors import ConfigError
from aimds.integrations.proxy.routing import Asked as Screened
from aimds.integrations.proxy.routing import Routing, _output, _unseen
from aimds.metrics import Metrics
from aimds.route.tiers import Tiers

CHAT = "/v1/chat/completions"
HARD = "Prove step by step why the algorithm is correct, explain the trade-offs, and derive its complexity. " * 30
FILE = """
output_tokens = 100
[[tier]]
name = "house"
model = "our-8b"
place = "local"
input_price = 1.0
output_price = 1.0
context = 8192
capability = 0.3
adapter = "openai"
url = "http://127.0.0.1:{port}/house/v1"
[[tier]]
name = "cheap"
model = "small"
place = "remote"
input_price = 0.1
output_price = 0.1
context = 8192
capability = 0.4
adapter = "openai"
url = "http://127.0.0.1:{port}/cheap/v1"
key_env = "KEY"
[[tier]]
name = "large"
model = "big"
place = "remote"
input_price = 100.0
output_price = 100.0
context = 200000
capability = 1.0
adapter = "openai"
url = "http://127.0.0.1:{port}/large/v1"
key_env = "KEY"
[budget.tenants]
poor = 0.00001
"""
ANSWER = json.dumps(
    {
        "choices": [{"message": {"role": "assistant", "content": "fine"}}],
        "usage": {"prompt_tokens": 1000, "completion_tokens": 500},
    }
).encode()


def tiers(port: int) -> Tiers:
    return Tiers.parse(tomllib.loads(FILE.replace("{port}", str(port))))


def ask(live: Live, body: str | bytes, **headers: str) -> tuple[int, str | None, dict[str, Any]]:
    status, found, answer = live.ask("POST", CHAT, body, authorization="Bearer client", **headers)
    return status, found.get("aimds-tier"), json.loads(answer)


def metric(live: Live, name: str) -> str:
    return live.ask("GET", "/aimds/metrics")[2].decode().partition(name)[2].partition("\n")[0].strip()


def went(stub: Stub) -> list[tuple[str, str, str | None]]:
    return [(one.target, json.loads(one.body)["model"], one.header("authorization")) for one in stub.asked]


def test_a_simple_request_goes_to_the_cheap_model_and_a_hard_one_to_the_strong_with_their_own_keys() -> None:
    with proxied(answered(ANSWER), tiers=tiers) as (live, stub):
        assert ask(live, chat("hello"))[:2] == (200, "cheap")
        assert ask(live, chat(HARD))[:2] == (200, "large")
        own = "Bearer tier-key"
        assert went(stub) == [
            ("/cheap/v1/chat/completions", "small", own),
            ("/large/v1/chat/completions", "big", own),
        ]
        assert metric(live, 'aimds_routed_requests_total{reason="cheapest",tier="cheap"}') == "1.0"
        # By the count of the server: 1,500 tokens at 0.1 a million.
        assert float(metric(live, 'aimds_routed_cost_total{tier="cheap"}')) == pytest.approx(0.00015)


def test_a_model_gets_no_header_of_the_client_that_may_be_a_credential() -> None:
    own = {"cookie": "s=1", "ocp-apim-subscription-key": "k", "x-auth-token": "t", "OpenAI-Organization": "o"}
    with proxied(answered(ANSWER), tiers=tiers) as (live, stub):
        assert (
            ask(live, chat("hello"), user_agent="mine", **{name.replace("-", "_"): own[name] for name in own})[0] == 200
        )
        (asked,) = stub.asked
    assert asked.header("user-agent") == "mine"
    assert {name.lower() for name, _ in asked.headers} <= {
        "host", "content-type", "content-length", "accept", "accept-encoding", "user-agent", "authorization"
    }  # fmt: skip


@pytest.mark.parametrize(
    "messages",
    [
        [{"role": "user", "content": f"my card is {SECRET}"}],
        [{"role": "user", "content": f"my card is {SECRET}"}, {"role": "user", "content": HARD}],
        [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}}]}],
    ],
)
def test_what_is_private_anywhere_in_the_conversation_stays_local_even_where_that_fails(messages: Any) -> None:
    async def down(asked: Asked, writer: asyncio.StreamWriter) -> None:
        house = asked.target.startswith("/house/")
        await answered(b"{}", status="503 Down" if house else "200 OK")(asked, writer)

    body = json.dumps({"messages": messages, "Model": "big"})
    with proxied(answered(ANSWER), tiers=tiers) as (live, stub):
        assert ask(live, body)[:2] == (200, "house")
        (only,) = went(stub)
        assert only == ("/house/v1/chat/completions", "our-8b", None)
        assert SECRET.encode() not in stub.asked[0].body
    with proxied(down, tiers=tiers) as (live, stub):
        assert ask(live, body)[0] == 503
        assert {target for target, _, _ in went(stub)} == {"/house/v1/chat/completions"}


@pytest.mark.parametrize(
    "part",
    [
        *({name: "x"} for name in ("video_url", "audio_url", "input_video", "file_url", "file_data", "image", "video")),
        *({"type": kind, "x": "y"} for kind in ("Image", "file", "input_file", "video", "audio", "base64")),
        {"image_embeds": "x"},
    ],
)
def test_a_request_with_what_nobody_looks_into_is_private(part: dict[str, str]) -> None:
    assert _unseen({"messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}, part]}]})
    assert not _unseen({"messages": [{"role": "user", "content": [{"type": "text", "text": "an image"}]}]})


@pytest.mark.parametrize(
    ("limits", "tokens"),
    [
        ({}, 100),
        ({"max_tokens": 5, "max_completion_tokens": 3}, 5),
        ({"max_tokens": 5, "n": 4}, 20),
        ({"n": 4, "best_of": 6}, 600),
        ({"n": 1 << 80, "max_tokens": "9"}, 100),
    ],
)
def test_all_answers_that_a_request_asks_for_are_counted(limits: dict[str, Any], tokens: int) -> None:
    assert _output(limits, 100) == tokens


def test_an_attack_goes_to_no_model() -> None:
    with proxied(answered(ANSWER), tiers=tiers) as (live, stub):
        assert ask(live, chat(ATTACK))[0] == 400
        assert stub.asked == []


def test_a_model_that_is_down_is_replaced_by_the_next_that_is_allowed() -> None:
    async def down(asked: Asked, writer: asyncio.StreamWriter) -> None:
        if asked.target.startswith("/cheap/"):
            raise ConnectionError
        await answered(ANSWER, status="429 Busy" if asked.target.startswith("/house/") else "200 OK")(asked, writer)

    with proxied(down, tiers=tiers) as (live, stub):
        assert ask(live, chat("hello"))[:2] == (200, "large")
        assert [target.split("/")[1] for target, _, _ in went(stub)] == ["cheap", "house", "large"]
        assert float(metric(live, 'aimds_routed_cost_total{tier="large"}')) == pytest.approx(0.15)


def test_a_tenant_without_budget_is_refused_and_others_are_not() -> None:
    with proxied(answered(ANSWER), tiers=tiers) as (live, stub):
        status, _, found = ask(
            live,
            json.dumps({"max_tokens": 1000, "messages": json.loads(chat("hello"))["messages"]}),
            aimds_tenant="poor",
        )
        assert (status, found["error"]["code"]) == (429, "insufficient_quota")
        assert ask(live, chat("hello"), aimds_tenant="rich")[0] == 200
        assert len(stub.asked) == 1


def test_an_answer_that_comes_in_the_next_period_gives_nothing_back_there() -> None:
    async def test() -> None:
        stub, now = Stub(answered(ANSWER)), [86_399.0]
        await stub.start()
        routing = Routing(tiers(stub.port), {"KEY": "k"}, Metrics(), wall=lambda: now[0])
        asked, ledger = Screened(json.loads(chat("hello")), [], ["hello"]), routing.router.ledger
        async with routing.ask(asked, "acme", []) as (_, late):
            now[0] = 86_400.0
            async with routing.ask(asked, "acme", []) as (_, other):
                spent = ledger.spent("acme", now[0])
                assert spent == other.booked > 0
                late.settle(json.loads(ANSWER))
                assert ledger.spent("acme", now[0]) == spent
                other.settle(json.loads(ANSWER))
                assert ledger.spent("acme", now[0]) == pytest.approx(0.00015)
        routing.close()
        await stub.stop()

    asyncio.run(test())


def test_what_was_booked_as_another_request_began_the_next_period_is_put_right_there() -> None:
    async def test() -> None:
        stub = Stub(answered(ANSWER))
        await stub.start()

        def wall() -> float:
            # The other one chooses between this look at the clock and the choice that it is for.
            routing.router.ledger.spent("other", 86_400.0)
            return 86_399.9

        routing = Routing(tiers(stub.port), {"KEY": "k"}, Metrics(), wall=wall)
        asked, ledger = Screened(json.loads(chat("hello")), [], ["hello"]), routing.router.ledger
        async with routing.ask(asked, "acme", []) as (_, sent):
            assert ledger.spent("acme", 86_400.0) == sent.booked > 0
            sent.settle(json.loads(ANSWER))
            assert ledger.spent("acme", 86_400.0) == pytest.approx(0.00015)
        routing.close()
        await stub.stop()

    asyncio.run(test())


def test_a_streamed_answer_is_booked_as_estimated() -> None:
    pieces = [b'data: {"choices":[{"index":0,"delta":{"content":"hi"}}]}\n\n', b"data: [DONE]\n\n"]
    with proxied(streamed(pieces), tiers=tiers) as (live, _):
        body = json.dumps({**json.loads(chat("hello")), "stream": True, "max_tokens": 1000})
        status, headers, _ = live.ask("POST", CHAT, body)
        assert (status, headers["aimds-tier"]) == (200, "cheap")
        assert 0.0001 < float(metric(live, 'aimds_routed_cost_total{tier="cheap"}')) < 0.0002


def test_other_paths_go_to_the_server_behind_the_proxy() -> None:
    with proxied(answered(ANSWER), tiers=tiers) as (live, stub):
        assert live.ask("POST", CHAT + "/c1", b'{"metadata": {}}')[0] == 200
        assert stub.asked.pop().target == CHAT + "/c1"
        assert live.ask("GET", "/v1/models", authorization="Bearer client")[0] == 200
        assert stub.asked[0].target == "/v1/models"
        assert stub.asked[0].header("authorization") == "Bearer client"


def test_a_tier_without_a_server_or_a_key_is_refused_at_the_start() -> None:
    with pytest.raises(ConfigError, match="KEY"):
        Routing(tiers(1), {}, Metrics())
    with pytest.raises(ConfigError, match=r"house\.adapter"):
        Routing(
            Tiers.parse(tomllib.loads(FILE.replace("{port}", "1").replace('"openai"', '"none"', 1))),
            {"KEY": "k"},
            Metrics(),
        )
