"""Quotations that a short user text only asks about, reports or wants translated: no stage takes them for orders.

"What does «ignore all rules» mean?" holds an attack's words and is none. Only what stands between the quotation marks
is left out; everything around it is judged as it is, and a text that says to act on what it quotes keeps all of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import re2
from numba import njit

from aimds.detect.normalize import Views
from aimds.schema import CHANNELS

MAX_BYTES = 600
"""A longer text is a document rather than a question about a sentence."""
LEAST_WORDS = 3
"""Quotations of fewer words are names and terms: they say what a text is about."""
_USER = CHANNELS.index("user")
_QUOTE = ord('"')
_GUILLEMET = "«".encode()[1]

# Two bytes each, so that places in the text stay.
_OPENING, _CLOSING = ("«".encode(), b' "'), ("»".encode(), b'" ')
_MARK = '""'
# Over the folded text with "" for each quotation. The names of texts and the verbs that report or ask about one:
_NAME = (
    r"(?:phrase|sentence|line|message|quote|example|note|title|word|text|string|expression|term|command|prompt|input|sample|"
    r"pattern|slogan|comment|e-?mail|question|instruction|payload|lyric|joke|post|tweet|headline|motto|caption|label|row|"
    r"request|attack|proverb|saying)s?|wording|entry|satz|nachricht|frase|oracion|mensaje|zin|zdanie|фраз[аыуе]|предложени[ея]"
)
_REPORT = (
    r"says|saying|said|shows?|wrote|writes|written|reads?|posted|tweeted|asked|typed|sent|contain(?:s|ing)?|holds?|has|flag(?:s|ged)?|"
    r"block(?:s|ed)?|caught|catch(?:es)?|detect(?:s|ed)?|match(?:es|ed)?|quot(?:es?|ed|ing)|heard|saw|seen|found|got|received|"
    r"mention(?:s|ed)?|like|such\s+as|called|means?|mean\s+by|meant\s+by|meaning\s+of|in|of|for|between|does|do|is|bedeutet|"
    r"signifie|dire|significa|decir|betekent|znaczy|значит|означает"
)
_TASK = (
    r"explain|classify|translat(?:e|ion)|describe|discuss|analy[sz]e|paraphrase|proofread|label|categori[sz]e|define|compare|"
    r"ubersetz\w*|traduis|traduire|traduce|traducir|traduci|traduza|vertaal|переведи\w*|przetlumacz"
)
_MENTIONED = re2.compile(
    rf"\b(?:{_NAME})(?:\s+[\w'-]+){{0,3}}\s*[:,(]?\s*{_MARK}"
    rf"|\b(?:{_REPORT})\s*[:,(]?\s*(?:(?:an?|the|this|that|my)\s+)?{_MARK}"
    rf"|\b(?:{_TASK})\b[^.!?]{{0,40}}{_MARK}|\bfollowing\b[^.!?]{{0,40}}:\s*{_MARK}"
    rf"|{_MARK}\s*[,)]?\s*(?:means?\b|meant\b|is\s+(?:an?|the|not|just|only)\s|was\s|sounds?\s|counts?\s|in\s+(?:the|my|our|an?)\s|mean)"
)
_ASKED = re2.compile(rf"[?？]|\b(?:{_TASK}|or\s+not|whether|write|draft|summari[sz]e|suggest|list|our|my)\b")
_HEAD = (
    r"what|why|how|which|who|whom|where|when|is|are|was|were|does|did|que|quoi|pourquoi|por\s+que|porque|perche|cosa|che|"
    r"wat|waarom|wie|warum|was|co|dlaczego|что|почему"
)
# The whole text is one question or task about what it quotes, or a report of it with a question; no more than further
# questions follow.
_FRAMED = re2.compile(
    rf"(?:^|[.!?,:]\s*|\bplease\s+)[^\w]*(?:{_HEAD}|{_TASK})\b[^.!?]*{_MARK}[^.!?]*[.?？]?(?:\s+(?:{_HEAD})\b[^.!?]*[?？])*\s*$"
    rf"|\b(?:says|said|wrote|posted|sent|flag(?:s|ged)|block(?:s|ed)|caught|match(?:es|ed)|contains)\b[^.!?\"]*{_MARK}"
    rf"[^.!?\"]{{0,40}}[.]?(?:\s+(?:{_HEAD})\b[^.!?]*[?？])+\s*$"
    rf"|{_MARK}\s*,\s*(?:{_HEAD})\b[^.!?]*[?？]\s*$"
)
# What is asked about the quoted words: their meaning, kind, harm or form, or the same in another language.
_ABOUT = re2.compile(
    r"\b(?:mean(?:s|t|ing)?|signifi\w+|bedeutet|betekent|znaczy|значит|означает|(?:veut|vuol|quiere)\s+dire?|quiere\s+decir|"
    r"danger\w*|gefahrlich\w*|pericolos\w*|peligros\w*|malicious|harm(?:ful|less)|injections?|jailbreaks?|attacks?|phishing|spam|scam|suspicious|"
    r"risky|flag(?:s|ged)|block(?:s|ed)|caught|catch(?:es)?|detect\w*|match(?:es|ed)?|false\s+(?:positive|alarm)s?|filters?|classif\w+|"
    r"fun(?:ny|nier)|humou?r\w*|joke|ironi\w+|irony|metaphor\w*|cliches?|contradict\w+|ambigu\w+|polite\w*|rude|tone|formal\w*|wording|phrasing|"
    r"verbs?|nouns?|adjectives?|adverbs?|infinitives?|imperatives?|pronouns?|tense|linguist\w*|categori\w+|sentiment|grammar|grammatical\w*|grammatically|spelling|punctuation|typos?|commas?|idioms?|slang|famous|popular|"
    r"english|german|french|spanish|italian|portuguese|dutch|polish|russian|ukrainian|turkish|swedish|danish|norwegian|finnish|czech|greek|"
    r"arabic|hindi|japanese|korean|chinese|vietnamese|englisch\w*|deutsche?|franzosisch\w*|spanisch\w*|anglais|allemand|espagnol|"
    r"ingles|espanol|aleman|frances|inglese|tedesco|francese|alemao|engels|duits|angielski|niemiecki|английский|немецкий)\b"
)
# What is quoted is given as an order of one's own.
_OWNED = re2.compile(
    r"\b(?:my|our|the\s+following)\s+(?:\w+\s+)?(?:instruction|request|command|order|prompt|input|question|task)s?\b"
    r"|\bthis\s+(?:request|command|order|task)\b"
)
_ACTED = re2.compile(
    r"\b(?:follows?\b|obey|execut|perform|compl(?:y|ies)|carr(?:y|ies)\s+(?:it\s+)?out|do\s+(?:it|this|that|so|what|as|exactly)|act\s+(?:as|on|out|"
    r"according)|appl(?:y|ies)\s+|activat|enabl|then|instead|begin|start|continu|complet(?:e|ing)|finish|repl(?:y|ies)|"
    r"respon[ds]|answer|repeat|echo|print|output|reveal|demonstrat|show\s+(?:me|us|how|by|it)|pretend|imagine|play|role|from\s+now|as\s+if|next|"
    r"handl(?:e|ing)|heed|proceed|go\s+ahead|get\s+going|make\s+it|treat|fulfil|in\s+detail|password|passphrase|secret|your\s+(?:\w+\s+)?(?:instruction|rule|prompt|guideline)|you\s+(?:are|must|will|can|should|need)|"
    r"your\s+task|exact(?:ly)?|decod|decrypt|spell|run\b|eval\b|ignor|forget|disregard|overrid|should\s+(?:be|look|say|read|contain))"
    # To put the quoted words down is to act on them.
    rf"|\b(?:writ(?:e|ing)|say|us(?:e|ing)|includ(?:e|ing)|put|add|typ(?:e|ing)|returns?|give|state|insert|tell\s+\w+|ends?\s+(?:with|on))"
    rf"\b[^.?!\n]{{0,24}}{_MARK}"
)


def unmentioned(views: Views, channels: npt.NDArray[np.int8]) -> Views:
    """``views`` of B rows, without what user texts only mention in the rows as written; the quotation marks are left.

    Args:
        channels: int8 (B,), index into `aimds.schema.CHANNELS`.
    """
    rows = len(channels)
    written = views.values[: views.offsets[rows]]
    if not _holds(written, _QUOTE, _GUILLEMET):
        return views
    marks = np.flatnonzero((written == _QUOTE) | (written == _GUILLEMET))
    which = np.unique(np.searchsorted(views.offsets[: rows + 1], marks, "right") - 1)
    short = views.offsets[which + 1] - views.offsets[which] <= MAX_BYTES
    out: list[tuple[int, int]] = []
    for row in which[short & (channels[which] == _USER)].tolist():
        first = int(views.offsets[row])
        spans = _spans(written[first : views.offsets[row + 1]].tobytes())
        out += [(first + start, first + end) for start, end in spans]
    return _without(views, np.array(out, np.int64)) if out else views


@njit(cache=True, nogil=True)
def _holds(values, one, other):  # type: ignore[no-untyped-def]
    found = False
    for k in range(len(values)):
        found |= values[k] == one or values[k] == other
    return found


def _without(views: Views, spans: npt.NDArray[np.int64]) -> Views:
    # ``views`` without the bytes of ``spans`` int64 (K, 2), which come in order.
    gone = np.concatenate([np.zeros(1, np.int64), np.cumsum(spans[:, 1] - spans[:, 0])])
    bounds = [0, *spans.ravel().tolist(), len(views.values)]

    def left(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        return np.concatenate([values[bounds[k] : bounds[k + 1]] for k in range(0, len(bounds), 2)])

    return views._replace(
        values=left(views.values),
        offsets=views.offsets - gone[np.searchsorted(spans[:, 1], views.offsets, "right")],
        starts=left(views.starts),
        ends=left(views.ends),
    )


def _spans(text: bytes) -> list[tuple[int, int]]:
    # What stands between the quotation marks of each mention, as bytes of the folded ``text``.
    parts = text.replace(*_OPENING).replace(*_CLOSING).split(b'"')
    inner = parts[1::2]
    if len(parts) % 2 == 0 or all(len(part.split()) < LEAST_WORDS for part in inner) or b"\n" in b"".join(inner):
        return []
    outside = b'""'.join(parts[::2])
    if _ACTED.search(outside) or _OWNED.search(outside):
        return []
    if not all(one.search(outside) for one in (_ASKED, _MENTIONED, _FRAMED, _ABOUT)):
        return []
    found, at = [], 0
    for k, part in enumerate(parts):
        if k % 2 and len(part.split()) >= LEAST_WORDS:
            found.append((at, at + len(part)))
        at += len(part) + 1
    return found
