"""The page on Python, from the docstrings and signatures of the source; nothing is imported."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

INTRODUCTION = """\
# Python

What a program may import, made from the source when this site is built. `aimds` itself exports `Screener`, `Verdicts`, `Verdict`,
`Client`, `AsyncClient`, the two Arrow schemas and the errors; the others are imported from the modules named here. Names that begin
with an underscore are not for use and not shown.
"""
PARTS = (
    ("Screening", ("screener", "verdicts", "schema", "taxonomy", "errors", "config")),
    ("Over files", ("jobs.scan", "jobs.hunt", "jobs.routing", "jobs.ray_data")),
    ("Live", ("gateway.client",)),
    ("Adapters", ("integrations.guard", "integrations.langchain", "integrations.litellm")),
    ("Sessions", ("analyze.sessions", "analyze.dynamics", "analyze.attractors")),
    ("Policies", ("ltl.policies", "ltl.judge", "respond.policy")),
    ("Records", ("record.audit", "record.erasure")),
    ("Routing and follow-up work", ("route.router", "route.cache", "route.tiers", "respond.scheduling")),
)
_TOPS = {"jobs": "jobs", "kernels": "kernels"}


def page(root: Path) -> str:
    """The whole page as Markdown."""
    return INTRODUCTION + "\n" + "\n".join(_lines(root)) + "\n"


def _lines(root: Path) -> Iterator[str]:
    for title, names in PARTS:
        yield f"## {title}"
        yield ""
        for name in names:
            tree = ast.parse(_file(root, name).read_text("utf-8"))
            yield f"### aimds.{name}"
            yield ""
            yield from _told(tree)
            for node in _shown(root, name, tree):
                yield from _entry(node)


def _file(root: Path, name: str) -> Path:
    first, _, rest = name.partition(".")
    path = root / _TOPS.get(first, f"engine/{first}") / rest.replace(".", "/")
    for found in (path.with_suffix(".py"), path / "__init__.py"):
        if found.is_file():
            return found
    raise SystemExit(f"error: docs/site/modules.py names aimds.{name}, which has no source file")


def _shown(root: Path, name: str, tree: ast.Module) -> Iterator[ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef]:
    """Public classes and functions of the module, and those it takes from modules below it and offers in __all__."""
    offered = _offered(tree)
    for node in tree.body:
        if isinstance(node, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and not node.name.startswith("_"):
            yield node
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith(f"aimds.{name}."):
            below = ast.parse(_file(root, node.module.removeprefix("aimds.")).read_text("utf-8"))
            wanted = {alias.name for alias in node.names} & offered
            yield from (
                one
                for one in below.body
                if isinstance(one, (ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and one.name in wanted
            )


def _offered(tree: ast.Module) -> set[str]:
    for node in tree.body:
        if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["__all__"]:
            return set(ast.literal_eval(node.value))
    return set()


def _entry(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> Iterator[str]:
    yield f"#### {node.name}"
    yield ""
    yield "```python"
    if isinstance(node, ast.ClassDef):
        bases = ", ".join(ast.unparse(base) for base in node.bases)
        yield f"class {node.name}({bases})" if bases else f"class {node.name}"
        yield from (f"    {ast.unparse(one)}" for one in node.body if _is_field(one))
    else:
        yield _signature(node)
    yield "```"
    yield ""
    yield from _told(node)
    if isinstance(node, ast.ClassDef):
        for one in node.body:
            if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_public(one):
                yield "```python"
                yield _signature(one, node.name)
                yield "```"
                yield ""
                yield from _told(one)


def _is_field(node: ast.stmt) -> bool:
    return isinstance(node, ast.AnnAssign) and not ast.unparse(node.target).startswith("_")


def _is_public(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return node.name == "__init__" or not node.name.startswith("_")


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef, owner: str = "") -> str:
    marks = {ast.unparse(mark) for mark in node.decorator_list}
    start = "async " if isinstance(node, ast.AsyncFunctionDef) else ""
    name = f"{owner}.{node.name}" if owner and node.name != "__init__" else owner or node.name
    result = f" -> {ast.unparse(node.returns)}" if node.returns is not None and node.name != "__init__" else ""
    if "property" in marks:
        return f"{name}{result.replace(' -> ', ': ')}"
    wanted = [part for part in _arguments(node.args) if part not in ("self", "cls")]
    line = f"{start}{name}({', '.join(wanted)}){result}"
    if len(line) <= 96:
        return line
    return "\n".join((f"{start}{name}(", *(f"    {part}," for part in wanted), f"){result}"))


def _arguments(given: ast.arguments) -> Iterator[str]:
    plain = [*given.posonlyargs, *given.args]
    defaults = [None] * (len(plain) - len(given.defaults)) + list(given.defaults)
    for one, default in zip(plain, defaults, strict=True):
        yield _argument(one, default)
    if given.vararg:
        yield f"*{_argument(given.vararg, None)}"
    elif given.kwonlyargs:
        yield "*"
    for one, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield _argument(one, default)
    if given.kwarg:
        yield f"**{_argument(given.kwarg, None)}"


def _argument(one: ast.arg, default: ast.expr | None) -> str:
    kind = f": {ast.unparse(one.annotation)}" if one.annotation is not None else ""
    if default is None:
        return one.arg + kind
    return f"{one.arg}{kind}{' = ' if kind else '='}{ast.unparse(default)}"


def _told(node: ast.AST) -> Iterator[str]:
    assert isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef))
    for paragraph in (ast.get_docstring(node) or "").split("\n\n"):
        if paragraph.lstrip().startswith(">>>"):
            yield from ("```pycon", paragraph, "```", "")
        elif paragraph:
            parts = " ".join(paragraph.replace("``", "`").split()).split("`")
            yield "`".join(
                part if i % 2 else part.replace("<", "&lt;").replace("*", "\\*").replace("[", "\\[")
                for i, part in enumerate(parts)
            )
            yield ""
