// Attention of the tokens of each row among themselves: softmax(Q K^T / sqrt(D / heads)) V, head by head.
//
// qkv (N, J) float32, aligned to 16 bytes, J = 3 D: queries of all heads, then keys, then values   bias (J,) float32
// offsets (B+1,) int64   mixed (N, D) float32   O(N²/B D)
// Vaswani et al. 2017, arXiv 1706.03762, section 3.2; Milakov & Gimelshein 2018, arXiv 1805.02867, algorithm 3.
//
// COLUMNS = D / heads. A block takes a row and a head; a thread owns a query: that, the weighted sum of the values and
// the scores of OCTET keys are in registers. Keys and values pass through shared memory, TILE tokens at a time, where
// all threads read the same one. The softmax is taken on the way: when a larger score turns up, what was summed is made
// smaller. Sums are in the order of the row's tokens. The bias of the keys adds one number to all scores of a query,
// which the softmax takes out again: it is never read.
#include "common.cuh"

#ifndef COLUMNS
#define COLUMNS 32
#endif

constexpr int THREADS = 64, TILE = 64, OCTET = 8;

// The values of one head of a token, sixteen bytes at once where they are a multiple of that.
__device__ __forceinline__ void load(const float *from, float (&to)[COLUMNS]) {
    if constexpr (COLUMNS % 4 == 0) {
#pragma unroll
        for (int c = 0; c < COLUMNS; c += 4) {
            const float4 four = *reinterpret_cast<const float4 *>(from + c);
            to[c] = four.x, to[c + 1] = four.y, to[c + 2] = four.z, to[c + 3] = four.w;
        }
    } else {
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) to[c] = from[c];
    }
}

__device__ __forceinline__ void store(const float (&from)[COLUMNS], float *to) {
    if constexpr (COLUMNS % 4 == 0) {
#pragma unroll
        for (int c = 0; c < COLUMNS; c += 4)
            *reinterpret_cast<float4 *>(to + c) = make_float4(from[c], from[c + 1], from[c + 2], from[c + 3]);
    } else {
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) to[c] = from[c];
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    attention(const float *qkv, const float *bias, const long long *offsets, int heads, float *mixed) {
    __shared__ __align__(16) float keys[TILE][COLUMNS];
    __shared__ __align__(16) float values[TILE][COLUMNS];
    const i64 begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    const int width = heads * COLUMNS, own = int(blockIdx.y) * COLUMNS;
    const float scale = 1.0f / sqrtf(float(COLUMNS)), none = -__int_as_float(0x7F800000);

    for (i64 first = begin; first < end; first += THREADS) {
        const i64 i = first + threadIdx.x;
        const bool asks = i < end;
        float query[COLUMNS], sums[COLUMNS] = {};
        float top = none, total = 0.0f;
        load(qkv + (asks ? i : first) * 3 * width + own, query);
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) query[c] = (query[c] + bias[own + c]) * scale;

        for (i64 from = begin; from < end; from += TILE) {
            const int here = end - from < TILE ? int(end - from) : TILE;
            __syncthreads();
            for (int k = int(threadIdx.x); k < here * COLUMNS; k += THREADS) {
                const int j = k / COLUMNS, c = k % COLUMNS;
                const float *token = qkv + (from + j) * 3 * width + own + c;
                keys[j][c] = token[width];
                values[j][c] = token[2 * width] + bias[2 * width + own + c];
            }
            __syncthreads();
            for (int j = 0; asks && j < here; j += OCTET) {
                float scores[OCTET], best = top;
#pragma unroll
                for (int s = 0; s < OCTET; s++) {
                    scores[s] = none;
                    if (j + s >= here) continue;
                    scores[s] = 0.0f;
#pragma unroll
                    for (int c = 0; c < COLUMNS; c++) scores[s] = fmaf(query[c], keys[j + s][c], scores[s]);
                    best = fmaxf(best, scores[s]);
                }
                const float fade = expf(top - best);
                total *= fade;
#pragma unroll
                for (int c = 0; c < COLUMNS; c++) sums[c] *= fade;
#pragma unroll
                for (int s = 0; s < OCTET; s++) {
                    if (j + s >= here) continue;
                    const float weight = expf(scores[s] - best);
                    total += weight;
#pragma unroll
                    for (int c = 0; c < COLUMNS; c++) sums[c] = fmaf(weight, values[j + s][c], sums[c]);
                }
                top = best;
            }
        }
        if (!asks) continue;
        const float share = 1.0f / total;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) sums[c] *= share;
        store(sums, mixed + i * width + own);
    }
}
