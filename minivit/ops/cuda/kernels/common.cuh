// What all kernels share: storage types, loads of several numbers at once, sums over a warp.
//
// STORAGE is the type of activations in memory, 16 for bfloat16, 32 for float and 64 for double; `real` is what
// is computed in: float, or double where double is stored. Compiled with -DSTORAGE=16, 32 or 64.
#pragma once
#if STORAGE == 16
#include <cuda_bf16.h>
typedef __nv_bfloat16 storage;
typedef float real;
__device__ __forceinline__ real widen(storage x) { return __bfloat162float(x); }
__device__ __forceinline__ storage narrow(real x) { return __float2bfloat16_rn(x); }
#elif STORAGE == 32
typedef float storage;
typedef float real;
__device__ __forceinline__ real widen(storage x) { return x; }
__device__ __forceinline__ storage narrow(real x) { return x; }
#else
typedef double storage;
typedef double real;
__device__ __forceinline__ real widen(storage x) { return x; }
__device__ __forceinline__ storage narrow(real x) { return x; }
#endif

typedef long long big;  // indices into all of an array: `long` has but 32 bits on Windows

#define WARP 32
#define ALL_LANES 0xffffffffu
#define CHUNK (16 / (int)sizeof(storage))  // numbers in 16 bytes
#define NOTHING ((real)(-1e308 * 10))  // minus infinity: what no number is below

// V numbers that lie side by side are read and written in accesses of 16 bytes at most: no array need lie at more.
template <int BYTES> struct Vector;
template <> struct Vector<2> { typedef unsigned short type; };
template <> struct Vector<4> { typedef unsigned type; };
template <> struct Vector<8> { typedef uint2 type; };
template <> struct Vector<16> { typedef uint4 type; };
template <int V> using Access = typename Vector<(V * sizeof(storage) < 16 ? V * sizeof(storage) : 16)>::type;
template <int V> union Pack {
    __device__ __forceinline__ Pack() {}
    Access<V> access[V * sizeof(storage) / sizeof(Access<V>)];
    storage x[V];
};

template <int V> __device__ __forceinline__ void load(const storage* from, real (&into)[V]) {
    Pack<V> pack;
#pragma unroll
    for (int n = 0; n < (int)(sizeof(pack.access) / sizeof(Access<V>)); ++n)
        pack.access[n] = reinterpret_cast<const Access<V>*>(from)[n];
#pragma unroll
    for (int i = 0; i < V; ++i) into[i] = widen(pack.x[i]);
}

template <int V> __device__ __forceinline__ Pack<V> packed(const real (&from)[V]) {
    Pack<V> pack;
#pragma unroll
    for (int i = 0; i < V; ++i) pack.x[i] = narrow(from[i]);
    return pack;
}

// Into memory that is not shared: __stwb is an access as it stands, where an assignment may become one for each number.
template <int V> __device__ __forceinline__ void save(storage* into, const real (&from)[V]) {
    const Pack<V> pack = packed(from);
#pragma unroll
    for (int n = 0; n < (int)(sizeof(pack.access) / sizeof(Access<V>)); ++n)
        __stwb(reinterpret_cast<Access<V>*>(into) + n, pack.access[n]);
}

// The sum, or the largest, of x over the lanes of a warp; every lane gets it.
__device__ __forceinline__ real warp_sum(real x) {
    for (int lane = WARP / 2; lane; lane /= 2) x += __shfl_xor_sync(ALL_LANES, x, lane);
    return x;
}
__device__ __forceinline__ real warp_max(real x) {
    for (int lane = WARP / 2; lane; lane /= 2) x = fmax(x, __shfl_xor_sync(ALL_LANES, x, lane));
    return x;
}
