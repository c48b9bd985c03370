"""The texts in a JSON body, wherever they stand in it, each with its channel; a text may be replaced where it stands.

Every string is a text unless its key says that it is none: what a server may read as a prompt must not depend on
whether we know the key. Keys are compared without case, as some servers do.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from aimds.errors import AimdsError
from aimds.gateway.rows import Channel

MAX_DEPTH = 64
LONGEST_NAME = 40
NAME_LETTERS = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-.$")
"""A key that is longer, or has other letters, is a text too."""
# fmt: off
NO_TEXT = frozenset({
    "b64_json", "cache_control", "call_id", "created", "detail", "encrypted_content", "encrypted_index",
    "encoding_format", "file_data", "file_id", "finish_reason", "fingerprint", "format", "id", "item_id", "logprobs",
    "media_type", "mime_type", "model", "object", "obfuscation", "partial_image_b64", "previous_response_id",
    "reasoning_effort", "response_id", "role", "service_tier", "signature", "status", "stop_reason",
    "system_fingerprint", "tool_call_id", "tool_use_id", "tool_choice", "truncation", "type", "usage", "user",
    "verbosity", "voice",
})
# fmt: on
"""Keys whose values are ids, sizes, names of the API or bytes that no model reads as words."""
ADDRESSES = frozenset({"url", "uri", "image_url", "file_url"})
"""Keys of addresses; one of the form data: carries bytes, any other is a text like all."""
SCHEMA_KEYS = frozenset({"tools", "functions", "response_format", "output_config", "output_format"})
ROLES: dict[str, Channel] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "model": "assistant",
    "tool": "tool",
    "function": "tool",
}
TURNS = frozenset({"messages", "input"})
"""Keys of the conversation so far."""
ORDERS = frozenset({"system", "instructions"})
"""Keys of what the system says."""
ECHOES = (("instructions",), ("response", "instructions"))
"""Where an answer repeats what the request said to the system."""
BYTES = frozenset({"base64", "redacted_thinking"})
DOCUMENTS = frozenset({"document", "search_result", "file"})
Shape = Literal["request", "response"]


class BodyError(AimdsError):
    """A body that cannot be read, or that two readers would read in two ways; ``problem`` says what is wrong."""

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(problem)


@dataclass(slots=True)
class Leaf:
    """One text: ``holder[key]``, or the key itself where it ``names`` the value. ``path`` says where it stands;
    ``json`` where it is itself JSON; ``new`` where it came with this request and was not in the conversation before."""

    holder: Any
    key: Any
    path: tuple[str | int, ...]
    channel: Channel
    json: bool = False
    new: bool = True
    names: bool = False

    @property
    def text(self) -> str:
        """The text as it stands there."""
        return str(self.key if self.names else self.holder[self.key])

    @property
    def place(self) -> str:
        """The path as a person writes it."""
        parts = (f"[{part}]" if isinstance(part, int) else f".{part}" for part in self.path)
        return "".join(parts).removeprefix(".")[:200]

    def put(self, text: str) -> None:
        """Replace the text. A key keeps its place; where the new one is there already it is numbered."""
        if not self.names:
            self.holder[self.key] = text
            return
        new, number = text, 2
        while new in self.holder:
            new, number = f"{text} {number}", number + 1
        items = [(new if name == self.key else name, value) for name, value in self.holder.items()]
        self.holder.clear()
        self.holder.update(items)
        self.key = new


def decoded(content: bytes) -> dict[str, Any]:
    """The JSON object in ``content``.

    Raises:
        BodyError: no UTF-8, no JSON, no object, or a key twice in one object, of which two readers may take either.
    """
    try:
        text = content.decode("utf-8")
        found = json.loads(text, object_pairs_hook=_unique, parse_float=_finite, parse_constant=_finite)
    except UnicodeDecodeError as error:
        raise BodyError(f"the body is not UTF-8 at byte {error.start}") from None
    except RecursionError:
        raise BodyError("the body is nested too deeply") from None
    except ValueError as error:
        raise BodyError(f"the body is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise BodyError("the body is not a JSON object")
    return found


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise BodyError(f"{text[:40]} is no number that JSON can hold")
    return number


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise BodyError(f"the key {twice[:80]!r} comes twice in one object")
    return found


def encoded(document: Any) -> bytes:
    """``document`` as JSON, ASCII only, without spaces."""
    return json.dumps(document, ensure_ascii=True, separators=(",", ":")).encode()


def leaves(document: dict[str, Any], shape: Shape) -> list[Leaf]:
    """The texts of a request or of a response, in the order in which they stand there; a key comes after its value.

    Raises:
        BodyError: it is nested too deeply, or holds a prompt as numbers of tokens.
    """
    found: list[Leaf] = []
    start: Channel = "user" if shape == "request" else "assistant"
    for name, value in document.items():
        key = name.lower()
        if _skipped(key, value, document, ()):
            continue
        channel: Channel = "system" if key in ORDERS else "document" if key in SCHEMA_KEYS else start
        if shape == "request" and key in ("prompt", "input"):
            _no_tokens(name, value)
        if key in TURNS and isinstance(value, list) and shape == "request":
            answered = _answered(value)
            for i, message in enumerate(value):
                held = _walk(value, i, message, (name, i), channel)
                found += (_aged(leaf, i > answered) for leaf in held)
        else:
            # What is no turn comes again with each request of a conversation.
            aged = shape == "response" or key in ("prompt", "input")
            found += (_aged(leaf, aged) for leaf in _walk(document, name, value, (name,), channel))
        if _says(name):
            found.append(Leaf(document, name, (name,), channel, new=False, names=True))
    return [leaf for leaf in found if shape == "request" or not _echo(leaf.path)]


def _no_tokens(name: str, value: Any) -> None:
    items = value if isinstance(value, list) else ()
    for item in items:
        for one in item if isinstance(item, list) else (item,):
            if isinstance(one, (int, float)):
                raise BodyError(f"{name} holds numbers of tokens, not text")


def _echo(path: tuple[str | int, ...]) -> bool:
    return path[:1] in ECHOES or path[:2] in ECHOES


def _says(name: str) -> bool:
    """Whether a key may be more than a name."""
    return len(name) > LONGEST_NAME or not NAME_LETTERS.issuperset(name)


def _aged(leaf: Leaf, new: bool) -> Leaf:
    leaf.new = new
    return leaf


def _answered(turns: list[Any]) -> int:
    """Place of the last turn of the assistant; -1 if there is none."""
    speakers = [_channel(one, "user") if isinstance(one, dict) else "" for one in turns]
    return max((i for i, speaker in enumerate(speakers) if speaker == "assistant"), default=-1)


def _walk(
    holder: Any, key: Any, value: Any, path: tuple[str | int, ...], channel: Channel, free: bool = False
) -> Iterator[Leaf]:
    if len(path) > MAX_DEPTH:
        raise BodyError(f"the body is nested more than {MAX_DEPTH} deep")
    if isinstance(value, str):
        if value:
            named = next((part for part in reversed(path) if isinstance(part, str)), "").lower()
            yield Leaf(holder, key, path, channel, json=named in ("arguments", "partial_json"))
    elif isinstance(value, list):
        for i, item in enumerate(value):
            yield from _walk(value, i, item, (*path, i), channel, free)
    elif isinstance(value, dict):
        channel = channel if free else _channel(value, channel)
        called = _word(value, "type").endswith("tool_use")
        for name, item in value.items():
            low = name.lower()
            if free or not _skipped(low, item, value, path):
                # What a tool is called with may have any keys.
                yield from _walk(value, name, item, (*path, name), channel, free or (called and low == "input"))
                if _says(name):
                    yield Leaf(value, name, (*path, name), channel, names=True)


def _channel(value: dict[str, Any], channel: Channel) -> Channel:
    role, kind = _word(value, "role"), _word(value, "type")
    if role in ROLES:
        return ROLES[role]
    if kind.endswith(("tool_result", "_call_output")):
        return "tool"
    if kind.endswith("_call") or kind == "reasoning":
        return "assistant"
    return "document" if kind in DOCUMENTS else channel


def _skipped(key: str, item: Any, holder: dict[str, Any], path: tuple[str | int, ...]) -> bool:
    if key in NO_TEXT:
        # A value that is not what the key promises is looked into all the same.
        return not isinstance(item, (dict, list)) or key in ("logprobs", "usage", "cache_control")
    if key in ADDRESSES:
        return isinstance(item, str) and item[:5].lower() == "data:"
    if key == "result":
        return _word(holder, "type") == "image_generation_call"
    # Bytes of a picture, a sound or a file; with another type this is the text of a document.
    return key == "data" and (_word(holder, "type") in BYTES or path[-1:] in (("input_audio",), ("audio",)))


def _word(value: dict[str, Any], name: str) -> str:
    found = value.get(name)
    if found is None:
        found = next((item for key, item in value.items() if key.lower() == name), "")
    return found.lower() if isinstance(found, str) else ""
