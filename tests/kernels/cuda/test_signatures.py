from __future__ import annotations

import pytest
from host import SOURCES, parameters, source

from aimds.kernels import names, registry
from aimds.kernels.cuda.source import text
from aimds.kernels.spec import SPECS, Argument

STEMS = sorted({row.stem for row in SPECS.values()})
MADE_BY_WRAPPERS = {
    *(("ngram_hash", "indptr"), ("tokenize", "token_offsets"), ("word_spans", "word_offsets")),
    *(("concepts", "concept_offsets"), ("concept_pairs", "indptr")),
}
"""Outputs that are running sums of what a kernel counts."""
OTHER_NAMES = {("nearest", "nearest"): "group"}


def kernels_of(name: str) -> dict:
    """The kernels of a row: those whose names begin with its name, not with a longer one, or with none."""
    rows = [other for other in names() if SPECS[other].stem == SPECS[name].stem]
    found = {}
    for kernel, parameter in parameters(text(SPECS[name].stem)).items():
        owners = [other for other in rows if kernel.startswith(other)]
        if name == max(owners, key=len, default=name):
            found[kernel] = parameter
    return found


def test_every_kernel_has_cpu_and_cuda_files_of_its_stem_and_no_other_has():
    assert sorted(path.stem for path in SOURCES.glob("*.cu")) == STEMS
    for stem in STEMS:
        assert (SOURCES / f"{stem}.py").is_file()
        assert (SOURCES.parent / "cpu" / f"{stem}.py").is_file()


@pytest.mark.parametrize("name", names())
def test_every_kernel_has_an_implementation_on_cuda(name):
    assert callable(registry.find(name, "cuda"))


@pytest.mark.parametrize("name", names())
def test_parameters_named_as_in_the_spec_have_its_dtype_and_direction(name):
    arguments = {OTHER_NAMES.get((name, one.name), one.name): one for one in SPECS[name].arguments}
    met = set()
    for kernel, row in kernels_of(name).items():
        for parameter in row:
            argument = arguments.get(parameter.name)
            if argument is not None:
                assert fits(name, parameter, argument), f"{kernel}: {parameter} against {argument}"
                met.add(argument.name)
    outputs = {one.name for one in arguments.values() if one.direction == "out"}
    assert outputs <= met | {output for kernel, output in MADE_BY_WRAPPERS if kernel == name}


def fits(kernel: str, parameter, argument: Argument) -> bool:
    if argument.dtypes == ("int",):
        return not parameter.pointer and parameter.dtype in ("int32", "int64")
    written = argument.direction == "out" and (kernel, argument.name) not in MADE_BY_WRAPPERS
    return parameter.pointer and parameter.dtype in argument.dtypes and parameter.written == written


@pytest.mark.parametrize("name", names())
def test_the_first_comment_is_the_contract(name):
    lines = source(SPECS[name].stem).splitlines()
    end = next(k for k, line in enumerate(lines) if not line.startswith("//"))
    contract = "\n".join(lines[:end])
    arrays = [one for one in SPECS[name].arguments if one.shape and (name, one.name) not in MADE_BY_WRAPPERS]
    for argument in arrays:
        assert argument.name in contract, argument
        for dtype in argument.dtypes:
            assert dtype in contract, argument
    assert "O(" in contract
    for word in SPECS[name].source.split():
        assert not word.startswith("doi:") or word.rstrip(",;") in contract, word
