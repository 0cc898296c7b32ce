// Tiles of 16 by 16 numbers, which a warp multiplies on tensor cores: bfloat16 or TF32 in, sums in float.
//
// Which lane holds which number is the hardware's choice. Lane 4 r + c holds, of a Sum, rows r and r + 8, columns
// 2 c, 2 c + 1, 2 c + 8 and 2 c + 9. Of TF32 factors it wants columns c and c + 4 of eight, not 2 c and 2 c + 1: where
// one factor is such a Sum, both take the eight in the order 0 2 4 6 1 3 5 7, which changes no sum.
#pragma once
#include "tensor_core.cuh"
#define STEPS (8 / CHUNK)                  // instructions along a tile: 1 for bfloat16, 2 for TF32

// V numbers, 16 bytes of them at most, into shared memory.
template <int V> __device__ __forceinline__ void save_shared(storage* into, const real (&from)[V]) {
    *reinterpret_cast<Access<V>*>(into) = packed(from).access[0];
}

struct Factor { unsigned x[4 * STEPS]; };  // a tile of a left or right factor
struct Sum { real x[2][2][2]; };           // a tile of a product: [right half][lower half][neighbour]

// x as a factor holds it. (bfloat16 is rounded when it is stored.)
__device__ __forceinline__ real factor_of(real x) { return STORAGE == 16 ? x : rounded_tf32(x); }

// Where a lane finds its row of 16 bytes in a tile in shared memory, rows `pitch` apart: the lanes go down 16 rows
// first, or down eight and ACROSS.
template <bool ACROSS> __device__ __forceinline__ const storage* lane_row(const storage* tile, int pitch) {
    const int lane = threadIdx.x % WARP;
    return ACROSS ? tile + (lane % 8 + lane / 16 * 8) * pitch + lane / 8 % 2 * CHUNK
                  : tile + lane % 16 * pitch + lane / 16 * CHUNK;
}

// A factor from a tile that is stored with the axis of summation along its rows.
template <bool ACROSS> __device__ __forceinline__ Factor along_rows(const storage* tile, int pitch) {
    Factor f;
#pragma unroll
    for (int s = 0; s < STEPS; ++s) load_matrices<false>(lane_row<ACROSS>(tile, pitch) + 8 * s, f.x + 4 * s);
    return f;
}

// And from one that is stored with it down its columns.
template <bool ACROSS> __device__ __forceinline__ Factor along_columns(const storage* tile, int pitch) {
    Factor f;
#if STORAGE == 16
    load_matrices<true>(lane_row<ACROSS>(tile, pitch), f.x);
#else
    const storage* from = tile + threadIdx.x % 4 * 2 * pitch + threadIdx.x % WARP / 4;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const int odd = ACROSS ? i / 2 % 2 : i % 2, half = ACROSS ? i % 2 : i / 2 % 2;
        f.x[i] = __float_as_uint(from[(i / 4 * 8 + odd) * pitch + half * 8]);
    }
#endif
    return f;
}

// A tile, or its transpose, as a left or a right factor.
__device__ __forceinline__ Factor left(const storage* tile, int pitch) { return along_rows<false>(tile, pitch); }
__device__ __forceinline__ Factor left_transposed(const storage* tile, int pitch) { return along_columns<true>(tile, pitch); }
__device__ __forceinline__ Factor right(const storage* tile, int pitch) { return along_columns<false>(tile, pitch); }
__device__ __forceinline__ Factor right_transposed(const storage* tile, int pitch) { return along_rows<true>(tile, pitch); }

// A product, its numbers rounded as `factor_of` does, as the left factor of the next one: it lies right already.
__device__ __forceinline__ Factor as_left(const Sum& s) {
#if STORAGE == 16
    return {{rounded_pair(s.x[0][0][0], s.x[0][0][1]), rounded_pair(s.x[0][1][0], s.x[0][1][1]),
             rounded_pair(s.x[1][0][0], s.x[1][0][1]), rounded_pair(s.x[1][1][0], s.x[1][1][1])}};
#else
    Factor f;
#pragma unroll
    for (int i = 0; i < 8; ++i) f.x[i] = __float_as_uint(s.x[i / 4][i % 2][i / 2 % 2]);
    return f;
#endif
}

// c += a b.
__device__ __forceinline__ void multiply(Sum& c, const Factor& a, const Factor& b) {
#pragma unroll
    for (int i = 0; i < 2 * STEPS; ++i)
        multiply_add(reinterpret_cast<real(&)[4]>(c.x[i % 2]), a.x + i / 2 * 4, b.x + i / 2 * 4 + i % 2 * 2);
}

// Number i of the 8 N that a lane holds of a row of N tiles; whether it lies in the lower of the lane's two rows.
template <int N> __device__ __forceinline__ real& number(Sum (&s)[N], int i) {
    return s[i / 8].x[i / 4 % 2][i / 2 % 2][i % 2];
}
__device__ __forceinline__ int lower_of(int i) { return i / 2 % 2; }
__device__ __forceinline__ int column_of(int i) {
    return i / 8 * 16 + i / 4 % 2 * 8 + threadIdx.x % 4 * 2 + i % 2;
}

// A warp's row of N tiles into shared memory, rows `pitch` apart.
template <int N> __device__ __forceinline__ void store_shared(Sum (&s)[N], storage* into, int pitch) {
    storage* from = into + threadIdx.x % WARP / 4 * pitch + threadIdx.x % 4 * 2;
#pragma unroll
    for (int i = 0; i < 4 * N; ++i)
        save_shared<2>(from + i % 2 * 8 * pitch + i / 2 * 8, s[i / 4].x[i / 2 % 2][i % 2]);
}

// Over the four lanes that share a row, and over the eight that share a column.
__device__ __forceinline__ real row_sum(real x) {
    x += __shfl_xor_sync(ALL_LANES, x, 1);
    return x + __shfl_xor_sync(ALL_LANES, x, 2);
}
__device__ __forceinline__ real row_max(real x) {
    x = fmax(x, __shfl_xor_sync(ALL_LANES, x, 1));
    return fmax(x, __shfl_xor_sync(ALL_LANES, x, 2));
}
__device__ __forceinline__ real column_sum(real x) {
    for (int lane = 4; lane < WARP; lane *= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}
