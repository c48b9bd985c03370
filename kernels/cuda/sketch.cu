// Count sketch of (1 + ln count) * idf, scaled to a unit vector.
//
// indptr (B+1,) int64   indices (Z,) int32   counts (Z,) float32   idf (F,) float32, finite   sketches (B, D) float32
// O(Z + B D) up to 4096 columns, O(Z D / 2048 + B D) above
// Charikar, Chen & Farach-Colton 2004, doi:10.1016/S0304-3975(03)00400-6.
//
// A block takes a row; its columns lie in shared memory as fixed-point sums, so that the order in which features arrive
// does not matter. Where the columns do not fit, one stretch of them after another is summed, once for the length of
// the vector and once more to write it.
#include "weights.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int COLUMNS = 4096;
constexpr u64 MIX = 0x9E3779B97F4A7C15ull;

extern "C" __global__ void __launch_bounds__(THREADS)
    sketch(const long long *indptr, const int *indices, const float *counts, const float *idf, int dim,
           float *sketches) {
    __shared__ u32 low[COLUMNS], high[COLUMNS];
    __shared__ double parts[WARPS];
    const Fixed sums{low, high};
    const i64 begin = indptr[blockIdx.x], end = indptr[blockIdx.x + 1];
    float *out = sketches + i64(blockIdx.x) * dim;

    double square = 0.0;
    for (i64 z = begin + threadIdx.x; z < end; z += THREADS) {
        const double value = weight_of(counts[z], idf[indices[z]]);
        square += value * value;
    }
    const double unit = fixed_unit(sum_of_block(square, parts), end - begin, 1.0);

    // The columns from ``first`` on: ``visit(column, sum)`` for each.
    auto stretch = [&](int first, auto visit) {
        const int size = dim - first < COLUMNS ? dim - first : COLUMNS;
        for (int c = int(threadIdx.x); c < size; c += THREADS) sums.set(c, 0);
        __syncthreads();
        for (i64 z = begin + threadIdx.x; z < end; z += THREADS) {
            const int feature = indices[z];
            u64 mixed = (u64(feature) + 1) * MIX;
            mixed = (mixed ^ mixed >> 32) * MIX;
            const int column = int((mixed >> 32) * u64(dim) >> 32) - first;
            if (column < 0 || column >= size) continue;
            const double value = weight_of(counts[z], idf[feature]);
            sums.add(column, mixed >> 20 & 1 ? value : -value, unit);
        }
        __syncthreads();
        for (int c = int(threadIdx.x); c < size; c += THREADS) visit(first + c, double(sums.whole(c)));
        __syncthreads();
    };

    square = 0.0;
    for (int first = 0; first < dim; first += COLUMNS)
        stretch(first, [&](int, double sum) { square += sum * sum; });
    square = sum_of_block(square, parts);
    const double inverse = square > 0.0 ? 1.0 / sqrt(square) : 0.0;
    if (dim <= COLUMNS) {
        for (int c = int(threadIdx.x); c < dim; c += THREADS) out[c] = float(double(sums.whole(c)) * inverse);
        return;
    }
    for (int first = 0; first < dim; first += COLUMNS)
        stretch(first, [&](int column, double sum) { out[column] = float(sum * inverse); });
}
