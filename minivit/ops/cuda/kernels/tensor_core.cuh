// The instructions around tensor cores, which C++ has no words for. They need a GPU of compute capability 8.0.
// Away from a GPU, tests/helpers/cuda_on_cpu/tensor_core.cuh stands in for this file.
//
// Source: NVIDIA, PTX ISA 8.0, "Warp-level matrix instructions": mma.m16n8k16, mma.m16n8k8, ldmatrix;
// "Asynchronous copy": cp.async.
#pragma once

// c (16, 8) += a (16, K) b (K, 8), spread over the lanes of a warp as the hardware wants it: K = 16 numbers of
// bfloat16, two in a register, or K = 8 of TF32.
__device__ __forceinline__ void multiply_add(float (&c)[4], const unsigned* a, const unsigned* b) {
#if STORAGE == 16
    asm volatile(
        "mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
#else
    asm volatile(
        "mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
#endif
        : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
        : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b[0]), "r"(b[1]));
}

// Four matrices from shared memory, of 8 rows of 16 bytes: lane 8 i + r says where row r of matrix i begins. Lane
// 4 r + c gets word c of row r of each. TRANSPOSED, for numbers of 2 bytes: column r, rows 2 c and 2 c + 1.
template <bool TRANSPOSED> __device__ __forceinline__ void load_matrices(const storage* row, unsigned* x) {
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

// The sums of two numbers of bfloat16 each, rounded once.
__device__ __forceinline__ unsigned sum_of_pairs(unsigned a, unsigned b) {
#if STORAGE == 16
    const __nv_bfloat162 sum = __hadd2(reinterpret_cast<__nv_bfloat162&>(a), reinterpret_cast<__nv_bfloat162&>(b));
    return reinterpret_cast<const unsigned&>(sum);
#else
    return 0;  // of no use there
#endif
}

// x rounded to TF32, 10 bits of mantissa: the tensor cores would cut off the rest.
__device__ __forceinline__ float rounded_tf32(float x) {
    unsigned bits;
    asm("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(x));
    return __uint_as_float(bits);
}

// 16 bytes from memory into shared memory, or zeros if not `given`; the thread goes on, and many are on their way at once.
__device__ __forceinline__ void copy_16_bytes(storage* into, const storage* from, bool given) {
    const unsigned at = (unsigned)__cvta_generic_to_shared(into);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" :: "r"(at), "l"(from), "r"(given ? 16 : 0) : "memory");
}
// Until all that this thread copies is there.
__device__ __forceinline__ void wait_for_copies() { asm volatile("cp.async.wait_all;" ::: "memory"); }
