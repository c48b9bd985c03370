// Whether formulas hold at the start of rows of steps: 64 rows a word, one sweep forward for the past, one back.
//
// values (N,) uint64   offsets (B+1,) int64   shifts (A,) int64   past (O, 4) int64   future (U, 4) int64
// results (R,) int64   holds (R, W) uint64, W = ceil(B / 64)
// O(N (A + O + U) / 64)
// De Giacomo & Vardi, IJCAI 2013; Havelund & Roşu 2002, doi:10.1007/3-540-46002-0_24 (past).
//
// ``order`` are the rows that have steps, by rising length, so that those of a word are of like lengths. A warp cuts one
// step of 64 rows into words, a bit a row; then a thread owns a word and goes over its steps. What threads side by side
// own lies side by side. The rows of a program come as copies, begins, operations, and what is kept. A launch is over the
// steps ``start`` to ``stop`` of some words, whose ``held`` slots go on from the launch before.
#include "common.cuh"

constexpr int WORD = 64;

__device__ __forceinline__ i64 length_of(const long long *offsets, i64 row) { return offsets[row + 1] - offsets[row]; }

extern "C" __global__ void __launch_bounds__(128, 8)
    ltl_batch_spread(const unsigned long long *values, const long long *offsets, const long long *order,
                     const long long *shifts, int events, int inputs, int rows, int first, int words, int start,
                     int stop, unsigned long long *bits) {
    const int lane = int(threadIdx.x) % 32, warps = int(blockDim.x) / 32, word = int(blockIdx.x);
    i64 begin[2], length[2];
    for (int half = 0; half < 2; half++) {
        const i64 place = (i64(first) + word) * WORD + 32 * half + lane;
        begin[half] = place < rows ? offsets[order[place]] : 0;
        length[half] = place < rows ? length_of(offsets, order[place]) : 0;
    }
    for (int at = start + int(blockIdx.y) * warps + int(threadIdx.x) / 32; at < stop; at += int(gridDim.y) * warps) {
        const u64 low = at < length[0] ? values[begin[0] + at] : 0, high = at < length[1] ? values[begin[1] + at] : 0;
        for (int event = 0; event < events; event++) {
            const u32 below = __ballot_sync(ALL_LANES, int(low >> shifts[event] & 1));
            const u32 above = __ballot_sync(ALL_LANES, int(high >> shifts[event] & 1));
            if (lane == 0) bits[(i64(at - start) * inputs + event) * words + word] = u64(above) << 32 | below;
        }
    }
}

// One step of a word: ``begun`` are the rows of it that begin, in the direction of the sweep, in this step. Slots and
// inputs of one word lie ``words`` apart.
__device__ __forceinline__ void stepped(const long long *program, int copies, int begins, int operations, int keeps,
                                        u64 begun, int inputs, int words, unsigned long long *slot,
                                        unsigned long long *bits) {
    const long long *row = program;
    for (int k = 0; k < copies; k++, row += 4) slot[row[1] * words] = slot[row[2] * words];
    for (int k = 0; k < begins; k++, row += 4)
        slot[row[1] * words] = (slot[row[1] * words] & ~begun) | (row[2] ? begun : 0);
    for (int k = 0; k < inputs; k++) slot[i64(k) * words] = bits[i64(k) * words];
    for (int k = 0; k < operations; k++, row += 4) {
        const u64 left = slot[row[2] * words], right = slot[row[3] * words], before = slot[row[1] * words];
        u64 made = 0;
        switch (row[0]) {
        case 0: made = left & right; break;
        case 1: made = left | right; break;
        case 2: made = ~left; break;
        case 3: made = right | (left & before); break;
        default: made = right & (left | before); break;
        }
        slot[row[1] * words] = made;
    }
    for (int k = 0; k < keeps; k++, row += 4) bits[row[1] * words] = slot[row[2] * words];
}

extern "C" __global__ void __launch_bounds__(128, 8)
    ltl_batch_past(const long long *offsets, const long long *order, const long long *past, int copies, int begins,
                   int operations, int keeps, int events, int rows, int first, int words, int start, int stop,
                   unsigned long long *held, unsigned long long *bits) {
    const int word = int(blockIdx.x) * int(blockDim.x) + int(threadIdx.x);
    if (word >= words) return;
    const i64 base = (i64(first) + word) * WORD, last = rows - base < WORD ? rows - 1 : base + WORD - 1;
    const i64 longest = length_of(offsets, order[last]), apart = i64(events + keeps) * words;
    for (i64 at = start; at < (longest < stop ? longest : stop); at++)
        stepped(past, copies, begins, operations, keeps, at ? 0 : ~u64(0), events, words, held + word,
                bits + word + (at - start) * apart);
}

extern "C" __global__ void __launch_bounds__(128, 8)
    ltl_batch(const long long *offsets, const long long *order, const long long *future, int copies, int begins,
              int operations, const long long *results, int wanted, int inputs, int rows, int first, int words,
              int start, int stop, int across, unsigned long long *held, unsigned long long *bits,
              unsigned long long *holds) {
    const int word = int(blockIdx.x) * int(blockDim.x) + int(threadIdx.x);
    if (word >= words) return;
    const i64 base = (i64(first) + word) * WORD;
    const int here = rows - base < WORD ? int(rows - base) : WORD;
    const i64 longest = length_of(offsets, order[base + here - 1]), apart = i64(inputs) * words;
    unsigned long long *slot = held + word;
    int left = here - 1;
    while (left >= 0 && length_of(offsets, order[base + left]) > stop) left--;
    for (i64 at = (longest < stop ? longest : stop) - 1; at >= start; at--) {
        u64 begun = 0;
        for (; left >= 0 && length_of(offsets, order[base + left]) == at + 1; left--) begun |= u64(1) << left;
        stepped(future, copies, begins, operations, 0, begun, inputs, words, slot, bits + word + (at - start) * apart);
    }
    if (start) return;
    for (int k = 0; k < wanted; k++) {
        const u64 found = slot[results[k] * words];
        for (int bit = 0; bit < here; bit++) {
            const i64 row = order[base + bit];
            if (found >> bit & 1) atomicOr(&holds[i64(k) * across + row / WORD], u64(1) << row % WORD);
        }
    }
}
