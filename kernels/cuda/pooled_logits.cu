// Logits of H linear heads over the mean of each row's hidden states.
//
// states (N, D) float32   offsets (B+1,) int64   weights (D, H) float32   bias (H,) float32   logits (B, H) float32
// O(N D + B D H)
// Reimers & Gurevych 2019, doi:10.18653/v1/D19-1410, section 3.
//
// A block takes a row: a thread owns every 128th column and sums it in float64, in a register, in the order of the
// row's tokens. The means wait in shared memory for one head after another, whose products are added in one fixed tree.
#include "weights.cuh"

constexpr int THREADS = 128, WARPS = THREADS / 32;

extern "C" __global__ void __launch_bounds__(THREADS)
    pooled_logits(const float *states, const long long *offsets, const float *weights, const float *bias, int width,
                  int heads, float *logits) {
    __shared__ double parts[WARPS];
    DYNAMIC_SHARED(double, means);
    const i64 begin = offsets[blockIdx.x], end = offsets[blockIdx.x + 1];
    for (int d = int(threadIdx.x); d < width; d += THREADS) {
        double sum = 0.0;
        for (i64 t = begin; t < end; t++) sum += double(states[t * width + d]);
        means[d] = end > begin ? sum / double(end - begin) : 0.0;
    }
    for (int h = 0; h < heads; h++) {
        double dot = 0.0;
        // Each thread reads the means that it wrote.
        for (int d = int(threadIdx.x); d < width; d += THREADS) dot += means[d] * double(weights[i64(d) * heads + h]);
        dot = sum_of_block(dot, parts);
        if (threadIdx.x == 0) logits[i64(blockIdx.x) * heads + h] = float(dot + double(bias[h]));
    }
}
