// Runs CUDA kernels on the CPU for the tests: a fibre per thread of a block, one block after another.
//
// A fibre runs until it waits: at a barrier of the block or of its warp. What CUDA leaves undefined is a fault with a
// message here: a barrier that a thread never reaches or reaches on another line, a shuffle from a lane that takes no
// part, a lane named in a mask that is not there, memory outside the arguments, a write to a const argument, an index
// outside a shared array, a misaligned access. Shared memory and fresh arrays hold POISON. Spin locks cannot run here.
#pragma once

#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <type_traits>
#include <utility>

#define CUDA_SHIM 1
#define __global__ __attribute__((used))
#define __device__
#define __host__
#define __forceinline__ inline
#define __constant__ static
#define __launch_bounds__(...)
#define __align__(bytes) __attribute__((aligned(bytes)))
#define __shared__ static __attribute__((section("shim_shared")))
// common.cuh defines this for the device as `extern __shared__`.
#define DYNAMIC_SHARED(type, name) type *const name = reinterpret_cast<type *>(shim::dynamic_shared)

struct dim3 {
    unsigned x = 1, y = 1, z = 1;
};

namespace shim {

constexpr unsigned WARP = 32;

using Fold = uint64_t (*)(uint64_t, uint64_t);

// The thread that runs, as the kernel sees it.
struct Here {
    dim3 index;
    unsigned linear;
};

// shim.cpp keeps these.
extern dim3 block_index, block_size, grid_size;
extern Here *now;
extern char *dynamic_shared;

[[noreturn]] void fault(const char *format, ...);
// Waits for all lanes of ``mask``, then gives the ``value`` of lane ``from``, or that of all lanes folded.
uint64_t over_warp(int line, unsigned mask, uint64_t value, unsigned from, Fold fold);
void over_block(int line);
uint64_t fold_block(int line, uint64_t value, Fold fold);

using Call = void (*)(void **arguments);
// ``bytes[i]`` is the size of the array behind ``values[i]``, -1 for a scalar; ``written[i]`` whether it is not const.
// ``geometry``: grid x, y, z, block x, y, z. ``order``: 0 runs the threads forwards, 1 backwards, another number is the
// seed of a shuffle. Null, or what went wrong.
const char *launch(Call call, size_t count, void **values, const long long *bytes, const unsigned char *written,
                   const unsigned *geometry, size_t shared, unsigned order);

template <class... A, size_t... I>
void call(void (*kernel)(A...), void **arguments, std::index_sequence<I...>) {
    kernel(*static_cast<std::remove_cv_t<A> *>(arguments[I])...);
}

template <class T> uint64_t bits_of(T value) {
    static_assert(sizeof(T) <= 8);
    uint64_t bits = 0;
    memcpy(&bits, &value, sizeof value);
    return bits;
}
template <class T> T value_of(uint64_t bits) {
    T value;
    memcpy(&value, &bits, sizeof value);
    return value;
}
inline void width_fits(int line, int width) {
    if (width < 1 || width > 32 || (width & (width - 1))) fault("line %d: width %d is no power of two up to 32", line, width);
}
template <class T> T shuffle(int line, unsigned mask, T value, int lane, int width = 32) {
    width_fits(line, width);
    const unsigned me = now->linear % WARP, base = me & ~unsigned(width - 1);
    return value_of<T>(over_warp(line, mask, bits_of(value), base + (unsigned(lane) & unsigned(width - 1)), nullptr));
}
template <class T> T shuffle_up(int line, unsigned mask, T value, unsigned delta, int width = 32) {
    width_fits(line, width);
    const unsigned me = now->linear % WARP, base = me & ~unsigned(width - 1);
    return value_of<T>(over_warp(line, mask, bits_of(value), me >= base + delta ? me - delta : me, nullptr));
}
template <class T> T shuffle_down(int line, unsigned mask, T value, unsigned delta, int width = 32) {
    width_fits(line, width);
    const unsigned me = now->linear % WARP, stop = (me & ~unsigned(width - 1)) + unsigned(width);
    return value_of<T>(over_warp(line, mask, bits_of(value), me + delta < stop ? me + delta : me, nullptr));
}
template <class T> T shuffle_xor(int line, unsigned mask, T value, int with, int width = 32) {
    width_fits(line, width);
    const unsigned me = now->linear % WARP, stop = (me & ~unsigned(width - 1)) + unsigned(width);
    const unsigned other = me ^ unsigned(with);
    return value_of<T>(over_warp(line, mask, bits_of(value), other < stop ? other : me, nullptr));
}
inline uint64_t either(uint64_t a, uint64_t b) { return a | b; }
inline uint64_t both(uint64_t a, uint64_t b) { return a & b; }
inline uint64_t sum(uint64_t a, uint64_t b) { return a + b; }
inline uint64_t less(uint64_t a, uint64_t b) { return a < b ? a : b; }
inline uint64_t more(uint64_t a, uint64_t b) { return a < b ? b : a; }
inline unsigned ballot(int line, unsigned mask, int holds) {
    return unsigned(over_warp(line, mask, uint64_t(holds != 0) << now->linear % WARP, 0, either));
}
// Numbers in an order that unsigned comparison keeps.
template <class T> uint64_t raised(T value) { return uint64_t(int64_t(value)) ^ (uint64_t(1) << 63); }
template <class T> T lowered(uint64_t value) { return T(int64_t(value ^ (uint64_t(1) << 63))); }

}  // namespace shim

#define threadIdx (shim::now->index)
#define blockIdx shim::block_index
#define blockDim shim::block_size
#define gridDim shim::grid_size
constexpr int warpSize = 32;

// A kernel that the tests can launch.
#define SHIM_EXPORT(name, count)                                                                                      \
    extern "C" __attribute__((visibility("default"))) const char *shim_launch_##name(                                 \
        void **values, const long long *bytes, const unsigned char *written, const unsigned *geometry, size_t shared, \
        unsigned order) {                                                                                             \
        const auto call = [](void **arguments) { shim::call(name, arguments, std::make_index_sequence<count>{}); };   \
        return shim::launch(call, count, values, bytes, written, geometry, shared, order);                            \
    }

#include "shim_intrinsics.h"
