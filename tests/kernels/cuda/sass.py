"""Kernels compiled to machine code without a GPU: registers, spills and the instructions of loops.

nvcc compiles, nvdisasm (of the toolkit, or of the package nvidia-cuda-nvdisasm) disassembles. Both answers are kept by
the hash of the text.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import re
import shutil
import subprocess
import sysconfig
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path

from host import CACHE

from aimds.kernels.cuda import source

ARCHITECTURES = ("80", "90", "100")
FLAGS = ("-std=c++17", "-cubin", "-Xptxas", "-v")
ENTRY = re.compile(r"Compiling entry function '(\w+)'")
SPILL = re.compile(r"(\d+) bytes spill stores, (\d+) bytes spill loads")
USED = re.compile(r"Used (\d+) registers")
SECTION = re.compile(r"\n\s*\.section")
LABEL = re.compile(r"^\s*(\.L_x_\d+):")
INSTRUCTION = re.compile(r"^\s*/\*([0-9a-f]{4,})\*/\s+(?:@!?U?P[0-9T]+\s+)?([A-Z0-9_]+)[^;]*?(?:`\((\.L_x_\d+)\))?\s*;")


@dataclass(frozen=True)
class Use:
    """What a kernel takes: registers of a thread, bytes of them that lie in memory."""

    registers: int
    spilled: int


def nvcc() -> str | None:
    return shutil.which("nvcc")


def nvdisasm() -> str | None:
    packaged = Path(sysconfig.get_paths()["purelib"]).glob("nvidia/*/bin/nvdisasm")
    return shutil.which("nvdisasm") or next((str(path) for path in packaged if os.access(path, os.X_OK)), None)


@functools.cache
def _version() -> str:
    return subprocess.run([nvcc() or "", "--version"], capture_output=True, text=True, check=True).stdout


def cubin(stem: str, defines: tuple[tuple[str, int], ...], architecture: str) -> tuple[Path, dict[str, Use]]:
    """The machine code of ``stem``.cu and what its kernels take."""
    text = source.text(stem, defines)
    key = hashlib.sha256("\0".join((text, architecture, *FLAGS, _version())).encode()).hexdigest()[:32]
    made, described = CACHE / f"{key}.cubin", CACHE / f"{key}.use.json"
    if not described.exists():
        CACHE.mkdir(parents=True, exist_ok=True)
        part, written = CACHE / f"{key}.{os.getpid()}.cu", CACHE / f"{key}.{os.getpid()}.cubin"
        part.write_text(text)
        command = [nvcc() or "", *FLAGS, f"-arch=sm_{architecture}", "-o", str(written), str(part)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        part.unlink()
        assert done.returncode == 0, f"{stem} for sm_{architecture}: {done.stderr[-3000:]}"
        written.replace(made)
        rows = {name: asdict(use) for name, use in _uses(done.stderr + done.stdout).items()}
        part.write_text(json.dumps(rows))
        part.replace(described)
    return made, {name: Use(**use) for name, use in json.loads(described.read_text()).items()}


def _uses(log: str) -> dict[str, Use]:
    found, name, spilled = {}, "", 0
    for line in log.splitlines():
        if entry := ENTRY.search(line):
            name = entry[1]
        elif spill := SPILL.search(line):
            spilled = int(spill[1]) + int(spill[2])
        elif name and (used := USED.search(line)):
            found[name], name = Use(int(used[1]), spilled), ""
    return found


def loops(path: Path, kernel: str) -> list[Counter[str]]:
    """The instructions of the innermost loops of a kernel, by name, the longest loop first."""
    code: list[tuple[str, str | None]] = []
    labels: dict[str, int] = {}
    for line in _disassembled(path, kernel).splitlines():
        if label := LABEL.match(line):
            labels[label[1]] = len(code)
        elif instruction := INSTRUCTION.match(line):
            code.append((instruction[2], instruction[3]))
    spans = [
        (labels[to], end) for end, (name, to) in enumerate(code) if name == "BRA" and to and labels.get(to, end) < end
    ]
    inner = [span for span in spans if not any(a >= span[0] and b <= span[1] and (a, b) != span for a, b in spans)]
    found = [Counter(name for name, _ in code[first : last + 1]) for first, last in inner]
    return sorted(found, key=lambda counted: -counted.total())


def _disassembled(path: Path, kernel: str) -> str:
    text = _whole(path)
    start = text.index(f".text.{kernel}:")
    end = SECTION.search(text, start)
    return text[start : end.start() if end else len(text)]


@functools.cache
def _whole(path: Path) -> str:
    return subprocess.run([nvdisasm() or "", "-c", str(path)], capture_output=True, text=True, check=True).stdout
