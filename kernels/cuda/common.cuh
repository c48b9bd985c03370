// What the kernels share. A kernel's parameters are plain types (int, long long, unsigned char, float and pointers to
// these), const where it only reads, so that the tests can compare them with what is launched.
#pragma once

using u8 = unsigned char;
using u16 = unsigned short;
using u32 = unsigned int;
using u64 = unsigned long long;
using i64 = long long;

// Shared memory whose size the launch gives. The tests define it for the CPU.
#ifndef DYNAMIC_SHARED
#define DYNAMIC_SHARED(type, name) extern __shared__ __align__(16) type name[]
#endif

constexpr u32 ALL_LANES = 0xFFFFFFFFu;
