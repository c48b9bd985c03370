// The cheapest alignment of patterns with any stretch of a row: all pairs, or chosen ones with where they begin.
//
// subsequence_dtw: tokens (N,) int32   offsets (B+1,) int64   cost (V, L, P) uint8   distance, end (B, P) int32
//   O(N L P)
// subsequence_dtw_pairs: tokens, offsets   cost (V, P, L) uint8   lengths (P,) int32   rows, patterns (C,) int32
//   distance, start, end (C,) int32   O(C N/B L)
// Müller 2007, doi:10.1007/978-3-540-74048-3, section 4.4:
//   D[i, j] = cost[tokens[i], j] + min(D[i-1, j-1], D[i-1, j], D[i, j-1]), D[i, -1] = 0, D[-1, j] = inf
//
// A thread owns four neighbouring patterns of a row (one pair, in subsequence_dtw_pairs): their costs are one load, a row
// of D lies in registers. A row of D never exceeds 255 * L, since D[i, -1] = 0: up to 124 columns two patterns share a
// register. Past 48 columns a warp takes the place of the thread: a lane owns COLUMNS columns and gets what is
// left of them from the lane before, which is one row ahead. Past 32 * COLUMNS columns one stretch of columns follows
// another, the last column of D kept in memory.
#include "common.cuh"

// Columns of a thread, or of a lane; the launch says how many.
#ifndef COLUMNS
#define COLUMNS 12
#endif

constexpr int THREADS = 128;
constexpr int NO_MATCH = 1 << 20;

// Four patterns, two to a register; numbers from 0 to FAR, the bits of the largest finite float16.
struct Narrow {
    static constexpr int FAR = 0x7BFF;
    u32 low, high;
};

// Four patterns, one to a register.
struct Wide {
    static constexpr int FAR = 1 << 30;
    int at[4];
};

__device__ __forceinline__ Narrow filled(Narrow, int value) {
    const u32 both = u32(value) | u32(value) << 16;
    return {both, both};
}
__device__ __forceinline__ Wide filled(Wide, int value) { return {{value, value, value, value}}; }

// Before sm_90 there is no minimum of packed integers, but one of packed floats, whose bits are in the same order.
__device__ __forceinline__ u32 least(u32 a, u32 b, u32 c) {
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 900
    asm("min.f16x2 %0, %1, %2;" : "=r"(a) : "r"(a), "r"(b));
    asm("min.f16x2 %0, %1, %2;" : "=r"(a) : "r"(a), "r"(c));
    return a;
#else
    return __vimin3_s16x2(a, b, c);
#endif
}
__device__ __forceinline__ Narrow least(Narrow a, Narrow b, Narrow c) {
    return {least(a.low, b.low, c.low), least(a.high, b.high, c.high)};
}
__device__ __forceinline__ Wide least(Wide a, Wide b, Wide c) {
    Wide out;
#pragma unroll
    for (int k = 0; k < 4; k++) out.at[k] = __vimin3_s32(a.at[k], b.at[k], c.at[k]);
    return out;
}

// Adds four bytes. The halves of a register do not spill over: both stay below 2^16.
__device__ __forceinline__ Narrow plus(Narrow a, u32 costs) {
    return {a.low + __byte_perm(costs, 0, 0x4140), a.high + __byte_perm(costs, 0, 0x4342)};
}
__device__ __forceinline__ Wide plus(Wide a, u32 costs) {
#pragma unroll
    for (int k = 0; k < 4; k++) a.at[k] += int(costs >> (8 * k) & 255);
    return a;
}

__device__ __forceinline__ Narrow from_lane_before(Narrow a) {
    return {__shfl_up_sync(ALL_LANES, a.low, 1), __shfl_up_sync(ALL_LANES, a.high, 1)};
}
__device__ __forceinline__ Wide from_lane_before(Wide a) {
#pragma unroll
    for (int k = 0; k < 4; k++) a.at[k] = __shfl_up_sync(ALL_LANES, a.at[k], 1);
    return a;
}

__device__ __forceinline__ int part(Narrow a, int k) { return int((k < 2 ? a.low : a.high) >> (16 * (k & 1)) & 0xFFFF); }
__device__ __forceinline__ int part(Wide a, int k) { return a.at[k]; }

// The least so far and the first row that had it.
template <class State> struct Best {
    State cost;
    int row[4];

    __device__ __forceinline__ void take(Narrow last, int i) {
        bool low0, low1, high0, high1;
        cost.low = __vibmin_s16x2(cost.low, last.low, &low1, &low0);
        cost.high = __vibmin_s16x2(cost.high, last.high, &high1, &high0);
        row[0] = low0 ? row[0] : i, row[1] = low1 ? row[1] : i;
        row[2] = high0 ? row[2] : i, row[3] = high1 ? row[3] : i;
    }
    __device__ __forceinline__ void take(Wide last, int i) {
#pragma unroll
        for (int k = 0; k < 4; k++) {
            row[k] = last.at[k] < cost.at[k] ? i : row[k];
            cost.at[k] = min(last.at[k], cost.at[k]);
        }
    }
    __device__ __forceinline__ void clear() {
        cost = filled(State{}, State::FAR);
        row[0] = row[1] = row[2] = row[3] = -1;
    }
    // Patterns past the last, with which the cost table is filled up to fours, are not written.
    __device__ __forceinline__ void write(int *distance, int *end, i64 to, int first, int patterns) const {
#pragma unroll
        for (int k = 0; k < 4; k++)
            if (first + k < patterns) {
                distance[to + k] = row[k] < 0 ? NO_MATCH : part(cost, k);
                end[to + k] = row[k];
            }
    }
};

// One row of D over COLUMNS columns, ``above`` becoming it; ``left`` and ``corner`` are what stands before the first.
// Columns before ``skip`` cost nothing, and so say the same as D[i, -1].
template <bool SKIPS, class State>
__device__ __forceinline__ State over_columns(State (&above)[COLUMNS], State left, State corner, const u32 *costs,
                                              i64 stride, int skip) {
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        left = plus(least(corner, above[c], left), SKIPS && c < skip ? 0 : costs[c * stride]);
        corner = above[c];
        above[c] = left;
    }
    return left;
}

// Two rows of D at once: what the first leaves is used up by the second, so nothing is moved between registers.
__device__ __forceinline__ void over_two_rows(Narrow (&above)[COLUMNS], Narrow &first, Narrow &second,
                                              const u32 *costs_first, const u32 *costs_second, i64 stride) {
    const Narrow zero = filled(Narrow{}, 0);
    Narrow corner = zero, between = zero;
    first = second = zero;
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) {
        const Narrow up = above[c], left = first;
        first = plus(least(corner, up, left), costs_first[c * stride]);
        second = plus(least(between, first, second), costs_second[c * stride]);
        corner = up, between = first;
        above[c] = second;
    }
}

// Grid: fours of patterns along y, rows along x; a block holds blockDim.x fours and blockDim.y rows. L is COLUMNS.
// ``table`` is cost, four patterns a number: ``fours`` of them, the last one may reach past ``patterns``.
extern "C" __global__ void __launch_bounds__(THREADS)
    subsequence_dtw_thread(const int *__restrict__ tokens, const long long *__restrict__ offsets,
                           const unsigned *__restrict__ table, int rows, int patterns, int fours,
                           int *__restrict__ distance, int *__restrict__ end) {
    const int four = blockIdx.y * blockDim.x + threadIdx.x;
    const i64 row = i64(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows || four >= fours) return;
    Narrow above[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) above[c] = filled(Narrow{}, Narrow::FAR);
    Best<Narrow> best;
    best.clear();
    const i64 begin = offsets[row];
    const int count = int(offsets[row + 1] - begin);
    const i64 apart = i64(COLUMNS) * fours;
    const u32 *const mine = table + four;
    int i = 0;
#if COLUMNS <= 32
#pragma unroll 1
    for (; i + 1 < count; i += 2) {
        Narrow first, second;
        over_two_rows(above, first, second, mine + tokens[begin + i] * apart, mine + tokens[begin + i + 1] * apart, fours);
        best.take(first, i);
        best.take(second, i + 1);
    }
#endif
#pragma unroll 1
    for (; i < count; i++) {
        const Narrow zero = filled(Narrow{}, 0);
        best.take(over_columns<false>(above, zero, zero, mine + tokens[begin + i] * apart, fours, 0), i);
    }
    best.write(distance, end, row * patterns + 4 * four, 4 * four, patterns);
}

#if COLUMNS <= 16
// A warp a row and four patterns, warps along x: row by row, fours first .. first + here - 1 of a row. ``edge`` State
// (N, here) keeps the last column of a stretch, where there are several.
template <class State>
__device__ __forceinline__ void over_lanes(const int *tokens, const i64 *offsets, const u32 *table, int rows,
                                           int patterns, int fours, int first, int here, int length, State *edge,
                                           int *distance, int *end) {
    const i64 warp = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / 32;
    const int lane = int(threadIdx.x % 32);
    if (warp >= i64(rows) * here) return;
    const i64 row = warp / here;
    const int four = first + int(warp % here);
    const i64 begin = offsets[row];
    const int count = int(offsets[row + 1] - begin);
    const int stretches = (length + 32 * COLUMNS - 1) / (32 * COLUMNS);
    State *const kept = edge + (begin - offsets[0]) * here + warp % here;
    Best<State> best;
    for (int stretch = 0; stretch < stretches; stretch++) {
        const int column = (stretch * 32 + lane) * COLUMNS - (stretches * 32 * COLUMNS - length);
        State above[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) above[c] = filled(State{}, State::FAR);
        best.clear();
        State last = filled(State{}, State::FAR), corner = filled(State{}, stretch || lane ? State::FAR : 0);
        for (int step = 0; step < count + 31; step++) {
            const int i = step - lane;
            const bool active = i >= 0 && i < count;
            State left = from_lane_before(last);
            if (active) {
                if (lane == 0) left = stretch ? kept[i64(i) * here] : filled(State{}, 0);
                const u32 *costs = table + (i64(tokens[begin + i]) * length + column) * fours + four;
                last = over_columns<true>(above, left, corner, costs, fours, -column);
                corner = left;
                if (lane == 31) {
                    best.take(last, i);
                    if (stretch + 1 < stretches) kept[i64(i) * here] = last;
                }
            }
        }
        __syncwarp();
    }
    if (lane == 31) best.write(distance, end, row * patterns + 4 * four, 4 * four, patterns);
}

// Up to 124 columns.
extern "C" __global__ void __launch_bounds__(THREADS)
    subsequence_dtw_warp(const int *__restrict__ tokens, const long long *__restrict__ offsets,
                         const unsigned *__restrict__ table, int rows, int patterns, int fours, int length,
                         int *__restrict__ distance, int *__restrict__ end) {
    over_lanes<Narrow>(tokens, offsets, table, rows, patterns, fours, 0, fours, length, nullptr, distance, end);
}

// Any number of columns. ``edge`` (tokens of all rows, here, 4).
extern "C" __global__ void __launch_bounds__(THREADS)
    subsequence_dtw_wide(const int *__restrict__ tokens, const long long *__restrict__ offsets,
                         const unsigned *__restrict__ table, int rows, int patterns, int fours, int first, int here,
                         int length, int *edge, int *__restrict__ distance, int *__restrict__ end) {
    over_lanes<Wide>(tokens, offsets, table, rows, patterns, fours, first, here, length,
                     reinterpret_cast<Wide *>(edge), distance, end);
}

#endif

// A cost and where its path begins in one number, so that the least is the cheapest path and of these the one that
// begins latest: the cost above SHIFT bits of how far the beginning lies from the last token.
template <class Number, int BITS> struct Key {
    static constexpr int SHIFT = BITS;
    static constexpr Number FAR = ~Number(0);  // never the least: D[i, -1] is finite
    using Type = Number;
};
using Short = Key<u32, 18>;
using Long = Key<u64, 32>;
// The cost of 48 columns takes 14 bits.
constexpr int MOST_SHORT = 1 << Short::SHIFT;

template <class Key>
__device__ __forceinline__ void pair_in_thread(const int *tokens, i64 begin, int count, const u8 *cost, i64 stride,
                                               int skip, int *distance, int *start, int *end) {
    using Number = typename Key::Type;
    Number above[COLUMNS];
#pragma unroll
    for (int c = 0; c < COLUMNS; c++) above[c] = Key::FAR;
    int best = NO_MATCH, begins = -1, ends = -1;
    for (int i = 0; i < count; i++) {
        const u8 *costs = cost + i64(tokens[begin + i]) * stride;
        Number left = Number(count - 1 - i), corner = left;
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) {
            const Number least = min(min(corner, above[c]), left);
            corner = above[c];
            left = least + (Number(c < skip ? 0 : costs[c]) << Key::SHIFT);
            above[c] = left;
        }
        const int here = int(left >> Key::SHIFT);
        if (here < best) {
            best = here, ends = i;
            begins = count - 1 - int(left & ((Number(1) << Key::SHIFT) - 1));
        }
    }
    *distance = best, *start = begins, *end = ends;
}

// A thread a pair. L is COLUMNS.
extern "C" __global__ void __launch_bounds__(THREADS)
    subsequence_dtw_pairs_thread(const int *__restrict__ tokens, const long long *__restrict__ offsets,
                                 const unsigned char *__restrict__ cost, const int *__restrict__ lengths,
                                 const int *__restrict__ rows, const int *__restrict__ patterns, int bank, int pairs,
                                 int *__restrict__ distance, int *__restrict__ start, int *__restrict__ end) {
    const int pair = blockIdx.x * blockDim.x + threadIdx.x;
    if (pair >= pairs) return;
    const int pattern = patterns[pair];
    const i64 begin = offsets[rows[pair]];
    const int count = int(offsets[rows[pair] + 1] - begin);
    const u8 *mine = cost + i64(pattern) * COLUMNS;
    const i64 stride = i64(bank) * COLUMNS;
    const int skip = COLUMNS - lengths[pattern];
    if (count <= MOST_SHORT)
        pair_in_thread<Short>(tokens, begin, count, mine, stride, skip, distance + pair, start + pair, end + pair);
    else
        pair_in_thread<Long>(tokens, begin, count, mine, stride, skip, distance + pair, start + pair, end + pair);
}

#if COLUMNS <= 16
// A warp a pair, any number of columns. ``edge`` (pairs, longest row), where there are several stretches.
extern "C" __global__ void __launch_bounds__(THREADS)
    subsequence_dtw_pairs_warp(const int *__restrict__ tokens, const long long *__restrict__ offsets,
                               const unsigned char *__restrict__ cost, const int *__restrict__ lengths,
                               const int *__restrict__ rows, const int *__restrict__ patterns, int bank, int columns,
                               int pairs, unsigned long long *edge, long long room, int *__restrict__ distance,
                               int *__restrict__ start, int *__restrict__ end) {
    const int pair = int((i64(blockIdx.x) * blockDim.x + threadIdx.x) / 32);
    const int lane = int(threadIdx.x % 32);
    if (pair >= pairs) return;
    const int pattern = patterns[pair], length = lengths[pattern];
    const i64 begin = offsets[rows[pair]];
    const int count = int(offsets[rows[pair] + 1] - begin);
    const int stretches = (length + 32 * COLUMNS - 1) / (32 * COLUMNS);
    const u8 *mine = cost + i64(pattern) * columns + (columns - length);
    u64 *const kept = edge + pair * room;
    int best, begins, ends;
    for (int stretch = 0; stretch < stretches; stretch++) {
        const int column = (stretch * 32 + lane) * COLUMNS - (stretches * 32 * COLUMNS - length);
        u64 above[COLUMNS];
#pragma unroll
        for (int c = 0; c < COLUMNS; c++) above[c] = Long::FAR;
        best = NO_MATCH, begins = ends = -1;
        u64 last = Long::FAR, corner = Long::FAR;
        for (int step = 0; step < count + 31; step++) {
            const int i = step - lane;
            u64 left = __shfl_up_sync(ALL_LANES, last, 1);
            if (i < 0 || i >= count) continue;
            if (lane == 0) left = stretch ? kept[i] : u64(count - 1 - i);
            const u8 *costs = mine + i64(tokens[begin + i]) * bank * columns + column;
            u64 value = left;
#pragma unroll
            for (int c = 0; c < COLUMNS; c++) {
                const u64 least = min(min(corner, above[c]), value);
                corner = above[c];
                value = least + (u64(column + c < 0 ? 0 : costs[c]) << Long::SHIFT);
                above[c] = value;
            }
            last = value, corner = left;
            if (lane == 31) {
                if (stretch + 1 < stretches) kept[i] = last;
                if (int(last >> Long::SHIFT) < best) {
                    best = int(last >> Long::SHIFT), ends = i;
                    begins = count - 1 - int(last & 0xFFFFFFFFu);
                }
            }
        }
        __syncwarp();
    }
    if (lane == 31) distance[pair] = best, start[pair] = begins, end[pair] = ends;
}
#endif
