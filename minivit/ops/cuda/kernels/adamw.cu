// AdamW on the flat buffer: one pass updates every parameter, and writes the copy that the products read.
// The learning rate, the step and the norm of the gradient are read on the device: nothing waits for the host.
//
// Readable twin: minivit/training/optimizers.py.
#include "common.cuh"

// What a step needs to know, by its number: a table on the device.
struct Rates { real rate, first_share, second_share; };  // learning rate, 1 / (1 - b1^t), 1 / sqrt(1 - b2^t)

// partial (gridDim.x,): sums of squares of g (size,), a block each, added in a fixed order.
extern "C" __global__ void sum_squares(const real* g, big size, real* partial) {
    __shared__ real shares[WARP];
    real sum = 0;
#pragma unroll 4
    for (big i = (big)blockIdx.x * blockDim.x + threadIdx.x; i < size; i += (big)gridDim.x * blockDim.x)
        sum += g[i] * g[i];
    sum = warp_sum(sum);
    if (threadIdx.x % WARP == 0) shares[threadIdx.x / WARP] = sum;
    __syncthreads();
    if (threadIdx.x < WARP) {
        sum = warp_sum(threadIdx.x < blockDim.x / WARP ? shares[threadIdx.x] : 0);
        if (threadIdx.x == 0) partial[blockIdx.x] = sum;
    }
}

// found = (norm, factor): the L2 norm, and what the gradient is multiplied by so that its norm is at most `limit`.
extern "C" __global__ void clip_factor(const real* partial, int blocks, real limit, real* found) {
    real sum = 0;
    for (int i = threadIdx.x; i < blocks; i += WARP) sum += partial[i];
    sum = warp_sum(sum);
    if (threadIdx.x == 0) {
        const real norm = sqrt(sum);
        found[0] = norm;
        found[1] = limit > 0 && norm > limit ? limit / norm : 1;
    }
}

// p, m, v (size,) updated by g times clip[1] for step number *step (0, 1, ...); copy (size,) gets p in storage. new1 and
// new2 are 1 - b1 and 1 - b2: of a float near 1 the difference would keep few digits.
extern "C" __global__ void adamw(real* p, const real* g, real* m, real* v, storage* copy, const Rates* table,
                                 const long long* step, const real* clip, real b1, real b2, real new1, real new2,
                                 real eps, real decay, big decayed, big size) {
    const big i = (big)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= size) return;
    const Rates now = table[*step];
    const real gradient = g[i] * clip[1];
    const real first = b1 * m[i] + new1 * gradient, second = b2 * v[i] + new2 * gradient * gradient;
    real value = p[i];
    if (i < decayed) value *= 1 - now.rate * decay;
    value -= now.rate * now.first_share * first / (sqrt(second) * now.second_share + eps);
    m[i] = first; v[i] = second; p[i] = value;
    if (copy) copy[i] = narrow(value);
}
