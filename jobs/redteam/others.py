"""Another Python with garak or PyRIT: found, checked, started, its lines read while they come."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Any

from aimds.errors import AimdsError, ConfigError, DataError

TESTED = {"garak": "0.17.1", "pyrit": "1.1.0"}
"""Releases that this was tried with; another one runs with a warning, where its interfaces are the same."""
VENV = ".venv-redteam-{tool}"
GRACE_S = 30.0
_ASK = "import importlib.metadata as m, sys; print(m.version(sys.argv[1]))"
_START = """
import sys, types
for name, folder in (("aimds", ""), ("aimds.jobs", ""), ("aimds.jobs.redteam", sys.argv[1])):
    module = sys.modules[name] = types.ModuleType(name)
    module.__path__ = [folder] if folder else []
import importlib
importlib.import_module("aimds.jobs.redteam." + sys.argv[2]).main()
"""
"""Our module, by its own name, in a Python that has no AIMDS."""


class ToolError(AimdsError):
    """Another tool did not do what it was started for: names the tool and the problem."""

    def __init__(self, tool: str, problem: str) -> None:
        self.tool, self.problem = tool, problem
        super().__init__(f"{tool}: {problem}")


def find(tool: str, given: Path | None) -> Path | None:
    """The Python that has ``tool``, as an absolute path, for it runs in another folder: the one ``given``, else of
    .venv-redteam-TOOL here, else None.

    Raises:
        ConfigError: the one ``given`` is no program.
    """
    if given is None:
        usual = Path(VENV.format(tool=tool), "bin", "python").absolute()
        return usual if usual.is_file() else None
    path = given / "bin" / "python" if given.is_dir() else given
    if not (path.is_file() and os.access(path, os.X_OK)):
        raise ConfigError(f"--{tool}-python", str(given), f"the Python, or its environment, that has {tool}")
    return path.absolute()


def version(tool: str, python: Path) -> str:
    """The release of ``tool`` in ``python``.

    Raises:
        DataError: it is not there, or that is no Python.
    """
    try:
        done = subprocess.run([python, "-I", "-c", _ASK, tool], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.SubprocessError) as error:
        raise DataError(python, f"is no Python that runs: {error}") from error
    if done.returncode:
        raise DataError(
            python,
            f"has no {tool}; into an environment of its own: pip install {tool}=={TESTED[tool]} (docs/redteam.md)",
        )
    return done.stdout.strip()


def lines(tool: str, python: Path, wanted: dict[str, Any], *, limit_s: float) -> Iterator[dict[str, Any]]:
    """What the half of ``tool`` says, line by line; it is ended when the caller stops reading, and at ``limit_s``.

    It gets no credentials of this process, a home of its own that is thrown away, and no network but loopback.

    Raises:
        ToolError: it ended before it was done.
    """
    folder = Path(str(files("aimds.jobs.redteam")))
    with tempfile.TemporaryDirectory(prefix="aimds-redteam-") as home:
        try:
            process = subprocess.Popen(
                [python, "-c", _START, str(folder), f"{tool}_side"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                cwd=home,
                env=surroundings(home),
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(tool, f"{python} does not run: {error}") from error
        assert process.stdin
        assert process.stdout
        assert process.stderr
        said: deque[bytes] = deque(maxlen=40)
        listener = threading.Thread(target=said.extend, args=(process.stderr,), daemon=True)
        listener.start()
        clock = threading.Timer(limit_s + GRACE_S, process.kill)
        clock.daemon = True
        clock.start()
        done = False
        try:
            # One that has ended already says why on stderr.
            with suppress(BrokenPipeError):
                process.stdin.write(json.dumps(wanted).encode() + b"\n")
                process.stdin.close()
            for raw in process.stdout:
                line: dict[str, Any] = json.loads(raw)
                done = done or line["kind"] == "done"
                yield line
            process.wait()
        except ValueError as error:
            raise ToolError(tool, f"said what cannot be read: {error}") from error
        finally:
            clock.cancel()
            process.kill()
            process.wait()
            listener.join(5.0)
            for pipe in (process.stdin, process.stdout, process.stderr):
                with suppress(BrokenPipeError):
                    pipe.close()
        if not done:
            last = b" ".join(list(said)[-3:]).decode("utf-8", "replace").strip() or f"status {process.returncode}"
            raise ToolError(tool, f"ended before it was done: {' '.join(last.split())[-400:]}")


def surroundings(home: str) -> dict[str, str]:
    """The environment of the other Python."""
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": home,
        "LANG": "C.UTF-8",
        "PYTHONUTF8": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONNOUSERSITE": "1",
        "TMPDIR": home,
        "XDG_CONFIG_HOME": f"{home}/config",
        "XDG_DATA_HOME": f"{home}/data",
        "XDG_CACHE_HOME": f"{home}/cache",
        "HF_HUB_OFFLINE": "1",
        "HF_DATASETS_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "DO_NOT_TRACK": "1",
        "OPENAI_API_KEY": "none",
        "TQDM_DISABLE": "1",
    } | ({"SYSTEMROOT": os.environ["SYSTEMROOT"]} if sys.platform == "win32" else {})
