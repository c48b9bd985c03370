"""Streamed answers: what is clean leaves as it came and as it comes, what was found never does."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
from random import Random
from typing import Any

import pytest
from desk import ATTACK, BOOM, SECRET, Fake, policy
from live import Live
from stub_model import DONE, Asked, chat, chunk, event, proxied, streamed

from aimds.gateway.output import OutputConfig
from aimds.gateway.rows import Row, batch_of, objects
from aimds.integrations.proxy.screened import Bounds
from aimds.integrations.proxy.stream import Stream
from aimds.integrations.proxy.texts import BodyError
from aimds.integrations.proxy.track import TooLong

CHAT, MESSAGES = "/v1/chat/completions", "/v1/messages"
SMALL = OutputConfig(look_back_bytes=128, step_bytes=16, max_new_bytes=256, held_bytes=32)
WORDS = "plain words that say nothing at all, "


def words(text: str, size: int) -> list[bytes]:
    return [chunk(text[i : i + size]) for i in range(0, len(text), size)]


def answer(text: str, size: int) -> bytes:
    return chunk(role="assistant", content="") + b"".join(words(text, size)) + chunk(finish="stop") + DONE


def blocks(text: str, size: int) -> bytes:
    start = event(
        "message_start", message={"id": "m", "role": "assistant", "content": [], "usage": {"output_tokens": 1}}
    )
    deltas = [
        event("content_block_delta", index=0, delta={"type": "text_delta", "text": text[i : i + size]})
        for i in range(0, len(text), size)
    ]
    head = event("content_block_start", index=0, content_block={"type": "text", "text": ""}) + event("ping")
    end = event("message_delta", delta={"stop_reason": "end_turn", "stop_sequence": None}, usage={"output_tokens": 9})
    return start + head + b"".join(deltas) + event("content_block_stop", index=0) + end + event("message_stop")


def legacy(text: str, size: int) -> bytes:
    """As /v1/completions streams it."""
    parts = [text[i : i + size] for i in range(0, len(text), size)]
    bodies = [{"id": "c", "choices": [{"index": 0, "text": part, "finish_reason": None}]} for part in parts]
    bodies.append({"id": "c", "choices": [{"index": 0, "text": "", "finish_reason": "stop"}]})
    return b"".join(b"data: " + json.dumps(body).encode() + b"\n\n" for body in bodies) + DONE


def items(text: str, size: int) -> bytes:
    """As /v1/responses streams it."""
    place = {"item_id": "msg_1", "output_index": 0, "content_index": 0}
    whole = {"type": "output_text", "text": text, "annotations": [], "logprobs": []}
    message = {"id": "msg_1", "type": "message", "role": "assistant", "content": [whole]}
    answer = {"id": "resp_1", "status": "completed", "instructions": ATTACK, "output": [message]}
    deltas = [
        event("response.output_text.delta", **place, delta=text[i : i + size], logprobs=[], obfuscation="x7")
        for i in range(0, len(text), size)
    ]
    return (
        event("response.created", response={**answer, "status": "in_progress", "output": []})
        + event("response.output_item.added", output_index=0, item={**message, "content": []})
        + b"".join(deltas)
        + event("response.output_text.done", **place, text=text, logprobs=[])
        + event("response.content_part.done", **place, part=whole)
        + event("response.output_item.done", output_index=0, item=message)
        + event("response.completed", response=answer)
    )


FORMS = [answer, blocks, legacy, items]


def through(content: bytes, size: int, screener: Any = None, **options: Any) -> bytes:
    """What leaves of a stream that comes in pieces of ``size`` bytes, each judged at once."""
    stream, out, judge = Stream(options.pop("config", SMALL), **options), b"", screener or Fake()

    def advance() -> bool:
        while found := list(stream.windows()):
            for track, window in found:
                row = Row(text=window.text, request_id="0", channel=track.channel)
                verdict = objects(judge.screen_batch(batch_of([row])))[0]
                if not stream.judged(track, window, verdict, policy()):
                    return False
        return True

    for i in range(0, len(content), size):
        stream.feed(content[i : i + size])
        if not advance():
            return out
        out += stream.take()
    stream.end()
    if not advance():
        return out
    out += stream.take()
    assert stream.finished
    return out


def texts(content: bytes) -> str:
    out = []
    for line in content.split(b"\n"):
        if line.startswith(b"data: {"):
            found = json.loads(line[6:])
            out += [
                choice.get("text") or choice.get("delta", {}).get("content") or ""
                for choice in found.get("choices", ())
            ]
            delta = found.get("delta", {})
            out.append(delta if isinstance(delta, str) else delta.get("text", ""))
    return "".join(out)


@pytest.mark.parametrize("form", FORMS)
def test_a_clean_stream_leaves_byte_for_byte_however_it_is_cut(form: Any) -> None:
    random = Random(1)
    for _ in range(8):
        content = form(WORDS * 20 + "Grüße 😀", random.randint(1, 40))
        assert through(content, random.randint(1, 500)) == content


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 4, 13, 2000])
def test_a_secret_is_taken_out_wherever_it_is_cut(form: Any, size: int) -> None:
    text = WORDS * 6 + SECRET + ". " + WORDS * 6
    found = through(form(text, size), 777)
    assert texts(found) == text.replace(SECRET, "[CREDIT_CARD]")
    assert found.count(b"data:") == form(text, size).count(b"data:")


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("size", [1, 5, 2000])
def test_nothing_of_an_attack_leaves(form: Any, size: int) -> None:
    text = WORDS * 6 + ATTACK + WORDS * 6
    found = texts(through(form(text, size), 333))
    assert text.startswith(found)
    assert "A" not in found
    assert size == 2000 or len(found) > 100


def test_a_whole_text_at_the_end_of_items_holds_no_secret_either() -> None:
    text = WORDS * 6 + SECRET + ". " + WORDS
    found = through(items(text, 7), 100)
    assert SECRET.encode() not in found
    assert found.count(b"[CREDIT_CARD]") == 5
    # An event that was changed is written without spaces.
    found = through(items(text, 7).replace(b'"logprobs": []', b'"logprobs": [0.5]'), 100)
    assert b'"logprobs":[]' in found
    assert b'"logprobs":[0.5]' not in found


def test_a_text_among_items_is_one_turn_of_its_session_however_often_it_comes() -> None:
    class Noting(Fake):
        turns = 0

        def screen_batch(self, batch: Any) -> Any:
            rows = zip(batch.column("session_id").to_pylist(), batch.column("channel").to_pylist(), strict=True)
            self.turns += list(rows).count(("s", "assistant"))
            return super().screen_batch(batch)

    screener, body = Noting(), json.dumps({"input": "hi", "stream": True})
    with proxied(streamed([items("fine words", 4)]), screener=screener) as (live, _):
        assert live.ask("POST", "/v1/responses", body, aimds_session="s")[0] == 200
    assert screener.turns == 1


def test_arguments_of_a_call_among_items_stay_json() -> None:
    text = json.dumps({"to": "shop", "card": 0, "note": "x " * 60}).replace("0", SECRET, 1)
    place = {"item_id": "f", "output_index": 2}
    kind = "response.function_call_arguments"
    deltas = [event(f"{kind}.delta", **place, delta=text[i : i + 9]) for i in range(0, len(text), 9)]
    found = through(b"".join(deltas) + event(f"{kind}.done", **place, arguments=text), 64)
    bodies = [json.loads(line[6:]) for line in found.split(b"\n") if line.startswith(b"data: {")]
    told = "".join(body.get("delta", "") for body in bodies)
    assert json.loads(told) == json.loads(bodies[-1]["arguments"])
    assert json.loads(told)["card"] == "[CREDIT_CARD]"


def test_nothing_leaves_before_the_end_where_that_is_asked_for() -> None:
    assert through(answer(WORDS * 30 + ATTACK, 9), 100, whole=True) == b""
    clean = answer(WORDS * 30, 9)
    assert through(clean, 100, whole=True) == clean


def test_calls_of_tools_are_texts_and_stay_json() -> None:
    text = json.dumps({"to": "shop", "card": 0, "note": "x " * 100}).replace("0", SECRET, 1)
    parts = [text[i : i + 7] for i in range(0, len(text), 7)]
    first = {"index": 0, "id": "c", "type": "function", "function": {"name": "pay", "arguments": ""}}
    content = chunk(role="assistant", content=None, tool_calls=[first])
    content += b"".join(chunk(tool_calls=[{"index": 0, "function": {"arguments": part}}]) for part in parts)
    content += chunk(finish="tool_calls") + DONE
    found = through(content, 50)
    calls = [
        json.loads(line[6:])["choices"][0]["delta"].get("tool_calls")
        for line in found.split(b"\n")
        if line.startswith(b"data: {")
    ]
    told = "".join(call[0]["function"]["arguments"] for call in calls if call)
    assert json.loads(told)["card"] == "[CREDIT_CARD]"
    deltas = [
        event("content_block_delta", index=1, delta={"type": "input_json_delta", "partial_json": part})
        for part in [*parts, ATTACK]
    ]
    assert ATTACK[:2].encode() not in through(b"".join(deltas) + event("content_block_stop", index=1), 99)


def test_reasoning_does_not_keep_back_the_answer_behind_it() -> None:
    content = chunk(reasoning_content="short thought") + b"".join(words(WORDS * 10, 10))
    stream = Stream(SMALL)
    stream.feed(content)
    for track, window in stream.windows():
        row = Row(text=window.text, request_id="0", channel=track.channel)
        stream.judged(track, window, objects(Fake().screen_batch(batch_of([row])))[0], policy())
    assert b"short thought" in stream.take()


def test_choices_are_apart() -> None:
    half = len(ATTACK) // 2
    apart = b"".join(
        (chunk(ATTACK[:half], 0), chunk(ATTACK[half:], 1), chunk(finish="stop"), chunk(None, 1, "stop"), DONE)
    )
    assert through(apart, 50) == apart
    mixed = b"".join(chunk(piece, index) for piece in (ATTACK[:half], ATTACK[half:]) for index in (0, 1))
    assert through(mixed + DONE, 50) == b""


def test_tokens_beside_a_changed_text_are_taken_out() -> None:
    choice = {
        "index": 0,
        "delta": {"content": SECRET},
        "logprobs": {"content": [{"token": SECRET}]},
        "finish_reason": None,
    }
    found = through(b"data: " + json.dumps({"choices": [choice]}).encode() + b"\n\n" + DONE, 40)
    assert SECRET.encode() not in found
    assert b"[CREDIT_CARD]" in found


@pytest.mark.parametrize("data", [b"data: {\n\n", b"data: [1]\n\n", b'data: {"a":1,"a":2}\n\n', b"data: \xff\n\n"])
def test_an_event_that_cannot_be_read_ends_the_answer(data: bytes) -> None:
    with pytest.raises(BodyError):
        through(data, 100)


def test_an_endless_answer_is_bounded() -> None:
    with pytest.raises(TooLong, match="a text"):
        through(b"".join(words("word " * 1000, 100)), 1000, config=OutputConfig(max_bytes=2000))


@pytest.mark.parametrize(("path", "form"), [(CHAT, answer), (MESSAGES, blocks)])
def test_a_stream_passes_while_it_comes(path: str, form: Any) -> None:
    content, go = form(WORDS * 100, 20), asyncio.Event()
    half = len(content) // 2

    async def wait(i: int) -> None:
        if i == 1:
            await go.wait()

    loops: list[Any] = []
    respond = streamed([content[:half], content[half:]], wait=wait)

    async def remembering(asked: Asked, writer: Any) -> None:
        loops.append(asyncio.get_running_loop())
        await respond(asked, writer)

    with proxied(remembering) as (live, _):
        connection = live.connect()
        connection.request("POST", path, chat("hi", stream=True))
        found = connection.getresponse()
        assert found.getheader("content-type") == "text/event-stream; charset=utf-8"
        assert found.getheader("x-own") == "Kept"
        first = found.read1()
        assert first
        assert content.startswith(first)
        loops[0].call_soon_threadsafe(go.set)
        assert first + found.read() == content
        connection.close()


@pytest.mark.parametrize(("path", "form"), [(CHAT, answer), (MESSAGES, blocks), ("/v1/responses", items)])
def test_a_blocked_stream_ends_with_an_error_and_the_server_is_stopped(path: str, form: Any) -> None:
    content = form(WORDS * 60 + ATTACK + WORDS * 60, 20)

    async def wait(i: int) -> None:
        if i == 1:
            await asyncio.sleep(30)

    with proxied(streamed([content, b""], wait=wait)) as (live, stub):
        status, _, found = live.ask("POST", path, chat("hi", stream=True))
        assert stub.left.wait(10)
    assert status == 200
    passed, _, last = found.rstrip(b"\n").rpartition(b"\n\n")
    assert content.startswith(passed)
    assert ATTACK not in texts(found)
    told = json.loads(last.split(b"data: ")[1])
    assert "content_filter" in last.decode() if path == CHAT else last.startswith(b"event: error\n")
    assert "direct_injection" in told.get("error", told)["message"]
    assert DONE not in found


def test_a_stream_that_is_blocked_before_anything_left_is_an_error_of_its_own() -> None:
    with proxied(streamed([b"".join(words(ATTACK, 3)) + DONE])) as (live, _):
        status, headers, body = live.ask("POST", CHAT, chat("hi", stream=True))
        assert (status, headers["content-type"]) == (400, "application/json")
        assert json.loads(body)["error"]["code"] == "content_filter"


def test_a_secret_in_a_stream_is_taken_out_on_its_way() -> None:
    text = WORDS * 30 + SECRET + ". " + WORDS * 30
    with proxied(streamed([answer(text, 7)[i : i + 91] for i in range(0, len(answer(text, 7)), 91)])) as (live, _):
        status, _, found = live.ask("POST", CHAT, chat("hi", stream=True))
        assert (status, texts(found)) == (200, text.replace(SECRET, "[CREDIT_CARD]"))


def test_a_stream_that_breaks_off_gives_what_was_judged_and_says_so() -> None:
    with proxied(streamed([b"".join(words(WORDS * 3, 20))], cut=True)) as (live, _):
        status, _, found = live.ask("POST", CHAT, chat("hi", stream=True))
        assert (status, texts(found[: found.rfind(b"data:")])) == (200, WORDS * 3)
        assert b"upstream_unavailable" in found
        assert DONE not in found


def test_a_window_that_breaks_a_detector_gets_what_the_policy_says() -> None:
    with proxied(streamed([b"".join(words(f"so {BOOM} so", 20)) + DONE])) as (live, _):
        assert live.ask("POST", CHAT, chat("hi", stream=True))[0] == 200
    screener = Fake()
    strict = policy().__class__.load()
    strict.playbook.steps["flag"] = ("audit", "hold")
    screener.policy = strict  # type: ignore[attr-defined]
    with proxied(streamed([b"".join(words(f"so {BOOM} so", 20)) + DONE]), screener=screener) as (live, _):
        assert live.ask("POST", CHAT, chat("hi", stream=True))[0] == 400


def test_a_whole_stream_is_judged_before_its_first_byte_leaves() -> None:
    content = answer(WORDS * 60 + ATTACK, 20)
    with proxied(streamed([content]), Bounds(whole=True)) as (live, _):
        assert live.ask("POST", CHAT, chat("hi", stream=True))[0] == 400
    clean = answer(WORDS * 60, 20)
    with proxied(streamed([clean]), Bounds(whole=True)) as (live, _):
        assert live.ask("POST", CHAT, chat("hi", stream=True))[2] == clean


def test_a_client_that_leaves_a_stream_stops_the_server() -> None:
    async def wait(i: int) -> None:
        await asyncio.sleep(0.01)

    with proxied(streamed(words(WORDS * 5000, 30), wait=wait)) as (live, stub):
        connection = live.connect()
        connection.request("POST", CHAT, chat("hi", stream=True))
        assert connection.getresponse().read1()
        connection.close()
        assert stub.left.wait(10)
        settle(live)


def test_a_slow_reader_slows_the_server() -> None:
    sent = [0]

    async def wait(i: int) -> None:
        sent[0] = i

    comment = b": " + b"x" * (64 << 10) + b"\n\n"
    proxy = proxied(streamed([comment] * 4000, wait=wait))
    with proxy as (live, _), contextlib.closing(live.connect()) as connection:
        connection.request("POST", CHAT, chat("hi", stream=True))
        assert connection.getresponse().read(1)
        before, pause = -1, threading.Event()
        while sent[0] != before:
            before = sent[0]
            pause.wait(0.4)
        assert 0 < before < 3999


def settle(live: Live) -> None:
    import time

    until = time.monotonic() + 10
    while not live.gateway.service.idle:
        assert time.monotonic() < until
        time.sleep(0.005)
