// The residual sum with dropout and drop path, z + drop_path(dropout(x)), and dropout alone. No mask is kept:
// both directions draw it at its address. A thread takes 8 numbers, one block of the generator.
//
// Readable twins: minivit/functions/residual.py, dropout.py.
#include "common.cuh"
#include "random.cuh"

// What drop path makes of an image's branch: 0, or path_scale.
__device__ __forceinline__ real path_of(big image, const Address& address, int site, float rate, real scale) {
    return uniform(address, site + 1, image) >= rate ? scale : 0;
}

// y = [z +] x masks, for x (size,) of images of per_image numbers. A number is kept where its draw at `site` is at
// least `rate`, and its image where its draw at site + 1 is at least `path_rate`; what is kept is multiplied by
// `scale`, `path_scale`. z may be null. The same kernel with dy for x and no z is the backward pass.
extern "C" __global__ void residual(const storage* z, const storage* x, const Address* address, int site, float rate,
                                    real scale, float path_rate, real path_scale, big size, int per_image,
                                    storage* y) {
    const big first = ((big)blockIdx.x * blockDim.x + threadIdx.x) * 8;
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
    float u[8] = {};
    if (rate > 0) uniform8(*address, site, first / 8, u);
    big image = path_rate > 0 ? first / per_image : 0;  // a division of 64 bits takes longer than all the rest
    big next = (image + 1) * per_image - first;         // where the next image begins, from `first`
    real path = path_rate > 0 ? path_of(image, *address, site, path_rate, path_scale) : 1;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        if (path_rate > 0 && i == next) {  // eight numbers seldom lie in two images
            path = path_of(++image, *address, site, path_rate, path_scale);
            next += per_image;
        }
        sum[i] += rate > 0 && u[i] < rate ? 0 : branch[i] * path * scale;
    }
    if (whole) save<8>(y + first, sum);
    else
#pragma unroll
        for (int i = 0; i < 8; ++i)
            if (first + i < size) y[first + i] = narrow(sum[i]);
}
