// The weight of a feature, sums of a block in a fixed order, sums in fixed point: linear, sketch and nearest share them.
#pragma once

#include "common.cuh"

// (1 + ln count) * idf, as everywhere in float64.
__device__ __forceinline__ double weight_of(float count, float idf) {
    return count == 1.0f ? double(idf) : double(idf) * (1.0 + log(double(count)));
}

// The sum over a warp, the same tree whatever else runs.
__device__ __forceinline__ double sum_of_warp(double value) {
#pragma unroll
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

// The sum over a block of whole warps, in every thread; ``parts`` has room for one number a warp.
__device__ __forceinline__ double sum_of_block(double value, double *parts) {
    value = sum_of_warp(value);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    double sum = 0.0;
    for (u32 w = 0; w < blockDim.x / 32; w++) sum += parts[w];
    __syncthreads();
    return sum;
}

// Floating sums depend on the order in which atomics arrive, sums of integers do not. A sum of fixed-point numbers is
// kept as two words, since shared memory has no 64-bit addition: what overflows the low one is added to the high one.
struct Fixed {
    u32 *low, *high;

    __device__ __forceinline__ void set(i64 at, i64 whole) const { low[at] = u32(whole), high[at] = u32(whole >> 32); }

    __device__ __forceinline__ void add(i64 at, double value, double unit) const {
        const u64 whole = u64(llrint(value * unit));
        const u32 part = u32(whole), before = atomicAdd(&low[at], part);
        const u32 carried = u32(whole >> 32) + (before + part < before);
        if (carried) atomicAdd(&high[at], carried);
    }

    __device__ __forceinline__ i64 whole(i64 at) const { return i64(u64(high[at]) << 32 | low[at]); }
};

// The unit of fixed-point sums of ``count`` terms whose squares sum to ``square``, each times at most ``reach``: by
// Cauchy-Schwarz no such sum, its rounding included, leaves 62 bits. It depends on the row alone.
__device__ __forceinline__ double fixed_unit(double square, i64 count, double reach) {
    const double most = sqrt(square * double(count)) * reach;
    return most > 0.0 ? ldexp(1.0, 60 - ilogb(most)) : 0.0;
}
