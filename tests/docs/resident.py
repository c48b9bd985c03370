"""A process with everything loaded that forks for each `aimds` command and each piece of Python of a page.

A page has dozens of commands; started one by one, each would load the program and the detector anew for seconds. The
forked child runs the same ``main`` on the caller's folder, environment and streams.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import gc
import json
import os
import runpy
import signal
import socket
import sys
import traceback
from pathlib import Path
from typing import Any

# In the folder that stands first on the path of a page's shell. Everything of the caller goes to the resident.
SHIM = """\
#!{python} -IS
import os, json, signal, socket, sys
to = socket.socket(socket.AF_UNIX)
to.connect({address!r})
given = json.dumps([{name!r}, sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(to, [len(given).to_bytes(4, "big")], [0, 1, 2])
to.sendall(given)
answers = to.makefile("rb")
pid = int(answers.readline())
for number in (signal.SIGTERM, signal.SIGINT):
    signal.signal(number, lambda number, _: os.kill(pid, number))
sys.exit(int(answers.readline() or b"1"))
"""
PROGRAMS = ("aimds", "python")


def write_shims(folder: Path, address: str) -> None:
    """Programs ``aimds`` and ``python`` in ``folder`` that have the resident at ``address`` do their work."""
    for name in PROGRAMS:
        path = folder / name
        path.write_text(SHIM.format(python=sys.executable, address=address, name=name), "utf-8")
        path.chmod(0o755)


def load() -> None:
    """Load what commands load, once. Artefacts are values: whoever reads them again may have the same ones."""
    import aimds.cli
    from aimds.detect.classifier import Classifier
    from aimds.detect.pii import Pii
    from aimds.screener import Screener

    for kind in (Classifier, Pii):
        kind.load = functools.cache(kind.load)
    aimds.cli.build()
    Screener.default().screen(["warm"])
    gc.collect()
    gc.freeze()


def serve(address: str) -> None:
    """Fork for every caller at ``address`` until killed."""
    # One core: a scan then works in its own process and starts none that would load everything anew.
    if hasattr(os, "sched_setaffinity"):
        cores = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {cores[os.getpid() % len(cores)]})
    load()
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen(16)
    print("ready", flush=True)
    while True:
        caller, _ = listener.accept()
        # One process stands between and waits for the child, so that callers are served at the same time.
        if os.fork() == 0:
            listener.close()
            _between(caller)
        caller.close()
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-1, os.WNOHANG)[0]:
                pass


def _between(caller: socket.socket) -> None:
    """Run the caller's program in a child and tell its exit status; never returns."""
    head, streams, _, _ = socket.recv_fds(caller, 4, 3)
    length, given = int.from_bytes(head, "big"), b""
    while len(given) < length:
        given += caller.recv(length - len(given))
    name, arguments, folder, environment = json.loads(given)
    if (child := os.fork()) == 0:
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
            os.close(stream)
        caller.close()
        _child(name, arguments, folder, environment)
    for stream in streams:
        os.close(stream)
    with contextlib.suppress(OSError):
        caller.sendall(b"%d\n" % child)
    code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    with contextlib.suppress(OSError):
        caller.sendall(b"%d\n" % (code if code >= 0 else 128 - code))
    os._exit(0)


def _child(name: str, arguments: list[str], folder: str, environment: dict[str, str]) -> None:
    """Become the program ``name``; never returns."""
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv = [name, *arguments]
    sys.path[:0] = [folder, *environment.get("PYTHONPATH", "").split(os.pathsep)]
    code: Any = 0
    try:
        if name == "aimds":
            from aimds.__main__ import main

            main()
        else:
            _python(arguments)
    except SystemExit as end:
        code = end.code
    except BaseException:
        traceback.print_exc()
        code = 1
    if isinstance(code, str):
        print(code, file=sys.stderr)
        code = 1
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(int(code or 0))


def _python(arguments: list[str]) -> None:
    """What ``python`` does with a file, ``-m MODULE`` or ``-c CODE``."""
    if arguments[0] == "-m":
        sys.argv = arguments[1:]
        runpy.run_module(arguments[1], run_name="__main__", alter_sys=True)
    elif arguments[0] == "-c":
        sys.argv = ["-c", *arguments[2:]]
        exec(compile(arguments[1], "<page>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = arguments
        sys.path[0] = str(Path(arguments[0]).parent.resolve())
        runpy.run_path(arguments[0], run_name="__main__")


if __name__ == "__main__":
    serve(sys.argv[1])
