// Mean cosine of each row with the k nearest groups of a sparse bank, and the nearest group, from an inverted index.
//
// indptr (B+1,) int64   indices (Z,) int32   counts (Z,) float32   idf (F,) float32, finite   keys (S,) int32
// post_offsets (S+1,) int64   post_rows (E,) int32   post_values (E,) float32   reach (1,) float32, the largest of them
// in size   owner (N,) int32, ascending   score (B,) float32   group (B,) int32
// far: two words for each row of the bank and each block, where that is more than shared memory holds
// O(Z + postings met + B N), times at most 62 over the bank's groups alone
// Zobel & Moffat 2006, doi:10.1145/1132956.1132959, section 3.
//
// A block takes one row after another. A warp looks up 32 features at once and then goes over the postings of each that
// the bank knows, a lane a posting. Inner products are fixed-point sums, so that their order does not matter and rows
// of the bank that are equal tie. The k-th largest is found by halving the range of values.
#include "weights.cuh"

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr i64 NOTHING = -0x7FFFFFFFFFFFFFFFll - 1;

struct Bank {
    const int *keys;
    i64 slots;
    const i64 *post_offsets;
    const int *post_rows;
    const float *post_values;

    // The slot of a feature, -1 where the bank does not know it.
    __device__ __forceinline__ i64 find(int feature) const {
        i64 slot = feature & (slots - 1);
        while (keys[slot] >= 0 && keys[slot] != feature) slot = (slot + 1) & (slots - 1);
        return keys[slot] == feature ? slot : -1;
    }
};

__device__ __forceinline__ i64 larger(i64 a, i64 b) { return a < b ? b : a; }

// The largest of ``value`` over the block, in every thread.
__device__ __forceinline__ i64 largest_of_block(i64 value, i64 *parts) {
#pragma unroll
    for (int step = 16; step; step /= 2) value = larger(value, __shfl_xor_sync(ALL_LANES, value, step));
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = parts[0];
    for (int w = 1; w < WARPS; w++) value = larger(value, parts[w]);
    __syncthreads();
    return value;
}

// The sum of ``value`` over the block, in every thread.
__device__ __forceinline__ int count_of_block(int value, int *parts) {
    value = __reduce_add_sync(ALL_LANES, value);
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = value;
    __syncthreads();
    value = 0;
    for (int w = 0; w < WARPS; w++) value += parts[w];
    __syncthreads();
    return value;
}

// Adds the postings of the features of a row to ``dots``.
__device__ __forceinline__ void add_postings(const int *indices, const float *counts, const float *idf, i64 begin,
                                             i64 end, const Bank &bank, double unit, const Fixed &dots) {
    const int lane = int(threadIdx.x % 32);
    for (i64 first = begin + (threadIdx.x - lane); first < end; first += THREADS) {
        const i64 z = first + lane;
        const i64 slot = z < end ? bank.find(indices[z]) : -1;
        const double value = slot < 0 ? 0.0 : weight_of(counts[z], idf[indices[z]]);
        for (u32 known = __ballot_sync(ALL_LANES, slot >= 0); known; known &= known - 1) {
            const int from = __ffs(int(known)) - 1;
            const i64 at = __shfl_sync(ALL_LANES, slot, from);
            const double times = __shfl_sync(ALL_LANES, value, from);
            const i64 stop = bank.post_offsets[at + 1];
            for (i64 post = bank.post_offsets[at] + lane; post < stop; post += 32)
                dots.add(bank.post_rows[post], times * double(bank.post_values[post]), unit);
        }
    }
}

// ``visit(row)`` for the first row of every group. A thread always gets the same groups.
template <class Visit> __device__ __forceinline__ void each_group(const int *owner, i64 rows, Visit visit) {
    for (i64 n = threadIdx.x; n < rows; n += THREADS)
        if (!n || owner[n - 1] != owner[n]) visit(n);
}

extern "C" __global__ void __launch_bounds__(THREADS, 4)
    nearest(const long long *indptr, long long batch, const int *indices, const float *counts, const float *idf,
            const int *keys, long long slots, const long long *post_offsets, const int *post_rows,
            const float *post_values, const float *reach, const int *owner, long long rows, int k, unsigned *far,
            int is_far, float *score, int *group) {
    __shared__ double parts[WARPS];
    __shared__ i64 tops[WARPS];
    __shared__ int tallies[WARPS];
    DYNAMIC_SHARED(u32, near);
    u32 *const sums = is_far ? far + i64(blockIdx.x) * 2 * rows : near;
    const Fixed dots{sums, sums + rows};
    const Bank bank{keys, slots, post_offsets, post_rows, post_values};

    for (i64 r = blockIdx.x; r < batch; r += gridDim.x) {
        const i64 begin = indptr[r], end = indptr[r + 1];
        double square = 0.0;
        int met = 0;
        for (i64 z = begin + threadIdx.x; z < end; z += THREADS) {
            const double value = weight_of(counts[z], idf[indices[z]]);
            square += value * value;
            met |= bank.find(indices[z]) >= 0;
        }
        square = sum_of_block(square, parts);
        if (!__syncthreads_or(met) || square == 0.0) {
            if (threadIdx.x == 0) score[r] = 0.0f, group[r] = -1;
            continue;
        }
        const double unit = fixed_unit(square, end - begin, double(*reach));
        for (i64 n = threadIdx.x; n < rows; n += THREADS) dots.set(n, 0);
        __syncthreads();
        add_postings(indices, counts, idf, begin, end, bank, unit, dots);
        __syncthreads();

        // The first row of a group gets the inner product of the nearest one.
        i64 top = NOTHING, bottom = NOTHING;
        int groups = 0;
        each_group(owner, rows, [&](i64 n) {
            i64 most = dots.whole(n);
            for (i64 m = n + 1; m < rows && owner[m] == owner[n]; m++) most = larger(most, dots.whole(m));
            dots.set(n, most);
            top = larger(top, most), bottom = larger(bottom, -most);
            groups++;
        });
        top = largest_of_block(top, tops);
        bottom = -largest_of_block(bottom, tops);
        groups = count_of_block(groups, tallies);
        const int found = k < groups ? k : groups;

        // At most ``found`` groups are above ``high``, at least as many above ``low``.
        i64 low = bottom - 1, high = top;
        int above = 0;
        while (above != found && high - low > 1) {
            const i64 middle = low + (high - low) / 2;
            int many = 0;
            each_group(owner, rows, [&](i64 n) { many += dots.whole(n) > middle; });
            many = count_of_block(many, tallies);
            if (many <= found) {
                high = middle, above = many;
            } else {
                low = middle;
            }
        }
        double total = 0.0;
        i64 first = NOTHING;
        each_group(owner, rows, [&](i64 n) {
            const i64 most = dots.whole(n);
            if (most > high) total += double(most);
            if (most == top) first = larger(first, -i64(owner[n]));
        });
        total = sum_of_block(total, parts) + double(found - above) * double(high);
        first = -largest_of_block(first, tops);
        if (threadIdx.x == 0) {
            score[r] = unit > 0.0 ? float(total / found / unit / sqrt(square)) : 0.0f;
            group[r] = int(first);
        }
    }
}
