// Stands in for the kernels' tensor_core.cuh: the same instructions, computed by the lanes from one another's registers.
// Which lane holds what is as in NVIDIA's PTX ISA 8.0, figures of mma.m16n8k16 and ldmatrix.
#pragma once

// The two numbers of a register.
inline float of_pair(unsigned pair, int which) { return widen({(uint16_t)(pair >> 16 * which)}); }

inline void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    struct Registers { unsigned a[4], b[2]; } mine = {{a[0], a[1], a[2], a[3]}, {b0, b1}};
    const auto lanes = cuda_on_cpu::exchange(mine);
    const int lane = threadIdx.x % WARP;
    for (int i = 0; i < 4; ++i) {
        const int row = lane / 4, column = lane % 4 * 2 + i % 2, lower = i / 2;  // row + 8 lower
        for (int k = 0; k < 16; ++k) {
            const int quarter = k % 8 / 2, right = k / 8;
            c[i] += of_pair(lanes(4 * row + quarter).a[lower + 2 * right], k % 2)
                  * of_pair(lanes(4 * column + quarter).b[right], k % 2);
        }
    }
}

template <bool TRANSPOSED> inline void load_matrices(const storage* row, unsigned (&x)[4]) {
    const auto lanes = cuda_on_cpu::exchange(row);
    const int lane = threadIdx.x % WARP, r = lane / 4, c = lane % 4 * 2;
    if ((uintptr_t)row % 16) { fprintf(stderr, "ldmatrix: a row does not begin at 16 bytes\n"); abort(); }
    for (int i = 0; i < 4; ++i) {
        const uint16_t first = (TRANSPOSED ? lanes(8 * i + c)[r] : lanes(8 * i + r)[c]).bits;
        const uint16_t second = (TRANSPOSED ? lanes(8 * i + c + 1)[r] : lanes(8 * i + r)[c + 1]).bits;
        x[i] = first | (unsigned)second << 16;
    }
}

inline unsigned rounded_pair(float first, float second) {
    return narrow(first).bits | (unsigned)narrow(second).bits << 16;
}
