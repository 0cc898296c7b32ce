// Passes over a matrix (rows, columns) in which a thread owns V neighbouring columns: the bias, GELU, and what a bias's
// gradient needs, sums over the rows; also, with an image's tokens as one row, the class token and the positions.
// Block y of the grid takes rows y, y + gridDim.y, ...; its sums are one row of `partial` (gridDim.y, columns), which
// sum_rows adds up in order: no atomics, the same result each time.
//
// The MLP's dropout goes with GELU, where a thread owns eight columns: a block of the generator, and a byte of bits.
//
// Readable twins: minivit/functions/linear.py, gelu.py, dropout.py, embedding.py.
#include "common.cuh"
#include "random.cuh"
#define V (VECTOR)

#define SQRT_8_OVER_PI ((real)1.5957691216057308)
#define CUBIC ((real)0.044715)
#define LOG2_E ((real)1.4426950408889634)
#define SQRT_HALF ((real)0.70710678118654752)
#define INV_SQRT_2PI ((real)0.39894228040143268)

// 1 / x; in float by the GPU's own instruction, right but for the last bit or two.
__device__ __forceinline__ float inverse(float x) { return __fdividef(1, x); }
__device__ __forceinline__ double inverse(double x) { return 1 / x; }

// The share of a standard normal below x, and d(x Phi(x)) / dx. ERF picks the form. (1 + tanh u) / 2 is computed as
// 1 / (1 + 2^(-2 u log2 e)): fewer instructions, and where it is small it keeps its digits.
__device__ __forceinline__ real normal_share(real x) {
#if ERF
    return (1 + erf(x * SQRT_HALF)) / 2;
#else
    const real a = -SQRT_8_OVER_PI * LOG2_E;
    return inverse(1 + exp2(x * (a * CUBIC * (x * x) + a)));
#endif
}
__device__ __forceinline__ real gelu_slope(real x) {
    const real phi = normal_share(x);
#if ERF
    return phi + x * exp(-x * x / 2) * INV_SQRT_2PI;
#else
    return x * (3 * CUBIC * SQRT_8_OVER_PI * (x * x) + SQRT_8_OVER_PI) * (phi - phi * phi) + phi;
#endif
}

// y = x + b; y may be x.
extern "C" __global__ void add_bias(const storage* x, const storage* b, int rows, int columns, storage* y) {
    const int at = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (at >= columns) return;
    real bias[V], v[V];
    load<V>(b + at, bias);
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        load<V>(x + (big)row * columns + at, v);
        for (int i = 0; i < V; ++i) v[i] += bias[i];
        save<V>(y + (big)row * columns + at, v);
    }
}

// y (rows, columns): each row of x with `first` (width,) in front of it. V divides the width, too.
extern "C" __global__ void prepend(const storage* x, const storage* first, int width, int rows, int columns, storage* y) {
    const int at = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (at >= columns) return;
    real v[V];
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        load<V>(at < width ? first + at : x + (big)row * (columns - width) + at - width, v);
        save<V>(y + (big)row * columns + at, v);
    }
}

// y (rows, columns): each row of x without its first `width` numbers.
extern "C" __global__ void without_first(const storage* x, int width, int rows, int columns, storage* y) {
    const int at = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (at >= columns) return;
    real v[V];
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        load<V>(x + (big)row * (columns + width) + width + at, v);
        save<V>(y + (big)row * columns + at, v);
    }
}

// What GELU gets: pre + b, rounded to storage, so that both directions and the readable twin see the same number.
__device__ __forceinline__ void argument(const storage* pre, const real (&bias)[V], real (&v)[V]) {
    load<V>(pre, v);
    for (int i = 0; i < V; ++i) v[i] = widen(narrow(v[i] + bias[i]));
}

// h = dropout(gelu(pre + b)). A number is kept where its draw at `site` is at least `rate`, and its bit set in `bits`
// (rows, columns / 8). Both address and bits may be null: nothing is dropped; where V is not 8 they have to be. An image
// has rows_of_image rows.
extern "C" __global__ void bias_gelu(const storage* pre, const storage* b, const Address* address, int site, float rate,
                                     real scale, int rows_of_image, int rows, int columns, storage* h,
                                     unsigned char* bits) {
    const int at = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (at >= columns) return;
    real bias[V], v[V];
    load<V>(b + at, bias);
    const big before = address ? (big)address->image * rows_of_image * columns : 0;  // draws, of images before these
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const big start = (big)row * columns + at;
        argument(pre + start, bias, v);
        for (int i = 0; i < V; ++i) v[i] *= normal_share(v[i]);
#if VECTOR == 8
        if (address) {
            const unsigned byte = kept_of_8(*address, site, (before + start) / 8, rate);
            keep(v, byte, scale);
            bits[start / 8] = byte;
        }
#endif
        save<V>(h + start, v);
    }
}

// dh *= gelu'(pre + b), in place, where `bits` (null: everywhere) says that h was kept, and partial sums of the result:
// the gradient of the bias.
extern "C" __global__ void gelu_backward(storage* dh, const storage* pre, const storage* b, const unsigned char* bits,
                                         real scale, int rows, int columns, real* partial) {
    const int at = (blockIdx.x * blockDim.x + threadIdx.x) * V;
    if (at >= columns) return;
    real sums[V] = {}, bias[V], v[V], d[V];
    load<V>(b + at, bias);
    for (int row = blockIdx.y; row < rows; row += gridDim.y) {
        const big start = (big)row * columns + at;
        argument(pre + start, bias, v);
        load<V>(dh + start, d);
#if VECTOR == 8
        if (bits) keep(d, bits[start / 8], scale);
#endif
        for (int i = 0; i < V; ++i) { d[i] *= gelu_slope(v[i]); sums[i] += d[i]; }
        save<V>(dh + start, d);
    }
    for (int i = 0; i < V; ++i) partial[(big)blockIdx.y * columns + at + i] = sums[i];
}

// Partial sums over the rows of dy; a thread has four rows on their way at a time.
extern "C" __global__ void column_sums(const storage* dy, int rows, int columns, real* partial) {
    const int at = (blockIdx.x * blockDim.x + threadIdx.x) * V, step = gridDim.y;
    if (at >= columns) return;
    real sums[V] = {}, d[4][V];
    int row = blockIdx.y;
    for (; row + 3 * step < rows; row += 4 * step) {
#pragma unroll
        for (int k = 0; k < 4; ++k) load<V>(dy + (big)(row + k * step) * columns + at, d[k]);
        for (int k = 0; k < 4; ++k)
            for (int i = 0; i < V; ++i) sums[i] += d[k][i];
    }
    for (; row < rows; row += step) {
        load<V>(dy + (big)row * columns + at, d[0]);
        for (int i = 0; i < V; ++i) sums[i] += d[0][i];
    }
    for (int i = 0; i < V; ++i) partial[(big)blockIdx.y * columns + at + i] = sums[i];
}

// sums = the rows of partial (rows, columns), added in a fixed order. A block takes 32 columns; each of its WARPS warps
// adds every so many rows, and the first warp adds what the warps found. So many threads leave 64 registers for each,
// which a compiler has to be told.
#define WARPS 32
extern "C" __global__ __launch_bounds__(WARPS * WARP) void sum_rows(const real* partial, int rows, int columns,
                                                                    real* sums) {
    __shared__ real shares[WARPS][WARP];
    const int warp = threadIdx.x / WARP, lane = threadIdx.x % WARP, at = blockIdx.x * WARP + lane;
    real sum = 0;
    if (at < columns)
#pragma unroll 8
        for (int row = warp; row < rows; row += WARPS) sum += partial[(big)row * columns + at];
    shares[warp][lane] = sum;
    __syncthreads();
    if (warp == 0 && at < columns) {
        for (int w = 1; w < WARPS; ++w) sum += shares[w][lane];
        sums[at] = sum;
    }
}
