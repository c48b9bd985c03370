"""Texts as JSON lines on stdin → whether a scanner of LLM Guard that needs no model finds fault with each.

BanSubstrings with the list it ships for prompts, InvisibleText and Secrets. Regex ships no patterns. Only the modules
of these scanners are loaded: the package as a whole imports torch and transformers.
"""

import importlib
import json
import logging
import sys
import time
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType


def bare(name: str, folder: Path) -> None:
    """Make ``name`` importable without running its own code."""
    package = ModuleType(name)
    package.__path__ = [str(folder)]
    sys.modules[name] = package


def main() -> None:
    spec = find_spec("llm_guard")
    if spec is None or spec.origin is None:
        sys.exit("llm_guard is not installed here")
    root = Path(spec.origin).parent
    bare("llm_guard", root)
    bare("llm_guard.input_scanners", root / "input_scanners")
    structlog = importlib.import_module("structlog")
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    substrings = importlib.import_module("llm_guard.input_scanners.ban_substrings")
    scanners = [
        substrings.BanSubstrings(substrings.PROMPT_STOP_SUBSTRINGS),
        importlib.import_module("llm_guard.input_scanners.invisible_text").InvisibleText(),
        importlib.import_module("llm_guard.input_scanners.secrets").Secrets(),
    ]
    texts = [json.loads(line)["text"] for line in sys.stdin]

    def flagged(text: str) -> bool:
        # Each scanner says whether the text is valid; the first that objects settles it.
        return not all(scanner.scan(text)[1] for scanner in scanners)

    for text in texts[:5]:
        flagged(text)
    started = time.perf_counter()
    answers = [flagged(text) for text in texts]
    seconds = time.perf_counter() - started
    for answer in answers:
        print(json.dumps({"flagged": answer}))
    print(json.dumps({"seconds": seconds, "version": f"llm-guard {version('llm-guard')} (scanners without a model)"}))


if __name__ == "__main__":
    main()
