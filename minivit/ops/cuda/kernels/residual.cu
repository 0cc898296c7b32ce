// The residual sum with dropout and drop path, z + drop_path(dropout(x)), and dropout alone. Masks are drawn at their
// address, once: a bit is kept for each number, which the way back reads. A thread takes 8 numbers, one block of the
// generator, and a byte of bits.
//
// Readable twins: minivit/functions/residual.py, dropout.py.
#include "common.cuh"
#include "random.cuh"

// Whether drop path keeps an image's branch.
__device__ __forceinline__ bool keeps(big image, const Address& address, int site, float path_rate) {
    return uniform(address, site + 1, image) >= path_rate;
}

// y = [z +] x where a number is kept, times `scale`: x (size,) of images of per_image numbers. It is kept where its
// draw at `site` is at least `rate`, and its image's at site + 1 at least `path_rate`. z may be null; so may address,
// and bits then: nothing is dropped.
extern "C" __global__ void residual(const storage* z, const storage* x, const Address* address, int site, float rate,
                                    float path_rate, real scale, big size, int per_image, storage* y,
                                    unsigned char* bits) {
    const big begin = (big)blockIdx.x * blockDim.x * 8, first = begin + threadIdx.x * 8;
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
    if (first >= size) return;
    const bool whole = first + 8 <= size;
    real sum[8] = {}, branch[8];
    if (whole) {
        load<8>(x + first, branch);
        if (z) load<8>(z + first, sum);
    } else {
#pragma unroll
        for (int i = 0; i < 8; ++i) {
            const bool there = first + i < size;
            branch[i] = there ? widen(x[first + i]) : 0;
            sum[i] = there && z ? widen(z[first + i]) : 0;
        }
    }
    unsigned byte = rate > 0 ? kept_of_8(*address, site, first / 8, rate) : 0xff;
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
#pragma unroll
    for (int i = 0; i < 8; ++i) sum[i] += byte >> i & 1 ? branch[i] * scale : 0;
    if (bits) bits[first / 8] = byte;
    if (whole) save<8>(y + first, sum);
    else
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i < size) y[first + i] = narrow(sum[i]);
}

// dx = dy where a number was kept, times `scale`: what `residual` does to x, from the bits that it left.
extern "C" __global__ void residual_backward(const storage* dy, const unsigned char* bits, real scale, big size,
                                             storage* dx) {
    const big first = ((big)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (first >= size) return;
    const unsigned byte = bits[first / 8];
    if (first + 8 <= size) {
        real d[8];
        load<8>(dy + first, d);
        keep(d, byte, scale);
        save<8>(dx + first, d);
    } else
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i < size) dx[first + i] = narrow(byte >> i & 1 ? widen(dy[first + i]) * scale : 0);
}
