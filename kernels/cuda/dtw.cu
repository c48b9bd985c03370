// Dynamic time warping of each row with each pattern, whole against whole.
//
// values (N,) float32   offsets (B+1,) int64   patterns (P, M) float32   distance (B, P) float32   O(N P M)
// Sakoe & Chiba 1978, doi:10.1109/TASSP.1978.1163055, steps of weight 1:
//   D[i, j] = (values[i] - patterns[j])^2 + min(D[i-1, j-1], D[i-1, j], D[i, j-1]), D[-1, -1] = 0, else inf before 0
//
// A thread owns a row and a pattern: the pattern and a row of D lie in registers. Past 64 columns a warp takes the place
// of the thread: a lane owns COLUMNS columns and gets what is left of them from the lane before, which is one row ahead.
// Past 32 * COLUMNS columns one stretch of columns follows another, the last column of D kept in memory.
#include "common.cuh"

// Columns of a thread, or of a lane; the launch says how many.
#ifndef COLUMNS
#define COLUMNS 32
#endif

constexpr int THREADS = 128;

__device__ __forceinline__ float step(float value, float place, float corner, float up, float left) {
    const float gap = value - place;
    return fmaf(gap, gap, fminf(fminf(corner, up), left));
}

// Grid: patterns along y, rows along x; a block holds blockDim.x patterns and blockDim.y rows. M is COLUMNS.
// ``places`` (M, P): the patterns, transposed.
extern "C" __global__ void __launch_bounds__(THREADS)
    dtw_thread(const float *__restrict__ values, const long long *__restrict__ offsets,
               const float *__restrict__ places, int rows, int count, float *__restrict__ distance) {
    const float inf = __int_as_float(0x7F800000);
    const int pattern = blockIdx.y * blockDim.x + threadIdx.x;
    const i64 row = i64(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows || pattern >= count) return;
    float place[COLUMNS], above[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) place[c] = places[i64(c) * count + pattern], above[c] = inf;
    const float *value = values + offsets[row];
    const float *const stop = values + offsets[row + 1];
    float start = 0.0f;  // D[i - 1, -1]
    // Two rows of D at once: what the first leaves is used up by the second, so nothing is moved between registers.
#pragma unroll 1
    for (; value + 1 < stop; value += 2) {
        const float one = value[0], two = value[1];
        float corner = start, between = inf, first = inf, second = inf;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const float up = above[c];
            first = step(one, place[c], corner, up, first);
            second = step(two, place[c], between, first, second);
            corner = up, between = first;
            above[c] = second;
        }
        start = inf;
    }
    if (value < stop) {
        float corner = start, left = inf;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            left = step(*value, place[c], corner, above[c], left);
            corner = above[c];
            above[c] = left;
        }
    }
    distance[row * count + pattern] = above[COLUMNS - 1];
}

// A warp a row and a pattern, warps along x: row by row, patterns first .. first + here - 1 of a row; M is any number.
// ``edge`` (values of all rows, here) keeps the last column of a stretch, where there are several.
extern "C" __global__ void __launch_bounds__(THREADS)
    dtw_warp(const float *__restrict__ values, const long long *__restrict__ offsets,
             const float *__restrict__ patterns, int rows, int count, int first, int here, int length, float *edge,
             float *__restrict__ distance) {
    const float inf = __int_as_float(0x7F800000);
    const i64 warp = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    const int lane = int(threadIdx.x % 32);
    if (warp >= i64(rows) * here) return;
    const i64 row = warp / here;
    const int pattern = first + int(warp % here);
    const i64 begin = offsets[row];
    const int size = int(offsets[row + 1] - begin);
    const int stretches = (length + 32 * COLUMNS - 1) / (32 * COLUMNS);
    const float *const mine = patterns + i64(pattern) * length;
    float *const kept = edge + (begin - offsets[0]) * here + warp % here;
    for (int stretch = 0; stretch < stretches; stretch++) {
        const int column = (stretch * 32 + lane) * COLUMNS;
        float place[COLUMNS], above[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++)
            place[c] = column + c < length ? mine[column + c] : 0.0f, above[c] = inf;
        float last = inf, corner = stretch || lane ? inf : 0.0f;
        for (int wave = 0; wave < size + 31; wave++) {
            const int i = wave - lane;
            float left = __shfl_up_sync(ALL_LANES, last, 1);
            if (i < 0 || i >= size) continue;
            if (lane == 0) left = stretch ? kept[i64(i) * here] : inf;
            const float value = values[begin + i];
            last = left;
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                last = step(value, place[c], corner, above[c], last);
                corner = above[c];
                above[c] = last;
            }
            corner = left;
            if (lane == 31 && stretch + 1 < stretches) kept[i64(i) * here] = last;
        }
        // The last column may lie anywhere in a lane.
        if (stretch + 1 == stretches)
#pragma unroll
            for (int c = 0; c < COLUMNS; c++)
                if (column + c == length - 1) distance[row * count + pattern] = above[c];
        __syncwarp();
    }
}
