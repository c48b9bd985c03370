from __future__ import annotations

import itertools

import numpy as np
import pytest
from host import ORDERS, Fault, Host, missing

from aimds.kernels.cuda.launch import Launch

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing() or "present")

KERNELS = r"""
#include "common.cuh"
extern "C" __global__ void __launch_bounds__(64) turned(const int *values, int *out, int count) {
    __shared__ int kept[64];
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < count) kept[threadIdx.x] = values[i];
    __syncthreads();
    const int last = min(int(blockDim.x), count - int(blockIdx.x * blockDim.x)) - 1;
    if (i < count) out[i] = kept[last - int(threadIdx.x)];
}
template <class T> __device__ __forceinline__ T scanned(T value) {
    for (int d = 1; d < 32; d *= 2) {
        const T other = __shfl_up_sync(ALL_LANES, value, d);
        if (int(threadIdx.x % 32) >= d) value += other;
    }
    return value;
}
extern "C" __global__ void scan(const int *values, int *out) {
    DYNAMIC_SHARED(int, sums);
    const int i = blockIdx.x * blockDim.x + threadIdx.x, warp = threadIdx.x / 32;
    int value = scanned(values[i]);
    if (threadIdx.x % 32 == 31) sums[warp] = value;
    __syncthreads();
    for (int w = 0; w < warp; w++) value += sums[w];
    out[i] = value;
    if (threadIdx.x == blockDim.x - 1) atomicAdd(&out[gridDim.x * blockDim.x], value);
}
extern "C" __global__ void lanes(int *out) {
    const int lane = threadIdx.x;
    out[lane] = __shfl_xor_sync(ALL_LANES, lane, 5);
    out[32 + lane] = __shfl_down_sync(ALL_LANES, lane, 3, 8);
    out[64 + lane] = int(__ballot_sync(ALL_LANES, lane % 3 == 0));
    out[96 + lane] = __any_sync(ALL_LANES, lane == 31) + 2 * __all_sync(ALL_LANES, lane < 31);
    out[128 + lane] = __reduce_min_sync(ALL_LANES, 7 - lane) + __reduce_max_sync(ALL_LANES, lane);
    if (lane < 8) out[160 + lane] = __shfl_sync(0xFFu, lane, 2);
    else out[160 + lane] = __shfl_sync(~0xFFu, lane, 9);
    out[192 + lane] = __syncthreads_count(lane < 5);
}
extern "C" __global__ void ended_early(int *out) {
    if (threadIdx.x == 3) return;
    __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void two_barriers(int *out) {
    if (threadIdx.x < 32) __syncthreads();
    else
        __syncthreads();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void barrier_and_warp(int *out) {
    if (threadIdx.x < 16) __syncthreads();
    else __syncwarp();
    out[threadIdx.x] = 1;
}
extern "C" __global__ void lane_ended(int *out) {
    if (threadIdx.x == 31) return;
    out[threadIdx.x] = __shfl_down_sync(ALL_LANES, 1, 1);
}
extern "C" __global__ void stranger(int *out) {
    if (threadIdx.x < 4) out[threadIdx.x] = __shfl_sync(0xFu, 1, 4);
}
extern "C" __global__ void reaches(int *out, int place) { out[place] = 1; }
extern "C" __global__ void reads(const int *values, int *out, int place) { out[0] = values[place]; }
extern "C" __global__ void writes_const(const int *values) { const_cast<int *>(values)[0] = 1; }
extern "C" __global__ void past_shared(int *out, int place) {
    __shared__ int kept[4];
    kept[place] = 1;
    out[0] = kept[place];
}
extern "C" __global__ void misaligned(const unsigned char *bytes, int *out, int place) {
    out[0] = *reinterpret_cast<const int *>(bytes + place);
}
extern "C" __global__ void fresh(int *out) {
    __shared__ int kept;
    out[0] = kept;
    kept = 5;
}
"""


def launch(kernel, *arguments, block=32, grid=1, shared=0, order=0):
    Host(order, {"t": KERNELS}).launch(Launch("t", kernel, (grid, 1, 1), (block, 1, 1), shared), *arguments)


@pytest.mark.parametrize("order", ORDERS)
def test_threads_of_a_block_see_each_others_shared_memory_after_a_barrier(order):
    out = np.zeros(150, np.int32)
    launch("turned", np.arange(150, dtype=np.int32), out, np.int32(150), block=64, grid=3, order=order)
    rows = [np.arange(150)[a : a + 64][::-1] for a in (0, 64, 128)]
    assert out.tolist() == np.concatenate(rows).tolist()


@pytest.mark.parametrize("order", ORDERS)
def test_a_scan_over_warps_with_dynamic_shared_memory(order):
    values = np.random.default_rng(1).integers(-9, 9, 256).astype(np.int32)
    out = np.zeros(257, np.int32)
    launch("scan", values, out, block=128, grid=2, shared=16, order=order)
    assert out[:256].tolist() == np.cumsum(values.reshape(2, 128), axis=1).ravel().tolist()
    assert out[256] == values.sum()


@pytest.mark.parametrize("order", ORDERS)
def test_lanes_exchange_what_cuda_says(order):
    out = np.zeros(224, np.int32)
    launch("lanes", out, order=order)
    lane = np.arange(32)
    third = sum(1 << i for i in range(0, 32, 3))
    expected = [lane ^ 5, np.where(lane % 8 + 3 < 8, lane + 3, lane), np.full(32, np.uint32(third).astype(np.int32))]
    expected += [np.full(32, 1), np.full(32, 7 - 31 + 31), np.where(lane < 8, 2, 9), np.full(32, 5)]
    assert out.reshape(7, 32).tolist() == [row.tolist() for row in expected]


@pytest.mark.parametrize(
    ("kernel", "block", "message"),
    [
        ("ended_early", 64, "barrier on line 41 that not all reach: thread 3 has ended"),
        ("two_barriers", 64, "waits on line"),
        ("barrier_and_warp", 32, "not all reach"),
        ("lane_ended", 32, "has ended"),
        ("stranger", 32, "asks lane 4, which takes no part"),
    ],
)
def test_a_barrier_or_shuffle_that_not_all_reach_is_a_fault(kernel, block, message):
    for order in ORDERS:
        with pytest.raises(Fault, match=message):
            launch(kernel, np.zeros(64, np.int32), block=block, order=order)


def test_a_missing_barrier_shows_in_one_of_the_orders():
    assert KERNELS.count("    __syncthreads();\n    const int last") == 1
    broken = KERNELS.replace("    __syncthreads();\n    const int last", "    const int last")
    wrong = []
    for order in ORDERS:
        out = np.zeros(64, np.int32)
        values = np.arange(64, dtype=np.int32)
        Host(order, {"t": broken}).launch(Launch("t", "turned", (1, 1, 1), (64, 1, 1)), values, out, np.int32(64))
        wrong.append(out.tolist() != values[::-1].tolist())
    assert any(wrong)


@pytest.mark.parametrize("place", [-1, 4, 5000, 200_000])
def test_memory_outside_an_argument_is_a_fault(place):
    with pytest.raises(Fault, match="argument 'out'"):
        launch("reaches", np.zeros(4, np.int32), np.int32(place), block=1)
    if place != -1:
        with pytest.raises(Fault, match="touches"):
            launch("reads", np.zeros(4, np.int32), np.zeros(1, np.int32), np.int32(place), block=1)


def test_a_read_before_an_argument_finds_poison():
    out = np.zeros(1, np.int32)
    launch("reads", np.zeros(4, np.int32), out, np.int32(-1), block=1)
    assert out.view(np.uint32)[0] == 0xA5A5A5A5


def test_a_write_to_a_const_argument_is_a_fault():
    with pytest.raises(Fault, match="'values', which is const"):
        launch("writes_const", np.zeros(4, np.int32))


@pytest.mark.parametrize(("kernel", "arguments"), [("past_shared", ()), ("misaligned", (np.zeros(16, np.uint8),))])
def test_what_cpp_leaves_undefined_is_a_fault(kernel, arguments):
    launch(kernel, *arguments, np.zeros(1, np.int32), np.int32(0))
    with pytest.raises(Fault, match="outside what C"):
        launch(kernel, *arguments, np.zeros(1, np.int32), np.int32(5))


def test_shared_memory_is_fresh_in_each_block():
    out = np.zeros(1, np.int32)
    launch("fresh", out, block=1, grid=2)
    assert out.view(np.uint32)[0] == 0xA5A5A5A5


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((np.zeros(4, np.int32), 1), "is int, expected a numpy scalar"),
        ((np.zeros(4, np.int32), np.int64(1)), "is int64, the kernel reads int32"),
        ((np.zeros(4, np.int64), np.int32(1)), "is int64, the kernel reads int32"),
        ((np.zeros(4, np.int32),), "takes 2 arguments, got 1"),
        ((np.zeros(8, np.int32)[::2], np.int32(1)), "not contiguous"),
        ((np.zeros(0, np.int32), np.int32(0)), "touches argument 'out'"),
    ],
)
def test_an_argument_that_does_not_fit_is_refused(arguments, message):
    with pytest.raises(Fault, match=message):
        launch("reaches", *arguments, block=1)


@pytest.mark.parametrize(("grid", "block"), [(0, 32), (1, 0), (1, 1025)])
def test_a_geometry_that_cuda_refuses_is_refused(grid, block):
    with pytest.raises(Fault, match=r"grid|block"):
        launch("fresh", np.zeros(1, np.int32), grid=grid, block=block)


HALVES = [-32768, -32767, -300, -1, 0, 1, 255, 300, 32767]


def packed(low, high):
    return np.uint32((low & 0xFFFF) | ((high & 0xFFFF) << 16))


def wrapped(value):
    return (value + 32768) % 65536 - 32768


@pytest.mark.parametrize(
    ("name", "formula"),
    [
        ("__vimin3_s16x2", lambda x, y, z: min(x, y, z)),
        ("__viaddmin_s16x2", lambda x, y, z: min(wrapped(x + y), z)),
        ("__viaddmax_s16x2", lambda x, y, z: max(wrapped(x + y), z)),
    ],
)
def test_dpx_works_on_halves_as_the_cuda_manual_says(name, formula):
    text = f"""
    extern "C" __global__ void packed(const unsigned *a, const unsigned *b, const unsigned *c, unsigned *out) {{
        out[threadIdx.x] = {name}(a[threadIdx.x], b[threadIdx.x], c[threadIdx.x]);
    }}"""
    triples = list(itertools.product(HALVES, repeat=3))
    triples += [(0, 0, 0)] * (-len(triples) % 32)
    others = triples[::-1]
    columns = [np.array([packed(a[k], b[k]) for a, b in zip(triples, others, strict=True)]) for k in range(3)]
    for at in range(0, len(triples), 32):
        out = np.zeros(32, np.uint32)
        part = [column[at : at + 32].copy() for column in columns]
        Host(0, {"t": text}).launch(Launch("t", "packed", (1, 1, 1), (32, 1, 1)), *part, out)
        pairs = zip(triples[at : at + 32], others[at : at + 32], strict=True)
        assert out.tolist() == [int(packed(formula(*a), formula(*b))) for a, b in pairs]
