"""Documents with an ordinary request planted in them, and documents of the same kinds without one.

What makes the attack is not the request's wording but its place: nobody who writes a document asks its reader's
assistant for a poem about cats.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from aimds.errors import ConfigError
from aimds.jobs.grammar.carrier import inside, separator, window
from aimds.jobs.grammar.passages import passage, statement
from aimds.jobs.grammar.sample import Sample

_NEUTRAL = (
    "Also, ",
    "By the way: ",
    "P.S. ",
    "Note: ",
    "One more thing: ",
    "Important: ",
    "Update: ",
    "Finally, ",
    "Hint: ",
)
_ADDRESSED = (
    "Dear assistant, ",
    "AI: ",
    "To the assistant: ",
    "Before you answer, do this: ",
    "After that, ",
    "Assistant: ",
    "Task: ",
    "Your task: ",
    "New task: ",
    "Instead of a summary: ",
    "Please also do this: ",
    "Instruction: ",
    "User: ",
    "Request: ",
    "Please answer this instead: ",
    "When you have read this: ",
    "First of all: ",
    "In your reply, do the following: ",
)
_TO_PEOPLE = (
    "Dear reader, ",
    "Editor: ",
    "To the reader: ",
    "Before you go on: ",
    "After that, ",
    "Author: ",
    "Task done: ",
    "Our task: ",
    "New: ",
    "Instead of a summary: ",
    "Answer: ",
    "Result: ",
    "In reply: ",
    "First of all: ",
)
_LONGEST = 3000
_TRIES = 60


def planted(rng: np.random.Generator, size: int, documents: Sequence[str], instructions: Sequence[str]) -> list[Sample]:
    """``size`` distinct samples of channel "document" or "tool", planted and innocent ones in turn.

    ``documents`` are ordinary texts, ``instructions`` ordinary requests. A quarter of the documents are passages made
    here that tell human readers what to do. Innocent ones are untouched or got a declarative sentence in the
    same places.

    Raises:
        ConfigError: there are no documents or instructions, or they cannot give that many distinct texts.
    """
    if not len(documents) or not len(instructions):
        name = "instructions" if len(documents) else "documents"
        raise ConfigError(name, [], "at least one text")
    samples: list[Sample] = []
    seen: set[str] = set()
    while len(samples) < size:
        for _ in range(_TRIES):
            label = 1 - len(samples) % 2
            text = _text(label, rng, documents, instructions)
            if text not in seen:
                break
        else:
            raise ConfigError("size", size, f"at most about {len(samples)} distinct texts from these documents")
        seen.add(text)
        channel = "document" if rng.random() < 0.7 else "tool"
        samples.append(Sample(text, label, "indirect_injection" if label else "none", "planted", "en", channel))
    return samples


def _text(label: int, rng: np.random.Generator, documents: Sequence[str], instructions: Sequence[str]) -> str:
    if rng.random() < 0.25:
        document = passage(rng)
    else:
        document = window(documents[int(rng.integers(len(documents)))], rng, _LONGEST)
    if not label and rng.random() < 0.5:
        return document
    sentence = instructions[int(rng.integers(len(instructions)))].strip() if label else statement(rng)
    lead = rng.random()
    if lead < 0.5:
        leads = _NEUTRAL if lead < 0.2 else _ADDRESSED if label else _TO_PEOPLE
        sentence = leads[int(rng.integers(len(leads)))] + sentence
    place, between = rng.random(), separator(rng)
    if place < 0.25:
        return f"{sentence}{between}{document}"
    if place < 0.6:
        return f"{document}{between}{sentence}"
    if between.strip():
        between = " "
    return inside(sentence, document, int(rng.integers(len(document) + 1)), between)
