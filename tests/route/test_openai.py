from __future__ import annotations

import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any

import pytest
from routed import tier
from stub_models import Reply, Stub, answers, completion, cut, drips, drips_headers, garbage, stub

from aimds.errors import ConfigError
from aimds.route.calls import Call, Completion, ProviderError
from aimds.route.openai import OpenAi, retry_after
from aimds.route.tiers import Tiers

CALL = Call((("system", "Be brief."), ("user", "6 × 7?")), 50)
KEY = "fake-key-for-tests"


@pytest.fixture
def models() -> Iterator[Stub]:
    with stub() as made:
        yield made


def adapter(url: str, **changed: Any) -> OpenAi:
    made = Tiers.parse({"tier": [tier("t", adapter="openai", url=url, **changed)]})
    return OpenAi(made.tiers[0], {"MODEL_KEY": KEY})


def failure(made: OpenAi, timeout_s: float = 5.0) -> ProviderError:
    with pytest.raises(ProviderError) as caught:
        made.complete(CALL, timeout_s=timeout_s)
    return caught.value


def test_request_is_that_of_the_protocol_and_the_answer_is_read(models: Stub) -> None:
    assert adapter(models.url + "/", key_env="MODEL_KEY").complete(CALL, timeout_s=5.0) == Completion("42", 11, 7)
    path, headers, body = models.seen[0]
    assert path == "/v1/chat/completions"
    assert headers["Authorization"] == f"Bearer {KEY}"
    assert body == {
        "model": "t-model",
        "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "6 × 7?"}],
        "max_tokens": 50,
        "stream": False,
    }


def test_no_key_is_sent_where_none_is_named(models: Stub) -> None:
    adapter(models.url).complete(Call((("user", "\ud800"),), 5, 0.5), timeout_s=5.0)
    assert "Authorization" not in models.seen[0][1]
    assert models.seen[0][2]["temperature"] == 0.5


@pytest.mark.parametrize(
    ("status", "kind", "retried"),
    [
        (400, "refused", False),
        (401, "setup", False),
        (404, "refused", False),
        (302, "refused", False),
        (429, "rate_limited", True),
        (500, "server", True),
        (503, "server", True),
    ],
)
def test_status_says_whether_to_try_again(models: Stub, status: int, kind: str, retried: bool) -> None:
    models.replies = [answers(b"prompt: 6 x 7?", status, Location="http://elsewhere.example/")]
    error = failure(adapter(models.url))
    assert (error.kind, error.status, error.retried) == (kind, status, retried)
    assert "prompt" not in str(error)
    assert len(models.seen) == 1


def test_wait_that_is_asked_for_is_told(models: Stub) -> None:
    models.replies = [answers(b"", 429, Retry_After="7")]
    assert failure(adapter(models.url)).retry_after_s == 7.0


@pytest.mark.parametrize(
    "content", [b"", b"[]", b"{}", b'{"choices": []}', b'{"choices": [{"message": {"content": null}}]}', b"[" * 100_000]
)
def test_answer_that_is_no_completion_is_malformed(models: Stub, content: bytes) -> None:
    models.replies = [answers(content)]
    assert failure(adapter(models.url)).kind == "malformed"


def test_half_of_a_surrogate_pair_does_not_come_through(models: Stub) -> None:
    models.replies = [answers(completion("a\ud800b"))]
    assert adapter(models.url).complete(CALL, timeout_s=5.0).text == "a?b"


def test_counts_that_cannot_be_are_left_out(models: Stub) -> None:
    models.replies = [answers(completion(prompt_tokens=-1, completion_tokens="many"))]
    assert adapter(models.url).complete(CALL, timeout_s=5.0) == Completion("42", None, None)


def test_broken_connections_are_told_apart(models: Stub) -> None:
    models.replies = [cut]
    assert failure(adapter(models.url)).kind == "unreachable"
    models.replies = [garbage]
    assert failure(adapter(models.url)).kind == "malformed"


@pytest.mark.parametrize("reply", [drips, drips_headers])
def test_server_that_drips_is_cut_off_in_time(models: Stub, reply: Reply) -> None:
    models.replies = [reply]
    assert failure(adapter(models.url), timeout_s=0.2).kind == "timeout"


def test_server_that_says_nothing_is_cut_off_in_time() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        error = failure(adapter(f"http://127.0.0.1:{silent.getsockname()[1]}/v1"), timeout_s=0.2)
    assert error.kind == "timeout"


def test_nobody_there_is_unreachable() -> None:
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    assert failure(adapter(f"http://127.0.0.1:{port}/v1")).kind == "unreachable"


@pytest.mark.parametrize("environment", [{}, {"MODEL_KEY": ""}, {"MODEL_KEY": "two\r\nlines"}])
def test_key_that_is_missing_or_no_header_is_named_and_not_repeated(environment: dict[str, str]) -> None:
    made = Tiers.parse({"tier": [tier("t", adapter="openai", url="https://models.example", key_env="MODEL_KEY")]})
    with pytest.raises(ConfigError, match="MODEL_KEY") as caught:
        OpenAi(made.tiers[0], environment)
    assert "lines" not in str(caught.value)


def test_retry_after_is_seconds_or_a_date() -> None:
    now = 1_000_000.0
    date = format_datetime(datetime.fromtimestamp(now + 90, UTC), usegmt=True)
    assert [retry_after(value, now) for value in (None, "5", " 5 ", date, "soon", "-3", "9" * 30, "²")] == [
        None, 5.0, 5.0, 90.0, None, None, 86_400.0, None,
    ]  # fmt: skip
