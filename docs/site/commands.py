"""The page on the command line, from the definitions of the commands themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

INTRODUCTION = """\
# Command line

Every command with all its arguments and options, made from their definitions when this site is built.
`aimds COMMAND -h` says the same in the terminal.

Exit status: 0 is success, 1 a finding of the commands that judge (`check`, `policy test`, `audit verify` and the
like) or input that could not be read, 2 bad input, 130 an interruption. Errors are one line on standard error.
"""


def page() -> str:
    """The whole page as Markdown."""
    import typer

    from aimds.cli import build

    return INTRODUCTION + "\n" + "\n".join(_lines(typer.main.get_command(build()), ["aimds"], None)) + "\n"


def _lines(command: Any, names: list[str], parent: Any) -> Iterator[str]:
    context = command.context_class(command, info_name=names[-1], parent=parent)
    if len(names) > 1:
        yield f"{'#' * min(len(names), 4)} {' '.join(names)}"
        yield ""
        for paragraph in (command.help or "").split("\n\n"):
            yield _text(" ".join(paragraph.split()))
            yield ""
        pieces = " ".join(command.collect_usage_pieces(context))
        yield "```text"
        yield f"{' '.join(names)} {pieces}"
        yield "```"
        yield ""
        yield from _table(command)
    for name, below in getattr(command, "commands", {}).items():
        if not below.hidden:
            yield from _lines(below, [*names, name], context)


def _table(command: Any) -> Iterator[str]:
    rows = [row for one in command.params if (row := _row(one)) is not None]
    if rows:
        yield "| option | what it does |"
        yield "|---|---|"
        for names, told in rows:
            yield f"| {names} | {told} |"
        yield ""


def _row(one: Any) -> tuple[str, str] | None:
    if getattr(one, "hidden", False) or one.name in ("help", "_version"):
        return None
    told = _text(getattr(one, "help", None) or "").replace("|", "\\|")
    if one.param_type_name == "argument":
        return f"`{(one.metavar or one.name.upper()).replace('...', '')}{'…' if one.nargs == -1 else ''}`", told
    names = ", ".join(f"`{name}`" for name in (*one.opts, *one.secondary_opts))
    default = one.default
    if one.is_flag or default is None or callable(default) or default in ((), [], ""):
        return names, told + _required(one)
    return names, f"{told} Default: `{getattr(default, 'value', default)}`.{_required(one)}"


def _required(one: Any) -> str:
    return " Required." if one.required else ""


def _text(text: str) -> str:
    """Help as Markdown: what would be taken as HTML or as a mark is escaped."""
    parts = text.split("`")
    return "`".join(
        part if i % 2 else part.replace("<", "&lt;").replace("*", "\\*").replace("_", "\\_").replace("[", "\\[")
        for i, part in enumerate(parts)
    )
