// The Gaussian error linear unit of a matrix product and its bias: x / 2 (1 + erf(x / sqrt(2))), x = product + bias.
//
// product (N, M) float32   bias (M,) float32   active (N, M) float32   O(N M)
// Hendrycks & Gimpel 2016, arXiv 1606.08415.
//
// A thread owns a column of ROWS rows: its bias is in a register, and ROWS values are on their way from memory at once.
#include "common.cuh"

constexpr int THREADS = 128, ROWS = 4;

extern "C" __global__ void __launch_bounds__(THREADS)
    bias_gelu(const float *product, const float *bias, long long count, int width, float *active) {
    const int m = int(blockIdx.y) * THREADS + int(threadIdx.x);
    if (m >= width) return;
    const float shift = bias[m];
    const i64 first = i64(blockIdx.x) * ROWS;
    float values[ROWS];
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (first + r < count) values[r] = product[(first + r) * width + m] + shift;
#pragma unroll
    for (int r = 0; r < ROWS; r++)
        if (first + r < count)
            active[(first + r) * width + m] = 0.5f * values[r] * (1.0f + erff(values[r] * 0.707106781f));
}
