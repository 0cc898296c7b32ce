// Philox4x64-10, as in NumPy: the same address gives the same numbers as minivit.randomness on the host, so a
// mask is the same on every device, and the backward pass draws it again instead of keeping it.
//
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
#pragma once
typedef unsigned long long word;

// Where the numbers of a step lie: minivit.randomness.Key without its site.
struct Address { word seed, purpose, step, epoch; };

// Four words for block 0, 1, ... of the stream at an address.
__device__ __forceinline__ void philox(const Address& at, word site, word block, word (&x)[4]) {
    word k0 = at.seed, k1 = at.purpose;
    x[0] = block + 1;  // NumPy counts up before it draws
    x[1] = site; x[2] = at.step; x[3] = at.epoch;
#pragma unroll
    for (int round = 0; round < 10; ++round) {
        const word a = 0xD2E7470EE14C6C93ull, b = 0xCA5A826395121157ull;
        const word low0 = a * x[0], high0 = __umul64hi(a, x[0]), low1 = b * x[2], high1 = __umul64hi(b, x[2]);
        x[0] = high1 ^ x[1] ^ k0; x[1] = low1;
        x[2] = high0 ^ x[3] ^ k1; x[3] = low0;
        k0 += 0x9E3779B97F4A7C15ull; k1 += 0xBB67AE8584CAA73Bull;
    }
}

// Eight uniform numbers in [0, 1) of 24 bits, the draws 8 block .. 8 block + 7 of Generator.random(float32).
__device__ __forceinline__ void uniform8(const Address& at, word site, word block, float (&u)[8]) {
    word x[4];
    philox(at, site, block, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) u[i] = (float)((unsigned int)(x[i / 2] >> (32 * (i % 2))) >> 8) * (1.0f / 16777216.0f);
}

// Draw `index` alone.
__device__ __forceinline__ float uniform(const Address& at, word site, word index) {
    float u[8];
    uniform8(at, site, index / 8, u);
    float found = u[0];
#pragma unroll
    for (int i = 1; i < 8; ++i) found = (int)(index % 8) == i ? u[i] : found;  // no array is indexed at run time
    return found;
}
