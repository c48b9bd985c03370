"""Times ours against a peer in one run, turn by turn, on one thread, and checks that both gave the same result.

A ratio holds where an absolute figure does not: both sides meet the same machine in the same second.
"""

from __future__ import annotations

import argparse
import hashlib
import importlib
import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped, unused-ignore]

TRIES = 3
"""A smoke case may fail on a busy machine so often, less one."""
AGAINST_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Case:
    """``ours`` does ``work`` units of ``unit`` a call, ``peer`` does ``peer_work`` (as much where it is 0).

    ``same`` says whether their results agree. ``floor`` is the ratio below which a smoke run fails: far under what is
    measured, so that only a fault trips it; 0 for none.
    """

    name: str
    unit: str
    work: float
    ours: Callable[[], Any]
    peer: Callable[[], Any]
    peer_name: str
    same: Callable[[Any, Any], bool]
    floor: float = 0.0
    peer_work: float = 0.0


@dataclass(frozen=True, slots=True)
class Result:
    """Rates in ``unit`` a second, best of all rounds; ``ratio`` is ours by peer."""

    name: str
    ours: float
    peer: float
    peer_name: str
    ratio: float
    unit: str
    same: bool


Maker = Callable[[bool], Iterable[Case | Result]]
"""The cases of one name, small where it is given True; a Result has been measured already."""


def available(name: str) -> Any:
    """Module ``name`` of a peer, or None, with a line on stderr that it is left out."""
    try:
        return importlib.import_module(name)
    except ImportError:
        print(f"SKIPPED {name}: not installed; see benchmarks/peers/README.md", file=sys.stderr)
        return None


def measure(case: Case, *, rounds: int, budget_s: float) -> Result:
    """At least three rounds of both sides in turn, then more up to ``rounds`` while ``budget_s`` lasts."""
    with threadpool_limits(1):
        same = case.same(case.ours(), case.peer())
        best = [float("inf"), float("inf")]
        begun = time.perf_counter()
        for done in range(rounds):
            if done >= 3 and time.perf_counter() - begun > budget_s:
                break
            for side, call in enumerate((case.ours, case.peer)):
                start = time.perf_counter()
                call()
                best[side] = min(best[side], time.perf_counter() - start)
    ours, peer = case.work / best[0], (case.peer_work or case.work) / best[1]
    return Result(case.name, ours, peer, case.peer_name, ours / peer, case.unit, bool(same))


def fault(case: Case, result: Result) -> str:
    """Why ``result`` does not pass, or nothing."""
    if not result.same:
        return f"{case.name}: the result is not that of {case.peer_name}"
    if result.ratio < case.floor:
        return f"{case.name}: {result.ratio:.2f} times {case.peer_name}, the smoke floor is {case.floor}"
    return ""


def main(makers: Mapping[str, Maker], arguments: Sequence[str] | None = None) -> int:
    """Command line of a benchmark module: one JSON line a case on stdout, a table on stderr.

    Exit code 1 where results differ or, with ``--smoke``, where a ratio stays under its floor in three tries; the case
    is named on stderr.
    """
    parser = argparse.ArgumentParser(description="ours against peers, in one run, on one thread")
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"cases to run (default all): {', '.join(makers)}")
    parser.add_argument("--smoke", action="store_true", help="small sizes, and fail under the floors")
    parser.add_argument("--json", metavar="FILE", help="add the JSON lines, and one about the machine, to FILE too")
    parser.add_argument("--against", metavar="REV", help="instead of peers: this tree against revision REV of it")
    parser.add_argument("--alone", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    unknown = [name for name in options.names if name not in makers]
    if unknown:
        parser.error(f"no case {', '.join(unknown)}; there are {', '.join(makers)}")
    names = options.names or list(makers)
    if options.alone:
        for case in (case for name in names for case in makers[name](options.smoke) if isinstance(case, Case)):
            print(json.dumps(_alone(case)), flush=True)
        return 0
    if options.json:
        _write(options.json, machine())
    print(f"{'case':<24}{'ours':>12}{'peer':>12}{'ratio':>8}  unit, peer", file=sys.stderr)
    faults = []
    made = against(options.against, names, smoke=options.smoke) if options.against else _run(makers, names, options)
    for result, problem in made:
        line = asdict(result)
        print(json.dumps(line), flush=True)
        if options.json:
            _write(options.json, line)
        row = f"{result.name:<24}{result.ours:>12.4g}{result.peer:>12.4g}{result.ratio:>8.2f}"
        print(f"{row}  {result.unit}/s, {result.peer_name}", file=sys.stderr, flush=True)
        if problem:
            faults.append(problem)
    for problem in faults:
        print(f"FAILED {problem}", file=sys.stderr)
    return 1 if faults else 0


def _run(makers: Mapping[str, Maker], names: Sequence[str], options: Any) -> Iterator[tuple[Result, str]]:
    for case in (case for name in names for case in makers[name](options.smoke)):
        if isinstance(case, Result):
            yield case, "" if case.same else f"{case.name}: the result is not that of {case.peer_name}"
            continue
        for _ in range(TRIES if options.smoke else 1):
            result = measure(case, rounds=3 if options.smoke else 15, budget_s=4.0)
            problem = fault(case, result)
            if not problem:
                break
        yield result, problem if options.smoke or not result.same else ""


def _alone(case: Case) -> dict[str, Any]:
    with threadpool_limits(1):
        made = case.ours()
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            case.ours()
            best = min(best, time.perf_counter() - start)
    parts = made if isinstance(made, tuple) else (made,)
    digest = hashlib.sha256(b"".join(np.ascontiguousarray(part).tobytes() for part in parts)).hexdigest()
    return {"name": case.name, "rate": case.work / best, "unit": case.unit, "digest": digest}


def against(revision: str, names: Sequence[str], *, smoke: bool) -> Iterator[tuple[Result, str]]:
    """Every case of this tree beside the package as of ``revision``, turn by turn; benchmarks are those of this tree.

    Results that differ to the bit are a fault, unless a case fails there altogether: then it is left out, and said.
    """
    site = _built(revision)
    module = sys.modules["__main__"].__spec__
    assert module is not None
    command = [sys.executable, "-m", module.name, "--alone", *(["--smoke"] if smoke else [])]
    path = os.pathsep.join(filter(None, [str(site), os.environ.get("PYTHONPATH", "")]))
    sides = {"head": os.environ, "base": {**os.environ, "PYTHONPATH": path}}
    for name in names:
        best: dict[str, dict[str, dict[str, Any]]] = {}
        for _ in range(AGAINST_ROUNDS):
            for side, environment in sides.items():
                done = subprocess.run([*command, name], env=environment, stdout=subprocess.PIPE, text=True, check=False)
                for line in done.stdout.splitlines():
                    made = json.loads(line)
                    slot = best.setdefault(made["name"], {})
                    if side not in slot or made["rate"] > slot[side]["rate"]:
                        slot[side] = made
        if not any(len(slot) == 2 for slot in best.values()):
            print(f"SKIPPED {name}: it does not run on both sides", file=sys.stderr)
        for case, slot in best.items():
            if len(slot) == 2:
                head, base = slot["head"], slot["base"]
                same = head["digest"] == base["digest"]
                ratio = head["rate"] / base["rate"]
                result = Result(case, head["rate"], base["rate"], revision, ratio, head["unit"], same)
                yield result, "" if same else f"{case}: the result is not that of {revision}"


def _built(revision: str) -> Path:
    # The package of ``revision``, installed beside this one; the folder is named after the commit, and kept.
    commit = subprocess.run(
        ["git", "rev-parse", "--verify", f"{revision}^{{commit}}"], capture_output=True, text=True, check=False
    )
    if commit.returncode:
        sys.exit(f"error: --against {revision}: no such revision")
    folder = Path(".work") / "base" / commit.stdout.strip()
    site = folder / "site"
    if not site.is_dir():
        source = folder / "source"
        source.mkdir(parents=True, exist_ok=True)
        archive = subprocess.run(["git", "archive", commit.stdout.strip()], stdout=subprocess.PIPE, check=True)
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive.stdout, check=True)
        pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site.resolve()


def machine() -> dict[str, Any]:
    """Processor, cores, and versions of all that took part, as one line of the JSON file."""
    model = platform.machine()
    flags = ""
    if (info := Path("/proc/cpuinfo")).is_file():
        for line in info.read_text(encoding="utf-8").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name":
                model = value.strip()
            elif key.strip() == "flags":
                flags = "AVX-512" if "avx512f" in value.split() else "AVX2" if "avx2" in value.split() else ""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return {
        "machine": model,
        "vector": flags,
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "versions": versions,
    }


PACKAGES = (
    *("aimds", "numpy", "numba", "llvmlite", "aeon", "tsdistances", "dtaidistance", "tslearn", "rapidfuzz"),
    *("polyleven", "faiss-cpu", "usearch", "scikit-learn", "tokenizers"),
)


def _write(path: str, line: dict[str, Any]) -> None:
    with open(path, "a", encoding="utf-8") as file:
        file.write(json.dumps(line) + "\n")
