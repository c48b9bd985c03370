"""What a release is made of: source archive and wheel, built twice and compared, bill of materials, checksums.

    python deploy/release.py [--draft] [FOLDER]

Built from the last commit, in two folders of different names. ``--draft`` leaves out what has to be right only in the
end: a clean tree, the version in the changelog.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
import zipfile
from datetime import UTC, datetime
from importlib.metadata import PathDistribution
from pathlib import Path

import sbom

ROOT = Path(__file__).parent.parent
BUILDER = "setuptools==84.0.0"
"""The builder leaves its version in the wheel, and another may order or name files otherwise."""
SUMS = "SHA256SUMS"


class Refused(Exception):
    """Why there is no release."""


def git(*arguments: str) -> bytes:
    """What git says of this tree."""
    return subprocess.run(["git", *arguments], cwd=ROOT, stdout=subprocess.PIPE, check=True).stdout


def repacked(archive: bytes, epoch: int) -> bytes:
    """The source ``archive`` without what differs from build to build: order, times, owners, modes, gzip's own time."""
    out = io.BytesIO()
    with (
        tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as old,
        gzip.GzipFile("", "wb", 9, out, mtime=epoch) as packed,
        tarfile.open(fileobj=packed, mode="w", format=tarfile.PAX_FORMAT) as new,
    ):
        for member in sorted(old.getmembers(), key=lambda one: one.name):
            if not (member.isdir() or member.isreg()):
                raise Refused(f"{member.name} in the source archive is neither a file nor a folder")
            clean = tarfile.TarInfo(member.name)
            clean.type, clean.size, clean.mtime = member.type, member.size, epoch
            clean.mode = 0o755 if member.isdir() or member.mode & 0o100 else 0o644
            new.addfile(clean, old.extractfile(member) if member.isreg() else None)
    return out.getvalue()


def build(tree: bytes, folder: Path, epoch: int) -> dict[str, bytes]:
    """Source archive and wheel of the archived ``tree``, by name; ``folder`` is where they are made."""
    source = folder / "source"
    with tarfile.open(fileobj=io.BytesIO(tree)) as archive:
        archive.extractall(source, filter="data")
    constraint = folder / "constraint.txt"
    constraint.write_text(BUILDER + "\n", "utf-8")
    variables = {
        **os.environ,
        "SOURCE_DATE_EPOCH": str(epoch),
        "PIP_CONSTRAINT": str(constraint),
        "PYTHONHASHSEED": "0",
    }
    # The wheel comes from the source archive, so that whoever has only that can make it again.
    command = [sys.executable, "-m", "build", "--outdir", str(folder / "dist"), str(source)]
    done = subprocess.run(command, env=variables, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, check=False)
    if done.returncode:
        raise Refused("the build failed:\n" + done.stdout.decode("utf-8", "replace")[-3000:])
    made = {path.name: path.read_bytes() for path in (folder / "dist").iterdir()}
    return {name: repacked(content, epoch) if name.endswith(".tar.gz") else content for name, content in made.items()}


def same(first: dict[str, bytes], second: dict[str, bytes]) -> None:
    """Refuse two builds that differ, naming the file and, of a wheel, what is in it."""
    for name in sorted({*first, *second}):
        if first.get(name) == second.get(name):
            continue
        inside = ""
        if name.endswith(".whl") and name in first and name in second:
            one, two = (zipfile.ZipFile(io.BytesIO(made[name])) for made in (first, second))
            differ = {info.filename: info.CRC for info in one.infolist()}.items() ^ {
                info.filename: info.CRC for info in two.infolist()
            }.items()
            inside = ": " + (", ".join(sorted({path for path, _ in differ})) or "order, times or modes")
        raise Refused(f"two builds differ in {name}{inside}")


def ready(version: str) -> None:
    """Refuse a tree with changes, and a version that the changelog does not have."""
    if changed := git("status", "--porcelain").decode():
        raise Refused(f"there are changes that are not committed:\n{changed}")
    lines = (ROOT / "CHANGELOG.md").read_text("utf-8").splitlines()
    if not any(line.startswith(f"## {version} (") and "unreleased" not in line for line in lines):
        raise Refused(f"CHANGELOG.md has no line '## {version} (DATE)'")


def release(folder: Path, *, draft: bool) -> list[str]:
    """Write the files of the release of the last commit into ``folder``, which holds nothing else then; their names."""
    version = tomllib.loads(git("show", "HEAD:pyproject.toml").decode())["project"]["version"]
    if not draft:
        ready(version)
    epoch = int(git("log", "-1", "--format=%ct"))
    tree = git("archive", "--format=tar", "HEAD")
    os.umask(0o022)
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory(suffix="-again") as two:
        files, again = build(tree, Path(one), epoch), build(tree, Path(two), epoch)
    same(files, again)
    names = {kind: [name for name in files if name.endswith(kind)] for kind in (".whl", ".tar.gz")}
    if len(files) != 2 or any(len(found) != 1 for found in names.values()):
        raise Refused(f"a wheel and a source archive were to be built, there are {', '.join(sorted(files))}")
    hashes = {name: hashlib.sha256(content).hexdigest() for name, content in files.items()}
    with zipfile.ZipFile(io.BytesIO(files[names[".whl"][0]])) as wheel:
        # The environment's own entry may be of an older state of this tree.
        root = PathDistribution(zipfile.Path(wheel, f"aimds-{version}.dist-info/"))  # type: ignore[arg-type]
        document = sbom.bill(root, sbom.environment(), datetime.fromtimestamp(epoch, UTC), hashes)
    files[f"aimds-{version}.cdx.json"] = sbom.written(document)
    sums = "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in sorted(files))
    files[SUMS] = sums.encode()
    folder.mkdir(parents=True, exist_ok=True)
    for path in folder.iterdir():
        if path.name.startswith("aimds-") or path.name == SUMS:
            path.unlink()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    return sorted(files)


def main(arguments: list[str]) -> int:
    """Make the release; 1 with the reason where there is none."""
    folders = [one for one in arguments if one != "--draft"]
    if len(folders) > 1 or any(one.startswith("-") for one in folders):
        print("usage: python deploy/release.py [--draft] [FOLDER]", file=sys.stderr)
        return 2
    folder = Path(*folders) if folders else ROOT / "dist"
    try:
        names = release(folder, draft="--draft" in arguments)
    except (Refused, subprocess.CalledProcessError, OSError, sbom.PackageNotFoundError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("Two builds, the same to the byte:", *(f"  {folder / name}" for name in names), sep="\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
