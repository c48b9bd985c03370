"""The files of a release: the bill of materials says what is needed here, and equal sources give equal archives."""

from __future__ import annotations

import io
import json
import sys
import tarfile
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, PathDistribution, distribution
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.markers import Marker

ROOT = Path(__file__).parent.parent
NOW = datetime(2026, 1, 1, tzinfo=UTC)
NAMES = ("python_version", "python_full_version", "sys_platform", "platform_system", "implementation_name", "os_name")
LINUX = {
    "implementation_name": "cpython",
    "implementation_version": "3.11.7",
    "os_name": "posix",
    "platform_machine": "x86_64",
    "platform_python_implementation": "CPython",
    "platform_release": "6",
    "platform_system": "Linux",
    "platform_version": "#1",
    "python_full_version": "3.11.7",
    "python_version": "3.11",
    "sys_platform": "linux",
    "extra": "",
}


@pytest.fixture(scope="module")
def tools() -> Iterator[tuple[ModuleType, ModuleType]]:
    """The modules of ``deploy``, which is no package."""
    sys.path.insert(0, str(ROOT / "deploy"))
    try:
        import release
        import sbom

        yield sbom, release
    finally:
        sys.path.remove(str(ROOT / "deploy"))


@pytest.fixture(scope="module")
def sbom(tools: tuple[ModuleType, ModuleType]) -> ModuleType:
    return tools[0]


@pytest.fixture(scope="module")
def release(tools: tuple[ModuleType, ModuleType]) -> ModuleType:
    return tools[1]


def package(folder: Path, name: str, *needed: str, **fields: str) -> PathDistribution:
    """An installed package, as far as its metadata goes."""
    info = folder / f"{name.replace('-', '_')}-1.0.dist-info"
    info.mkdir()
    lines = [f"Name: {name}", "Version: 1.0", *(f"{key.replace('_', '-')}: {value}" for key, value in fields.items())]
    lines += [f"Requires-Dist: {one}" for one in needed]
    (info / "METADATA").write_text("Metadata-Version: 2.4\n" + "\n".join(lines) + "\n", "utf-8")
    return PathDistribution(info)


versions = st.sampled_from(["3", "3.8", "3.11", "3.11.7", "3.12", "3.13.0"])
atoms = st.one_of(
    st.builds(
        "{} {} '{}'".format,
        st.sampled_from(["python_version", "python_full_version"]),
        st.sampled_from(["<", "<=", "==", "!=", ">", ">="]),
        versions,
    ),
    st.builds("python_full_version ~= '{}'".format, st.sampled_from(["3.8", "3.11", "3.11.2", "3.12.1"])),
    st.builds("python_version {} '3.1{}.*'".format, st.sampled_from(["==", "!="]), st.integers(0, 2)),
    st.builds(
        "{} {} '{}'".format,
        st.sampled_from(["sys_platform", "platform_system", "os_name", "extra"]),
        st.sampled_from(["==", "!="]),
        st.sampled_from(["linux", "Linux", "win32", "posix", "gpu", ""]),
    ),
    st.builds('"{}" {} sys_platform'.format, st.sampled_from(["linux", "win"]), st.sampled_from(["in", "not in"])),
)
markers = st.recursive(
    atoms, lambda inner: st.builds("({} {} {})".format, inner, st.sampled_from(["and", "or"]), inner), max_leaves=6
)


@given(markers, markers, st.sampled_from(["and", "or"]))
def test_markers_hold_where_packaging_says_so(sbom: ModuleType, left: str, right: str, word: str) -> None:
    for marker in (left, f"{left} {word} {right}", f"{left} or {right} and {left}"):
        assert sbom.holds(marker, LINUX) == Marker(marker).evaluate(LINUX), marker


@pytest.mark.parametrize(
    "marker", ["", "python_version", "python_version <", "(os_name == 'a'", "a == 'b'", "'a' ? 'b'"]
)
def test_a_marker_that_cannot_be_read_is_refused(sbom: ModuleType, marker: str) -> None:
    with pytest.raises(ValueError, match="marker"):
        sbom.holds(marker, LINUX)


def test_what_is_needed_here_is_listed_and_nothing_else(
    sbom: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    root = package(tmp_path, "root-x", "Mid_X>=1", "win-x; sys_platform == 'win32'", "opt-x; extra == 'more'")
    package(tmp_path, "mid_x", "deep.x[fast]<2,>=1; python_version >= '3.11'", "root-x", License_Expression="MIT")
    package(
        tmp_path,
        "deep-x",
        "speed-x (>=1) ; extra == 'fast'",
        "slow-x ; extra == 'slow'",
        License="BSD\n        and so on",
    )
    package(tmp_path, "speed-x")
    package(tmp_path, "opt-x")
    document = sbom.bill(root, LINUX, NOW, {"root_x-1.0.whl": "00" * 32})
    assert [one["name"] for one in document["components"]] == ["deep-x", "mid-x", "speed-x"]
    assert {one["ref"]: one["dependsOn"] for one in document["dependencies"]} == {
        "pkg:pypi/root-x@1.0": ["pkg:pypi/mid-x@1.0"],
        "pkg:pypi/mid-x@1.0": ["pkg:pypi/deep-x@1.0", "pkg:pypi/root-x@1.0"],
        "pkg:pypi/deep-x@1.0": ["pkg:pypi/speed-x@1.0"],
        "pkg:pypi/speed-x@1.0": [],
    }
    assert [one.get("licenses") for one in document["components"]] == [
        [{"license": {"name": "BSD"}}],
        [{"expression": "MIT"}],
        None,
    ]
    (reference,) = document["metadata"]["component"]["externalReferences"]
    assert reference["hashes"] == [{"alg": "SHA-256", "content": "00" * 32}]


def test_something_that_is_needed_and_not_there_is_named(sbom: ModuleType, tmp_path: Path) -> None:
    with pytest.raises(PackageNotFoundError, match="no-such-package-anywhere"):
        sbom.bill(package(tmp_path, "root-y", "no-such-package-anywhere"), LINUX, NOW, {})


def test_the_bill_of_this_package_is_whole_and_the_same_each_time(sbom: ModuleType) -> None:
    first, again = (sbom.bill(distribution("aimds"), sbom.environment(), NOW, {}) for _ in range(2))
    assert sbom.written(first) == sbom.written(again)
    assert json.loads(sbom.written(first)) == first
    refs = {one["bom-ref"] for one in (first["metadata"]["component"], *first["components"])}
    assert {one["ref"] for one in first["dependencies"]} == refs
    assert {ref for one in first["dependencies"] for ref in one["dependsOn"]} <= refs
    names = {one["name"] for one in first["components"]}
    assert {"numpy", "llvmlite", "cryptography", "cffi", "uvicorn", "h11"} <= names
    assert names.isdisjoint({"pytest", "ruff", "ray", "aimds"})
    later = sbom.bill(distribution("aimds"), sbom.environment(), NOW.replace(year=2027), {})
    assert later["serialNumber"] != first["serialNumber"]


def archive(*members: tuple[str, bytes, int], owner: str, backwards: bool = False) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as made:
        for name, content, mode in members[::-1] if backwards else members:
            entry = tarfile.TarInfo(name)
            entry.size, entry.mode, entry.uname, entry.mtime = len(content), mode, owner, len(owner)
            made.addfile(entry, io.BytesIO(content))
    return out.getvalue()


def test_source_archives_of_equal_files_become_equal(release: ModuleType) -> None:
    one = archive(("p/a", b"1", 0o640), ("p/b", b"2", 0o700), owner="me")
    two = archive(("p/a", b"1", 0o644), ("p/b", b"2", 0o755), owner="another", backwards=True)
    assert one != two
    packed = release.repacked(one, 1_700_000_000)
    assert packed == release.repacked(two, 1_700_000_000)
    with tarfile.open(fileobj=io.BytesIO(packed)) as made:
        found: list[Any] = [(entry.name, entry.mode, entry.mtime, entry.uname) for entry in made.getmembers()]
    assert found == [("p/a", 0o644, 1_700_000_000, ""), ("p/b", 0o755, 1_700_000_000, "")]
    other = archive(("p/a", b"1", 0o644), ("p/b", b"3", 0o755), owner="me")
    assert packed != release.repacked(other, 1_700_000_000)


def test_two_builds_that_differ_are_refused_by_name(release: ModuleType) -> None:
    release.same({"a.whl": b"1"}, {"a.whl": b"1"})
    for again in ({"a.tar.gz": b"2"}, {}):
        with pytest.raises(release.Refused, match=r"a\.tar\.gz"):
            release.same({"a.tar.gz": b"1"}, again)


def test_a_version_without_its_day_in_the_changelog_is_refused(
    release: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(release, "ROOT", tmp_path)
    monkeypatch.setattr(release, "git", lambda *arguments: b"")
    changelog = tmp_path / "CHANGELOG.md"
    for heading in ("## 1.2.0 (unreleased)", "## 1.2.1 (2026-01-01)"):
        changelog.write_text(f"# Changelog\n\n{heading}\n", "utf-8")
        with pytest.raises(release.Refused, match=r"1\.2\.0"):
            release.ready("1.2.0")
    changelog.write_text("# Changelog\n\n## 1.2.0 (2026-01-01)\n", "utf-8")
    release.ready("1.2.0")
    monkeypatch.setattr(release, "git", lambda *arguments: b" M engine/errors.py\n")
    with pytest.raises(release.Refused, match=r"engine/errors\.py"):
        release.ready("1.2.0")
