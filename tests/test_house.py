"""Rules of the house that no linter knows: packaging, imports, forbidden modules, leftovers."""

from __future__ import annotations

import ast
import io
import json
import subprocess
import sys
import tokenize
import tomllib
from collections.abc import Iterator
from fnmatch import fnmatch
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
SETUPTOOLS = PROJECT["tool"]["setuptools"]
HEAVY = (
    "opentelemetry",
    "ray",
    "cupy",
    "aioquic",
    "polars",
    "sklearn",
    "scipy",
    "pandas",
    "torch",
    "onnxruntime",
    "numba",
    "pyarrow",
)
PICKLERS = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")
MARKERS = tuple(first + second for first, second in (("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("HA", "CK")))
VAGUE_NAMES = ("util", "utils", "helper", "helpers", "common", "manager", "misc")
# Joined from parts, so that this file passes its own test.
MACHINE_PATHS = tuple("/".join(parts) for parts in (("", "work", "main"), ("", "work", "shared"), ("", ".pyenv")))
REGISTRIES = tuple(
    ".".join(parts) for parts in (("pypi", "org"), ("pythonhosted", "org"), ("npmjs", "org"), ("crates", "io"))
)


@cache
def files() -> tuple[Path, ...]:
    """Every file that git keeps or would keep; in a tree without git, every file outside the folders tools make."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    done = subprocess.run(listing, cwd=ROOT, capture_output=True, check=False) if (ROOT / ".git").exists() else None
    if done is not None and done.returncode == 0:
        found = [ROOT / name for name in done.stdout.decode().split("\0") if name]
    else:
        found = [path for path in ROOT.rglob("*") if not any(_made(part) for part in path.relative_to(ROOT).parts)]
    return tuple(sorted(path for path in found if path.is_file()))


def _made(part: str) -> bool:
    made = ("build", "dist", "demo", "__pycache__", "*.egg-info", ".venv*", ".work", ".git", ".*_cache", ".hypothesis")
    return any(fnmatch(part, pattern) for pattern in made)


def sources(*folders: str) -> Iterator[Path]:
    """Python files inside ``folders`` of the tree, all of it by default."""
    roots = [ROOT / folder for folder in folders] or [ROOT]
    return (path for path in files() if path.suffix == ".py" and any(path.is_relative_to(root) for root in roots))


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"), str(path))


@cache
def imported(path: Path) -> frozenset[str]:
    """First parts of all absolute imports, wherever they stand."""
    names: set[str] = set()
    for node in ast.walk(tree_of(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            names.add(node.module.partition(".")[0])
    return frozenset(names)


def package_folders() -> dict[str, Path]:
    """Importable name and folder of every folder with Python files in the product."""
    out = {}
    for name, top in SETUPTOOLS["package-dir"].items():
        for path in sources(top):
            below = path.parent.relative_to(ROOT / top).parts
            out[".".join((name, *below))] = path.parent
    return out


def test_list_of_packages_is_the_list_of_folders() -> None:
    assert sorted(SETUPTOOLS["packages"]) == sorted(package_folders())


def test_every_package_has_an_init_file() -> None:
    assert [name for name, folder in package_folders().items() if not (folder / "__init__.py").exists()] == []


def test_every_data_file_is_shipped() -> None:
    shipped = SETUPTOOLS["package-data"]
    folders = package_folders()
    left_out = []
    for path in files():
        if path.suffix == ".py" or not any(
            path.is_relative_to(ROOT / top) for top in SETUPTOOLS["package-dir"].values()
        ):
            continue
        owner, folder = max(
            ((name, folder) for name, folder in folders.items() if path.is_relative_to(folder)),
            key=lambda item: len(item[1].parts),
        )
        inside = path.relative_to(folder)
        if not any(
            inside.match(pattern) and len(Path(pattern).parts) == len(inside.parts)
            for pattern in shipped.get(owner, ())
        ):
            left_out.append(name_of(path))
    assert left_out == []


def test_every_data_pattern_matches_a_file() -> None:
    folders = package_folders()
    idle = [
        f"{owner}: {pattern}"
        for owner, patterns in SETUPTOOLS["package-data"].items()
        for pattern in patterns
        if not any(folders[owner].glob(pattern))
    ]
    assert idle == []


def test_import_of_the_package_loads_nothing_heavy() -> None:
    code = "import json, sys; import aimds; print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()


def test_command_line_is_built_without_anything_heavy() -> None:
    code = "import json, sys; from aimds.cli import build; build(); print(json.dumps(sorted(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert set(json.loads(done.stdout)) & set(HEAVY) == set()


def test_every_public_name_resolves() -> None:
    import aimds

    assert [name for name in aimds.__all__ if not hasattr(aimds, name)] == []
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = aimds.no_such_name


def test_traffic_is_never_matched_with_a_backtracking_engine() -> None:
    rooms = ("engine/detect", "engine/respond", "engine/analyze", "kernels")
    assert [name_of(path) for path in sources(*rooms) if imported(path) & {"re", "regex", "sre_compile"}] == []


def test_nothing_is_pickled() -> None:
    found = []
    for path in sources():
        allowed = "allow_pickle" in path.read_text("utf-8") and any(
            isinstance(node, ast.keyword)
            and node.arg == "allow_pickle"
            and not (isinstance(node.value, ast.Constant) and node.value.value is False)
            for node in ast.walk(tree_of(path))
        )
        if allowed or imported(path) & set(PICKLERS):
            found.append(name_of(path))
    assert found == []


def test_product_does_not_read_the_tests() -> None:
    product = ("engine", "kernels", "jobs", "examples")
    outside = {"tests", "naive", "benchmarks", "pytest", "hypothesis", "engine", "kernels", "jobs"}
    assert [name_of(path) for path in sources(*product) if imported(path) & outside] == []


def test_no_leftover_markers_in_comments() -> None:
    found = []
    for path in sources():
        if not any(marker in path.read_text("utf-8") for marker in MARKERS):
            continue
        tokens = tokenize.generate_tokens(io.StringIO(path.read_text("utf-8")).readline)
        comments = (token for token in tokens if token.type == tokenize.COMMENT)
        found += [
            f"{name_of(path)}:{comment.start[0]}"
            for comment in comments
            if any(marker in comment.string for marker in MARKERS)
        ]
    assert found == []


def test_no_function_is_a_stub() -> None:
    found = []
    for path in sources("engine", "kernels", "jobs", "examples"):
        tree = tree_of(path)
        declared = {id(function) for function in _declarations(tree)}
        for node in ast.walk(tree):
            raised = node.exc if isinstance(node, ast.Raise) else None
            target = raised.func if isinstance(raised, ast.Call) else raised
            if isinstance(target, ast.Name) and target.id == "NotImplementedError":
                found.append(f"{name_of(path)}:{node.lineno}")
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and id(node) not in declared:
                if isinstance(node.returns, ast.Constant) and node.returns.value is None:
                    continue
                body = [line for line in node.body if not _is_docstring(line)]
                if all(isinstance(line, ast.Expr) and _is_ellipsis(line.value) for line in body) and body:
                    found.append(f"{name_of(path)}:{node.lineno}")
    assert found == []


def _declarations(tree: ast.Module) -> Iterator[ast.AST]:
    """Functions without a body by right: methods of a Protocol, overloads."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and any("Protocol" in ast.unparse(base) for base in node.bases):
            yield from node.body
        if isinstance(node, ast.FunctionDef) and any("overload" in ast.unparse(mark) for mark in node.decorator_list):
            yield node


def _is_ellipsis(value: ast.expr) -> bool:
    return isinstance(value, ast.Constant) and value.value is ...


def _is_docstring(line: ast.stmt) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def test_no_module_has_a_vague_name() -> None:
    assert [name_of(path) for path in sources("engine", "kernels", "jobs") if path.stem in VAGUE_NAMES] == []


def test_every_module_of_the_product_says_what_it_is() -> None:
    silent = [
        name_of(path)
        for path in sources("engine", "kernels", "jobs", "examples")
        if path.read_bytes().strip() and ast.get_docstring(tree_of(path)) is None
    ]
    assert silent == []


def test_no_file_names_a_machine_path_or_a_package_registry() -> None:
    found = []
    for path in files():
        content = path.read_bytes()
        found += [f"{name_of(path)}: {word}" for word in (*MACHINE_PATHS, *REGISTRIES) if word.encode() in content]
    assert found == []


def test_every_make_target_is_explained_by_make_help() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    (phony,) = (line for line in makefile.splitlines() if line.startswith(".PHONY:"))
    for target in phony.split()[1:]:
        assert f"\n{target}:" in makefile
        assert target == "help" or f"make {target} " in makefile
