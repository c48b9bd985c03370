// Where the words of folded text stand, in any script: a counting and a filling.
//
// values (N,) uint8   offsets (B+1,) int64   word_offsets (B+1,) int64, the running sum of sizes   sizes (B,) int32
// starts, ends (T,) int32   kinds (T,) uint8   O(N)
//
// A warp takes a row, a lane a byte. How long a character is says its first byte, so where characters begin is a chain
// from the start of the row: each lane says how far one at its byte would reach, and all lanes follow the chain. What a
// word is then is asked of masks of 32 bytes: the kind of the character before, and whether more than blanks stand
// between it and the word before.
#include "common.cuh"

constexpr int WARPS = 4;
constexpr int OF_WORD = 0, OF_DENSE = 1, BETWEEN = 2;
constexpr int DENSE = 1, LINKED = 2;

struct Character {
    int kind, size;
};

__device__ __forceinline__ Character character_at(const u8 *row, i64 at, i64 stop) {
    const u32 first = row[at];
    if (first < 0x80) {
        const u32 lower = first | 32;
        return {lower - 'a' < 26 || first - '0' < 10 ? OF_WORD : BETWEEN, 1};
    }
    const u32 second = at + 1 < stop ? row[at + 1] : 0;
    if (first < 0xE0) {
        const bool other = first == 0xC2 || (first == 0xD8 && (second == 0x8C || second == 0x9B || second == 0x9F));
        return {other ? BETWEEN : OF_WORD, 2};
    }
    const u32 third = at + 2 < stop ? row[at + 2] : 0;
    if (first >= 0xF0) return {first == 0xF0 && second >= 0xA0 ? OF_DENSE : BETWEEN, 4};
    if (first == 0xE0) {
        if (second == 0xB8 || second == 0xB9) return {OF_DENSE, 3};
        return {second == 0xA5 && (third == 0xA4 || third == 0xA5) ? BETWEEN : OF_WORD, 3};
    }
    if (first == 0xE2) return {BETWEEN, 3};
    if (first == 0xE3) return {second == 0x80 && third != 0x85 ? BETWEEN : OF_DENSE, 3};
    if (first <= 0xE9) return {OF_DENSE, 3};
    return {first == 0xEF && second >= 0xB8 ? BETWEEN : OF_WORD, 3};
}

__device__ __forceinline__ int highest(u32 mask) { return 31 - __clz(int(mask)); }

// The words of a row; how many. FILL: they are written, else only counted.
template <bool FILL>
__device__ __forceinline__ int words_of(const u8 *row, i64 size, int *starts, int *ends, u8 *kinds) {
    const u32 lane = threadIdx.x % 32, below = (1u << lane) - 1;
    i64 next = 0;
    int before = BETWEEN, count = 0;
    bool near = true;
    for (i64 chunk = 0; chunk < size; chunk += 32) {
        const i64 at = chunk + lane;
        const Character mine = at < size ? character_at(row, at, size) : Character{BETWEEN, 1};
        u32 begins = 0;
        while (next < chunk + 32 && next < size) {
            const int from = int(next - chunk);
            begins |= 1u << from;
            next += __shfl_sync(ALL_LANES, mine.size, from);
        }
        const u32 of_word = __ballot_sync(ALL_LANES, mine.kind == OF_WORD) & begins;
        const u32 of_dense = __ballot_sync(ALL_LANES, mine.kind == OF_DENSE) & begins;
        const u32 byte = at < size ? row[at] : ' ';
        const bool blank = byte == ' ' || byte == '\'' || byte == '-';
        const u32 hard = __ballot_sync(ALL_LANES, mine.kind == BETWEEN && !blank) & begins;
        // The character before this one.
        int previous = before;
        if (begins & below) {
            const int place = highest(begins & below);
            previous = of_word >> place & 1 ? OF_WORD : of_dense >> place & 1 ? OF_DENSE : BETWEEN;
        }
        const bool begun = begins >> lane & 1, differs = begun && mine.kind != previous;
        const u32 words = __ballot_sync(ALL_LANES, differs && mine.kind != BETWEEN), known = of_word | of_dense;
        const int nth = count + __popc(words & below);
        if (FILL && differs) {
            if (previous != BETWEEN) ends[nth - 1] = int(at);
            if (mine.kind != BETWEEN) {
                const bool any = known & below;
                const u32 since = any ? hard & below & ~((2u << highest(known & below)) - 1) : hard & below;
                starts[nth] = int(at);
                kinds[nth] = u8((mine.kind == OF_DENSE ? DENSE : 0) | (!since && (any || near) ? LINKED : 0));
            }
        }
        count += __popc(words);
        near = known ? !(hard & ~((2u << highest(known)) - 1)) : near && !hard;
        if (begins) {
            const int place = highest(begins);
            before = of_word >> place & 1 ? OF_WORD : of_dense >> place & 1 ? OF_DENSE : BETWEEN;
        }
    }
    if (FILL && before != BETWEEN && lane == 0) ends[count - 1] = int(size);
    return count;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    word_spans_sizes(const unsigned char *values, const long long *offsets, int rows, int *sizes) {
    const i64 r = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (r >= rows) return;
    const int size = words_of<false>(values + offsets[r], offsets[r + 1] - offsets[r], nullptr, nullptr, nullptr);
    if (threadIdx.x % 32 == 0) sizes[r] = size;
}

extern "C" __global__ void __launch_bounds__(32 * WARPS, 8)
    word_spans_fill(const unsigned char *values, const long long *offsets, const long long *word_offsets, int rows,
                    int *starts, int *ends, unsigned char *kinds) {
    const i64 r = i64(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (r >= rows) return;
    const i64 to = word_offsets[r];
    words_of<true>(values + offsets[r], offsets[r + 1] - offsets[r], starts + to, ends + to, kinds + to);
}
