// What kind of motion a series shows: sixteen numbers a row, nan where a row is too short for one.
//
// values (N,) float64, finite   offsets (B+1,) int64   waves (longest, 2 angles) float64   features (B, K) float64, K = 16
// floats: `width` float64 a block: row, misses, curve (longest + 1 each), walk (longest + 1, 2 angles), moves (angles for
// each step and once more)   ints: 2 (longest + 1) int32 a block: closest points, lines by length
// O(N^2 / B (dim + angles / 10))
// Rosenstein, Collins & De Luca 1993, doi:10.1016/0167-2789(93)90009-P; Marwan et al. 2007,
// doi:10.1016/j.physrep.2006.11.001; Gottwald & Melbourne 2009, doi:10.1137/080718851; Bandt & Pompe 2002,
// doi:10.1103/PhysRevLett.88.174102; Richman & Moorman 2000, doi:10.1152/ajpheart.2000.278.6.H2039.
//
// A block takes one row after another. A thread owns a point and looks for its closest one, then a diagonal of the plot,
// then a column, then a step of the divergence, then an angle of the 0-1 test. Counts are integer sums and every float
// sum is one thread's, so that the order of the threads does not matter. Squares are rounded before they are added, as on
// the CPU: else equally close points would not tie.
#include "common.cuh"

constexpr int FEATURES = 16;
constexpr double NOTHING = 1e300;

struct Counts {
    u64 off_band, points, alone, begun, twos, threes;
};

struct Plot {
    const double *x;
    i64 n, points, lag;
    int dim;
    double limit;

    __device__ __forceinline__ double square(i64 i, i64 j) const {
        const double gap = x[i] - x[j];
        return __dmul_rn(gap, gap);
    }
    __device__ __forceinline__ double distance(i64 i, i64 j) const {
        double sum = square(i, j);
        for (int q = 1; q < dim; q++) sum = __dadd_rn(sum, square(i + q * lag, j + q * lag));
        return sum;
    }
    __device__ __forceinline__ bool recurs(i64 i, i64 j) const {
        bool holds = true;
        for (int q = 0; q < dim; q++) holds = holds && square(i + q * lag, j + q * lag) <= limit;
        return holds;
    }
};

// Lines, matches and the mean squared difference of the pairs (i, i + d).
__device__ __forceinline__ void diagonal(const Plot &plot, i64 d, i64 separation, double variance, double *misses,
                                         int *lines, Counts *counts) {
    u64 off_band = 0, twos = 0, threes = 0;
    i64 run = 0;
    double sum = 0.0;
    for (i64 i = 0; i < plot.n - d; i++) {
        sum += plot.square(i, i + d);
        if (i < plot.n - 2 - d && plot.square(i, i + d) <= plot.limit && plot.square(i + 1, i + 1 + d) <= plot.limit) {
            twos++;
            threes += plot.square(i + 2, i + 2 + d) <= plot.limit;
        }
        if (d <= separation || i >= plot.points - d) continue;
        if (plot.recurs(i, i + d)) {
            off_band++;
            run++;
        } else if (run) {
            atomicAdd(&lines[run], 1);
            run = 0;
        }
    }
    if (run) atomicAdd(&lines[run], 1);
    if (d <= plot.n / 2) misses[d] = sum / (2.0 * variance * double(plot.n - d));
    atomicAdd(&counts->off_band, off_band);
    atomicAdd(&counts->twos, twos);
    atomicAdd(&counts->threes, threes);
}

// Points of a column, those on no line, and lines of two or more.
__device__ __forceinline__ void column(const Plot &plot, i64 j, Counts *counts) {
    u64 points = 0, alone = 0, begun = 0;
    bool before = false, here = plot.recurs(0, j);
    for (i64 i = 0; i < plot.points; i++) {
        const bool after = i + 1 < plot.points && plot.recurs(i + 1, j);
        points += here;
        alone += here && !before && !after;
        begun += here && !before && after;
        before = here;
        here = after;
    }
    atomicAdd(&counts->points, points);
    atomicAdd(&counts->alone, alone);
    atomicAdd(&counts->begun, begun);
}

// Mean log distance of all points and their closest ones, k steps on; NOTHING where all are equal.
__device__ __forceinline__ double apart(const Plot &plot, const int *closest, i64 near, i64 k, double variance) {
    double total = 0.0;
    i64 seen = 0;
    for (i64 i = 0; i < near; i++) {
        const double square = plot.distance(i + k, closest[i] + k);
        // Below is rounding.
        if (square > 1e-18 * variance) {
            total += 0.5 * log(square / variance);
            seen++;
        }
    }
    return seen ? total / double(seen) : NOTHING;
}

__device__ __forceinline__ double slope(const double *curve, i64 skip, i64 horizon) {
    double steps = 0.0, logs = 0.0, squares = 0.0, both = 0.0, used = 0.0;
    for (i64 k = skip; k < horizon; k++) {
        if (curve[k] == NOTHING) continue;
        used += 1.0;
        steps += double(k);
        logs += curve[k];
        squares += double(k) * double(k);
        both += double(k) * curve[k];
    }
    return used > 1.0 ? (used * both - steps * logs) / (used * squares - steps * steps) : nan("");
}

// The 0-1 test at one angle: the correlation of time with the mean squared displacement of a walk.
__device__ __forceinline__ double growth(const double *x, i64 n, double mean, const double *waves, int angles, int k,
                                         double *walk, double *moves) {
    const i64 steps = n / 10 > 4 ? n / 10 : 4, lanes = 2 * angles;
    double p = 0.0, q = 0.0;
    for (i64 i = 0; i < n; i++) {
        p += (x[i] - mean) * waves[i * lanes + k];
        q += (x[i] - mean) * waves[i * lanes + angles + k];
        walk[i * lanes + k] = p;
        walk[i * lanes + angles + k] = q;
    }
    double level = 0.0;
    for (i64 s = 1; s <= steps; s++) {
        double move = 0.0;
        for (i64 i = 0; i < n - steps; i++) {
            p = walk[(i + s) * lanes + k] - walk[i * lanes + k];
            q = walk[(i + s) * lanes + angles + k] - walk[i * lanes + angles + k];
            move += p * p + q * q;
        }
        moves[(s - 1) * angles + k] = move / double(n - steps);
        level += move / double(n - steps);
    }
    level /= double(steps);
    double along = 0.0, square = 0.0;
    for (i64 s = 0; s < steps; s++) {
        const double gap = moves[s * angles + k] - level;
        along += gap * (double(s) - double(steps - 1) / 2.0);
        square += gap * gap;
    }
    const double times = double(steps) * (double(steps) * double(steps) - 1.0) / 12.0;
    return square > 0.0 ? along / sqrt(square * times) : 0.0;
}

__device__ __forceinline__ double median(double *values, int count) {
    for (int i = 1; i < count; i++) {
        const double value = values[i];
        int place = i;
        for (; place && values[place - 1] > value; place--) values[place] = values[place - 1];
        values[place] = value;
    }
    return 0.5 * (values[(count - 1) / 2] + values[count / 2]);
}

// Normalised entropy of the orders of three values in a row; differences up to ``tie`` count as equal.
__device__ __forceinline__ double orders(const double *x, i64 n, double tie) {
    if (n < 3) return nan("");
    int seen[8] = {};
    for (i64 i = 0; i < n - 2; i++) {
        const int order = 4 * (x[i] - x[i + 1] > tie) + 2 * (x[i + 1] - x[i + 2] > tie) + (x[i] - x[i + 2] > tie);
#pragma unroll
        for (int k = 0; k < 8; k++) seen[k] += k == order;
    }
    double entropy = 0.0;
#pragma unroll
    for (int k = 0; k < 8; k++) {
        const double share = double(seen[k]) / double(n - 2);
        if (seen[k]) entropy -= share * log(share);
    }
    return entropy / log(6.0);
}

// Recurrence quantification, from what was counted.
__device__ __forceinline__ void recurrence(const Plot &plot, i64 separation, const Counts &counts, const int *lines,
                                           double *out) {
    const i64 sides = plot.points - separation;
    if (sides > 1) {
        double on_lines = 0.0, number = 0.0, longest = 0.0, entropy = 0.0;
        for (i64 size = 2; size < plot.points; size++) {
            on_lines += double(size) * double(lines[size]);
            number += double(lines[size]);
            if (lines[size]) longest = double(size);
        }
        for (i64 size = 2; size < plot.points; size++) {
            const double share = double(lines[size]) / number;
            if (lines[size]) entropy -= share * log(share);
        }
        out[1] = double(counts.off_band) / double(sides * (sides - 1) / 2);
        out[2] = counts.off_band ? on_lines / double(counts.off_band) : 0.0;
        out[3] = number > 0.0 ? on_lines / number : 0.0;
        out[4] = longest, out[5] = entropy;
    }
    if (plot.points > 0) {
        out[6] = double(counts.points - counts.alone) / double(counts.points);
        out[7] = counts.begun ? double(counts.points - counts.alone) / double(counts.begun) : 0.0;
    }
}

// The lag after which a row comes closest to itself again, once it went away.
__device__ __forceinline__ void period(i64 n, const double *misses, double *out) {
    out[11] = 0.0, out[12] = 1.0, out[15] = misses[1];
    i64 first = 1;
    while (first <= n / 2 && misses[first] < 0.5) first++;
    if (first > n / 2) return;
    double least = misses[first];
    for (i64 d = first; d <= n / 2; d++) least = fmin(least, misses[d]);
    while (misses[first] > least + 1e-9) first++;
    out[11] = double(first), out[12] = least;
}

// Six blocks fit a multiprocessor: 80 registers a thread, where ptxas alone takes 64 for sm_100 and spills.
extern "C" __global__ void __launch_bounds__(128, 6)
    attractor(const double *values, const long long *offsets, long long rows, long long longest, int dim, long long lag,
              long long separation, long long horizon, long long skip, int radius, int angles, int parts, const double *waves, double *floats,
              long long width, int *ints, double *features) {
    __shared__ Counts counts;
    __shared__ double mean, variance;
    __shared__ int power, moves_at_all;
    double *x = floats + i64(blockIdx.x) * width, *misses = x + longest + 1, *curve = misses + longest + 1;
    double *walk = curve + longest + 1, *moves = walk + (longest + 1) * 2 * angles;
    int *closest = ints + i64(blockIdx.x) * 2 * (longest + 1), *lines = closest + longest + 1;
    const i64 me = threadIdx.x, all = blockDim.x;

    for (i64 row = blockIdx.x; row < rows; row += gridDim.x) {
        const double *given = values + offsets[row];
        const i64 n = offsets[row + 1] - offsets[row];
        double *out = features + row * FEATURES;
        for (i64 k = me; k < FEATURES; k += all) out[k] = nan("");
        if (n < 2) continue;
        if (me == 0) {
            double size = 0.0;
            for (i64 i = 0; i < n; i++) size = fmax(size, fabs(given[i]));
            frexp(size, &power);
            counts = Counts{};
        }
        __syncthreads();
        // A power of two: scaling rounds nothing, and squares stay in range.
        for (i64 i = me; i < n; i += all) x[i] = ldexp(given[i], -power);
        for (i64 i = me; i <= n; i += all) lines[i] = 0;
        __syncthreads();
        if (me == 0) {
            double total = 0.0, square = 0.0, level = 0.0, rest = 0.0;
            for (i64 i = 0; i < n; i++) total += x[i];
            mean = total / double(n);
            for (i64 i = 0; i < n; i++) square = __dadd_rn(square, __dmul_rn(x[i] - mean, x[i] - mean));
            variance = square / double(n);
            const i64 late = n / 3 > 2 ? n / 3 : 2;
            for (i64 i = n - late; i < n; i++) level += x[i] / double(late);
            for (i64 i = n - late; i < n; i++) rest += (x[i] - level) * (x[i] - level);
            // What rounding makes of equal values is no motion.
            moves_at_all = square > double(n) * 1e-24;
            out[14] = moves_at_all ? rest / double(late) / variance : 0.0;
        }
        __syncthreads();
        if (moves_at_all) {
            const Plot plot{x, n, n - (dim - 1) * lag, lag, dim, double(radius) / 100.0 * (double(radius) / 100.0) * variance};
            i64 near = plot.points - horizon + 1;
            if (near < 2 * separation + 2 || !(parts & 1)) near = 0;
            for (i64 i = me; i < near; i += all) {
                double best = 1.0 / 0.0;
                i64 found = 0;
                for (i64 j = 0; j < near; j++) {
                    const i64 far = i < j ? j - i : i - j;
                    const double gap = far > separation ? plot.distance(i, j) : 1.0 / 0.0;
                    if (gap < best) best = gap, found = j;
                }
                closest[i] = int(found);
            }
            if (parts & 14)
                for (i64 d = 1 + me; d < n; d += all) diagonal(plot, d, separation, variance, misses, lines, &counts);
            if (parts & 2)
                for (i64 j = me; j < plot.points; j += all) column(plot, j, &counts);
            __syncthreads();
            if (near)
                for (i64 k = me; k < horizon; k += all) curve[k] = apart(plot, closest, near, k, variance);
            const bool is_long = angles && n >= 20;
            double *found = moves + (n / 10 > 4 ? n / 10 : 4) * angles;
            if (is_long)
                for (int k = int(me); k < angles; k += int(all))
                    found[k] = growth(x, n, mean, waves, angles, k, walk, moves);
            __syncthreads();
            if (me == 0) {
                if (parts & 2) recurrence(plot, separation, counts, lines, out);
                if (parts & 4) {
                    out[9] = orders(x, n, 1e-9 * sqrt(variance));
                    if (counts.threes) out[10] = log(double(counts.twos) / double(counts.threes));
                }
                if (parts & 8) period(n, misses, out);
                if (is_long) out[8] = median(found, angles);
                if (near) {
                    out[0] = slope(curve, skip, horizon);
                    const i64 after = (dim - 1) * lag + 1;
                    double wrong = 0.0, spread = 0.0;
                    for (i64 i = 0; i < near; i++) {
                        wrong += plot.square(i + after, closest[i] + after);
                        spread += (x[i + after] - mean) * (x[i + after] - mean);
                    }
                    if (spread > 0.0) out[13] = wrong / spread;
                }
            }
        }
        __syncthreads();
    }
}
