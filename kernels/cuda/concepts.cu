// The language that most words of each row are of, and what they mean in it.
//
// values (N,) uint8   offsets, word_offsets (B+1,) int64   starts, ends (T,) int32   kinds (T,) uint8
// keys (S,) uint64   heads (S,) int32   sieve (V,) uint64   spoken (G, 4) uint64   group_from (G+1,) int32
// facts (E,) int32   part_from (E+1,) int32   parts (P, 3) int32   pool (M,) uint8   clitics (Q, 3) int32
// lang (B,) int16   sizes (B,) int32   concept_offsets (B+1,) int64, the running sum of sizes   concept (K,) uint8
// start, end (K,) int32   O(N)
// FNV-1a, draft-eastlake-fnv; linear probing.
//
// A warp takes a row, a lane a word, or a character of a script without spaces. First each looks up the languages that
// its beginnings are of, and votes. Then each looks for the longest entry of the language that won, and the warp goes
// over what was found from left to right, since an entry of several words covers those behind it. What is found lies
// with room between the rows at first; a second launch moves it together.
#include "stems.cuh"

constexpr int WARPS = 4, MOST_LANGUAGES = 64;

// Up to 32 beginnings one after the other, a lane each: words, and in scripts without spaces characters.
struct Beginnings {
    int word = 0, at = 0;  // the next one; ``at`` is 0 where a word begins
    int mine, mine_at;     // that of this lane
    u32 here, dense;       // lanes that have one; those of a script without spaces

    __device__ __forceinline__ bool next(const Words &words) {
        const int lane = int(threadIdx.x) % 32;
        if (word >= words.count) return false;
        const bool is = word + lane < words.count;
        mine = word + lane, mine_at = is ? words.starts[mine] : 0;
        dense = __ballot_sync(ALL_LANES, is && words.kinds[is ? mine : word] & DENSE);
        here = __ballot_sync(ALL_LANES, is);
        if (!dense) {
            word += 32;
            return true;
        }
        here = dense = 0;
        for (int k = 0; k < 32 && word < words.count; k++) {
            const bool is_dense = words.kinds[word] & DENSE;
            if (!at) at = words.starts[word];
            if (k == lane) mine = word, mine_at = at;
            here |= 1u << k;
            dense |= is_dense ? 1u << k : 0;
            if (is_dense) at += words.row[at] >= 0xF0 ? 4 : 3;
            if (!is_dense || at >= words.ends[word]) word++, at = 0;
        }
        return true;
    }
};

// Where the word goes on after the ``front`` of clitics that may be written onto it, or -1; two letters stay at least.
__device__ __forceinline__ int without(const Words &words, const Stems &stems, const int *front, int word) {
    const int begin = words.starts[word], size = front[1] - front[0];
    if (words.ends[word] - begin < size + 4) return -1;
    return stems.same(words.row + begin, front[0], size) ? begin + size : -1;
}

// Whether a word may have a clitic: it begins with a letter of Hebrew or Arabic.
__device__ __forceinline__ bool has_front(u32 byte) { return byte >= 0xD6 && byte <= 0xDB; }

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    concepts_read(const unsigned char *values, const long long *offsets, const long long *word_offsets,
                  const int *starts, const int *ends, const unsigned char *kinds, const unsigned long long *keys,
                  const int *heads, const unsigned long long *sieve, const unsigned long long *spoken,
                  const int *group_from, const int *facts, const int *part_from, const int *parts,
                  const unsigned char *pool, const int *clitics, long long slots, int fronts, int languages, int main,
                  int least, int bare, int rows, short *lang, int *sizes, unsigned char *wide_concept, int *wide_start,
                  int *wide_end) {
    __shared__ int all_votes[WARPS][MOST_LANGUAGES];
    int *const votes = all_votes[threadIdx.x / 32];
    const int lane = int(threadIdx.x) % 32;
    const i64 r = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (r >= rows) return;
    const i64 first = word_offsets[r];
    const Words words = {values + offsets[r], starts + first, ends + first, kinds + first,
                         int(word_offsets[r + 1] - first)};
    const Stems stems = {keys,       heads, u64(slots) - 1, sieve, spoken,
                         group_from, facts, part_from,      parts, pool};
    for (int k = lane; k < MOST_LANGUAGES; k += 32) votes[k] = 0;
    __syncwarp();
    float size_in_words = 0.0f;
    for (Beginnings units; units.next(words);) {
        if (units.here >> lane & 1) {
            const bool dense = units.dense >> lane & 1;
            u64 seen = stems.languages(words, units.mine_at, units.mine, ~u64(0));
            if (!dense && has_front(words.row[units.mine_at]))
                for (int k = 0; k < fronts; k++) {
                    const int at = without(words, stems, clitics + 3 * k, units.mine);
                    if (at >= 0) seen |= stems.languages(words, at, units.mine, u64(1) << clitics[3 * k + 2]);
                }
            for (; seen; seen &= seen - 1) atomicAdd(&votes[__ffsll(i64(seen)) - 1], dense ? 1 : 2);
        }
        // In the order of the text, as on the CPU: these are sums of float32.
        for (int k = 0; k < 32; k++)
            if (units.here >> k & 1) size_in_words += units.dense >> k & 1 ? 0.2f : 1.0f;
        __syncwarp();
    }
    int won = main;
    for (int other = 0; other < languages; other++)
        if (votes[other] > votes[won]) won = other;
    const bool known = votes[won] > 0 && votes[won] * 0.5 >= least / 100.0 * double(size_in_words);
    const i64 room = (offsets[r] - offsets[0]) / 2 + r;
    int over = 0, size = 0;
    for (Beginnings units; known && units.next(words);) {
        int past = 0, best = -1;
        if (units.here >> lane & 1) {
            const bool dense = units.dense >> lane & 1;
            stems.longest(words, units.mine_at, units.mine, won, past, best);
            if (!dense && has_front(words.row[units.mine_at]))
                for (int k = 0; k < fronts; k++) {
                    const int at = clitics[3 * k + 2] == won ? without(words, stems, clitics + 3 * k, units.mine) : -1;
                    if (at >= 0) stems.longest(words, at, units.mine, won, past, best);
                }
            if (best >= 0 && !dense && past < words.ends[units.mine]) past = words.ends[units.mine];
        }
        __syncwarp();
        u32 taken = 0;
        for (u32 left = __ballot_sync(ALL_LANES, best >= 0); left; left &= left - 1) {
            const int k = __ffs(int(left)) - 1;
            const int at = __shfl_sync(ALL_LANES, units.mine_at, k), to = __shfl_sync(ALL_LANES, past, k);
            if (at >= over) taken |= 1u << k, over = to;
        }
        const int meant = best >= 0 ? facts[best] >> 8 & 255 : bare;
        const bool said = (taken >> lane & 1) && meant != bare;
        const u32 all = __ballot_sync(ALL_LANES, said);
        if (said) {
            const i64 to = room + size + __popc(all & ((1u << lane) - 1));
            wide_concept[to] = u8(meant);
            wide_start[to] = units.mine_at;
            wide_end[to] = past;
        }
        size += __popc(all);
    }
    if (lane == 0) lang[r] = short(known ? won : -1), sizes[r] = size;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    concepts_moved(const long long *offsets, const long long *concept_offsets, int rows,
                   const unsigned char *wide_concept, const int *wide_start, const int *wide_end,
                   unsigned char *concept, int *start, int *end) {
    const i64 r = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (r >= rows) return;
    const i64 from = (offsets[r] - offsets[0]) / 2 + r, to = concept_offsets[r];
    for (i64 k = threadIdx.x % 32; k < concept_offsets[r + 1] - to; k += 32) {
        concept[to + k] = wide_concept[from + k];
        start[to + k] = wide_start[from + k];
        end[to + k] = wide_end[from + k];
    }
}
