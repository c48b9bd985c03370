// Length of the longest common subsequence of each query row with each pattern row, 64 columns at a time.
//
// q_values (N,) uint8 or int32   q_offsets (B+1,) int64   p_values (M,)   p_offsets (P+1,) int64   length (B, P) int32
// O(N M / 64)
// Hyyrö, Bit-parallel LCS-length computation revisited, AWOCA 2004.
//
// A thread owns a query and a pattern, a row of the table of lengths is one word: 32 bits up to 32 symbols, 64 up to 64.
// Longer patterns take a lane a word, up to a whole warp; past 2048 symbols one stretch of words follows another.
#include "masks.cuh"

// A zero bit is a step of the row of the table.
template <class Word> struct Length {
    static constexpr u32 FIRST = 0;
    Word state = ~Word(0);

    __device__ __forceinline__ u32 step(Word mask, u32 carry) {
        const Word hit = state & mask, total = state + hit + carry;
        const u32 out = u32((hit | (state & ~total)) >> (BITS<Word> - 1));
        state = total | (state & ~mask);
        return out;
    }
    // A bit past the pattern is never hit, and so stays set.
    __device__ __forceinline__ int gained(Word) const { return ones<Word>(~state); }
    static __device__ __forceinline__ int start(int) { return 0; }
};

extern "C" __global__ void __launch_bounds__(THREADS)
    lcs_word32(const int *__restrict__ codes, const long long *__restrict__ q_offsets,
               const unsigned *__restrict__ table, const long long *__restrict__ p_offsets,
               const int *__restrict__ ids, int rows, int here, int patterns, int *__restrict__ length) {
    over_word<Length>(codes, q_offsets, table, p_offsets, ids, rows, here, patterns, length);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    lcs_word64(const int *__restrict__ codes, const long long *__restrict__ q_offsets,
               const unsigned long long *__restrict__ table, const long long *__restrict__ p_offsets,
               const int *__restrict__ ids, int rows, int here, int patterns, int *__restrict__ length) {
    over_word<Length>(codes, q_offsets, table, p_offsets, ids, rows, here, patterns, length);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    lcs_words(const int *__restrict__ codes, const long long *__restrict__ q_offsets,
              const unsigned long long *__restrict__ table, const long long *__restrict__ p_offsets,
              const int *__restrict__ ids, int rows, int here, int patterns, int words, int stretch, int goes_on,
              unsigned char *carried, int *length) {
    over_words<Length>(codes, q_offsets, table, p_offsets, ids, rows, here, patterns, words, stretch, goes_on != 0,
                       carried, length);
}
