// Logits of H linear heads over the unit vector of (1 + ln count) * idf.
//
// indptr (B+1,) int64   indices (Z,) int32   counts (Z,) float32   weights (F, H) int8 or float32   scale (H,) float32
// idf (F,) float32   bias (H,) float32   logits (B, H) float32   O(Z H)
// Salton & Buckley 1988, doi:10.1016/0306-4573(88)90021-0.
//
// A block takes a row, eight heads at a time: a thread sums every 128th feature of the row in float64, in registers,
// and the threads' sums are added in one fixed tree.
#include "weights.cuh"

constexpr int THREADS = 128, WARPS = THREADS / 32, HEADS = 8;

// The weights of eight heads, read at once.
template <class Weight> struct __align__(8 * sizeof(Weight) < 16 ? 8 * sizeof(Weight) : 16) Eight {
    Weight heads[HEADS];
};

// WHOLE: the number of heads is a multiple of eight, and ``weights`` is aligned to 16 bytes.
template <bool WHOLE, class Weight>
__device__ __forceinline__ void logits_of_row(const i64 *indptr, const int *indices, const float *counts,
                                              const Weight *weights, const float *scale, const float *idf,
                                              const float *bias, int heads, double (*parts)[HEADS + 1], float *logits) {
    const i64 begin = indptr[blockIdx.x], end = indptr[blockIdx.x + 1];
    for (int head = 0; head < heads; head += HEADS) {
        const int here = heads - head < HEADS ? heads - head : HEADS;
        double sums[HEADS + 1] = {};  // the last one of squares
        for (i64 z = begin + threadIdx.x; z < end; z += THREADS) {
            const int feature = indices[z];
            const double value = weight_of(counts[z], idf[feature]);
            const Weight *row = weights + i64(feature) * heads + head;
            sums[HEADS] += value * value;
            if (WHOLE) {
                const Eight<Weight> eight = *reinterpret_cast<const Eight<Weight> *>(row);
#pragma unroll
                for (int h = 0; h < HEADS; h++) sums[h] += value * double(eight.heads[h]);
            } else {
#pragma unroll
                for (int h = 0; h < HEADS; h++)
                    if (h < here) sums[h] += value * double(row[h]);
            }
        }
#pragma unroll
        for (int h = 0; h <= HEADS; h++) {
            sums[h] = sum_of_warp(sums[h]);
            if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32][h] = sums[h];
        }
        __syncthreads();
        if (int(threadIdx.x) < here) {
            double sum = 0.0, square = 0.0;
            for (int w = 0; w < WARPS; w++) sum += parts[w][threadIdx.x], square += parts[w][HEADS];
            const int h = head + int(threadIdx.x);
            const double logit = square > 0.0 ? sum * scale[h] / sqrt(square) + bias[h] : bias[h];
            logits[i64(blockIdx.x) * heads + h] = float(logit);
        }
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_int8(const long long *indptr, const int *indices, const float *counts, const signed char *weights,
                const float *scale, const float *idf, const float *bias, int heads, float *logits) {
    __shared__ double parts[WARPS][HEADS + 1];
    logits_of_row<false>(indptr, indices, counts, weights, scale, idf, bias, heads, parts, logits);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_int8_whole(const long long *indptr, const int *indices, const float *counts, const signed char *weights,
                      const float *scale, const float *idf, const float *bias, int heads, float *logits) {
    __shared__ double parts[WARPS][HEADS + 1];
    logits_of_row<true>(indptr, indices, counts, weights, scale, idf, bias, heads, parts, logits);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_float32(const long long *indptr, const int *indices, const float *counts, const float *weights,
                   const float *scale, const float *idf, const float *bias, int heads, float *logits) {
    __shared__ double parts[WARPS][HEADS + 1];
    logits_of_row<false>(indptr, indices, counts, weights, scale, idf, bias, heads, parts, logits);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    linear_float32_whole(const long long *indptr, const int *indices, const float *counts, const float *weights,
                         const float *scale, const float *idf, const float *bias, int heads, float *logits) {
    __shared__ double parts[WARPS][HEADS + 1];
    logits_of_row<true>(indptr, indices, counts, weights, scale, idf, bias, heads, parts, logits);
}
