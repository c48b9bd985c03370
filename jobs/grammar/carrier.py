"""Where a text stands: bare, framed as a field of a document, before, after or inside an ordinary text.

Attacks and look-alikes go through here alike, so that neither the carrier nor the separator tells them apart.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import numpy as np

BARE = 0.35
"""The share of texts that stand alone, without frame or carrier."""
_SEPARATORS = (
    " ",
    " ",
    "\n",
    "\n\n",
    "\n\n",
    "\n---\n",
    "\n\n***\n\n",
    " - ",
    "\n====\n",
    " // ",
    "\n\n\n\n",
    "; ",
    " | ",
)
_FRAMES = (
    '"{}"',
    "'{}'",
    "“{}”",
    "[{}]",
    "({})",
    "<<{}>>",
    "- {}",
    "* {}",
    "1. {}",
    "> {}",
    "# {}",
    "**{}**",
    "`{}`",
    "// {}",
    "/* {} */",
    "<!-- {} -->",
    "<p>{}</p>",
    '<div class="note">{}</div>',
    "```\n{}\n```",
    '"""\n{}\n"""',
    "### {}\n",
    "Subject: {}",
    "Note: {}",
    "Comment: {}",
    "User: {}",
    "Message: {}",
    "Re: question\n\n{}",
    "Text: {}",
    "Question: {}",
    "### Input:\n{}",
    "### Instruction:\n{}",
    "[INST] {} [/INST]",
    "<user>{}</user>",
    "<text>{}</text>",
    "TODO: {}",
    "[{}](https://example.com/a)",
    "| note | {} |",
    "P.S. {}",
    "Q: {}\nA:",
    "Description: {}",
    "body: {}",
    "*{}*",
)
_KEYS = ("text", "message", "content", "comment", "note", "description", "query", "body", "title", "input")


def carried(text: str, rng: np.random.Generator, carriers: Sequence[str], documentary: bool = False) -> tuple[str, str]:
    """``text`` where it comes to stand, and its channel; ``documentary`` texts come by documents and tools only."""
    if rng.random() < BARE:
        return text, ("document" if rng.random() < 0.7 else "tool") if documentary else "user"
    alone = not len(carriers)
    if alone or rng.random() < 0.45:
        text = _framed(text, rng)
    if not alone and rng.random() < 0.8:
        carrier = window(carriers[int(rng.integers(len(carriers)))], rng)
        text = beside(text, carrier, separator(rng), rng)
    kind = rng.random()
    if documentary:
        return text, "document" if kind < 0.7 else "tool"
    return text, "user" if kind < 0.7 else "document" if kind < 0.9 else "tool"


def separator(rng: np.random.Generator) -> str:
    """What stands between two texts."""
    return _SEPARATORS[int(rng.integers(len(_SEPARATORS)))]


def window(text: str, rng: np.random.Generator, longest: int = 1200) -> str:
    """``text``, or where it is longer than a random length up to ``longest`` characters, that much of it."""
    size = int(rng.integers(200, longest))
    if len(text) <= size:
        return text.strip()
    start = 0 if rng.random() < 0.5 else text.find(" ", int(rng.integers(len(text) - size))) + 1
    return text[start : start + size].rpartition(" ")[0].strip() or text[start : start + size]


def beside(text: str, carrier: str, between: str, rng: np.random.Generator) -> str:
    """``text`` after, before or inside ``carrier``, at a sentence's end there if it has one."""
    place = rng.random()
    if place < 0.4:
        return f"{carrier}{between}{text}"
    if place < 0.7:
        return f"{text}{between}{carrier}"
    return inside(text, carrier, int(rng.integers(len(carrier) + 1)), between)


def inside(text: str, carrier: str, at: int, between: str) -> str:
    """``text`` inside ``carrier``, where from ``at`` on a sentence or a line ends, with ``between`` on both sides."""
    cut = break_near(carrier, at)
    return f"{carrier[:cut].rstrip()}{between}{text}{between}{carrier[cut:].lstrip()}".strip()


def break_near(text: str, at: int) -> int:
    """The first place from ``at`` on that follows a sentence's end or a line, or the end of ``text``."""
    places = [text.find(mark, at) + len(mark) for mark in (". ", "\n", "! ", "? ") if text.find(mark, at) >= 0]
    return min(places, default=len(text))


def _framed(text: str, rng: np.random.Generator) -> str:
    kind = int(rng.integers(len(_FRAMES) + 6))
    if kind < len(_FRAMES):
        before, _, after = _FRAMES[kind].partition("{}")
        return before + text + after
    key = _KEYS[int(rng.integers(len(_KEYS)))]
    if kind < len(_FRAMES) + 3:
        return json.dumps({"id": int(rng.integers(1, 9999)), key: text}, ensure_ascii=bool(rng.random() < 0.3))
    return f"<{key}>{text}</{key}>" if kind < len(_FRAMES) + 5 else f"{key} = {json.dumps(text, ensure_ascii=False)}"
