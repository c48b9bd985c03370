"""What is made of the shipped patterns and signatures and would take a start most of its time.

``python -m aimds.detect.prepared`` makes it anew in the folder of the artefacts, once one of these files or what makes
it has changed; until then each start makes it by itself.
"""

from __future__ import annotations

from pathlib import Path

from aimds import data
from aimds.detect.patterns import Bank, index_file
from aimds.detect.rules import Rules, required_file


def contents() -> dict[str, bytes]:
    """The artefacts by name, made anew."""
    home = data.path(data.MANIFEST).parent
    bank, rules = Bank.load(home, calibrated=False), Rules.load(home / "signatures.toml")
    return {
        index_file.INDEX: index_file.pack(bank.index, bank.version),
        required_file.REQUIRED: required_file.pack(required_file.Required.of(rules.signatures), rules.version),
    }


def main(folder: Path | None = None) -> None:
    """Write them into ``folder``, by default where they are read from."""
    data.write(data.path(data.MANIFEST).parent if folder is None else folder, contents())


if __name__ == "__main__":
    main()
