// Tiles of 16 by 16 numbers, which a warp multiplies on tensor cores: bfloat16 in, sums in float.
//
// Which lane holds which number is the hardware's choice. Lane 4 r + c holds, of a Sum, rows r and r + 8, columns
// 2 c, 2 c + 1, 2 c + 8 and 2 c + 9.
#pragma once
#include "tensor_core.cuh"

struct Factor { unsigned x[4]; };    // a tile of a left or right factor, two numbers a register
struct Sum { real x[2][2][2]; };     // a tile of a product: [right half][lower half][neighbour]

// Where a lane finds its row of a tile that lies in shared memory, rows `pitch` apart.
__device__ __forceinline__ const storage* down(const storage* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
    return tile + lane % 16 * pitch + lane / 16 * 8;
}
__device__ __forceinline__ const storage* across(const storage* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
    return tile + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * 8;
}

// A tile as a left factor, or as a right one; TRANSPOSED: its transpose.
template <bool TRANSPOSED = false> __device__ __forceinline__ Factor left(const storage* tile, int pitch) {
    Factor f;
    load_matrices<TRANSPOSED>(TRANSPOSED ? across(tile, pitch) : down(tile, pitch), f.x);
    return f;
}
template <bool TRANSPOSED = false> __device__ __forceinline__ Factor right(const storage* tile, int pitch) {
    Factor f;
    load_matrices<!TRANSPOSED>(TRANSPOSED ? across(tile, pitch) : down(tile, pitch), f.x);
    return f;
}

// c += a b.
__device__ __forceinline__ void multiply(Sum& c, const Factor& a, const Factor& b) {
#pragma unroll
    for (int half = 0; half < 2; ++half)
        multiply_add(reinterpret_cast<real(&)[4]>(c.x[half]), a.x, b.x[2 * half], b.x[2 * half + 1]);
}

// A product as the left factor of the next one: it lies right already.
__device__ __forceinline__ Factor as_left(const Sum& s) {
    return {{rounded_pair(s.x[0][0][0], s.x[0][0][1]), rounded_pair(s.x[0][1][0], s.x[0][1][1]),
             rounded_pair(s.x[1][0][0], s.x[1][0][1]), rounded_pair(s.x[1][1][0], s.x[1][1][1])}};
}

// Number i of the 8 N that a lane holds of a row of N tiles; whether it lies in the lower of the lane's two rows.
template <int N> __device__ __forceinline__ real& number(Sum (&s)[N], int i) {
    return s[i / 8].x[i / 4 % 2][i / 2 % 2][i % 2];
}
__device__ __forceinline__ int lower_of(int i) { return i / 2 % 2; }
__device__ __forceinline__ int column_of(int i) {
    return i / 8 * 16 + i / 4 % 2 * 8 + threadIdx.x % 4 * 2 + i % 2;
}

// Over the four lanes that share a row, and over the eight that share a column.
__device__ __forceinline__ real row_sum(real x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
__device__ __forceinline__ real row_max(real x) {
    for (int lane = 1; lane < 4; lane *= 2) {
        const real other = __shfl_xor_sync(ALL_LANES, x, lane);
        x = other > x ? other : x;
    }
    return x;
}
__device__ __forceinline__ real column_sum(real x) {
    for (int lane = 4; lane < WARP; lane *= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}
