"""Live secrets against placeholders."""

from __future__ import annotations

import base64
import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimds.detect.pii import secrets
from aimds.detect.pii.secrets import CHECKS

BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


def github_token(random_part: str) -> str:
    value, tail = zlib.crc32(random_part.encode()), ""
    for _ in range(6):
        value, rest = divmod(value, 62)
        tail = BASE62[rest] + tail
    return "ghp" + "_" + random_part + tail


def jwt(header: object) -> str:
    def part(value: object) -> str:
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part(header)}.{part({'sub': '1234567890'})}.c2lnbmF0dXJl"


def test_entropy_is_zero_for_one_letter_and_log_n_for_n_different_ones() -> None:
    assert secrets.entropy("") == 0.0
    assert secrets.entropy("aaaa") == 0.0
    assert secrets.entropy("abcdefgh") == pytest.approx(3.0)


@pytest.mark.parametrize(
    "text",
    [
        "YOUR_API_KEY_GOES_HERE_1",
        "xxxxxxxxxxxxxxxxxxxx1",
        "${SECRET_TOKEN_FROM_VAULT_1}",
        "<insert-your-key-here-1>",
        "{{ api_key_12345678 }}",
    ],
)
def test_a_placeholder_is_no_key(text: str) -> None:
    assert not secrets.key(text)
    assert not secrets.random_key(text)


@pytest.mark.parametrize("text", ["hunter2", "Tr0ub4dor&3", "p4ssw0rd-2024", "qwerty123"])
def test_a_password_people_use_is_one(text: str) -> None:
    assert secrets.password(text)


@pytest.mark.parametrize(
    "text", ["password", "request.form", "self.password1", "user_password", "getenv", "abc", "********", "required"]
)
def test_a_word_or_an_identifier_is_no_password(text: str) -> None:
    assert not secrets.password(text)


def test_a_quoted_password_may_have_letters_only_when_their_case_is_mixed() -> None:
    assert secrets.quoted("RSKkykwP")
    assert not secrets.quoted("Password")
    assert not secrets.quoted("secretword")
    assert not secrets.quoted("enter it here 1")


def test_the_checksum_of_a_github_token_is_its_crc32_in_base_62() -> None:
    token = github_token("0a1B2c3D4e5F6g7H8i9J0k1L2m3N4o")
    assert secrets.github(token)
    assert not secrets.github(token[:-1] + ("A" if token[-1] != "A" else "B"))
    assert not secrets.github(token[:10] + ("z" if token[10] != "z" else "y") + token[11:])


def test_a_jwt_needs_a_header_with_an_algorithm() -> None:
    assert secrets.jwt(jwt({"alg": "HS256", "typ": "JWT"}))
    assert not secrets.jwt(jwt({"typ": "JWT"}))
    assert not secrets.jwt(jwt(["alg"]))
    assert not secrets.jwt("eyJhbGci")


def test_credentials_need_a_user_and_a_password_that_is_no_placeholder() -> None:
    assert secrets.credentials("admin:s3cret-9")
    assert not secrets.credentials("admin:password")
    assert not secrets.credentials("user:${PASS}")
    assert not secrets.credentials(":x")


@given(st.text(max_size=80))
def test_no_check_raises_on_any_text(text: str) -> None:
    for check in CHECKS.values():
        assert check(text) in (True, False)
