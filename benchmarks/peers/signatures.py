"""Signatures in the manner of Vigil's heuristics: well-known phrases of attacks, one match flags a text.

The phrases are our own, written for this comparison; none is taken from Vigil's files or from those this project ships.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

import re2

VERSION = "phrase signatures in the manner of Vigil (own)"
_VERB = "ignore|disregard|forget|skip|neglect|overlook|omit|bypass|do not (?:follow|obey)|pay no attention to"
_WHICH = "prior|previous|preceding|above|foregoing|earlier|initial|your|the|all|any|of"
_WHAT = "instructions?|directives?|commands?|rules?|prompts?|context|conversation|messages?|guidelines?|content|text"
_HIDDEN = "(?:system|initial|hidden|secret)"
PHRASES = (
    rf"\b(?:{_VERB})(?: (?:{_WHICH})){{1,4}} (?:{_WHAT})\b",
    rf"\b(?:reveal|print|show|repeat|output|tell me) (?:me )?(?:your|the) {_HIDDEN} (?:prompt|instructions)\b",
    r"\byou are now (?:a |an |in )?(?:dan|evil|unrestricted|unfiltered|jailbroken|developer mode)\b",
    r"\bdo anything now\b",
    r"\b(?:developer|god|debug|jailbreak) mode (?:on|enabled|activated)\b",
    r"\b(?:without|free of|no) (?:any )?(?:ethical|moral|safety) (?:guidelines|limits|restrictions|filters)\b",
    r"<\|(?:im_start|im_end|system|endoftext)\|>|\[/?INST\]|<</?SYS>>",
    r"(?m)^\s*(?:system|new) (?:instructions?|message|prompt)\s*:",
    r"!\[[^\]]*\]\(https?://[^)\s]+\?[^)\s]*=[^)\s]*\)",
    r"(?m)^Thought:.*\n(?:Action|Observation):",
)


def judge(texts: Sequence[str]) -> tuple[list[bool], float]:
    """Whether a phrase is in each text, and the seconds it took."""
    options = re2.Options()
    options.case_sensitive = False
    patterns = re2.Set.SearchSet(options)
    for phrase in PHRASES:
        patterns.Add(phrase)
    patterns.Compile()
    started = time.perf_counter()
    found = [bool(patterns.Match(text)) for text in texts]
    return found, time.perf_counter() - started
