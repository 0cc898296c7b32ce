// The residual sum with dropout and drop path, z + drop_path(dropout(x)), and dropout alone. No mask is kept:
// both directions draw it at its address. A thread takes 8 numbers, one block of the generator.
//
// Readable twins: minivit/functions/residual.py, dropout.py.
#include "common.cuh"
#include "random.cuh"

// y = [z +] x masks, for x (size,) of images of per_image numbers. A number is kept where its draw at `site` is at
// least `rate`, and its image where its draw at site + 1 is at least `path_rate`; what is kept is multiplied by
// `scale`, `path_scale`. z may be null. The same kernel with dy for x and no z is the backward pass.
extern "C" __global__ void residual(const storage* z, const storage* x, const Address* address, int site, float rate,
                                    real scale, float path_rate, real path_scale, long size, int per_image,
                                    storage* y) {
    const long first = ((long)blockIdx.x * blockDim.x + threadIdx.x) * 8;
    if (first >= size) return;
    float u[8];
    if (rate > 0) uniform8(*address, site, first / 8, u);
    real path = 1;
    long image = -1;
#pragma unroll
    for (int i = 0; i < 8; ++i) {
        const long at = first + i;
        if (at >= size) return;
        if (path_rate > 0 && at / per_image != image) {  // eight numbers seldom lie in two images
            image = at / per_image;
            path = uniform(*address, site + 1, image) >= path_rate ? path_scale : 0;
        }
        real branch = widen(x[at]) * path;
        if (rate > 0) branch = u[i] >= rate ? branch * scale : 0;
        y[at] = narrow(z ? widen(z[at]) + branch : branch);
    }
}
