// What CUDA offers inside a kernel, for shim.h: barriers, warp operations, atomics, bits, packed halves, DPX.
#pragma once

#define __syncthreads() shim::over_block(__LINE__)
#define __syncthreads_count(holds) int(shim::fold_block(__LINE__, (holds) != 0, shim::sum))
#define __syncthreads_or(holds) int(shim::fold_block(__LINE__, (holds) != 0, shim::either))
#define __syncthreads_and(holds) int(shim::fold_block(__LINE__, (holds) != 0, shim::both))
#define __syncwarp(...) shim_sync_warp(__LINE__, ##__VA_ARGS__)
#define __shfl_sync(...) shim::shuffle(__LINE__, __VA_ARGS__)
#define __shfl_up_sync(...) shim::shuffle_up(__LINE__, __VA_ARGS__)
#define __shfl_down_sync(...) shim::shuffle_down(__LINE__, __VA_ARGS__)
#define __shfl_xor_sync(...) shim::shuffle_xor(__LINE__, __VA_ARGS__)
#define __ballot_sync(mask, holds) shim::ballot(__LINE__, mask, holds)
#define __any_sync(mask, holds) int(shim::ballot(__LINE__, mask, holds) != 0)
#define __all_sync(mask, holds) int(shim::ballot(__LINE__, mask, holds) == (mask))
#define __reduce_add_sync(mask, value) shim_reduce_add(__LINE__, mask, value)
#define __reduce_min_sync(mask, value) shim_reduce_min(__LINE__, mask, value)
#define __reduce_max_sync(mask, value) shim_reduce_max(__LINE__, mask, value)
#define __reduce_or_sync(mask, value) unsigned(shim::over_warp(__LINE__, mask, unsigned(value), 0, shim::either))
#define __reduce_and_sync(mask, value) unsigned(shim::over_warp(__LINE__, mask, unsigned(value), 0, shim::both))

inline void shim_sync_warp(int line, unsigned mask = 0xFFFFFFFFu) { shim::over_warp(line, mask, 0, 0, shim::either); }
template <class T> T shim_reduce_add(int line, unsigned mask, T value) {
    return T(shim::over_warp(line, mask, uint64_t(value), 0, shim::sum));
}
template <class T> T shim_reduce_min(int line, unsigned mask, T value) {
    return shim::lowered<T>(shim::over_warp(line, mask, shim::raised(value), 0, shim::less));
}
template <class T> T shim_reduce_max(int line, unsigned mask, T value) {
    return shim::lowered<T>(shim::over_warp(line, mask, shim::raised(value), 0, shim::more));
}
inline void __threadfence() {}
inline void __threadfence_block() {}

template <class T> struct shim_same { using type = T; };
template <class T> T shim_swap(T *at, T value) {
    const T old = *at;
    *at = value;
    return old;
}
#define SHIM_ATOMIC(name, changed)                                                                                    \
    template <class T> T name(T *at, typename shim_same<T>::type value) {                                             \
        const T old = *at;                                                                                            \
        return shim_swap(at, T(changed));                                                                             \
    }
SHIM_ATOMIC(atomicAdd, old + value)
SHIM_ATOMIC(atomicSub, old - value)
SHIM_ATOMIC(atomicMax, old < value ? value : old)
SHIM_ATOMIC(atomicMin, value < old ? value : old)
SHIM_ATOMIC(atomicOr, old | value)
SHIM_ATOMIC(atomicAnd, old & value)
SHIM_ATOMIC(atomicXor, old ^ value)
SHIM_ATOMIC(atomicExch, value)
template <class T>
T atomicCAS(T *at, typename shim_same<T>::type expected, typename shim_same<T>::type value) {
    return shim_swap(at, *at == expected ? value : *at);
}

template <class T> T __ldg(const T *at) { return *at; }
template <class T> T __ldcs(const T *at) { return *at; }
template <class T> T __ldca(const T *at) { return *at; }
template <class T> void __stcs(T *at, T value) { *at = value; }

#define SHIM_VECTOR(type, base, size)                                                                                 \
    struct __align__(size * sizeof(base) > 16 ? 16 : size * sizeof(base)) type##size
SHIM_VECTOR(int, int, 2) { int x, y; };
SHIM_VECTOR(int, int, 4) { int x, y, z, w; };
SHIM_VECTOR(uint, unsigned, 2) { unsigned x, y; };
SHIM_VECTOR(uint, unsigned, 4) { unsigned x, y, z, w; };
SHIM_VECTOR(float, float, 2) { float x, y; };
SHIM_VECTOR(float, float, 4) { float x, y, z, w; };
SHIM_VECTOR(uchar, unsigned char, 4) { unsigned char x, y, z, w; };
SHIM_VECTOR(ulonglong, unsigned long long, 2) { unsigned long long x, y; };
SHIM_VECTOR(longlong, long long, 2) { long long x, y; };
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline ulonglong2 make_ulonglong2(unsigned long long x, unsigned long long y) { return {x, y}; }

inline int __popc(unsigned x) { return __builtin_popcount(x); }
inline int __popcll(unsigned long long x) { return __builtin_popcountll(x); }
inline int __clz(int x) { return x ? __builtin_clz(unsigned(x)) : 32; }
inline int __clzll(long long x) { return x ? __builtin_clzll(static_cast<unsigned long long>(x)) : 64; }
inline int __ffs(int x) { return __builtin_ffs(x); }
inline int __ffsll(long long x) { return __builtin_ffsll(x); }
inline unsigned __brev(unsigned x) {
    unsigned y = 0;
    for (int i = 0; i < 32; i++) y |= (x >> i & 1) << (31 - i);
    return y;
}
inline unsigned __umulhi(unsigned a, unsigned b) { return unsigned(uint64_t(a) * b >> 32); }
inline unsigned long long __umul64hi(unsigned long long a, unsigned long long b) {
    return static_cast<unsigned long long>(static_cast<unsigned __int128>(a) * b >> 64);
}
inline unsigned __funnelshift_l(unsigned low, unsigned high, unsigned shift) {
    return unsigned(((uint64_t(high) << 32 | low) << (shift & 31)) >> 32);
}
inline unsigned __funnelshift_r(unsigned low, unsigned high, unsigned shift) {
    return unsigned((uint64_t(high) << 32 | low) >> (shift & 31));
}
inline unsigned __byte_perm(unsigned a, unsigned b, unsigned select) {
    const uint64_t both = uint64_t(b) << 32 | a;
    unsigned out = 0;
    for (int i = 0; i < 4; i++) {
        const unsigned nibble = select >> (4 * i) & 15;
        unsigned byte = unsigned(both >> (8 * (nibble & 7))) & 255;
        if (nibble & 8) byte = byte & 128 ? 255 : 0;
        out |= byte << (8 * i);
    }
    return out;
}

inline float __int_as_float(int x) { return shim::value_of<float>(shim::bits_of(x)); }
inline int __float_as_int(float x) { return shim::value_of<int>(shim::bits_of(x)); }
inline float __uint_as_float(unsigned x) { return shim::value_of<float>(shim::bits_of(x)); }
inline unsigned __float_as_uint(float x) { return shim::value_of<unsigned>(shim::bits_of(x)); }
inline long long __double_as_longlong(double x) { return shim::value_of<long long>(shim::bits_of(x)); }
inline double __longlong_as_double(long long x) { return shim::value_of<double>(shim::bits_of(x)); }
inline float __fmaf_rn(float a, float b, float c) { return std::fmaf(a, b, c); }
inline float __fadd_rn(float a, float b) { return a + b; }
inline float __fsub_rn(float a, float b) { return a - b; }
inline float __fmul_rn(float a, float b) { return a * b; }
inline float __fdiv_rn(float a, float b) { return a / b; }
inline float __fsqrt_rn(float a) { return std::sqrt(a); }
inline double __dadd_rn(double a, double b) { return a + b; }
inline double __dmul_rn(double a, double b) { return a * b; }
inline double __fma_rn(double a, double b, double c) { return std::fma(a, b, c); }
inline float __double2float_rn(double x) { return float(x); }
inline float rsqrtf(float x) { return 1.0f / std::sqrt(x); }
using std::fmaf, std::fmaxf, std::fminf;
template <class T> T min(T a, T b) { return b < a ? b : a; }
template <class T> T max(T a, T b) { return a < b ? b : a; }

// Packed halves: ``f`` on each pair of 16 bits, signed or not, the result cut to 16 bits.
namespace shim {
template <class H, class F> unsigned halves(F f, unsigned a, unsigned b, unsigned c = 0) {
    const unsigned low = unsigned(f(H(a), H(b), H(c))) & 0xFFFF;
    return low | unsigned(f(H(a >> 16), H(b >> 16), H(c >> 16))) << 16;
}
inline int clamped(int x, int low, int high) { return x < low ? low : x > high ? high : x; }
}  // namespace shim
#define SHIM_HALVES2(name, half, result)                                                                              \
    inline unsigned name(unsigned a, unsigned b) {                                                                    \
        return shim::halves<half>([](int x, int y, int) { return result; }, a, b);                                    \
    }
#define SHIM_HALVES3(name, half, result)                                                                              \
    inline unsigned name(unsigned a, unsigned b, unsigned c) {                                                        \
        return shim::halves<half>([](int x, int y, int z) { return result; }, a, b, c);                               \
    }
SHIM_HALVES2(__vadd2, uint16_t, x + y)
SHIM_HALVES2(__vsub2, uint16_t, x - y)
SHIM_HALVES2(__vaddus2, uint16_t, shim::clamped(x + y, 0, 65535))
SHIM_HALVES2(__vaddss2, int16_t, shim::clamped(x + y, -32768, 32767))
SHIM_HALVES2(__vabsdiffu2, uint16_t, std::abs(x - y))
SHIM_HALVES2(__vminu2, uint16_t, min(x, y))
SHIM_HALVES2(__vmins2, int16_t, min(x, y))
SHIM_HALVES2(__vmaxu2, uint16_t, max(x, y))
SHIM_HALVES2(__vmaxs2, int16_t, max(x, y))
SHIM_HALVES2(__vcmpeq2, uint16_t, x == y ? 0xFFFF : 0)
SHIM_HALVES2(__vcmplts2, int16_t, x < y ? 0xFFFF : 0)
SHIM_HALVES2(__vcmpltu2, uint16_t, x < y ? 0xFFFF : 0)
SHIM_HALVES3(__vimin3_s16x2, int16_t, min(min(x, y), z))
SHIM_HALVES3(__vimin3_u16x2, uint16_t, min(min(x, y), z))
SHIM_HALVES3(__vimax3_s16x2, int16_t, max(max(x, y), z))
// The sum wraps within its half before it is compared.
SHIM_HALVES3(__viaddmin_s16x2, int16_t, min(int(int16_t(x + y)), z))
SHIM_HALVES3(__viaddmax_s16x2, int16_t, max(int(int16_t(x + y)), z))
SHIM_HALVES3(__viaddmin_u16x2, uint16_t, min(int(uint16_t(x + y)), z))
SHIM_HALVES3(__viaddmax_u16x2, uint16_t, max(int(uint16_t(x + y)), z))
inline int __vimin3_s32(int a, int b, int c) { return min(min(a, b), c); }
inline int __vimax3_s32(int a, int b, int c) { return max(max(a, b), c); }
inline int __viaddmin_s32(int a, int b, int c) { return min(int(unsigned(a) + unsigned(b)), c); }
inline unsigned __vimin3_u32(unsigned a, unsigned b, unsigned c) { return min(min(a, b), c); }
inline unsigned __viaddmin_u32(unsigned a, unsigned b, unsigned c) { return min(a + b, c); }
inline unsigned __vibmin_s16x2(unsigned a, unsigned b, bool *high, bool *low) {
    *high = int16_t(a >> 16) <= int16_t(b >> 16), *low = int16_t(a) <= int16_t(b);
    return __vmins2(a, b);
}
inline int __dp4a(int a, int b, int c) {
    for (int i = 0; i < 4; i++) c += int(int8_t(a >> (8 * i))) * int(int8_t(b >> (8 * i)));
    return c;
}
