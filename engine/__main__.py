"""Entry point of `aimds` and `python -m aimds`."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import suppress
from io import TextIOWrapper
from typing import Protocol, runtime_checkable

EXIT_BAD_INPUT = 2
EXIT_INTERRUPTED = 130
EXIT_BROKEN_PIPE = 141
"""What a shell gives for a program that SIGPIPE ended: neither 0 nor 1, which are verdicts of some commands."""
RELOADED = ("serve", "proxy")
"""Commands that SIGHUP tells to read their files anew."""


@runtime_checkable
class _UsageError(Protocol):
    """A command line that cannot be read. typer has moved the class about, so it is known by what it can do."""

    exit_code: int

    def show(self) -> None: ...


def main() -> None:
    """Run the command line; an error a user can act on is one line on stderr, never a traceback."""
    for stream in (sys.stdout, sys.stderr):
        # Where the encoding lacks a character its escape is printed: a verdict must not end in its middle.
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    if sys.argv[1:2] and sys.argv[1] in RELOADED:
        # It would end them while modules are imported; the files are read after that.
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        code = _run(sys.argv[1:])
        if sys.stdout is not None:
            sys.stdout.flush()
    except BrokenPipeError:
        code = EXIT_BROKEN_PIPE
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        code = _fail(f"error: {where}{error.strerror or error}", EXIT_BAD_INPUT)
    _drop_what_cannot_be_written()
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    """Exit code of the command line ``arguments``. OSError passes, whatever was being written."""
    import typer

    from aimds.cli import build
    from aimds.errors import AimdsError

    try:
        # Not called by way of typer, which ends a program whose pipe broke with 1.
        command = typer.main.get_command(build())
        with command.make_context("aimds", arguments) as context:
            command.invoke(context)
    except typer.Exit as end:
        return end.exit_code
    except AimdsError as error:
        return _fail(f"error: {error}", EXIT_BAD_INPUT)
    except (KeyboardInterrupt, typer.Abort):
        return _fail("interrupted", EXIT_INTERRUPTED)
    except SystemExit as end:
        # rich ends the program itself where a pipe broke.
        if isinstance(end.__context__, BrokenPipeError):
            return EXIT_BROKEN_PIPE
        raise
    except Exception as error:
        if not isinstance(error, _UsageError):
            raise
        error.show()
        return error.exit_code
    return 0


def _fail(message: str, code: int) -> int:
    from aimds.printable import LINE, visible

    with suppress(OSError):
        print(visible(message, LINE), file=sys.stderr, flush=True)
    return code


def _drop_what_cannot_be_written() -> None:
    """Keep the interpreter from trying again at its end, which would print an exception and change the exit code."""
    for stream in (sys.stdout, sys.stderr):
        try:
            if stream is not None:
                stream.flush()
        except OSError:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)


if __name__ == "__main__":
    main()
