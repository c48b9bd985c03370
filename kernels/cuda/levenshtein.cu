// Least number of insertions, deletions and substitutions between each query and each pattern row, 64 columns at a time.
//
// q_values (N,) uint8 or int32   q_offsets (B+1,) int64   p_values (M,)   p_offsets (P+1,) int64   distance (B, P) int32
// O(N M / 64)
// Myers 1999, doi:10.1145/316542.316550; Hyyrö 2003, Nordic Journal of Computing 10(1), for more than one word.
//
// A thread owns a query and a pattern, a row of differences is two words: 32 bits up to 32 symbols, 64 up to 64. Longer
// patterns take a lane a word, up to a whole warp; past 2048 symbols one stretch of words follows another.
#include "masks.cuh"

// Where the next column is one more (``plus``) or one less; the carry is the difference at the border between two words
// of the rows above and below, bit 0 one more, bit 1 one less. Above the first word each row is one more.
template <class Word> struct Differences {
    static constexpr u32 FIRST = 1;
    Word plus = ~Word(0), minus = 0;

    __device__ __forceinline__ u32 step(Word equal, u32 carry) {
        const Word rise = carry & 1, fall = carry >> 1;
        const Word vertical = equal | minus;
        equal |= fall;
        const Word horizontal = (((equal & plus) + plus) ^ plus) | equal;
        const Word rises = minus | ~(horizontal | plus), falls = plus & horizontal;
        const Word shifted = rises << 1 | rise;
        plus = falls << 1 | fall | ~(vertical | shifted);
        minus = shifted & vertical;
        return u32(rises >> (BITS<Word> - 1)) | u32(falls >> (BITS<Word> - 1)) << 1;
    }
    __device__ __forceinline__ int gained(Word valid) const {
        return ones<Word>(plus & valid) - ones<Word>(minus & valid);
    }
    static __device__ __forceinline__ int start(int count) { return count; }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    levenshtein_word32(const int *__restrict__ codes, const long long *__restrict__ q_offsets,
                       const unsigned *__restrict__ table, const long long *__restrict__ p_offsets,
                       const int *__restrict__ ids, int rows, int here, int patterns, int *__restrict__ distance) {
    over_word<Differences>(codes, q_offsets, table, p_offsets, ids, rows, here, patterns, distance);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    levenshtein_word64(const int *__restrict__ codes, const long long *__restrict__ q_offsets,
                       const unsigned long long *__restrict__ table, const long long *__restrict__ p_offsets,
                       const int *__restrict__ ids, int rows, int here, int patterns, int *__restrict__ distance) {
    over_word<Differences>(codes, q_offsets, table, p_offsets, ids, rows, here, patterns, distance);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    levenshtein_words(const int *__restrict__ codes, const long long *__restrict__ q_offsets,
                      const unsigned long long *__restrict__ table, const long long *__restrict__ p_offsets,
                      const int *__restrict__ ids, int rows, int here, int patterns, int words, int stretch,
                      int goes_on, unsigned char *carried, int *distance) {
    over_words<Differences>(codes, q_offsets, table, p_offsets, ids, rows, here, patterns, words, stretch,
                            goes_on != 0, carried, distance);
}
