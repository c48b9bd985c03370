"""Every command and snippet of the documentation is run, page by page, from top to bottom in a folder of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shlex
import signal
import socket
import subprocess
import tempfile
import time
import tomllib
from pathlib import Path
from typing import IO

import pytest
import yaml
from snippets import CODE, Block, bare_commands, blocks, fits, folders

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [path.relative_to(ROOT).as_posix() for path in PAGES]
LIMIT_S = 240
# Ports that pages name; each run has its own instead.
PORTS = (8000, 8080, 8443)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


class Session:
    """A folder in which the blocks of one page run one after the other."""

    def __init__(self, folder: Path, programs: Path) -> None:
        self._folder = folder
        self._ports = {str(port): str(free_port()) for port in PORTS}
        self._processes: list[subprocess.Popen[bytes]] = []
        self._environment = {
            "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
            "HOME": str(folder),
            "PYTHONPATH": os.pathsep.join(str(ROOT / "tests" / name) for name in ("", "docs")),
            "COLUMNS": "100",
            "LC_ALL": "C.UTF-8",
        }
        for name in ("examples", "docs", "deploy"):
            (folder / name).symlink_to(ROOT / name)

    def run(self, block: Block) -> None:
        """Run ``block``, and what is to run before it."""
        text = self._own_ports(block.text)
        if block.first and block.kind != "python":
            self._shell(block.first, 0)
        if block.saved:
            path = self._folder / block.saved
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text + "\n", "utf-8")
        elif block.kind == "python":
            self._shell("python -c " + shlex.quote(f"{block.first}\n{text}"), 0)
        elif block.stays:
            self._stay(self._own_ports(block.commands), int(self._ports[str(block.stays)]))
        elif block.kind == "console" and block.prints:
            shown = block.shown()
            for i, (command, expected) in enumerate(shown):
                printed = self._shell(self._own_ports(command), block.status if i == len(shown) - 1 else 0)
                assert fits(self._own_ports(expected), printed), f"{command}\nprints\n{printed}\nbut see\n{expected}"
        else:
            self._shell(self._own_ports(block.commands), block.status)

    def _own_ports(self, text: str) -> str:
        for port, own in self._ports.items():
            text = text.replace(f":{port}", f":{own}").replace(f" {port}", f" {own}")
        return text

    def _started(self, script: str, out: IO[str], err: IO[str]) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(
            ["bash", "-c", script],
            cwd=self._folder,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=err,
            start_new_session=True,
        )
        self._processes.append(process)
        return process

    def _shell(self, script: str, status: int) -> str:
        """What ``script`` prints. All but its last command have to succeed, and the last to end with ``status``."""
        with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
            # What a block exports, the next one has.
            start = "trap 'export -p >.exported' EXIT\n[ ! -e .exported ] || . ./.exported\nset -e\n"
            code = self._started(start + script, out, err).wait(LIMIT_S)
            out.seek(0)
            err.seek(0)
            printed, complaints = out.read(), err.read()
        assert code == status, f"exit status {code}, not {status}:\n{script}\n{printed[-3000:]}\n{complaints[-3000:]}"
        return printed

    def _stay(self, script: str, port: int) -> None:
        """Start ``script`` and go on as soon as something answers at ``port``."""
        with tempfile.TemporaryFile("w+") as out:
            process = self._started("[ ! -e .exported ] || . ./.exported\n" + script, out, out)
            until = time.monotonic() + LIMIT_S
            while time.monotonic() < until:
                with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    return
                if process.poll() is not None:
                    break
                time.sleep(0.05)
            out.seek(0)
            raise AssertionError(f"nothing answers at {port}:\n{script}\n{out.read()[-3000:]}")

    def close(self) -> None:
        """End what stayed."""
        for process in self._processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for process in self._processes:
            process.wait(LIMIT_S)


@pytest.mark.parametrize("name", [name for name in NAMES if any(one.kind in CODE for one in blocks(ROOT / name))])
def test_every_command_and_snippet_of_a_page_runs(name: str, programs: Path, tmp_path: Path) -> None:
    session = Session(tmp_path, programs)
    try:
        for block in blocks(ROOT / name):
            if not block.reason and (block.kind in CODE or block.saved):
                try:
                    session.run(block)
                except (AssertionError, subprocess.TimeoutExpired) as error:
                    raise AssertionError(f"{name}:{block.line}: {error}") from error
    finally:
        session.close()


def test_no_two_pages_write_into_the_same_folder() -> None:
    """Whoever follows one page after another in one checkout would mix results, or have a scan with other options refused."""
    owner: dict[str, str] = {}
    for name in NAMES:
        commands = [
            one.text if one.kind == "python" else one.commands for one in blocks(ROOT / name) if one.kind in CODE
        ]
        for folder in folders("\n".join(commands)):
            assert owner.setdefault(folder, name) == name, f"{name} and {owner[folder]} write into {folder}"


@pytest.mark.parametrize("name", NAMES)
def test_settings_that_a_page_shows_can_be_read(name: str) -> None:
    for block in blocks(ROOT / name):
        match block.kind:
            case "toml":
                tomllib.loads(block.text)
            case "yaml":
                yaml.safe_load(block.text)
            case "json":
                json.loads(block.text)


@pytest.mark.parametrize("name", NAMES)
def test_no_command_of_a_page_stands_where_nothing_runs_it(name: str) -> None:
    assert bare_commands(ROOT / name) == []
