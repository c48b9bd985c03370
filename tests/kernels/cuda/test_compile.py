"""Machine code without a GPU: nothing spills, registers stay below what is stated here, loops keep their length."""

from __future__ import annotations

import os

import pytest
from host import SOURCES
from sass import ARCHITECTURES, cubin, loops, nvcc, nvdisasm

EVERY = os.environ.get("CUDA_HOST") == "all"
"""Set by make test-cuda-host. Else only one architecture is compiled: the others take a minute more at first."""

needs_nvcc = pytest.mark.skipif(nvcc() is None, reason="no nvcc: the kernels are not compiled for a GPU")
needs_nvdisasm = pytest.mark.skipif(nvdisasm() is None, reason="no nvdisasm: the instructions are not counted")

COLUMNS = {"dtw": (16, 32, 64), "subsequence_dtw": (12, 16, 48), "attention": (32, 64), "layer_norm": (12, 32)}
CASES = [
    (stem, (("COLUMNS", columns),) if columns else ())
    for stem in sorted(path.stem for path in SOURCES.glob("*.cu"))
    for columns in COLUMNS.get(stem, (0,))
]

REGISTERS = {
    ("dtw_thread", 16): 64,
    ("dtw_thread", 32): 88,
    ("dtw_thread", 64): 152,
    ("dtw_warp", 16): 80,
    ("subsequence_dtw_thread", 12): 72,
    ("subsequence_dtw_thread", 16): 96,
    ("subsequence_dtw_thread", 48): 216,
    ("subsequence_dtw_warp", 16): 96,
    ("subsequence_dtw_wide", 12): 136,
    ("subsequence_dtw_wide", 16): 168,
    ("subsequence_dtw_pairs_thread", 12): 64,
    ("subsequence_dtw_pairs_thread", 48): 208,
    ("subsequence_dtw_pairs_warp", 16): 96,
    ("lcs_word32", 0): 32,
    ("lcs_word64", 0): 32,
    ("lcs_words", 0): 40,
    ("levenshtein_word32", 0): 32,
    ("levenshtein_word64", 0): 32,
    ("levenshtein_words", 0): 40,
    ("topk_peaks", 0): 80,
    ("topk_rescore", 0): 64,
    ("ngram_hash_fill", 0): 80,
    ("ngram_hash_sizes", 0): 80,
    ("tokenize_fill", 0): 64,
    ("tokenize_sizes", 0): 32,
    ("word_spans_fill", 0): 40,
    ("concepts_read", 0): 64,
    ("concept_pairs_sizes", 0): 40,
    ("concept_pairs_fill", 0): 40,
    ("linear_int8", 0): 64,
    ("linear_float32", 0): 64,
    ("sketch", 0): 48,
    ("nearest", 0): 48,
    ("embed", 12): 64,
    ("embed", 32): 128,
    ("add_norm", 12): 64,
    ("add_norm", 32): 96,
    ("attention", 32): 104,
    ("attention", 64): 216,
    ("bias_gelu", 0): 32,
    ("pooled_logits", 0): 64,
}
"""Most registers of a thread, by kernel and COLUMNS: 64 let 1024 threads run on a multiprocessor at once, 128 half."""
REGISTERS_OF_OTHERS = 128

# Instructions of the longest innermost loop, for each cell (or, bit-parallel, each symbol of the query) of one turn.
LENGTHS = [
    ("dtw", "dtw_thread", 32, 2 * 32, {"80": 4.25, "90": 4.25, "100": 3.3}),
    ("dtw", "dtw_thread", 64, 2 * 64, {"80": 4.15, "90": 4.15, "100": 3.15}),
    ("subsequence_dtw", "subsequence_dtw_thread", 12, 2 * 12 * 4, {"80": 3.7, "90": 2.6, "100": 2.6}),
    ("subsequence_dtw", "subsequence_dtw_thread", 48, 48 * 4, {"80": 3.5, "90": 2.75, "100": 2.75}),
    ("lcs", "lcs_word64", 0, 4, {"80": 13, "90": 13, "100": 16.5}),
    ("levenshtein", "levenshtein_word64", 0, 4, {"80": 29, "90": 29, "100": 32}),
]


def skip_unless_chosen(architecture: str) -> None:
    if architecture != "90" and not EVERY:
        pytest.skip(f"sm_{architecture} is compiled by make test-cuda-host")


@needs_nvcc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("stem", "defines"), CASES)
def test_nothing_spills_and_registers_stay_below_their_bound(stem, defines, architecture):
    skip_unless_chosen(architecture)
    _, uses = cubin(stem, defines, architecture)
    columns = dict(defines).get("COLUMNS", 0)
    for kernel, use in uses.items():
        # A lane of a warp never has more than 16 columns.
        if columns > 16 and kernel.endswith("_warp"):
            continue
        assert use.spilled == 0, f"{kernel} spills {use.spilled} bytes"
        assert use.registers <= REGISTERS.get((kernel, columns), REGISTERS_OF_OTHERS), f"{kernel}: {use}"


@needs_nvcc
@needs_nvdisasm
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize(("stem", "kernel", "columns", "cells", "most"), LENGTHS)
def test_loops_take_no_more_instructions_a_cell_than_stated(stem, kernel, columns, cells, most, architecture):
    skip_unless_chosen(architecture)
    path, _ = cubin(stem, (("COLUMNS", columns),) if columns else (), architecture)
    longest = loops(path, kernel)[0]
    assert longest.total() / cells <= most[architecture], longest


@needs_nvcc
@needs_nvdisasm
def test_minima_of_packed_integers_are_native_on_sm_90():
    path, _ = cubin("subsequence_dtw", (("COLUMNS", 12),), "90")
    # Two columns rows at a time, two patterns to a register: one minimum of three a cell pair.
    assert loops(path, "subsequence_dtw_thread")[0]["VIMNMX3"] == 2 * 12 * 2
