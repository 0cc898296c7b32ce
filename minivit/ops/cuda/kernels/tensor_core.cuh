// The instructions of tensor cores, which C++ has no words for. They need a GPU of compute capability 8.0.
// Away from a GPU, tests/helpers/cuda_on_cpu/tensor_core.h stands in for this file.
//
// Source: NVIDIA, PTX ISA 8.0, "Warp-level matrix instructions": mma.m16n8k16, ldmatrix.
#pragma once

// c (16, 8) += a (16, 16) b (16, 8), spread over the lanes of a warp as the hardware wants it.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// Four matrices (8, 8) from shared memory: lane 8 i + r says where row r of matrix i begins (at 16 bytes). Lane
// 4 r + c gets row r, columns 2 c and 2 c + 1 of each; TRANSPOSED: column r, rows 2 c and 2 c + 1.
template <bool TRANSPOSED> __device__ __forceinline__ void load_matrices(const storage* row, unsigned (&x)[4]) {
    const unsigned at = (unsigned)__cvta_generic_to_shared(row);
    if (TRANSPOSED)
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(at) : "memory");
    else
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(x[0]), "=r"(x[1]), "=r"(x[2]), "=r"(x[3]) : "r"(at) : "memory");
}

// Two numbers rounded to bfloat16, the first in the lower half.
__device__ __forceinline__ unsigned rounded_pair(float first, float second) {
    unsigned pair;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(pair) : "f"(second), "f"(first));
    return pair;
}
