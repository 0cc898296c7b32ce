// Softmax of attention's scores: a warp takes a row of `columns` numbers; rows lie `stride` apart (padded to a
// multiple of 8 let the matrix products use the tensor cores). The scores' scale is folded in, forward and back.
//
//     p = softmax(scale s)        ds = scale p (dp - sum dp p)
//
// Readable twins: minivit/functions/softmax.py, attention.py.
#include "common.cuh"
#define CHUNKS ((COLUMNS + WARP - 1) / WARP)

// s (rows, STRIDE) in place; the padding becomes 0.
extern "C" __global__ void softmax(storage* s, real scale, int rows) {
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    storage* at = s + (big)row * STRIDE;
    real v[CHUNKS], top = NOTHING, sum = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int j = c * WARP + lane;
        v[c] = j < COLUMNS ? widen(at[j]) * scale : NOTHING;
        top = fmax(v[c], top);
    }
    top = warp_max(top);
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) { v[c] = exp(v[c] - top); sum += v[c]; }
    sum = 1 / warp_sum(sum);
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int j = c * WARP + lane;
        if (j < COLUMNS) at[j] = narrow(v[c] * sum);
    }
    for (int j = COLUMNS + lane; j < STRIDE; j += WARP) at[j] = narrow(0);
}

// dp (rows, STRIDE) becomes ds in place; the padding becomes 0.
extern "C" __global__ void softmax_backward(storage* dp, const storage* p, real scale, int rows) {
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    storage* at = dp + (big)row * STRIDE;
    const storage* weights = p + (big)row * STRIDE;
    real v[CHUNKS], w[CHUNKS], sum = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int j = c * WARP + lane;
        v[c] = j < COLUMNS ? widen(at[j]) : 0;
        w[c] = j < COLUMNS ? widen(weights[j]) : 0;
        sum += v[c] * w[c];
    }
    sum = warp_sum(sum);
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int j = c * WARP + lane;
        if (j < COLUMNS) at[j] = narrow(scale * w[c] * (v[c] - sum));
    }
    for (int j = COLUMNS + lane; j < STRIDE; j += WARP) at[j] = narrow(0);
}
