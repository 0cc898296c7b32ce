// The residual sum with dropout and drop path, z + drop_path(dropout(x)), and dropout alone. No mask is kept:
// both directions draw it at its address. A thread takes 8 numbers, one block of the generator.
//
// Readable twins: minivit/functions/residual.py, dropout.py.
#include "common.cuh"
#include "random.cuh"

// What x is multiplied by: 0 or 1 / (1 - rate). Without an address nothing is dropped.
__device__ __forceinline__ real kept_scale(float u, float rate) { return u >= rate ? 1 / (1 - (real)rate) : 0; }

__device__ __forceinline__ real path_scale(const Address* at, int site, float rate, long first, int per_image) {
    return rate > 0 ? kept_scale(uniform(*at, site, first / per_image), rate) : 1;
}

// y = [z +] x masks, for x (size,) of images of per_image numbers. Masks of dropout lie at `site`, of drop path
// at site + 1; z may be null. The same kernel with dy for x and no z is the backward pass.
extern "C" __global__ void residual(const storage* z, const storage* x, const Address* address, int site, float rate,
                                    float path_rate, long size, int per_image, storage* y) {
    const long first = ((long)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (first >= size) return;
    float u[8];
    if (rate > 0) uniform8(*address, site, first / 8, u);
    real path = 1;
    long image = -1;
    for (int i = 0; i < 8; ++i) {
        const long at = first + i;
        if (at >= size) return;
        if (at / per_image != image) {  // eight numbers seldom lie in two images
            image = at / per_image;
            path = path_scale(address, site + 1, path_rate, at, per_image);
        }
        const real mask = rate > 0 ? kept_scale(u[i], rate) : 1;
        const real branch = widen(x[at]) * mask * path;
        y[at] = narrow(z ? widen(z[at]) + branch : branch);
    }
}
