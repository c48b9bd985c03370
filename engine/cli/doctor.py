"""`aimds doctor`: what runs here, and whether what should work does."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from importlib import import_module, metadata
from pathlib import Path
from typing import Annotated, Any

import typer

EXIT_PROBLEMS = 1
CPU_FEATURES = ("sse4.2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vnni", "neon", "sve")
MEBIBYTE = 1 << 20
SELF_TEST_S = 3.0
"""Time spent on measuring; loading and compiling come before it."""
SPEEDS = (("speed, short texts", 1), ("speed, long texts", 20))
"""Sentences a text has that is measured on."""


@dataclass(frozen=True, slots=True)
class Check:
    """One line of the report. ``ok`` is None where there is nothing to judge."""

    group: str
    name: str
    ok: bool | None
    detail: str


def register(app: typer.Typer) -> None:
    """Add the command to ``app``."""

    @app.command()
    def doctor(
        as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
        self_test: Annotated[bool, typer.Option("--self-test/--no-self-test", help="Screen a few texts.")] = True,
        server: Annotated[
            str | None, typer.Option(metavar="URL", help="Test the gateway at URL instead, from here.")
        ] = None,
        token: Annotated[
            str | None, typer.Option(envvar="AIMDS_TOKEN", help="API key or JWT for --server.", show_default=False)
        ] = None,
        ca: Annotated[Path | None, typer.Option(metavar="PEM", help="CA of the gateway's certificate.")] = None,
        certificate: Annotated[Path | None, typer.Option(metavar="PEM", help="Own certificate for --server.")] = None,
        key: Annotated[Path | None, typer.Option(metavar="PEM", help="Its key.")] = None,
    ) -> None:
        """Show what runs here and test it. Exit code 1 when something that should work does not.

        Example: aimds doctor --server https://127.0.0.1:8443 --ca certs/ca.pem
        """
        if server is None:
            checks = list(diagnose(_say, self_test=self_test))
        else:
            from aimds.cli import doctor_server
            from aimds.gateway.client import Options

            options = Options(token=token, ca=ca, certificate=certificate, key=key)
            checks = list(doctor_server.diagnose(server, options))
        ok = all(check.ok is not False for check in checks)
        if as_json:
            typer.echo(json.dumps({"ok": ok, "checks": [asdict(check) for check in checks]}))
        else:
            _print(checks, ok)
        if not ok:
            raise typer.Exit(EXIT_PROBLEMS)


def diagnose(say: Callable[[str], None], *, self_test: bool = True) -> Iterator[Check]:
    """All checks in order; ``say`` hears what takes time. A check that breaks is a line, never an exception."""
    parts: list[tuple[str, Callable[[Callable[[str], None]], Iterator[Check]]]] = [
        ("system", _system),
        ("packages", _packages),
        ("artefacts", _artefacts),
        ("kernels", _kernels),
        ("gpu", _gpu),
        ("screener", _screener if self_test else _versions_only),
    ]
    for group, part in parts:
        try:
            yield from part(say)
        except Exception as error:  # whatever is broken here is what the report is for
            yield Check(group, "failed", False, f"{type(error).__name__}: {error}")


def _system(say: Callable[[str], None]) -> Iterator[Check]:
    import aimds

    python = sys.version_info[:3]
    yield Check("system", "aimds", True, f"{aimds.__version__} in {Path(aimds.__file__).parent}")
    yield Check(
        "system", "python", python >= (3, 11), f"{platform.python_implementation()} {platform.python_version()}"
    )
    yield Check("system", "platform", None, platform.platform())
    llvm = import_module("llvmlite.binding")
    features = llvm.get_host_cpu_features()
    known = [name for name in CPU_FEATURES if features.get(name)]
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    name, cores = llvm.get_host_cpu_name(), os.cpu_count()
    yield Check("system", "cpu", True, f"{name}, {usable} of {cores} cores usable, {' '.join(known)}")
    yield Check("system", "memory", None, _memory())


def _memory() -> str:
    parts = []
    if hasattr(os, "sysconf"):
        parts.append(f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') // MEBIBYTE} MiB")
    free = [line.split()[1] for line in _lines("/proc/meminfo") if line.startswith("MemAvailable:")]
    parts += [f"{int(kibibytes) // 1024} MiB available" for kibibytes in free]
    limit = _lines("/sys/fs/cgroup/memory.max")
    if limit and limit[0].isdigit():
        parts.append(f"limited to {int(limit[0]) // MEBIBYTE} MiB")
    return ", ".join(parts)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text("ascii", "replace").splitlines()
    except OSError:
        return []


def _packages(say: Callable[[str], None]) -> Iterator[Check]:
    needed = [line for line in metadata.requires("aimds") or [] if "extra ==" not in line]
    for requirement in needed:
        name = "".join(c if c.isalnum() or c in "-_." else " " for c in requirement).split()[0]
        try:
            yield Check("packages", name, True, metadata.version(name))
        except metadata.PackageNotFoundError:
            yield Check("packages", name, False, f"is not installed; needed is {requirement}")


def _artefacts(say: Callable[[str], None]) -> Iterator[Check]:
    from aimds import data
    from aimds.errors import AimdsError

    folder = data.path("taxonomy.toml").parent
    listed = set(data.manifest())
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(found | listed):
        if name.endswith((".py", ".pyc")) or name == data.MANIFEST:
            continue
        try:
            content = data.read_bytes(name)
        except AimdsError as error:
            yield Check("artefacts", name, False, str(error))
            continue
        digest = hashlib.sha256(content).hexdigest()[:12]
        sealed = ", as in the manifest" if name in listed else ""
        yield Check("artefacts", name, True, f"sha256 {digest}, {len(content):,} bytes{sealed}")


def _kernels(say: Callable[[str], None]) -> Iterator[Check]:
    from aimds import kernels
    from aimds.errors import AimdsError
    from aimds.kernels import registry

    wanted = os.environ.get(registry.VARIABLE, "auto")
    try:
        backend = kernels.backend()
    except AimdsError as error:
        yield Check("kernels", "backend", False, str(error))
        backend = "cpu"
    else:
        yield Check("kernels", "backend", True, f"{backend} ({registry.VARIABLE}={wanted})")
    # Some stages run on the CPU wherever the others do.
    used = ("cpu",) if backend == "cpu" else ("cpu", backend)
    for name in kernels.names():
        say(f"loading kernel {name}")
        try:
            for where in used:
                registry.find(name, where)
        except AimdsError as error:
            yield Check("kernels", name, False, str(error))
        else:
            yield Check("kernels", name, True, ", ".join(used))
    folder = Path(os.environ.get("NUMBA_CACHE_DIR") or Path(kernels.__file__).parent)
    cached = sum(1 for _ in folder.rglob("*.nbi"))
    if cached:
        yield Check("kernels", "compiled code", True, f"{cached} functions kept in {folder}")
    else:
        where = "in the user's own cache folder" if not os.access(folder, os.W_OK) else "nowhere yet"
        yield Check("kernels", "compiled code", None, f"kept {where}; the first run compiles")


def _gpu(say: Callable[[str], None]) -> Iterator[Check]:
    devices = sorted(path.name for path in Path("/dev").glob("nvidia[0-9]*"))
    driver = next(iter(_lines("/proc/driver/nvidia/version")), "")
    yield Check("gpu", "device", None, ", ".join(devices) or "no NVIDIA device on this machine")
    if driver:
        yield Check("gpu", "driver", None, driver)
    packages = [f"{name} {version}" for name in ("cupy-cuda13x", "cupy-cuda12x") if (version := _version(name))]
    yield Check("gpu", "cupy", None, ", ".join(packages) or "not installed")
    cuda = import_module("aimds.kernels.cuda")
    problem = cuda.problem()
    yield Check("gpu", "usable", None, f"no: {problem}" if problem else f"yes: {', '.join(cuda.devices())}")


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""


def _versions_only(say: Callable[[str], None]) -> Iterator[Check]:
    yield from _loaded(_load(say))


def _screener(say: Callable[[str], None]) -> Iterator[Check]:
    from aimds.cli.selftest import measure, misjudged

    screener = _load(say)
    yield from _loaded(screener)
    say("self-test")
    wrong = misjudged(screener)
    detail = "; ".join(wrong) if wrong else "known attacks caught, known good texts let through, secrets redacted"
    yield Check("screener", "self-test", not wrong, detail)
    for name, sentences in SPEEDS:
        rate, rows, size = measure(screener, SELF_TEST_S / len(SPEEDS), sentences)
        detail = (
            f"{rate:,.0f} rows/s in profile {screener.profile} on {rows:,} texts of {size:,} bytes, harmless and much "
            "alike; varied traffic is slower; one thread, cache off"
        )
        yield Check("screener", name, None, detail)


def _load(say: Callable[[str], None]) -> Any:
    import aimds

    say("loading the screener (the first run compiles, which takes a minute or two)")
    return aimds.Screener.default(cache_bytes=0)


def _loaded(screener: Any) -> Iterator[Check]:
    for name, version in screener.versions.items():
        yield Check("screener", name, True, version)
    yield Check("screener", "profile", None, screener.profile)
    deep = screener.detector.deep
    by = "onnxruntime" if screener.backend == "cpu" else "CUDA kernels"
    detail = "none in this model" if deep is None else f"{deep.card['layers']} layers, {deep.version}, {by}"
    yield Check("screener", "deep stage", None, detail)


def _say(message: str) -> None:
    if sys.stderr.isatty():
        print(message, file=sys.stderr)


def _print(checks: list[Check], ok: bool) -> None:
    from rich.table import Table
    from rich.text import Text

    from aimds.cli import terminal
    from aimds.printable import LINE, visible

    marks = {True: Text("✓", "green"), False: Text("✗", "bold red"), None: Text("·", "dim")}
    table = Table(box=None, pad_edge=False, show_header=False)
    group = ""
    for check in checks:
        first = check.group if check.group != group else ""
        table.add_row(
            Text(first, "bold"), marks[check.ok], Text(visible(check.name)), Text(visible(check.detail, LINE))
        )
        group = check.group
    console = terminal.console(highlight=True)
    console.print(terminal.uncut(table))
    bad = sum(check.ok is False for check in checks)
    console.print(Text("all well", "bold green") if ok else Text(f"{bad} of {len(checks)} checks failed", "bold red"))
