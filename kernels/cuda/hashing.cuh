// The hash of bytes that several kernels take, with the constants of kernels/hashing.py: FNV-1a, draft-eastlake-fnv, and
// a step that mixes it.
#pragma once

#include "common.cuh"

constexpr u64 FNV_BASIS = 0xCBF29CE484222325ull, FNV_PRIME = 0x100000001B3ull, MIX = 0xFF51AFD7ED558CCDull;

__device__ __forceinline__ u64 with_byte(u64 hash, u32 byte) { return (hash ^ byte) * FNV_PRIME; }

// The hash with its upper bits as good as the lower.
__device__ __forceinline__ u64 mixed(u64 hash) {
    hash = (hash ^ hash >> 32) * MIX;
    return hash ^ hash >> 32;
}
