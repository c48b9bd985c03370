// What lcs and levenshtein share: masks of the patterns, and the walk over a query.
//
// Bit k of table[symbol, lane, word] says that the symbol stands at place k of that word of the lane's pattern; row 0 is
// of symbols that no pattern has. A Column is what a kernel keeps of one word of the pattern: it takes the mask of each
// symbol of the query and a carry from the word before, and gives a carry to the word after.
#pragma once
#include "common.cuh"

constexpr int THREADS = 128;

template <class Word> constexpr int BITS = int(8 * sizeof(Word));

template <class Word> __device__ __forceinline__ int ones(Word word) {
    return sizeof(Word) == 8 ? __popcll(word) : __popc(u32(word));
}

// The low ``rest`` bits; none below 1, all above the width.
template <class Word> __device__ __forceinline__ Word low_bits(i64 rest) {
    if (rest >= BITS<Word>) return ~Word(0);
    return rest < 1 ? Word(0) : (Word(1) << rest) - 1;
}

// The places of a word in the values of the patterns: those of a lane, ``skip`` symbols left out, or none.
template <class Word> struct Places {
    i64 begin, end;

    __device__ __forceinline__ Places(const i64 *p_offsets, const int *ids, int lane, int word, i64 skip) {
        const i64 stop = p_offsets[ids[lane] + 1];
        begin = p_offsets[ids[lane]] + skip + i64(word) * BITS<Word>;
        end = begin + BITS<Word> < stop ? begin + BITS<Word> : stop;
    }
};

// used[code] becomes 1 where a pattern has the symbol. A thread a word of a lane; two may write the same 1.
extern "C" __global__ void __launch_bounds__(THREADS)
    masks_used(const int *__restrict__ p_codes, const long long *__restrict__ p_offsets, const int *__restrict__ ids,
               int here, int words, long long skip, int *used) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= here * words) return;
    const Places<u64> places(p_offsets, ids, at / words, at % words, skip);
    for (i64 i = places.begin; i < places.end; i++) used[p_codes[i]] = 1;
}

// Sets the bits of ``table`` (rows, here, words), which is zero. A thread a word of a lane, the only one to write it.
template <class Word>
__device__ __forceinline__ void fill(const int *p_codes, const i64 *p_offsets, const int *ids, const int *slots,
                                     int here, int words, i64 skip, Word *table) {
    const int at = blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= here * words) return;
    const Places<Word> places(p_offsets, ids, at / words, at % words, skip);
    for (i64 i = places.begin; i < places.end; i++)
        table[i64(slots[p_codes[i]]) * here * words + at] |= Word(1) << (i - places.begin);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    masks_fill32(const int *__restrict__ p_codes, const long long *__restrict__ p_offsets,
                 const int *__restrict__ ids, const int *__restrict__ slots, int here, int words, long long skip,
                 unsigned *table) {
    fill(p_codes, p_offsets, ids, slots, here, words, skip, table);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    masks_fill64(const int *__restrict__ p_codes, const long long *__restrict__ p_offsets,
                 const int *__restrict__ ids, const int *__restrict__ slots, int here, int words, long long skip,
                 unsigned long long *table) {
    fill(p_codes, p_offsets, ids, slots, here, words, skip, table);
}

// A thread a query row and a pattern of one word; see rows_by_lanes of launch.py.
template <template <class> class Column, class Word>
__device__ __forceinline__ void over_word(const int *codes, const i64 *q_offsets, const Word *table,
                                          const i64 *p_offsets, const int *ids, int rows, int here, int patterns,
                                          int *out) {
    const int lane = blockIdx.y * blockDim.x + threadIdx.x;
    const i64 row = i64(blockIdx.x) * blockDim.y + threadIdx.y;
    if (row >= rows || lane >= here) return;
    const int id = ids[lane];
    const i64 begin = q_offsets[row];
    const int count = int(q_offsets[row + 1] - begin);
    Column<Word> column;
#pragma unroll 4
    for (int i = 0; i < count; i++) column.step(table[i64(codes[begin + i]) * here + lane], Column<Word>::FIRST);
    const Word valid = low_bits<Word>(p_offsets[id + 1] - p_offsets[id]);
    out[row * patterns + id] = Column<Word>::start(count) + column.gained(valid);
}

// ``words`` lanes of a warp (a power of two) a query row and a pattern, a word each, side by side: row by row. A lane is
// one symbol of the query behind the lane before, whose carry it takes. A pattern that goes on past these words has
// stretches: ``carried`` (symbols of all queries, here) is what the last word of a stretch gives to the next.
template <template <class> class Column>
__device__ __forceinline__ void over_words(const int *codes, const i64 *q_offsets, const u64 *table,
                                           const i64 *p_offsets, const int *ids, int rows, int here, int patterns,
                                           int words, int stretch, bool goes_on, u8 *carried, int *out) {
    const i64 group = (i64(blockIdx.x) * blockDim.x + threadIdx.x) / words;
    const int word = int(threadIdx.x) & (words - 1);
    const bool exists = group < i64(rows) * here;
    const i64 row = exists ? group / here : 0;
    const int lane = exists ? int(group % here) : 0;
    const int id = ids[lane];
    const i64 begin = q_offsets[row];
    const int count = exists ? int(q_offsets[row + 1] - begin) : 0;
    u8 *const kept = carried + (begin - q_offsets[0]) * here + lane;
    Column<u64> column;
    u32 carry = 0;
    // All lanes of a warp take part in each exchange, whatever the lengths of their queries.
    const int steps = int(__reduce_max_sync(ALL_LANES, unsigned(count))) + words - 1;
    for (int step = 0; step < steps; step++) {
        const int i = step - word;
        u32 before = __shfl_up_sync(ALL_LANES, carry, 1, words);
        if (i >= 0 && i < count) {
            if (word == 0) before = stretch ? kept[i64(i) * here] : Column<u64>::FIRST;
            carry = column.step(table[(i64(codes[begin + i]) * here + lane) * words + word], before);
            if (goes_on && word == words - 1) kept[i64(i) * here] = u8(carry);
        }
    }
    const i64 rest = p_offsets[id + 1] - p_offsets[id] - (i64(stretch) * words + word) * 64;
    int gained = column.gained(low_bits<u64>(rest));
    for (int other = words / 2; other > 0; other /= 2) gained += __shfl_xor_sync(ALL_LANES, gained, other, words);
    if (!exists || word) return;
    int *const to = out + row * patterns + id;
    *to = gained + (stretch ? *to : Column<u64>::start(count));
}
