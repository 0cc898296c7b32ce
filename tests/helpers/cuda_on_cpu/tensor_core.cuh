// Stands in for the kernels' tensor_core.cuh: the same instructions, computed by the lanes from one another's registers.
// Which lane holds what is as in NVIDIA's PTX ISA 8.0, figures of mma.m16n8k16, mma.m16n8k8 and ldmatrix.
#pragma once

// Number `which` of a register: of two of bfloat16, or the one of TF32, whose last 13 bits count for nothing.
inline float in_register(unsigned bits, int which) {
    bits = STORAGE == 16 ? bits >> 16 * which << 16 : bits & ~0x1fffu;
    float x; memcpy(&x, &bits, 4); return x;
}

inline void multiply_add(float (&c)[4], const unsigned* a, const unsigned* b) {
    struct Registers { unsigned a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b[0], b[1]}};
    const auto lanes = cuda_on_cpu::exchange(mine);
    const int lane = threadIdx.x % WARP, each = STORAGE == 16 ? 2 : 1;  // numbers of a register
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4, column = lane % 4 * 2 + i % 2, lower = i / 2;  // row + 8 lower
        for (int k = 0; k < 8 * each; ++k) {
            const int owner = k / each % 4, right = k / (4 * each);
            c[i] += in_register(lanes(4 * row + owner).a[lower + 2 * right], k % each)
                  * in_register(lanes(4 * column + owner).b[right], k % each);
        }
    }
}

template <bool TRANSPOSED> inline void load_matrices(const storage* row, unsigned* x) {
    const auto lanes = cuda_on_cpu::exchange(reinterpret_cast<const char*>(row));
    const int lane = threadIdx.x % WARP, r = lane / 4, c = lane % 4;
    if ((uintptr_t)row % 16) { fprintf(stderr, "ldmatrix: a row does not begin at 16 bytes\n"); abort(); }
    for (int i = 0; i < 4; ++i) {
        if (TRANSPOSED)
            for (int j = 0; j < 2; ++j) memcpy((char*)(x + i) + 2 * j, lanes(8 * i + 2 * c + j) + 2 * r, 2);
        else
            memcpy(x + i, lanes(8 * i + r) + 4 * c, 4);
    }
}

inline unsigned __float_as_uint(float x) { unsigned bits; memcpy(&bits, &x, 4); return bits; }
inline float __uint_as_float(unsigned bits) { float x; memcpy(&x, &bits, 4); return x; }
inline unsigned rounded_pair(float first, float second) {
#if STORAGE == 16
    return narrow(first).bits | (unsigned)narrow(second).bits << 16;
#else
    return 0;  // of no use there
#endif
}
inline unsigned sum_of_pairs(unsigned a, unsigned b) {
    return rounded_pair(in_register(a, 0) + in_register(b, 0), in_register(a, 1) + in_register(b, 1));
}
inline float rounded_tf32(float x) { return __uint_as_float((__float_as_uint(x) + 0x1000u) & ~0x1fffu); }

// What is copied is not there before the thread waits for it.
struct Copy { storage* into; const storage* from; bool given; };
static std::vector<std::vector<Copy>> on_their_way;

inline void copy_16_bytes(storage* into, const storage* from, bool given) {
    if ((uintptr_t)into % 16 || (uintptr_t)from % 16) { fprintf(stderr, "cp.async: not at 16 bytes\n"); abort(); }
    on_their_way.resize(blockDim.x);
    on_their_way[threadIdx.x].push_back({into, from, given});
}
inline void wait_for_copies() {
    for (const Copy& c : on_their_way[threadIdx.x])
        if (c.given) memcpy(c.into, c.from, 16); else memset(c.into, 0, 16);
    on_their_way[threadIdx.x].clear();
}
