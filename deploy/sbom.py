"""The software bill of materials: what an installed package needs to run, as CycloneDX 1.6.

    python deploy/sbom.py [NAME] > sbom.cdx.json

Read from the metadata of this environment, so it says which versions were there, not which are allowed. The same
environment and time give the same bytes.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import sys
import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import Distribution, PackageNotFoundError, distribution
from typing import Any

SPEC = "1.6"
_WORDS = re.compile(r"""\s*("[^"]*"|'[^']*'|\(|\)|[<>=!~]+|not\s+in\b|[\w.]+)""")
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][\w.-]*)\s*(?:\[([^\]]*)\])?[^;]*(?:;(.*))?", re.DOTALL)
_LICENSE = "License :: "


def canonical(name: str) -> str:
    """The one form of a package's name (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def environment() -> dict[str, str]:
    """The names that a marker may ask for, as they are here."""
    version = platform.python_version()
    return {
        "implementation_name": sys.implementation.name,
        "implementation_version": version,
        "os_name": os.name,
        "platform_machine": platform.machine(),
        "platform_python_implementation": platform.python_implementation(),
        "platform_release": platform.release(),
        "platform_system": platform.system(),
        "platform_version": platform.version(),
        "python_full_version": version,
        "python_version": ".".join(version.split(".")[:2]),
        "sys_platform": sys.platform,
    }


def holds(marker: str, names: Mapping[str, str]) -> bool:
    """Whether ``marker`` (PEP 508) holds where its names mean ``names``.

    Raises:
        ValueError: it cannot be read.
    """
    words: list[str] = []
    at = 0
    while marker[at:].strip():
        found = _WORDS.match(marker, at)
        if found is None:
            raise ValueError(f"marker {marker!r} at {marker[at:]!r}")
        words.append(" ".join(found[1].split()))
        at = found.end()
    words.append("")
    value = _either(words, names)
    if words != [""]:
        raise ValueError(f"marker {marker!r} at {words[0]!r}")
    return value


def _either(words: list[str], names: Mapping[str, str]) -> bool:
    value = _both(words, names)
    while words[0] == "or":
        del words[0]
        value = _both(words, names) or value
    return value


def _both(words: list[str], names: Mapping[str, str]) -> bool:
    value = _one(words, names)
    while words[0] == "and":
        del words[0]
        value = _one(words, names) and value
    return value


def _one(words: list[str], names: Mapping[str, str]) -> bool:
    if words[0] == "(":
        del words[0]
        value = _either(words, names)
        if words.pop(0) != ")":
            raise ValueError("a marker lacks a closing parenthesis")
        return value
    if len(words) < 4:
        raise ValueError("a marker ends too early")
    left, operator, right = words[:3]
    del words[:3]
    versions = any("version" in word and word[0] not in "\"'" and word != "platform_version" for word in (left, right))
    return _compare(_value(left, names), operator, _value(right, names), versions)


def _value(word: str, names: Mapping[str, str]) -> str:
    if word[0] in "\"'":
        return word[1:-1]
    if word not in names:
        raise ValueError(f"a marker asks for {word!r}")
    return names[word]


def _compare(left: str, operator: str, right: str, versions: bool) -> bool:
    if operator in ("in", "not in"):
        return (left in right) == (operator == "in")
    if operator == "===":
        return left == right
    if right.endswith(".*"):
        inside = f"{left}.".startswith(right[:-1])
        return inside if operator == "==" else not inside
    a: Any = _numbers(left) if versions else left
    b: Any = _numbers(right) if versions else right
    if versions:
        length = max(len(a), len(b))
        a, b = a + (0,) * (length - len(a)), b + (0,) * (length - len(b))
    if operator == "~=":
        kept = len(_numbers(right)) - 1
        return bool(a >= b and a[:kept] == b[:kept])
    answers = {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b, ">": a > b, ">=": a >= b}
    if operator not in answers:
        raise ValueError(f"a marker compares with {operator!r}")
    return answers[operator]


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version))


def needs(
    requirements: list[str], extras: frozenset[str], names: Mapping[str, str]
) -> Iterator[tuple[str, frozenset[str]]]:
    """Package and extras of each requirement that counts here, without extras or with one of ``extras``."""
    for line in requirements:
        found = _REQUIREMENT.fullmatch(line)
        if found is None:
            raise ValueError(f"requirement {line!r}")
        name, asked, marker = found.groups()
        if marker is None or any(holds(marker, {**names, "extra": extra}) for extra in ("", *extras)):
            wanted = frozenset(canonical(one.strip()) for one in (asked or "").split(",") if one.strip())
            yield canonical(name), wanted


def closure(root: Distribution, names: Mapping[str, str]) -> tuple[dict[str, Distribution], dict[str, set[str]]]:
    """All that ``root`` needs by name, itself left out, and what each needs directly, ``root`` too.

    Raises:
        PackageNotFoundError: something needed is not installed.
    """
    own = canonical(root.metadata["Name"])
    found: dict[str, Distribution] = {own: root}
    edges: dict[str, set[str]] = {own: set()}
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting: list[tuple[str, frozenset[str]]] = [(own, frozenset())]
    while waiting:
        name, extras = waiting.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        for needed, wanted in needs(list(found[name].requires or ()), extras, names):
            if needed not in found:
                found[needed] = distribution(needed)
                edges[needed] = set()
            if needed != name:
                edges[name].add(needed)
            waiting.append((needed, wanted))
    del found[own]
    return found, edges


def licenses(package: Distribution) -> list[dict[str, Any]]:
    """What ``package`` says of its licence: an SPDX expression, else the names it gives."""
    expression = package.metadata["License-Expression"]
    if expression:
        return [{"expression": expression}]
    kinds = package.metadata.get_all("Classifier") or []
    named = [kind.rpartition(" :: ")[2] for kind in kinds if kind.startswith(_LICENSE)]
    written = (package.metadata["License"] or "").strip()
    # Some put the whole text of the licence there.
    if not named and written:
        named = [written.splitlines()[0][:80]]
    return [{"license": {"name": name}} for name in sorted(set(named))]


def component(package: Distribution, kind: str = "library") -> dict[str, Any]:
    """The entry of ``package``."""
    name, version = canonical(package.metadata["Name"]), package.version
    url = f"pkg:pypi/{name}@{version}"
    entry: dict[str, Any] = {"type": kind, "bom-ref": url, "name": name, "version": version}
    if found := licenses(package):
        entry["licenses"] = found
    return {**entry, "purl": url}


def bill(root: Distribution, names: Mapping[str, str], now: datetime, hashes: Mapping[str, str]) -> dict[str, Any]:
    """The document. ``hashes``: SHA-256 of files of ``root`` by name, as they are given out."""
    found, edges = closure(root, names)
    main = component(root, "application")
    if hashes:
        main["externalReferences"] = [
            {"type": "distribution", "url": name, "hashes": [{"alg": "SHA-256", "content": hashes[name]}]}
            for name in sorted(hashes)
        ]
    parts = [component(found[name]) for name in sorted(found)]
    urls = {entry["name"]: entry["bom-ref"] for entry in (main, *parts)}
    graph = [
        {"ref": urls[name], "dependsOn": sorted(urls[needed] for needed in edges[name])}
        for name in sorted(edges, key=lambda one: urls[one])
    ]
    python = f"{names['platform_python_implementation']} {names['python_full_version']}"
    where = [
        {"name": "python", "value": python},
        {"name": "platform", "value": f"{names['sys_platform']} {names['platform_machine']}"},
    ]
    document: dict[str, Any] = {
        "metadata": {
            "timestamp": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "component": main,
            "properties": where,
        },
        "components": parts,
        "dependencies": graph,
    }
    digest = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()
    serial = uuid.uuid5(uuid.NAMESPACE_URL, f"{main['purl']}#{digest}")
    return {
        "bomFormat": "CycloneDX",
        "specVersion": SPEC,
        "serialNumber": f"urn:uuid:{serial}",
        "version": 1,
        **document,
    }


def written(document: Mapping[str, Any]) -> bytes:
    """``document`` as the bytes of a file."""
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def main(arguments: list[str]) -> int:
    """Print the bill of the package named, or of aimds."""
    name = arguments[0] if arguments else "aimds"
    now = datetime.fromtimestamp(int(os.environ.get("SOURCE_DATE_EPOCH", "0")), UTC)
    try:
        document = bill(distribution(name), environment(), now, {})
    except PackageNotFoundError as error:
        print(f"error: {error.name}: not installed in this environment", file=sys.stderr)
        return 2
    sys.stdout.buffer.write(written(document))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
