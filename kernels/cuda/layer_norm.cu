// Hidden states of an encoder: what goes into its first layer, and what a part of a layer adds, both normalised.
//
// embed: tokens (N,) int32   offsets (B+1,) int64   kinds (B,) int32   word (V, D) float32   position (L, D) float32
// channel (C, D) float32   gain (D,) float32   bias (D,) float32   states (N, D) float32   O(N D)
// add_norm: states (N, D) float32   product (N, D) float32   shift (D,) float32   gain, bias (D,) float32
// sums (N, D) float32   O(N D)
// Devlin et al. 2019, doi:10.18653/v1/N19-1423, figure 2; Ba, Kiros & Hinton 2016, arXiv 1607.06450.
//
// A warp takes a token: a lane has every 32nd value of it in COLUMNS registers, so the state is read once. Mean and
// variance are sums of one fixed tree, the variance that of the differences from the mean.
#include "common.cuh"

#ifndef COLUMNS
#define COLUMNS 12
#endif

constexpr int THREADS = 128, WARPS = THREADS / 32;
constexpr float EPSILON = 1e-12f;

__device__ __forceinline__ float sum_of_warp(float value) {
#pragma unroll
    for (int step = 16; step; step /= 2) value += __shfl_xor_sync(ALL_LANES, value, step);
    return value;
}

// ``out`` = the ``width`` values of ``row`` normalised; past them ``row`` holds zeros.
__device__ __forceinline__ void normalise(float (&row)[COLUMNS], int width, const float *gain, const float *bias,
                                          float *out) {
    const int lane = int(threadIdx.x % 32);
    float sum = 0.0f, square = 0.0f;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) sum += row[c];
    const float mean = sum_of_warp(sum) / float(width);
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        row[c] -= mean;
        if (lane + 32 * c < width) square += row[c] * row[c];
    }
    const float scale = 1.0f / sqrtf(sum_of_warp(square) / float(width) + EPSILON);
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        const int d = lane + 32 * c;
        if (d < width) out[d] = row[c] * scale * gain[d] + bias[d];
    }
}

// A block takes a row, its warps one token after another.
extern "C" __global__ void __launch_bounds__(THREADS)
    embed(const int *tokens, const long long *offsets, const int *kinds, const float *word, const float *position,
          const float *channel, const float *gain, const float *bias, int width, float *states) {
    const i64 begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    const float *kind = channel + i64(kinds[blockIdx.x]) * width;
    const int lane = int(threadIdx.x % 32);
    for (i64 t = begin + threadIdx.x / 32; t < end; t += WARPS) {
        const float *piece = word + i64(tokens[t]) * width, *place = position + (t - begin) * width;
        float row[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const int d = lane + 32 * c;
            row[c] = d < width ? piece[d] + (place[d] + kind[d]) : 0.0f;
        }
        normalise(row, width, gain, bias, states + t * width);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    add_norm(const float *states, const float *product, const float *shift, const float *gain, const float *bias,
             long long count, int width, float *sums) {
    const i64 t = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (t >= count) return;
    const int lane = int(threadIdx.x % 32);
    float row[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        const int d = lane + 32 * c;
        row[c] = d < width ? states[t * width + d] + (product[t * width + d] + shift[d]) : 0.0f;
    }
    normalise(row, width, gain, bias, sums + t * width);
}
