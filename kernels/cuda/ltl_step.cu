// Steps of live sessions on the tables of automata with clocks, one after the other.
//
// table (T,) uint16   resets (T,) uint8   shape (P, K) int64   letters (P, M, Y) uint16   limits (C,) int64
// verdicts (Q,) uint8   sessions (N,) int64   values (N,) uint64   times (N,) int64   records (S, D) int64
// after (S, D) int64   verdict (N, P) uint8
// O(N P + S D)
// Bauer, Leucker & Schallhart 2011, doi:10.1145/2000799.2000800.
//
// A thread owns an automaton and a session, and takes the steps of that session: ``order`` has the steps of each
// together, ``starts`` where each begins. The time of a session is worked out from ``records`` by each of its threads,
// so that none waits for another.
#include "common.cuh"

extern "C" __global__ void __launch_bounds__(128)
    ltl_step(const unsigned short *table, const unsigned char *resets, const long long *shape,
             const unsigned short *letters, const long long *limits, const unsigned char *verdicts,
             const long long *sessions, const unsigned long long *values, const long long *times,
             const long long *records, const long long *order, const long long *starts, int groups, int automata,
             int bytes, int clocks, int width, long long *after, unsigned char *verdict) {
    const int group = int(blockIdx.x) * int(blockDim.y) + int(threadIdx.y);
    const int p = int(blockIdx.y) * int(blockDim.x) + int(threadIdx.x);
    if (group >= groups || p >= (automata > 1 ? automata : 1)) return;
    const i64 session = sessions[order[starts[group]]];
    i64 time = records[session * width];
    long long *record = after + session * width;
    u16 *states = reinterpret_cast<u16 *>(record + 1 + clocks);
    const long long *own = shape + i64(p) * 7;
    const i64 begin = starts[group], stop = starts[group + 1];
    i64 state = automata ? states[p] : 0;
    for (i64 at = begin; at < stop; at++) {
        const i64 step = order[at];
        if (times[step] > time) time = times[step];
        if (!automata) continue;
        i64 letter = 0;
        for (int b = 0; b < bytes; b++) letter |= letters[(i64(p) * bytes + b) * 256 + (values[step] >> 8 * b & 255)];
        for (int c = 0; c < own[4]; c++)
            letter |= i64(time - record[1 + own[3] + c] > limits[own[3] + c]) << (own[2] + c);
        const i64 cell = own[0] + state * own[1] + letter;
        for (int c = 0; c < own[4]; c++)
            if (resets[cell] >> c & 1) record[1 + own[3] + c] = time;
        state = table[cell];
        verdict[step * automata + p] = verdicts[own[5] + state];
    }
    if (automata) states[p] = u16(state);
    if (p == 0) record[0] = time;
}
