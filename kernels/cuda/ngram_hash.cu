// Hashed counts of byte 3-5-grams, words and pairs of words of folded rows, by feature: a sizing and a filling.
//
// values (N,) uint8   offsets (B+1,) int64   sizes (B W,) int32   starts (B W + 1,) int64, the running sum of sizes
// indices, tally (Z,) int32   counts (Z,) float32   O(N W), W = max(1, 2 ^ (bits - 18))
// Weinberger et al. 2009, doi:10.1145/1553374.1553516, without the sign.
//
// An item is a row and a window of 2 ^ 18 features; a block takes one item after another. The features of an item are
// bits in shared memory: their order is that of the bits, and the place of one is the number of bits before it. So
// nothing is sorted, and the only atomics are on integers.
#include "words.cuh"

constexpr u64 GRAM3 = 0x9E3779B97F4A7C15ull, GRAM4 = 0xC2B2AE3D27D4EB4Full, GRAM5 = 0x165667B19E3779F9ull;
constexpr u64 WORD1 = 0xD6E8FEB86659FD93ull, WORD2 = 0xA0761D6478BD642Full;

constexpr int THREADS = 256, WARPS = THREADS / 32;
constexpr int PER_THREAD = 4, TILE = THREADS * PER_THREAD;
constexpr int WINDOW_BITS = 18, MASKS = (1 << WINDOW_BITS) / 32;
constexpr int GROUP = 8;  // masks that share one entry of ``before``

// Where a mask is kept: the 32 masks of a thread begin in another bank than those of its neighbours.
__device__ __forceinline__ u32 slot_of(u32 mask) { return (mask & ~31u) | ((mask ^ mask / 32) & 31); }

struct Text {
    u8 squeezed[2 * TILE];  // a ring over the row with its separators squeezed
    u64 words[TILE];        // a ring: where a word begins, then its hash
    u32 totals[WARPS];
};

struct Features {
    u32 masks[MASKS];           // which features there are, by slot
    u32 used[THREADS];          // which masks are not zero; those of one entry belong to the thread of its number
    u32 before[MASKS / GROUP];  // features before a group of masks
};

// The sum of ``value`` over the threads before this one, and over all. Between two calls the block has to meet.
__device__ __forceinline__ u32 sum_before(u32 value, u32 *totals, u32 &all) {
    const u32 lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    u32 upto = value;
#pragma unroll
    for (u32 step = 1; step < 32; step *= 2) {
        const u32 other = __shfl_up_sync(ALL_LANES, upto, step);
        if (lane >= step) upto += other;
    }
    if (lane == 31) totals[warp] = upto;
    __syncthreads();
    u32 sum = upto - value;
    all = 0;
#pragma unroll
    for (u32 w = 0; w < WARPS; w++) {
        if (w < warp) sum += totals[w];
        all += totals[w];
    }
    return sum;
}

// ``visit(product)`` for every gram, word and pair of words of the row; the feature is in the high bits of the product.
template <class Visit> __device__ __forceinline__ void each_feature(const Row &row, Text &text, Visit visit) {
    constexpr u32 RING = 2 * TILE - 1, WORDS = TILE - 1;
    u64 squeezed = 1, words = 0;
    if (threadIdx.x == 0) text.squeezed[0] = SPACE;
    // The place past the end is the last space.
    for (i64 tile = 0; tile <= row.size; tile += TILE) {
        const i64 first = tile + PER_THREAD * threadIdx.x;
        u32 bytes[PER_THREAD], kept = 0, begun = 0;
        u32 last = row.at(first - 1);
#pragma unroll
        for (int p = 0; p < PER_THREAD; p++) {
            bytes[p] = row.at(first + p);
            if (bytes[p] != SPACE || last != SPACE) kept |= 1u << p;
            if (row.begins(first + p)) begun |= 1u << p;
            last = bytes[p];
        }
        u32 all;
        const u32 mine = sum_before(__popc(kept) | __popc(begun) << 16, text.totals, all);
        u64 place = squeezed + (mine & 0xFFFF), word = words + (mine >> 16);
#pragma unroll
        for (int p = 0; p < PER_THREAD; p++) {
            if (kept >> p & 1) text.squeezed[place++ & RING] = u8(bytes[p]);
            if (begun >> p & 1) text.words[word++ & WORDS] = u64(first + p);
        }
        __syncthreads();
        const u64 squeezed_end = squeezed + (all & 0xFFFF), words_end = words + (all >> 16);
        for (u64 w = words + threadIdx.x; w < words_end; w += THREADS) {
            i64 begin = i64(text.words[w & WORDS]);
            text.words[w & WORDS] = row.hash(begin);
        }
        __syncthreads();
        for (u64 p = squeezed + threadIdx.x; p < squeezed_end; p += THREADS) {
            u64 gram = 0;
#pragma unroll
            for (int back = 4; back >= 0; back--) gram = gram << 8 | text.squeezed[(p - back) & RING];
            if (p >= 2) visit((gram & 0xFFFFFFull) * GRAM3);
            if (p >= 3) visit((gram & 0xFFFFFFFFull) * GRAM4);
            if (p >= 4) visit(gram * GRAM5);
        }
        for (u64 w = words + threadIdx.x; w < words_end; w += THREADS) {
            const u64 own = text.words[w & WORDS], other = w ? text.words[(w - 1) & WORDS] : 0;
            visit(own * WORD1);
            if (other) visit((own + other * 3) * WORD2);
        }
        squeezed = squeezed_end, words = words_end;
    }
}

__device__ __forceinline__ void clear(Features &features) {
    for (u32 m = threadIdx.x; m < MASKS; m += THREADS) features.masks[m] = 0;
    features.used[threadIdx.x] = 0;
    __syncthreads();
}

// Sets the bits of the features of a row that lie in a window. The block has met when it returns.
__device__ __forceinline__ void mark(const Row &row, u32 window, u32 shift, Text &text, Features &features) {
    each_feature(row, text, [&](u64 product) {
        const u32 feature = u32(product >> shift), mask = feature % (1u << WINDOW_BITS) / 32;
        if (feature >> WINDOW_BITS != window) return;
        const u32 others = atomicOr(&features.masks[slot_of(mask)], 1u << feature % 32);
        if (!others) atomicOr(&features.used[mask / 32], 1u << mask % 32);
    });
    __syncthreads();
}

// The features in the masks of this thread, which are left as they are, or cleared.
template <bool CLEARED> __device__ __forceinline__ u32 own_features(Features &features) {
    u32 sum = 0;
    for (u32 used = features.used[threadIdx.x]; used; used &= used - 1) {
        u32 &mask = features.masks[slot_of(threadIdx.x * 32 + u32(__ffs(int(used)) - 1))];
        sum += u32(__popc(mask));
        if (CLEARED) mask = 0;
    }
    if (CLEARED) features.used[threadIdx.x] = 0;
    return sum;
}

// The place of a feature among those of its item.
__device__ __forceinline__ u32 place_of(const Features &features, u32 feature) {
    const u32 mask = feature % (1u << WINDOW_BITS) / 32;
    u32 place = features.before[mask / GROUP] + u32(__popc(features.masks[slot_of(mask)] & ((1u << feature % 32) - 1)));
    for (u32 m = mask / GROUP * GROUP; m < mask; m++) place += u32(__popc(features.masks[slot_of(m)]));
    return place;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    ngram_hash_sizes(const unsigned char *values, const long long *offsets, long long items, int bits, int *sizes) {
    __shared__ Text text;
    __shared__ Features features;
    const u32 spread = u32(bits > WINDOW_BITS ? bits - WINDOW_BITS : 0);
    clear(features);
    for (i64 item = blockIdx.x; item < items; item += gridDim.x) {
        const i64 r = item >> spread;
        const u32 window = u32(item) & ((1u << spread) - 1);
        mark({values + offsets[r], offsets[r + 1] - offsets[r]}, window, u32(64 - bits), text, features);
        u32 all;
        sum_before(own_features<true>(features), text.totals, all);
        if (threadIdx.x == 0) sizes[item] = int(all);
        __syncthreads();
    }
}

extern "C" __global__ void __launch_bounds__(THREADS)
    ngram_hash_fill(const unsigned char *values, const long long *offsets, long long items, int bits,
                    const long long *starts, int *indices, int *tally, float *counts) {
    __shared__ Text text;
    __shared__ Features features;
    const u32 spread = u32(bits > WINDOW_BITS ? bits - WINDOW_BITS : 0), shift = u32(64 - bits);
    clear(features);
    for (i64 item = blockIdx.x; item < items; item += gridDim.x) {
        const Row row{values + offsets[item >> spread], offsets[(item >> spread) + 1] - offsets[item >> spread]};
        const u32 window = u32(item) & ((1u << spread) - 1);
        const i64 start = starts[item], size = starts[item + 1] - start;
        mark(row, window, shift, text, features);
        u32 all;
        u32 place = sum_before(own_features<false>(features), text.totals, all);
        u32 group = MASKS;
        for (u32 used = features.used[threadIdx.x]; used; used &= used - 1) {
            const u32 m = threadIdx.x * 32 + u32(__ffs(int(used)) - 1);
            if (m / GROUP != group) features.before[group = m / GROUP] = place;
            for (u32 mask = features.masks[slot_of(m)]; mask; mask &= mask - 1) {
                indices[start + place] = int(window << WINDOW_BITS | m * 32 | u32(__ffs(int(mask)) - 1));
                tally[start + place++] = 0;
            }
        }
        __syncthreads();
        each_feature(row, text, [&](u64 product) {
            const u32 feature = u32(product >> shift);
            if (feature >> WINDOW_BITS == window) atomicAdd(&tally[start + place_of(features, feature)], 1);
        });
        __syncthreads();
        for (i64 z = threadIdx.x; z < size; z += THREADS) counts[start + z] = float(tally[start + z]);
        own_features<true>(features);
        __syncthreads();
    }
}
