// Philox4x64-10, as in NumPy: the same address gives the same numbers as minivit.randomness on the host, so a
// mask is the same on every device. To draw takes longer than to read: what was drawn is kept as a bit a number.
//
// Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", section 3.3.
#pragma once
typedef unsigned long long word;

// Where the numbers of a step lie, and the first image that they are for: minivit.randomness.Key without its site.
struct Address { word seed, purpose, step, epoch, image; };

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

// The upper 24 bits of half a word, as a number in [0, 1): what Generator.random(float32) makes of them.
__device__ __forceinline__ float unit(word half) { return (float)((unsigned int)half >> 8) * (1.0f / 16777216.0f); }

// Eight uniform numbers, the draws 8 block .. 8 block + 7.
__device__ __forceinline__ void uniform8(const Address& at, word site, word block, float (&u)[8]) {
    word x[4];
    philox(at, site, block, x);
#pragma unroll
    for (int i = 0; i < 8; ++i) u[i] = unit(x[i / 2] >> (32 * (i % 2)));
}

// Which of the draws 8 block .. 8 block + 7 are at least `rate`: a bit each, the first the lowest.
__device__ __forceinline__ unsigned kept_of_8(const Address& at, word site, word block, float rate) {
    float u[8];
    uniform8(at, site, block, u);
    unsigned byte = 0;
#pragma unroll
    for (int i = 0; i < 8; ++i) byte |= (unsigned)(u[i] >= rate) << i;
    return byte;
}

// The same of any eight draws that follow one another, of two blocks mostly.
__device__ __forceinline__ unsigned kept_of_8_from(const Address& at, word site, word first, float rate) {
    const unsigned byte = kept_of_8(at, site, first / 8, rate), passed_over = first % 8;
    return passed_over ? (byte | kept_of_8(at, site, first / 8 + 1, rate) << 8) >> passed_over & 0xff : byte;
}

// Numbers whose bit is not set become 0, the others are multiplied by `scale`.
template <int N> __device__ __forceinline__ void keep(real (&v)[N], unsigned bits, real scale) {
#pragma unroll
    for (int i = 0; i < N; ++i) v[i] *= bits >> i & 1 ? scale : 0;
}

// Draw `index` alone. Halving what is left three times keeps the words in registers: an index would not.
__device__ __forceinline__ float uniform(const Address& at, word site, word index) {
    word x[4];
    philox(at, site, index / 8, x);
    const word low = index & 2 ? x[1] : x[0], high = index & 2 ? x[3] : x[2], found = index & 4 ? high : low;
    return unit(index & 1 ? found >> 32 : found);
}
