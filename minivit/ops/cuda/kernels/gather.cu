// Many arrays into one buffer, in one launch: the gradients of all tensors, which would be a hundred small copies.
// Row y of the grid takes array y.
//
// Readable twin: minivit/training/step.py, `_add`.
#include "common.cuh"

// COUNT arrays at most: a kernel's arguments have room for 4 KB.
struct Pieces { const real* from[COUNT]; big start[COUNT], size[COUNT]; };

// buffer[start ..] = the arrays' numbers, or += where `add` is not 0.
extern "C" __global__ void gather(real* buffer, Pieces pieces, int add) {
    const real* from = pieces.from[blockIdx.y];
    real* into = buffer + pieces.start[blockIdx.y];
    const big size = pieces.size[blockIdx.y];
    for (big i = (big)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += (big)gridDim.x * blockDim.x)
        into[i] = add ? into[i] + from[i] : from[i];
}
