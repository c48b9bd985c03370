// The k rows of a bank with the largest inner product with each query; equal scores go to the lower id.
//
// queries (B, D) float32   bank (N, D) float32   squares (B,) and (N,) float64, squared lengths   largest (1,) float64
// peaks (B, P) float32, P = ceil(N / 8)   scores (B, K) float32   ids (B, K) int32   keys (B, N) uint64   O(B N D)
// Higham 2002, doi:10.1137/1.9780898718027, section 3.1 (error bound of an inner product).
//
// topk_peaks is a matrix product in float32 that keeps only the largest score of eight neighbouring rows of the bank.
// The k-th largest peak is at most the k-th largest score, so every row that belongs in the answer lies in an octet
// whose peak is no more than twice the error bound below it. topk_rescore takes those octets, about k of them, and
// scores their rows in float64 in the order of the columns: the answer depends on nothing else. topk_keys scores all
// rows that way, for k beyond 128.
#include "common.cuh"

constexpr int OCTET = 8;
constexpr int TILE_QUERIES = 64, TILE_ROWS = 128, TILE_DEPTH = 16;
constexpr int THREADS = 256, ACROSS = TILE_ROWS / OCTET;  // a thread has one octet and QUERIES queries
constexpr int QUERIES = TILE_QUERIES / (THREADS / ACROSS);
constexpr int RESCORERS = 128;  // also the most of k that topk_rescore keeps
constexpr int APART = 4;         // columns of shared memory begin in different banks
constexpr u64 NO_KEY = ~0ull;

// An order of unsigned integers that is that of the floats; NaN is above all, and 0 equals -0.
__device__ __forceinline__ u32 ordered(float value) {
    if (value != value) return ~0u;
    const u32 bits = __float_as_uint(value + 0.0f);
    return bits >> 31 ? ~bits : bits | 1u << 31;
}

__device__ __forceinline__ float unordered(u32 order) {
    return __uint_as_float(order >> 31 ? order & ~(1u << 31) : ~order);
}

// Of two keys the smaller comes first: the larger score, of equal ones the lower id.
__device__ __forceinline__ u64 key_of(float score, u32 id) { return u64(~ordered(score)) << 32 | id; }

// The float64 inner product in the order of the columns, rounded once. A product of two floats is exact in float64.
__device__ __forceinline__ float exact(const float *query, const float *row, int dim) {
    double sum = 0.0;
    for (int d = 0; d < dim; d++) sum += double(query[d]) * double(row[d]);
    return float(sum);
}

extern "C" __global__ void __launch_bounds__(THREADS)
    topk_squares(const float *rows, long long count, int dim, double *squares) {
    const i64 r = i64(blockIdx.x) * (THREADS / 32) + threadIdx.x / 32;
    if (r >= count) return;
    double sum = 0.0;
    for (int d = int(threadIdx.x % 32); d < dim; d += 32) sum += double(rows[r * dim + d]) * double(rows[r * dim + d]);
    __syncwarp();
#pragma unroll
    for (int step = 16; step; step /= 2) sum += __shfl_xor_sync(ALL_LANES, sum, step);
    if (threadIdx.x % 32 == 0) squares[r] = sum;
}

extern "C" __global__ void __launch_bounds__(THREADS)
    topk_peaks(const float *queries, int batch, const float *bank, int count, int dim, float *peaks) {
    // By column, so that a thread reads its queries and its octet of rows as whole vectors.
    __shared__ __align__(16) float some_queries[TILE_DEPTH][TILE_QUERIES + APART];
    __shared__ __align__(16) float some_rows[TILE_DEPTH][TILE_ROWS + APART];
    const int across = int(threadIdx.x) % ACROSS, down = int(threadIdx.x) / ACROSS;
    const int first_query = int(blockIdx.y) * TILE_QUERIES, first_row = int(blockIdx.x) * TILE_ROWS;
    float sums[QUERIES][OCTET] = {};
    for (int depth = 0; depth < dim; depth += TILE_DEPTH) {
        for (int i = int(threadIdx.x); i < TILE_QUERIES * TILE_DEPTH; i += THREADS) {
            const int q = i / TILE_DEPTH, d = i % TILE_DEPTH;
            const bool inside = first_query + q < batch && depth + d < dim;
            some_queries[d][q] = inside ? queries[i64(first_query + q) * dim + depth + d] : 0.0f;
        }
        for (int i = int(threadIdx.x); i < TILE_ROWS * TILE_DEPTH; i += THREADS) {
            const int n = i / TILE_DEPTH, d = i % TILE_DEPTH;
            const bool inside = first_row + n < count && depth + d < dim;
            some_rows[d][n] = inside ? bank[i64(first_row + n) * dim + depth + d] : 0.0f;
        }
        __syncthreads();
#pragma unroll
        for (int d = 0; d < TILE_DEPTH; d++) {
            float own[QUERIES], octet[OCTET];
#pragma unroll
            for (int q = 0; q < QUERIES; q++) own[q] = some_queries[d][down * QUERIES + q];
#pragma unroll
            for (int n = 0; n < OCTET; n++) octet[n] = some_rows[d][across * OCTET + n];
#pragma unroll
            for (int q = 0; q < QUERIES; q++)
#pragma unroll
                for (int n = 0; n < OCTET; n++) sums[q][n] = fmaf(own[q], octet[n], sums[q][n]);
        }
        __syncthreads();
    }
    const int width = (count + OCTET - 1) / OCTET, at = first_row / OCTET + across;
    if (at >= width) return;
#pragma unroll
    for (int q = 0; q < QUERIES; q++) {
        const int query = first_query + down * QUERIES + q;
        if (query >= batch) return;
        float peak = sums[q][0];
        // A sum that is not a number is kept.
#pragma unroll
        for (int n = 1; n < OCTET; n++)
            if (at * OCTET + n < count && !(sums[q][n] <= peak)) peak = sums[q][n];
        peaks[i64(query) * width + at] = peak;
    }
}

// Sorts 2 * RESCORERS keys, ascending.
__device__ __forceinline__ void sort(u64 *keys) {
    for (u32 run = 2; run <= 2 * RESCORERS; run *= 2)
        for (u32 step = run / 2; step; step /= 2) {
            const u32 low = threadIdx.x / step * 2 * step + threadIdx.x % step, high = low + step;
            const u64 a = keys[low], b = keys[high];
            if ((a > b) == !(low & run)) keys[low] = b, keys[high] = a;
            __syncthreads();
        }
}

// An order that at least ``k`` of ``peaks`` reach, and few more do unless they are equal; ``parts`` has room for a
// number a warp.
__device__ __forceinline__ u32 threshold(const float *peaks, int width, int k, int *parts) {
    u32 low = 0, high = ~0u;
    while (high - low > 1) {
        const u32 middle = low + (high - low) / 2;
        int many = 0;
        for (int p = int(threadIdx.x); p < width; p += RESCORERS) many += ordered(peaks[p]) >= middle;
        __syncwarp();
        many = __reduce_add_sync(ALL_LANES, many);
        if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = many;
        __syncthreads();
        many = 0;
        for (int w = 0; w < RESCORERS / 32; w++) many += parts[w];
        __syncthreads();
        if (many < k) {
            high = middle;
        } else {
            low = middle;
            if (many <= k + k / 4) break;
        }
    }
    return low;
}

extern "C" __global__ void __launch_bounds__(RESCORERS, 8)
    topk_rescore(const float *queries, const double *squares, const float *bank, const double *largest, int count,
                 int dim, const float *peaks, int k, float *scores, int *ids) {
    __shared__ u64 keys[2 * RESCORERS];  // the best so far, then new ones
    __shared__ int octets[2 * RESCORERS];
    __shared__ int before[RESCORERS / 32];
    const int lane = int(threadIdx.x) % 32, warp = int(threadIdx.x) / 32;
    const int width = (count + OCTET - 1) / OCTET;
    const float *query = queries + i64(blockIdx.x) * dim, *own = peaks + i64(blockIdx.x) * width;

    // Lengths that could take a partial sum out of float32 leave no peak to trust.
    const double product = sqrt(squares[blockIdx.x]) * sqrt(*largest);
    const double bound = (dim + 8) * 0x1p-24 * product + 0x1p-120;
    double low = -__longlong_as_double(0x7FF0000000000000ll);
    if (width > k && product < 0x1p126) low = double(unordered(threshold(own, width, k, before))) - 2.0 * bound;

    keys[threadIdx.x] = NO_KEY;
    int queued = 0;
    for (int first = 0; first < width; first += RESCORERS) {
        const int p = first + int(threadIdx.x);
        const bool near = p < width && !(double(own[p]) < low);
        const u32 found = __ballot_sync(ALL_LANES, near);
        if (lane == 0) before[warp] = __popc(found);
        __syncthreads();
        int place = queued + __popc(found & ((1u << lane) - 1));
        for (int w = 0; w < RESCORERS / 32; w++) {
            if (w < warp) place += before[w];
            queued += before[w];
        }
        if (near) octets[place] = p;
        __syncthreads();
        constexpr int AT_ONCE = RESCORERS / OCTET;
        const bool ends = first + RESCORERS >= width;
        int done = 0;
        while (queued - done >= AT_ONCE || (ends && done < queued)) {
            const int place = done + int(threadIdx.x) / OCTET;
            const int n = place < queued ? octets[place] * OCTET + int(threadIdx.x) % OCTET : count;
            keys[RESCORERS + threadIdx.x] =
                n < count ? key_of(exact(query, bank + i64(n) * dim, dim), u32(n)) : NO_KEY;
            __syncthreads();
            sort(keys);
            done += AT_ONCE;
        }
        done = done < queued ? done : queued;
        const int rest = int(threadIdx.x) < queued - done ? octets[done + int(threadIdx.x)] : 0;
        __syncthreads();
        octets[threadIdx.x] = rest;
        queued -= done;
        __syncthreads();
    }
    if (int(threadIdx.x) >= k) return;
    const u64 key = keys[threadIdx.x];
    scores[i64(blockIdx.x) * k + threadIdx.x] = unordered(~u32(key >> 32));
    ids[i64(blockIdx.x) * k + threadIdx.x] = int(u32(key));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    topk_keys(const float *queries, const float *bank, int count, int dim, unsigned long long *keys) {
    const i64 n = i64(blockIdx.x) * THREADS + threadIdx.x;
    if (n >= count) return;
    keys[i64(blockIdx.y) * count + n] = key_of(exact(queries + i64(blockIdx.y) * dim, bank + n * dim, dim), u32(n));
}

extern "C" __global__ void __launch_bounds__(THREADS)
    topk_unpack(const unsigned long long *keys, long long size, float *scores, int *ids) {
    const i64 i = i64(blockIdx.x) * THREADS + threadIdx.x;
    if (i >= size) return;
    scores[i] = unordered(~u32(keys[i] >> 32));
    ids[i] = int(u32(keys[i]));
}
