// The residual sum with dropout and drop path, z + drop_path(dropout(x)), and dropout alone. Masks are drawn at their
// address, once: a bit is kept for each number, which the way back reads.
//
// A warp takes 256 numbers. A lane draws for eight of them that lie side by side, a block of the generator and a byte of
// bits; but it reads and writes 16 bytes at a time, side by side with its neighbours', and is told their bits.
//
// Readable twins: minivit/functions/residual.py, dropout.py.
#include "common.cuh"
#include "random.cuh"
#define ACCESSES (8 / CHUNK)  // of a lane

// Where a warp's number begins that a lane takes with its access c.
__device__ __forceinline__ int place(int c) { return (c * WARP + threadIdx.x % WARP) * CHUNK; }

// The bits of those numbers, the first the lowest, from the bytes that the lanes hold.
__device__ __forceinline__ unsigned warp_bits(unsigned byte, int c) {
    return CHUNK == 8 ? byte : __shfl_sync(ALL_LANES, byte, place(c) / 8) >> place(c) % 8;
}

// Whether drop path keeps an image's branch.
__device__ __forceinline__ bool keeps(big image, const Address& address, int site, float path_rate) {
    return uniform(address, site + 1, address.image + image) >= path_rate;
}

// y = [z +] x where a number is kept, times `scale`: x (size,) of images of per_image numbers. It is kept where its
// draw at `site` is at least `rate`, and its image's at site + 1 at least `path_rate`. z may be null; so may address,
// and bits then: nothing is dropped.
extern "C" __global__ void residual(const storage* z, const storage* x, const Address* address, int site, float rate,
                                    float path_rate, real scale, big size, int per_image, storage* y,
                                    unsigned char* bits) {
    const big begin = (big)blockIdx.x * blockDim.x * 8, start = begin + threadIdx.x / WARP * 256;
    const big first = begin + threadIdx.x * 8;  // of the lane's own eight; `start` of the warp's
    // A block's numbers seldom lie in more than two images. One warp draws for them, and divides 64 bits.
    __shared__ big image;  // the first of the two
    __shared__ bool kept[2];
    if (path_rate > 0) {
        if (threadIdx.x < 2) {
            const big mine = begin / per_image + threadIdx.x;
            kept[threadIdx.x] = keeps(mine, *address, site, path_rate);
            if (threadIdx.x == 0) image = mine;
        }
        __syncthreads();
    }
    if (start >= size) return;
    unsigned byte = rate > 0 ? kept_of_8_from(*address, site, address->image * per_image + first, rate) : 0xff;
    if (path_rate > 0) {
        const int at = (int)(first - image * per_image);  // from where the block's first image begins
#pragma unroll 1
        for (int i = 0, end; i < 8; i = end) {  // image after image: of eight numbers mostly one
            const int which = (at + i) / per_image, left = (which + 1) * per_image - at;
            end = left < 8 ? left : 8;
            const bool path = which < 2 ? kept[which] : keeps(image + which, *address, site, path_rate);
            if (!path) byte &= ~((1u << end) - (1u << i));
        }
    }
    if (bits && first < size) bits[first / 8] = byte;
    if (start + 256 > size) {  // the last numbers, of which there are fewer
#pragma unroll 1
        for (int i = 0; i < 8 && first + i < size; ++i)
            y[first + i] = narrow((z ? widen(z[first + i]) : 0) + (byte >> i & 1 ? widen(x[first + i]) * scale : 0));
        return;
    }
    real sum[ACCESSES][CHUNK] = {}, branch[ACCESSES][CHUNK];
#pragma unroll
    for (int c = 0; c < ACCESSES; ++c) load<CHUNK>(x + start + place(c), branch[c]);
    if (z)
#pragma unroll
        for (int c = 0; c < ACCESSES; ++c) load<CHUNK>(z + start + place(c), sum[c]);
#pragma unroll
    for (int c = 0; c < ACCESSES; ++c) {
        keep(branch[c], warp_bits(byte, c), scale);
        for (int i = 0; i < CHUNK; ++i) sum[c][i] += branch[c][i];
        save<CHUNK>(y + start + place(c), sum[c]);
    }
}

// dx = dy where a number was kept, times `scale`: what `residual` does to x, from the bits that it left.
extern "C" __global__ void residual_backward(const storage* dy, const unsigned char* bits, real scale, big size,
                                             storage* dx) {
    const big first = ((big)blockIdx.x * blockDim.x + threadIdx.x) * 8, start = first - threadIdx.x % WARP * 8;
    if (start >= size) return;
    const unsigned byte = first < size ? bits[first / 8] : 0;
    if (start + 256 <= size) {
        real d[ACCESSES][CHUNK];
#pragma unroll
        for (int c = 0; c < ACCESSES; ++c) load<CHUNK>(dy + start + place(c), d[c]);
#pragma unroll
        for (int c = 0; c < ACCESSES; ++c) {
            keep(d[c], warp_bits(byte, c), scale);
            save<CHUNK>(dx + start + place(c), d[c]);
        }
    } else
#pragma unroll 1
        for (int i = 0; i < 8 && first + i < size; ++i)
            dx[first + i] = narrow(byte >> i & 1 ? widen(dy[first + i]) * scale : 0);
}
