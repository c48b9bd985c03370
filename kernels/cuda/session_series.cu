// What a series of scores shows of a change: twelve numbers a row.
//
// values (N,) float64, finite   offsets (B+1,) int64   features (B, K) float64, K = 12
// O(N), and O(h^2) for the median of the first h = max(3, n / 5) values of a row
// Page 1954, doi:10.1093/biomet/41.1-2.100; Shao & Zhang 2010, doi:10.1198/jasa.2010.tm10103.
//
// A thread takes a row: sessions are short and many. The order of the sums is that of the CPU.
#include "common.cuh"

constexpr int FEATURES = 12;

// The value with that many smaller ones among the first ``count``.
__device__ __forceinline__ double ranked(const double *values, i64 count, i64 rank) {
    for (i64 i = 0; i < count; i++) {
        i64 below = 0, equal = 0;
        for (i64 j = 0; j < count; j++) {
            below += values[j] < values[i];
            equal += values[j] == values[i];
        }
        if (below <= rank && rank < below + equal) return values[i];
    }
    return values[0];
}

extern "C" __global__ void __launch_bounds__(128)
    session_series(const double *values, const long long *offsets, int rows, double *features) {
    const int row = int(blockIdx.x) * int(blockDim.x) + int(threadIdx.x);
    if (row >= rows) return;
    const double *x = values + offsets[row];
    const i64 n = offsets[row + 1] - offsets[row];
    double *out = features + i64(row) * FEATURES;
    for (int k = 0; k < FEATURES; k++) out[k] = 0.0;
    if (n == 0) return;

    double peak = x[0], size = fabs(x[0]), total = 0.0;
    for (i64 i = 0; i < n; i++) {
        peak = fmax(peak, x[i]);
        size = fmax(size, fabs(x[i]));
        total += x[i];
    }
    const double mean = total / double(n), middle = double(n - 1) / 2.0;
    double square = 0.0, along = 0.0, steps = 0.0;
    for (i64 i = 0; i < n; i++) {
        const double gap = x[i] - mean;
        square += gap * gap;
        along += gap * (double(i) - middle);
        if (i) steps += (x[i] - x[i - 1]) * (x[i] - x[i - 1]);
    }
    out[0] = peak, out[1] = mean, out[2] = x[n - 1];
    // What rounding makes of equal values is no change.
    if (square <= double(n) * (1e-12 * size) * (1e-12 * size)) return;
    const double times = double(n) * (double(n) * double(n) - 1.0) / 12.0;
    out[3] = along / times * double(n - 1);
    out[4] = along / sqrt(times * square);

    double best = 0.0, sum = 0.0, before = 0.0, drawn = 0.0, low = 0.0, harm = 0.0;
    i64 cut = 0;
    for (i64 i = 0; i < n; i++) {
        const double gap = x[i] - mean;
        if (i && sum < 0.0) {
            const double between = sum * sum * double(n) / double(i * (n - i));
            if (between > best) best = between, cut = i;
        }
        sum += gap;
        before += gap;
        drawn += gap - before / double(i + 1);
        low = fmin(low, drawn);
        harm = fmax(harm, drawn - low);
    }
    const double spread = sqrt(square / double(n));
    out[5] = sqrt(best), out[6] = best / square, out[7] = double(cut);
    out[9] = harm, out[10] = spread, out[11] = steps / square;

    const i64 fifth = n / 5 > 3 ? n / 5 : 3, early = fifth < n ? fifth : n;
    const double level = 0.5 * (ranked(x, early, (early - 1) / 2) + ranked(x, early, early / 2)) + 0.5 * spread;
    double run = 0.0, top = 0.0;
    for (i64 i = 0; i < n; i++) {
        run = fmax(0.0, run + x[i] - level);
        top = fmax(top, run);
    }
    out[8] = top;
}
