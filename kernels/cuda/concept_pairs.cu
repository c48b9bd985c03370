// Concepts and near pairs of them as counted features: a launch that counts them, and one that writes them.
//
// concept (K,) uint8   concept_offsets (B+1,) int64   sizes (B,) int32   indptr (B+1,) int64, the running sum of sizes
// indices (Z,) int32   counts (Z,) float32   O(K reach)
// Knuth 1998, section 6.4 (linear probing).
//
// A warp takes a row, a lane a place: concept i alone or with one of the ``reach`` behind it. Each row has a table with
// twice as many slots as places; a slot belongs to the feature that claims it and keeps the first place of it, which no
// order of the lanes changes. A feature is written where its first place is met.
#include "common.cuh"

constexpr int WARPS = 4;
constexpr int LONE = 255, FREE = -1;
constexpr u32 SPREAD = 0x9E3779B1u;

struct Row {
    const u8 *concept;
    int size, wide;  // wide: places of one concept

    // The feature of a place, FREE behind the end of the row.
    __device__ __forceinline__ int feature(int place) const {
        const int first = place / wide, second = first + place % wide;
        if (second >= size) return FREE;
        const int a = concept[first], b = first == second ? LONE : concept[second];
        return first == second || a <= b ? a * 256 + b : b * 256 + a;
    }

    __device__ __forceinline__ int places() const { return size * wide; }

    __device__ __forceinline__ i64 slot(int feature) const {
        return i64(u64(u32(feature) * SPREAD) * (2 * u64(places())) >> 32);
    }

    __device__ __forceinline__ i64 after(i64 slot) const { return slot + 1 < 2 * i64(places()) ? slot + 1 : 0; }
};

__device__ __forceinline__ Row row_of(const u8 *concept, const i64 *concept_offsets, i64 r, int reach) {
    return {concept + concept_offsets[r], int(concept_offsets[r + 1] - concept_offsets[r]), reach + 1};
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    concept_pairs_sizes(const unsigned char *concept, const long long *concept_offsets, int reach, int rows,
                        int *firsts, int *times, int *sizes) {
    const i64 r = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (r >= rows) return;
    const Row row = row_of(concept, concept_offsets, r, reach);
    const i64 table = 2 * (concept_offsets[r] - concept_offsets[0]) * row.wide;
    int size = 0;
    for (int place = threadIdx.x % 32; place < row.places(); place += 32) {
        const int feature = row.feature(place);
        if (feature == FREE) continue;
        for (i64 slot = row.slot(feature);; slot = row.after(slot)) {
            const int held = atomicCAS(&firsts[table + slot], FREE, place);
            if (held != FREE && row.feature(held) != feature) continue;
            if (held == FREE) size++;
            else atomicMin(&firsts[table + slot], place);
            atomicAdd(&times[table + slot], 1);
            break;
        }
    }
    __syncwarp();
    size = __reduce_add_sync(ALL_LANES, size);
    if (threadIdx.x % 32 == 0) sizes[r] = size;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    concept_pairs_fill(const unsigned char *concept, const long long *concept_offsets, int reach, int rows,
                       const int *firsts, const int *times, const long long *indptr, int *indices, float *counts) {
    const i64 r = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (r >= rows) return;
    const u32 lane = threadIdx.x % 32;
    const Row row = row_of(concept, concept_offsets, r, reach);
    const i64 table = 2 * (concept_offsets[r] - concept_offsets[0]) * row.wide;
    i64 to = indptr[r];
    for (int chunk = 0; chunk < row.places(); chunk += 32) {
        const int place = chunk + int(lane), feature = place < row.places() ? row.feature(place) : FREE;
        i64 slot = 0;
        bool first = false;
        if (feature != FREE) {
            slot = row.slot(feature);
            while (row.feature(firsts[table + slot]) != feature) slot = row.after(slot);
            first = firsts[table + slot] == place;
        }
        const u32 found = __ballot_sync(ALL_LANES, first);
        if (first) {
            const i64 at = to + __popc(found & ((1u << lane) - 1));
            indices[at] = feature;
            counts[at] = float(times[table + slot]);
        }
        to += __popc(found);
    }
}
