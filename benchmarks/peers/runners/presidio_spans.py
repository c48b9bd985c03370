"""Texts as JSON lines on stdin → the spans of personal data that Presidio finds; argument: a spaCy model, or nothing.

Without a model a blank English pipeline stands in: recognisers by pattern work, those for names do not, and the words
around a number do not lift its score.
"""

import json
import logging
import sys
import time
from importlib.metadata import version
from typing import Any

import spacy
from presidio_analyzer import AnalyzerEngine
from presidio_analyzer.nlp_engine import NlpEngineProvider, SpacyNlpEngine


class Blank(SpacyNlpEngine):
    """An engine that only cuts texts into words."""

    def __init__(self) -> None:
        super().__init__(models=[{"lang_code": "en", "model_name": "blank"}])
        self.nlp = {"en": spacy.blank("en")}

    def load(self) -> None:
        """Nothing is to be loaded."""


def engine(model: str) -> Any:
    if not model:
        return Blank()
    settings = {"nlp_engine_name": "spacy", "models": [{"lang_code": "en", "model_name": model}]}
    return NlpEngineProvider(nlp_configuration=settings).create_engine()


def main() -> None:
    logging.disable(logging.CRITICAL)
    model = sys.argv[1] if len(sys.argv) > 1 else ""
    analyzer = AnalyzerEngine(nlp_engine=engine(model), supported_languages=["en"])
    texts = [json.loads(line)["text"] for line in sys.stdin]
    analyzer.analyze(texts[0], "en") if texts else None
    started = time.perf_counter()
    answers = [analyzer.analyze(text, "en") for text in texts]
    seconds = time.perf_counter() - started
    for found in answers:
        spans = [{"start": one.start, "end": one.end, "type": one.entity_type, "score": one.score} for one in found]
        print(json.dumps({"spans": spans}))
    named = f"with {model}" if model else "patterns only"
    print(json.dumps({"seconds": seconds, "version": f"presidio-analyzer {version('presidio-analyzer')}, {named}"}))


if __name__ == "__main__":
    main()
