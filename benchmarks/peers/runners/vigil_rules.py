"""Texts as JSON lines on stdin → whether a YARA rule of a checkout of Vigil matches each; argument: its rules' folder.

Rules for secrets and addresses answer another question than whether a text manipulates a model; they are left out.
"""

import json
import sys
import time
from pathlib import Path

import yara

OTHER_QUESTIONS = ("apitokens", "generic_secret", "ip", "secrets", "ssh")


def main() -> None:
    files = sorted(path for path in Path(sys.argv[1]).glob("*.yar") if path.stem not in OTHER_QUESTIONS)
    if not files:
        sys.exit(f"{sys.argv[1]} holds no .yar file")
    rules = yara.compile(filepaths={path.stem: str(path) for path in files})
    texts = [json.loads(line)["text"] for line in sys.stdin]
    started = time.perf_counter()
    answers = [bool(rules.match(data=text)) for text in texts]
    seconds = time.perf_counter() - started
    for answer in answers:
        print(json.dumps({"flagged": answer}))
    print(json.dumps({"seconds": seconds, "version": f"Vigil's YARA rules ({len(files)} files)"}))


if __name__ == "__main__":
    main()
