"""The container beside the gateway that tells it of changed files."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

SCRIPT = Path(__file__).parents[2] / "deploy/helm/aimds/files/reload.py"
GATEWAY = """
import signal, sys
signal.signal(signal.SIGHUP, lambda *_: (print("reload", flush=True), sys.exit(0)))
print("ready", flush=True)
signal.pause()
"""
# The script sees every gateway of this machine, so it is pointed at one alone.
WATCHER = """
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
spec = spec_from_file_location("watcher", {script!r})
module = module_from_spec(spec)
spec.loader.exec_module(module)
look, module.serving = module.content, lambda: [{gateway}]
def content(folders):
    found = look(folders)
    print("looked", flush=True)
    return found
module.content = content
module.main(0.01, [Path({mount!r})])
"""


def reload_module() -> ModuleType:
    spec = spec_from_file_location("reload_script", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def mount(tmp_path: Path) -> Path:
    """A folder as the kubelet makes one of a secret: names that lead over ``..data`` to the present content."""
    folder = tmp_path / "tls"
    (folder / "..one").mkdir(parents=True)
    (folder / "..one/tls.crt").write_text("old")
    (folder / "..data").symlink_to("..one")
    (folder / "tls.crt").symlink_to("..data/tls.crt")
    return folder


def exchange(folder: Path, text: str) -> None:
    (folder / "..two").mkdir()
    (folder / "..two/tls.crt").write_text(text)
    (folder / "..next").symlink_to("..two")
    os.replace(folder / "..next", folder / "..data")


@pytest.fixture
def gateway(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """A process whose command line is that of a gateway."""
    program = tmp_path / "aimds"
    program.write_text(GATEWAY)
    process = subprocess.Popen([sys.executable, str(program), "serve"], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    yield process
    process.kill()
    process.communicate()


def test_another_content_is_seen_and_the_same_content_again_is_not(mount: Path) -> None:
    script = reload_module()
    before = script.content([mount])
    exchange(mount, "old")
    assert script.content([mount]) == before
    (mount / "..two/tls.crt").write_text("new")
    assert script.content([mount]) != before


def test_a_process_that_serves_is_found_and_one_that_judges_for_it_is_not(tmp_path: Path) -> None:
    lines = {
        "1": b"/pause\0",
        "7": b"/opt/aimds/bin/python\0/opt/aimds/bin/aimds\0serve\0--config\0x\0",
        "8": b"/opt/aimds/bin/python\0-c\0from multiprocessing.spawn import spawn_main\0",
        "9": b"/opt/aimds/bin/python\0/opt/aimds/bin/aimds\0top\0",
        "self": b"aimds\0serve\0",
    }
    for name, line in lines.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "cmdline").write_bytes(line)
    assert reload_module().serving(tmp_path) == [7]


def test_a_gateway_gets_its_signal_when_a_mount_was_exchanged(mount: Path, gateway: subprocess.Popen[str]) -> None:
    watched = WATCHER.format(script=str(SCRIPT), gateway=gateway.pid, mount=str(mount))
    watcher = subprocess.Popen([sys.executable, "-c", watched], stdout=subprocess.PIPE, text=True)
    assert watcher.stdout is not None
    assert watcher.stdout.readline() == "looked\n"
    exchange(mount, "new")
    assert gateway.wait(30) == 0
    assert gateway.stdout is not None
    assert gateway.stdout.read() == "reload\n"
    watcher.send_signal(signal.SIGTERM)
    watcher.communicate(timeout=30)
    assert watcher.returncode == 0
