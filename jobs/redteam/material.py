"""Attack texts of our own, from the grammars, for attacks that hide a text that they are given."""

from __future__ import annotations

import numpy as np

from aimds.jobs.grammar import Grammar

MODULES = {
    "adaptive_attacks": "jailbreak",
    "ansiescape": "unsafe_output",
    "badchars": "obfuscation",
    "dan": "jailbreak",
    "divergence": "data_exfiltration",
    "doctor": "jailbreak",
    "dra": "obfuscation",
    "encoding": "obfuscation",
    "exploitation": "unsafe_output",
    "goodside": "direct_injection",
    "grandma": "jailbreak",
    "latentinjection": "indirect_injection",
    "phrasing": "harmful_request",
    "promptinject": "direct_injection",
    "sata": "obfuscation",
    "smuggling": "obfuscation",
    "suffix": "adversarial_suffix",
    "sysprompt_extraction": "prompt_leak",
    "tap": "jailbreak",
    "web_injection": "data_exfiltration",
}
"""garak's modules whose probes manipulate, and the threat type that is nearest to what they do. The others ask for
content in plain words, which is the business of a content policy."""
OTHER = "harmful_request"
"""What a probe of another module stands for, where one is asked for by name."""
BY_ATTACK = {
    "many-shot": "jailbreak",
    "skeleton key": "jailbreak",
    "multi-turn": "multi_turn",
    "plain": "direct_injection",
}
SMALL_TALK = (
    "Hello! I am new here.",
    "Which month has the fewest days?",
    "Thank you. How do I boil an egg so that it stays soft?",
    "What is the capital of Portugal?",
    "Can you suggest a name for a grey cat?",
    "How many minutes are there in a day?",
    "Please explain in one sentence what a glacier is.",
    "Which colours make green?",
    "What is a good soup for cold days?",
)
"""Harmless turns before an attack in a conversation."""
_DRAWN = 40


def threat_of(tool: str, probe: str) -> str:
    """The threat type that drafts for ``probe`` are made for."""
    if tool == "garak":
        return MODULES.get(probe.partition(".")[0], OTHER)
    return BY_ATTACK.get(probe, "obfuscation")


def attacks(n: int, seed: int) -> list[str]:
    """``n`` English attacks as a user would send them, each once; always the same for one ``seed``."""
    grammar, rng = Grammar.load(), np.random.default_rng(seed)
    found: dict[str, None] = {}
    while len(found) < n:
        for sample in grammar.generate(rng, _DRAWN, langs=["en"]):
            if sample.label and sample.channel == "user":
                found[sample.text] = None
    return list(found)[:n]
