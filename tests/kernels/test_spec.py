from __future__ import annotations

import inspect
import pkgutil

import naive
import numpy as np
import pytest

import aimds.kernels.cpu
from aimds import kernels
from aimds.errors import KernelError
from aimds.kernels import registry
from aimds.kernels.spec import SPECS, check

# What the compiled functions share; not kernels.
SHARED = {"bits", "jit", "lookup", "masks", "scratch"}
NOT_KERNELS = {
    *("backend", "build_postings", "build_stems", "build_vocabulary", "matmul", "names", "unchecked", "warmup"),
    "word_hash",
}


@pytest.mark.parametrize("name", SPECS)
def test_every_row_has_a_public_function_that_takes_its_inputs(name):
    function = getattr(kernels, name)
    assert function.__doc__
    assert inspect.getdoc(function).splitlines()[0].endswith((".", ":"))
    parameters = [p for p in inspect.signature(function).parameters if p != "threads"]
    assert parameters == [argument.name for argument in SPECS[name].inputs]


@pytest.mark.parametrize("name", SPECS)
def test_every_row_has_a_naive_twin_and_a_cpu_implementation(name):
    assert callable(getattr(naive, SPECS[name].naive))
    implementation = registry.find(name, "cpu")
    assert implementation.__module__ == f"aimds.kernels.cpu.{SPECS[name].stem}"
    assert implementation.__name__ == name
    parameters = [p for p in inspect.signature(implementation).parameters if p != "threads"]
    assert parameters == [argument.name for argument in SPECS[name].inputs]


@pytest.mark.parametrize("name", SPECS)
def test_every_row_is_filled_in(name):
    row = SPECS[name]
    assert row.name == name
    assert row.complexity.startswith("O(")
    assert row.source
    assert 0.0 <= row.tolerance < 1e-3
    assert any(argument.direction == "out" for argument in row.arguments)
    for argument in row.arguments:
        assert argument.unit
        assert argument.dtypes == ("int",) or all(np.dtype(dtype) for dtype in argument.dtypes)
        assert bool(argument.shape) == (argument.dtypes != ("int",))
    exact = all("float" not in dtype for a in row.arguments if a.direction == "out" for dtype in a.dtypes)
    assert row.tolerance == 0.0 if exact else True


def test_every_public_name_and_every_module_belongs_to_a_row():
    assert set(kernels.__all__) - NOT_KERNELS == set(SPECS)
    modules = {module.name for module in pkgutil.iter_modules(aimds.kernels.cpu.__path__)}
    assert modules - SHARED == {row.stem for row in SPECS.values()}
    assert kernels.names() == tuple(SPECS)


def test_arrays_are_made_contiguous_and_otherwise_left_in_place():
    bank = np.zeros((4, 6), np.float32)
    queries = bank[:, ::2]
    checked = check("topk", {"queries": queries, "bank": np.zeros((9, 3), np.float32), "k": np.int64(2)})
    assert checked[0].flags.c_contiguous
    assert checked[2] == 2
    assert check("topk", {"queries": bank, "bank": bank, "k": 1})[0] is bank


@pytest.mark.parametrize(
    ("argument", "value", "problem"),
    [
        ("queries", None, "expected an array, got NoneType"),
        ("queries", np.zeros((2, 3)), "dtype float64, expected float32"),
        ("queries", np.zeros(3, np.float32), "1 axes, expected \\(B, D\\)"),
        ("bank", np.zeros((2, 4), np.float32), "D is 3"),
        ("k", 1.0, "expected an int"),
    ],
)
def test_what_does_not_fit_a_row_is_named(argument, value, problem):
    good = {"queries": np.zeros((2, 3), np.float32), "bank": np.zeros((2, 3), np.float32), "k": 1}
    with pytest.raises(KernelError, match=problem) as caught:
        check("topk", good | {argument: value})
    assert (caught.value.kernel, caught.value.argument) == ("topk", argument)
