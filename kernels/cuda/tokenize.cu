// The words of folded rows as token ids with their byte ranges: a counting and a filling.
//
// values (N,) uint8   offsets (B+1,) int64   rows (G,) int32, the row of a segment   firsts (B+1,) int64, the first
// segment of a row   sizes (G,) int32, words that begin in a segment   placed (G+1,) int64, the running sum of sizes
// row_starts (B+1,) int64, the first token of a row   tokens, starts, ends (T,) int32   keys (S,) uint64
// ids (S,) int32   O(N)
// FNV-1a, draft-eastlake-fnv; linear probing.
//
// A segment is 4096 bytes of a row and belongs to one warp, a lane a byte. Three bytes to each side tell where a word
// begins, so segments need nothing of each other, and one long row keeps as many warps busy as many short ones.
#include "words.cuh"

constexpr int WARPS = 4;
constexpr i64 SEGMENT = 4096;

struct Segment {
    Row row;
    i64 begin, end;
};

__device__ __forceinline__ Segment segment_of(const u8 *values, const i64 *offsets, i64 row, i64 part) {
    const i64 size = offsets[row + 1] - offsets[row], begin = part * SEGMENT;
    return {{values + offsets[row], size}, begin, begin + SEGMENT < size ? begin + SEGMENT : size};
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    tokenize_sizes(const unsigned char *values, const long long *offsets, const int *rows, const long long *firsts,
                   long long segments, int *sizes) {
    const i64 s = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (s >= segments) return;
    const Segment segment = segment_of(values, offsets, rows[s], s - firsts[rows[s]]);
    int size = 0;
    for (i64 at = segment.begin + threadIdx.x % 32; at < segment.end; at += 32) size += segment.row.begins(at);
    __syncwarp();
    size = __reduce_add_sync(ALL_LANES, size);
    if (threadIdx.x % 32 == 0) sizes[s] = size;
}

// The id of a word, ``unknown`` where the table has none.
__device__ __forceinline__ int look_up(u64 hash, const u64 *keys, const int *ids, u64 mask, int unknown) {
    for (u64 slot = hash & mask; ids[slot] >= 0; slot = (slot + 1) & mask)
        if (keys[slot] == hash) return ids[slot];
    return unknown;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    tokenize_fill(const unsigned char *values, const long long *offsets, const int *rows, const long long *firsts,
                  long long segments, const long long *placed, const long long *row_starts, long long max_tokens,
                  const unsigned long long *keys, const int *ids, long long slots, const int *unknown, int *tokens,
                  int *starts, int *ends) {
    // Where words begin, until there is one for every lane.
    __shared__ int queues[WARPS][64];
    int *queue = queues[threadIdx.x / 32];
    const u32 lane = threadIdx.x % 32;
    const i64 s = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (s >= segments) return;
    const i64 r = rows[s];
    const Segment segment = segment_of(values, offsets, r, s - firsts[r]);
    i64 nth = placed[s] - placed[firsts[r]];
    int queued = 0;
    for (i64 chunk = segment.begin; chunk < segment.end; chunk += 32) {
        if (max_tokens && nth >= max_tokens) return;
        const i64 place = chunk + lane;
        const bool begins = place < segment.end && segment.row.begins(place);
        const u32 found = __ballot_sync(ALL_LANES, begins);
        if (begins) queue[queued + __popc(found & ((1u << lane) - 1))] = int(place);
        queued += __popc(found);
        __syncwarp();
        while (queued >= 32 || (queued && chunk + 32 >= segment.end)) {
            if (int(lane) < queued && (!max_tokens || nth + lane < max_tokens)) {
                i64 end = queue[lane];
                const u64 hash = mixed(segment.row.hash(end));
                const i64 out = row_starts[r] + nth + lane;
                tokens[out] = look_up(hash, keys, ids, u64(slots) - 1, *unknown);
                starts[out] = queue[lane];
                ends[out] = int(end);
            }
            const int rest = queue[32 + lane];
            __syncwarp();
            queue[lane] = rest;
            __syncwarp();
            nth += 32;
            queued = queued > 32 ? queued - 32 : 0;
        }
    }
}
