"""What separates a secret from a placeholder: entropy, alphabet, structure, checksum.

Every function takes the candidate as text, never raises, and answers whether it can be a live secret.
"""

from __future__ import annotations

import base64
import binascii
import json
import math
import zlib
from collections import Counter
from collections.abc import Callable

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"

_PLACEHOLDERS = (
    "xxxx", "****", "....", "____", "----", "your", "example", "placeholder", "changeme", "change_me", "redacted",
    "insert", "dummy", "${", "{{", "<", "process.env", "os.environ", "getenv", "config.", "settings.", "request.",
    "secrets.", "$(", "%(", "{0}", "todo", "foobar", "abcdef", "123456", "qwerty", "asdf", "hidden", "masked",
    "none", "null", "undefined", "required", "optional",
)  # fmt: skip
_SOFT = frozenset({"123456", "qwerty", "asdf", "abcdef"})
"""Placeholders in a key, yet real passwords of careless people."""


def entropy(text: str) -> float:
    """Shannon entropy of the characters, in bits a character."""
    n = len(text)
    return -sum(c / n * math.log2(c / n) for c in Counter(text).values()) if n else 0.0


def placeholder(text: str, *, password: bool = False) -> bool:
    """Whether ``text`` is a stand-in such as ``YOUR_API_KEY``, ``xxxx`` or ``${TOKEN}``."""
    s = text.lower()
    return any(p in s for p in _PLACEHOLDERS if not (password and p in _SOFT))


def key(text: str) -> bool:
    """A random key behind a vendor's prefix: at least 2.8 bits a character, no placeholder."""
    return entropy(text) >= 2.8 and not placeholder(text)


def random_key(text: str) -> bool:
    """A random value without a prefix to vouch for it: 16 letters and digits or more, 3.2 bits a character."""
    if len(text) < 16 or placeholder(text) or _identifier(text):
        return False
    return any(c.isdigit() for c in text) and any(c.isalpha() for c in text) and entropy(text) >= 3.2


def password(text: str) -> bool:
    """A password in an assignment: six characters of two classes or more, no placeholder, no program identifier."""
    if not 6 <= len(text) <= 128 or placeholder(text, password=True) or _identifier(text):
        return False
    classes = sum(
        (
            any(c.islower() for c in text),
            any(c.isupper() for c in text),
            any(c.isdigit() for c in text),
            any(not c.isalnum() for c in text),
        )
    )
    return classes >= 2 and len(set(text)) >= 5 and (any(c.isdigit() for c in text) or classes >= 3)


def quoted(text: str) -> bool:
    """A password between quotes: six characters or more, no placeholder, no prose, not one plain word."""
    if len(text) < 6 or placeholder(text, password=True) or len(set(text)) < 4 or " " in text:
        return False
    return not text.isalpha() or (text[1:] != text[1:].lower() and text != text.upper())


def _identifier(text: str) -> bool:
    # self.password1, user_token, getPassword: words joined by dots or underscores, digits only at the end of a word.
    parts = text.replace("_", ".").replace("-", ".").split(".")
    words = [p.rstrip("0123456789") for p in parts]
    return len(parts) > 1 and all(
        len(p) - len(w) <= 2 and (w.isalpha() or not w) for p, w in zip(parts, words, strict=True)
    )


def github(text: str) -> bool:
    """GitHub token: the last six characters are the CRC-32 of the random part in base 62 (GitHub, April 2021)."""
    body = text[text.index("_") + 1 :] if "_" in text else ""
    if len(body) != 36:
        return False
    value = zlib.crc32(body[:30].encode())
    out = ""
    for _ in range(6):
        value, rest = divmod(value, 62)
        out = _BASE62[rest] + out
    return out == body[30:]


def jwt(text: str) -> bool:
    """JSON web token (RFC 7519): the header decodes to a JSON object with ``alg``."""
    head = text.split(".")[0]
    try:
        header = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, binascii.Error, RecursionError):
        return False
    return isinstance(header, dict) and "alg" in header


def aws_secret(text: str) -> bool:
    """Forty characters of base 64 with upper and lower case letters and digits, 4 bits a character."""
    return len(text) == 40 and entropy(text) >= 4 and random_key(text) and text.lower() != text


def credentials(text: str) -> bool:
    """``user:password`` of a URL: both there, the password no placeholder and no port."""
    user, _, secret = text.partition(":")
    return (
        bool(user)
        and len(secret) >= 3
        and secret.lower() not in ("password", "pass", "pwd")
        and not placeholder(secret, password=True)
    )


CHECKS: dict[str, Callable[[str], bool]] = {
    f.__name__: f for f in (key, random_key, password, quoted, github, jwt, aws_secret, credentials)
}
"""Every check by name, as the patterns in ``data/pii.toml`` refer to it."""
