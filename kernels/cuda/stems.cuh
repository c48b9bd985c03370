// The table of aimds.kernels.stems, the words of a row, and where an entry ends that begins in one of these.
#pragma once

#include "hashing.cuh"

constexpr int LONGEST = 48;      // bytes of the longest stem
constexpr int MOST_BETWEEN = 5;  // words that may stand before a part that comes later
constexpr int BEGINS = 1, LATER = 2;
constexpr int IS_BEGINNING = 1 << 16, HAS_MORE = 1 << 17, MORE_LATER = 1 << 18, NEXT = 19;
constexpr u64 GOES_ON = 1, ENDS = 2;
constexpr int SIEVE_SHIFT = 44;
constexpr int DENSE = 1, LINKED = 2;

struct Words {
    const u8 *row;
    const int *starts, *ends;
    const u8 *kinds;
    int count;
};

struct Stems {
    const u64 *keys;
    const int *heads;
    u64 mask;
    const u64 *sieve, *spoken;
    const int *group_from, *facts, *part_from, *parts;
    const u8 *pool;

    // The group of entries whose stem has the key, negative where there is none.
    __device__ __forceinline__ int group(u64 key) const {
        u64 slot = key & mask;
        while (heads[slot] >= 0 && keys[slot] != key) slot = (slot + 1) & mask;
        return heads[slot];
    }

    __device__ __forceinline__ bool same(const u8 *text, int low, int size) const {
        for (int k = 0; k < size; k++)
            if (text[k] != pool[low + k]) return false;
        return true;
    }

    // Where the entry ends whose first part ends at ``at`` in or after ``word``, or -1: its further parts are the next
    // words. The words between are read as well where there may be some: it then ends with the first part.
    __device__ int followed(const Words &words, int at, int word, int entry) const {
        const int begun = at + 1;
        bool parted = false, inside = at < words.ends[word];
        const int flags = facts[entry];
        if (!inside && !(flags & MORE_LATER)) {
            // Most are refused by the first byte of what must come next.
            if (word + 1 >= words.count || words.row[words.starts[word + 1]] != flags >> NEXT) return -1;
        }
        for (int part = part_from[entry] + 1; part < part_from[entry + 1]; part++) {
            const int low = parts[3 * part], size = parts[3 * part + 1] - low, how = parts[3 * part + 2];
            parted |= how >= LATER;
            for (int passed = how >= LATER ? MOST_BETWEEN : 0;; passed--) {
                if (!inside) {
                    word++;
                    // Words of one entry stand in one sentence.
                    if (word >= words.count || !(words.kinds[word] & LINKED)) return -1;
                    at = words.starts[word];
                }
                inside = false;
                const int end = words.ends[word], length = end - at;
                const bool fits = length == size || (length > size && how & BEGINS);
                const bool met = fits && same(words.row + at, low, size);
                at = end;
                if (met) break;
                if (!passed) return -1;
            }
        }
        return parted ? begun : at;
    }

    // ``met(group, end, complete)`` for each stem that ``word`` has from ``begin`` on, the shortest first; ``complete``
    // where it may be the whole of the word.
    template <class Met>
    __device__ __forceinline__ void each(const Words &words, int begin, int word, Met met) const {
        const int end = words.ends[word], last = end < begin + LONGEST ? end : begin + LONGEST;
        const bool dense = words.kinds[word] & DENSE;
        u64 hash = FNV_BASIS;
        for (int at = begin; at < last;) {
            hash = with_byte(hash, words.row[at++]);
            const u64 key = mixed(hash), bit = key >> SIEVE_SHIFT, known = sieve[bit >> 5] >> ((bit & 31) << 1);
            if (!(known & GOES_ON)) return;
            if (!(known & ENDS) || (at < end && (words.row[at] & 0xC0) == 0x80)) continue;
            const int found = group(key);
            if (found >= 0) met(found, at, dense || at == end);
        }
    }

    // The languages of the mask ``among`` that have an entry which begins at ``begin`` in ``word``.
    __device__ __forceinline__ u64 languages(const Words &words, int begin, int word, u64 among) const {
        const int end = words.ends[word];
        const bool dense = words.kinds[word] & DENSE;
        u64 seen = 0;
        each(words, begin, word, [&](int found, int at, bool complete) {
            const u64 *known = spoken + 4 * i64(found);
            seen |= (known[0] | (complete ? known[1] : 0)) & among;
            u64 more = (known[2] | (complete ? known[3] : 0)) & among & ~seen;
            for (int entry = group_from[found]; more && entry < group_from[found + 1]; entry++) {
                const int flags = facts[entry];
                const u64 lang = u64(1) << (flags & 255);
                if (!(more & lang) || !(flags & HAS_MORE) || !(complete || flags & IS_BEGINNING)) continue;
                if (followed(words, dense ? at : end, word, entry) >= 0) seen |= lang, more &= ~lang;
            }
        });
        return seen;
    }

    // The longest entry of ``lang`` that begins at ``begin`` in ``word``, if it ends after ``past``, which becomes its
    // end; else ``best`` stays.
    __device__ __forceinline__ void longest(const Words &words, int begin, int word, int lang, int &past,
                                            int &best) const {
        const int end = words.ends[word];
        const bool dense = words.kinds[word] & DENSE;
        each(words, begin, word, [&](int found, int at, bool complete) {
            for (int entry = group_from[found]; entry < group_from[found + 1]; entry++) {
                const int flags = facts[entry];
                if ((flags & 255) != lang || !(complete || flags & IS_BEGINNING)) continue;
                const int to = flags & HAS_MORE ? followed(words, dense ? at : end, word, entry) : at;
                if (to > past) past = to, best = entry;
            }
        });
    }
};
