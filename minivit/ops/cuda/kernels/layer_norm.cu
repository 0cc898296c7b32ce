// Layer norm: a warp takes a row, reads it once and keeps it in registers. Compiled for one WIDTH.
//
//     u = (x - mean) rstd        y = g u + b
//     dx = rstd (du - mean(du) - u mean(du u)),   du = dy g;   dg = sum dy u, db = sum dy over the rows
//
// Readable twin: minivit/functions/layer_norm.py.
#include "common.cuh"
#define V (WIDTH % 4 == 0 ? 4 : 1)
#define CHUNKS ((WIDTH / V + WARP - 1) / WARP)  // of V numbers that a lane holds

// y, mean, rstd of x (rows, WIDTH).
extern "C" __global__ void layer_norm(const storage* x, const storage* g, const storage* b, real eps, int rows,
                                      storage* y, real* mean, real* rstd) {
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= rows) return;
    const big start = (big)row * WIDTH;
    real v[CHUNKS][V], sum = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int at = (c * WARP + lane) * V;
        if (at < WIDTH) {
            load<V>(x + start + at, v[c]);
            for (int i = 0; i < V; ++i) sum += v[c][i];
        }
    }
    const real mu = warp_sum(sum) / WIDTH;
    real squares = 0;
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c)
        if ((c * WARP + lane) * V < WIDTH)
            for (int i = 0; i < V; ++i) { v[c][i] -= mu; squares += v[c][i] * v[c][i]; }
    const real r = 1 / sqrt(warp_sum(squares) / WIDTH + eps);
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const int at = (c * WARP + lane) * V;
        if (at < WIDTH) {
            real gain[V], bias[V];
            load<V>(g + at, gain); load<V>(b + at, bias);
            for (int i = 0; i < V; ++i) v[c][i] = v[c][i] * r * gain[i] + bias[i];
            save<V>(y + start + at, v[c]);
        }
    }
    if (lane == 0) { mean[row] = mu; rstd[row] = r; }
}

// dx (rows, WIDTH), to which `more`, unless it is null, is added; partial (blocks, 2, WIDTH): a block's share of dg, db.
// Every block takes rows until none is left, and its warps' shares are added in their order: no atomics.
extern "C" __global__ void layer_norm_backward(const storage* dy, const storage* x, const storage* g, const real* mean,
                                               const real* rstd, const storage* more, int rows, storage* dx,
                                               real* partial) {
    extern __shared__ char memory[];
    real* shares = reinterpret_cast<real*>(memory);  // (warps, 2, WIDTH)
    const int warps = blockDim.x / WARP, warp = threadIdx.x / WARP, lane = threadIdx.x % WARP;
    real dg[CHUNKS][V] = {}, db[CHUNKS][V] = {};
    for (int row = blockIdx.x * warps + warp; row < rows; row += gridDim.x * warps) {
        const big start = (big)row * WIDTH;
        const real mu = mean[row], r = rstd[row];
        real u[CHUNKS][V], du[CHUNKS][V], on[CHUNKS][V] = {}, sum = 0, along = 0;
#pragma unroll
        for (int c = 0; c < CHUNKS; ++c) {
            const int at = (c * WARP + lane) * V;
            if (at < WIDTH) {
                real gain[V];
                load<V>(x + start + at, u[c]); load<V>(dy + start + at, du[c]); load<V>(g + at, gain);
                if (more) load<V>(more + start + at, on[c]);
                for (int i = 0; i < V; ++i) {
                    u[c][i] = (u[c][i] - mu) * r;
                    dg[c][i] += du[c][i] * u[c][i];
                    db[c][i] += du[c][i];
                    du[c][i] *= gain[i];
                    sum += du[c][i]; along += du[c][i] * u[c][i];
                }
            }
        }
        sum = warp_sum(sum) / WIDTH; along = warp_sum(along) / WIDTH;
#pragma unroll
        for (int c = 0; c < CHUNKS; ++c) {
            const int at = (c * WARP + lane) * V;
            if (at < WIDTH) {
                for (int i = 0; i < V; ++i) du[c][i] = on[c][i] + r * (du[c][i] - sum - u[c][i] * along);
                save<V>(dx + start + at, du[c]);
            }
        }
    }
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c)
        for (int i = 0; i < V; ++i) {
            const int at = (c * WARP + lane) * V + i;
            if (at < WIDTH) { shares[warp * 2 * WIDTH + at] = dg[c][i]; shares[(warp * 2 + 1) * WIDTH + at] = db[c][i]; }
        }
    __syncthreads();
    for (int at = threadIdx.x; at < 2 * WIDTH; at += blockDim.x) {
        real sum = 0;
        for (int w = 0; w < warps; ++w) sum += shares[w * 2 * WIDTH + at];
        partial[(big)blockIdx.x * 2 * WIDTH + at] = sum;
    }
}
