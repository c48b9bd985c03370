"""How a text looks: case, punctuation, typing errors, emoji, polite openings; the same for attacks and look-alikes."""

from __future__ import annotations

import string

import numpy as np

_POLITE = {
    "en": (
        "Hi! ",
        "Hello, ",
        "Hey, ",
        "Hi there. ",
        "Please help. ",
        "Good morning, ",
        "Ok so ",
        "Thanks in advance. ",
    ),
    "de": ("Hallo! ", "Guten Tag, ", "Hi, ", "Danke im Voraus. "),
    "es": ("¡Hola! ", "Buenos días, ", "Hola, ", "Gracias de antemano. "),
    "fr": ("Bonjour ! ", "Salut, ", "Bonsoir, ", "Merci d'avance. "),
}
_EMOJI = ("🙂", "🙏", "😊", "👍", "😉", "🔥", "🤖", "👀", "😂", "🚀", "⚠️", "✅")
_END = (".", "!", "...", "!!", " .", "")
_ASKED = ("", "", "", "??", "?!", " ?")


def tidy(text: str) -> str:
    """``text`` without the double blanks and blanks before commas that empty slots leave; lines stay."""
    lines = []
    for line in text.split("\n"):
        indent = line[: len(line) - len(line.lstrip(" "))]
        body = " ".join(word for word in line.split(" ") if word)
        for mark in ",.!?;:":
            body = body.replace(f"{mark} {mark} ", f"{mark} ")
        for mark in (",", ". ", "? "):
            body = body.replace(f" {mark}", mark)
        lines.append(indent + body)
    return "\n".join(lines).strip()


def noised(text: str, lang: str, rng: np.random.Generator) -> str:
    """``text`` as somebody might type it: about half of the texts stay as they are but for a capital at the start."""
    if rng.random() < 0.85:
        text = _capitals(text[:1].upper() + text[1:])
    if rng.random() < 0.08 and lang in _POLITE:
        text = _POLITE[lang][int(rng.integers(len(_POLITE[lang])))] + text
    if rng.random() < 0.10:
        text = text.rstrip(".!") + _END[int(rng.integers(len(_END)))]
    if rng.random() < 0.2:
        text = text.rstrip("?") + _ASKED[int(rng.integers(len(_ASKED)))] if text.endswith("?") else text
    if rng.random() < 0.06:
        text = text.replace("'", "").replace("’", "")
    if rng.random() < 0.04:
        text = text.replace(",", "")
    if rng.random() < 0.12:
        text = _mistyped(text, rng)
    if rng.random() < 0.04:
        emoji = _EMOJI[int(rng.integers(len(_EMOJI)))]
        text = f"{text} {emoji}" if rng.random() < 0.7 else f"{emoji} {text}"
    case = rng.random()
    if case < 0.10:
        return text.lower()
    if case < 0.14:
        return text.upper()
    return string.capwords(text, " ") if case < 0.16 else text


def _capitals(text: str) -> str:
    """``text`` with a capital after a full stop, question or exclamation mark and a blank."""
    for mark in (". ", "! ", "? "):
        first, *others = text.split(mark)
        text = mark.join([first, *(part[:1].upper() + part[1:] for part in others)])
    return text


def _mistyped(text: str, rng: np.random.Generator) -> str:
    """``text`` with one letter in forty or fewer dropped, doubled or swapped with the next; at least one is tried."""
    letters = list(text)
    for _ in range(1 + int(rng.integers(1 + len(letters) // 40))):
        at = int(rng.integers(max(len(letters) - 1, 1)))
        if not letters[at].isalpha() or at + 1 >= len(letters):
            continue
        kind = rng.integers(3)
        if kind == 0:
            letters[at] = ""
        elif kind == 1:
            letters[at] *= 2
        else:
            letters[at], letters[at + 1] = letters[at + 1], letters[at]
        letters = list("".join(letters))
    return "".join(letters)
