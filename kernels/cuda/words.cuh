// The word rule of kernels/words.py, and the hash of a word, for one row of folded text.
#pragma once

#include "hashing.cuh"

constexpr u32 SPACE = 32;

struct Row {
    const u8 *bytes;
    i64 size;

    // The byte to take at a place, SPACE for a separator and outside the row.
    __device__ __forceinline__ u32 at(i64 place) const {
        if (place < 0 || place >= size) return SPACE;
        const u32 byte = bytes[place];
        if (byte >= 0x80 || byte - 'a' < 26 || byte - '0' < 10) return byte;
        return byte - 'A' < 26 ? byte + 32 : SPACE;
    }

    // Whether a code point that is a word of its own begins there.
    __device__ __forceinline__ bool alone(i64 place) const {
        if (place < 0 || place + 2 >= size) return false;
        const u32 byte = bytes[place];
        return byte >= 0xE3 && byte <= 0xEF && (bytes[place + 1] & 0xC0) == 0x80 && (bytes[place + 2] & 0xC0) == 0x80;
    }

    // Whether a word begins there. Only three bytes to each side decide, so that any part of a row can be looked at.
    __device__ __forceinline__ bool begins(i64 place) const {
        if (at(place) == SPACE) return false;
        return at(place - 1) == SPACE || alone(place) || alone(place - 3);
    }

    // FNV-1a of the word that begins at ``place``, which is left behind its end. Eight bytes are read before the first
    // of them is used, so that a long word does not wait for each.
    __device__ __forceinline__ u64 hash(i64 &place) const {
        constexpr int AHEAD = 8;
        u64 hashed = FNV_BASIS;
        const i64 begin = place, end = alone(place) ? place + 3 : size;
        for (;;) {
            u32 next[AHEAD];
#pragma unroll
            for (int k = 0; k < AHEAD; k++) next[k] = at(place + k);
#pragma unroll
            for (int k = 0; k < AHEAD; k++) {
                if (place == end || next[k] == SPACE) return hashed;
                if (next[k] >= 0xE3 && place > begin && alone(place)) return hashed;
                hashed = with_byte(hashed, next[k]);
                place++;
            }
        }
    }
};
