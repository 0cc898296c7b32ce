// Attention on tensor cores, in bfloat16 or TF32. A block takes one head of one image: q, k and v lie in shared memory,
// the scores never leave the multiprocessor. A warp takes 16 tokens. Compiled for TOKENS, HEADS and the width HEAD of one.
//
//     s = q k'          p = softmax(scale s)                     y = p v
//     dp = dy v'        ds = scale p (dp - sum of p dp)
//     dq = ds k         dk = ds' q                               dv = p' dy
//
// The way back computes p again rather than reading it. A warp computes p and ds of its 16 queries, and dq from them
// in registers; dk and dv of its 16 keys need all queries' p and ds, which the warps leave in shared memory. The
// projection's bias is added as q, k and v are fetched, and its gradient is summed on the way out.
//
// Source: Dao et al. 2022 (arXiv:2205.14135), section 3.1 (tiling, recomputation); a single tile of keys is enough here.
// Readable twin: minivit/functions/attention.py.
#include "common.cuh"
#include "tiles.cuh"
#define TILES ((TOKENS + 15) / 16)  // and warps of a block
#define ROWS (16 * TILES)
#define PARTS (HEAD / 16)
#define WIDTH (HEADS * HEAD)
#define PITCH (HEAD + CHUNK)         // of rows in shared memory: 16 bytes more, so that eight begin in different banks
#define SCORES_PITCH (ROWS + CHUNK)  // of rows of p and ds
#define IN_PLACE (STORAGE == 32)     // p and ds take the place of k and v: float has room for two blocks only so
#define LOG2_E ((real)1.4426950408889634)

extern __shared__ __align__(16) char memory[];

// A thread's share of a head (ROWS, HEAD): 16 bytes of every so many rows, always the same columns.
#define COLUMN (threadIdx.x % (HEAD / CHUNK) * CHUNK)
#define AT_ONCE (TILES * WARP / (HEAD / CHUNK))  // rows; a few threads are left over where HEAD is 48
#define FIRST_ROW (threadIdx.x / (HEAD / CHUNK) < AT_ONCE ? threadIdx.x / (HEAD / CHUNK) : ROWS)

// Begin to copy a head from memory, rows `step` apart, into shared memory; rows beyond the last token become 0.
__device__ __forceinline__ void fetch(storage* into, const storage* from, int step) {
    for (int row = FIRST_ROW; row < ROWS; row += AT_ONCE)
        copy_16_bytes(into + row * PITCH + COLUMN, from + (big)(row < TOKENS ? row : 0) * step + COLUMN, row < TOKENS);
}

// Add the bias b (HEAD,), where it is given, to what the thread itself has copied, and round it as a factor is.
__device__ __forceinline__ void add_bias(storage* head, const storage* b) {
#if STORAGE == 16
    if (!b) return;
    const uint4 bias = *reinterpret_cast<const uint4*>(b + COLUMN);
    for (int row = FIRST_ROW; row < TOKENS; row += AT_ONCE) {
        uint4* at = reinterpret_cast<uint4*>(head + row * PITCH + COLUMN);
        const uint4 v = *at;
        *at = {sum_of_pairs(v.x, bias.x), sum_of_pairs(v.y, bias.y), sum_of_pairs(v.z, bias.z), sum_of_pairs(v.w, bias.w)};
    }
#else
    real bias[CHUNK] = {}, v[CHUNK];
    if (b) load<CHUNK>(b + COLUMN, bias);
    for (int row = FIRST_ROW; row < TOKENS; row += AT_ONCE) {
        load<CHUNK>(head + row * PITCH + COLUMN, v);
        for (int n = 0; n < CHUNK; ++n) v[n] = factor_of(v[n] + bias[n]);
        save_shared<CHUNK>(head + row * PITCH + COLUMN, v);
    }
#endif
}

// A warp's rows `first` .. first + 15 of a result into memory, rows `step` apart, by way of shared memory of its own.
__device__ __forceinline__ void store_rows(Sum (&s)[PARTS], storage* own, storage* into, int step, int first) {
    __syncwarp();
    store_shared(s, own, PITCH);
    __syncwarp();
    for (int i = threadIdx.x % WARP; i < 16 * HEAD / CHUNK; i += WARP) {
        const int row = i / (HEAD / CHUNK), at = i % (HEAD / CHUNK) * CHUNK;
        if (first + row < TOKENS)
            *reinterpret_cast<Access<CHUNK>*>(into + (big)(first + row) * step + at) =
                *reinterpret_cast<const Access<CHUNK>*>(own + row * PITCH + at);
    }
}

// s = softmax(scale q k'): the weights of a warp's 16 queries q, as factors. Columns beyond the last key become 0.
__device__ __forceinline__ void softmax_scores(Sum (&s)[TILES], const storage* q, const storage* k, real scale) {
#pragma unroll
    for (int d = 0; d < PARTS; ++d) {
        const Factor rows = left(q + 16 * d, PITCH);
#pragma unroll
        for (int j = 0; j < TILES; ++j) multiply(s[j], rows, right_transposed(k + 16 * j * PITCH + 16 * d, PITCH));
    }
    const real factor = scale * LOG2_E;  // exp2 is the hardware's own
    real top[2] = {NOTHING, NOTHING}, sum[2] = {};
#pragma unroll
    for (int i = 0; i < 8 * TILES; ++i) {
        real& x = number(s, i);
        x = column_of(i) < TOKENS ? x * factor : NOTHING;
        top[lower_of(i)] = fmax(x, top[lower_of(i)]);  // one instruction; NaN goes on by way of exp2
    }
    for (int lower = 0; lower < 2; ++lower) top[lower] = row_max(top[lower]);
#pragma unroll
    for (int i = 0; i < 8 * TILES; ++i) sum[lower_of(i)] += number(s, i) = exp2(number(s, i) - top[lower_of(i)]);
    for (int lower = 0; lower < 2; ++lower) sum[lower] = 1 / row_sum(sum[lower]);
#pragma unroll
    for (int i = 0; i < 8 * TILES; ++i) number(s, i) = factor_of(number(s, i) * sum[lower_of(i)]);
}

// y (images, TOKENS, WIDTH) of qkv (images, TOKENS, 3 WIDTH), which lacks its bias b (3 WIDTH,).
extern "C" __global__ void attention(const storage* qkv, const storage* b, real scale, storage* y) {
    storage *q = reinterpret_cast<storage*>(memory), *k = q + ROWS * PITCH, *v = k + ROWS * PITCH;
    const big start = (big)(blockIdx.x / HEADS) * TOKENS * WIDTH;
    const int head = blockIdx.x % HEADS * HEAD, first = threadIdx.x / WARP * 16;
    storage* parts[3] = {q, k, v};
#pragma unroll
    for (int i = 0; i < 3; ++i) fetch(parts[i], qkv + 3 * start + i * WIDTH + head, 3 * WIDTH);
    wait_for_copies();
#pragma unroll
    for (int i = 0; i < 3; ++i) add_bias(parts[i], b + i * WIDTH + head);
    __syncthreads();

    Sum p[TILES] = {}, out[PARTS] = {};
    softmax_scores(p, q + first * PITCH, k, scale);
#pragma unroll
    for (int j = 0; j < TILES; ++j)
        for (int d = 0; d < PARTS; ++d) multiply(out[d], as_left(p[j]), right(v + 16 * j * PITCH + 16 * d, PITCH));
    store_rows(out, q + first * PITCH, y + start + head, WIDTH, first);
}

// Sums over a warp's 16 rows into shared memory: its share of the bias's gradient.
__device__ __forceinline__ void add_up(Sum (&s)[PARTS], real* sums) {
    const int lane = threadIdx.x % WARP;
#pragma unroll
    for (int i = 0; i < 4 * PARTS; ++i) {
        const real(&halves)[2][2] = s[i / 4].x[i / 2 % 2];
        const real sum = column_sum(halves[0][i % 2] + halves[1][i % 2]);
        if (lane < 4) sums[i / 4 * 16 + i / 2 % 2 * 8 + lane * 2 + i % 2] = sum;
    }
}

// ds = scale p (ds - sum of p ds over the keys), for a warp's 16 queries, as factors.
__device__ __forceinline__ void softmax_slopes(Sum (&ds)[TILES], Sum (&p)[TILES], real scale) {
    real along[2] = {};
#pragma unroll
    for (int i = 0; i < 8 * TILES; ++i) along[lower_of(i)] += number(ds, i) * number(p, i);
    for (int lower = 0; lower < 2; ++lower) along[lower] = row_sum(along[lower]);
#pragma unroll
    for (int i = 0; i < 8 * TILES; ++i)
        number(ds, i) = factor_of(scale * number(p, i) * (number(ds, i) - along[lower_of(i)]));
}

// dqkv (images, TOKENS, 3 WIDTH) for dy (images, TOKENS, WIDTH), with qkv and b as above; partial (images, 3 WIDTH):
// an image's share of the bias's gradient.
extern "C" __global__ void attention_backward(const storage* dy, const storage* qkv, const storage* b, real scale,
                                              storage* dqkv, real* partial) {
    storage *q = reinterpret_cast<storage*>(memory), *g = q + ROWS * PITCH, *k = g + ROWS * PITCH, *v = k + ROWS * PITCH;
    storage *weights = IN_PLACE ? k : v + ROWS * PITCH, *slopes = weights + ROWS * SCORES_PITCH;  // p and ds (ROWS, ROWS)
    storage* unused = IN_PLACE ? q : v;                       // at the end
    real* sums = reinterpret_cast<real*>(IN_PLACE ? g : k);   // at the end, too: (3, TILES, HEAD)
    const big start = (big)(blockIdx.x / HEADS) * TOKENS * WIDTH;
    const int head = blockIdx.x % HEADS * HEAD, warp = threadIdx.x / WARP, first = 16 * warp;
    storage* parts[3] = {q, k, v};
#pragma unroll
    for (int i = 0; i < 3; ++i) fetch(parts[i], qkv + 3 * start + i * WIDTH + head, 3 * WIDTH);
    fetch(g, dy + start + head, WIDTH);
    wait_for_copies();
#pragma unroll
    for (int i = 0; i < 3; ++i) add_bias(parts[i], b + i * WIDTH + head);
    add_bias(g, nullptr);
    __syncthreads();

    Sum p[TILES] = {}, ds[TILES] = {}, dq[PARTS] = {}, dk[PARTS] = {}, dv[PARTS] = {};
    softmax_scores(p, q + first * PITCH, k, scale);
#pragma unroll
    for (int d = 0; d < PARTS; ++d) {
        const Factor rows = left(g + first * PITCH + 16 * d, PITCH);
#pragma unroll
        for (int j = 0; j < TILES; ++j) multiply(ds[j], rows, right_transposed(v + 16 * j * PITCH + 16 * d, PITCH));
    }
    softmax_slopes(ds, p, scale);
    const auto share_scores = [&] {
        store_shared(p, weights + first * SCORES_PITCH, SCORES_PITCH);
        store_shared(ds, slopes + first * SCORES_PITCH, SCORES_PITCH);
    };
    if (!IN_PLACE) share_scores();
#pragma unroll
    for (int j = 0; j < TILES; ++j)
        for (int d = 0; d < PARTS; ++d) multiply(dq[d], as_left(ds[j]), right(k + 16 * j * PITCH + 16 * d, PITCH));
    if (IN_PLACE) { __syncthreads(); share_scores(); }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < TILES; ++i) {
        const Factor to_k = left_transposed(slopes + 16 * i * SCORES_PITCH + first, SCORES_PITCH);
        const Factor to_v = left_transposed(weights + 16 * i * SCORES_PITCH + first, SCORES_PITCH);
        for (int d = 0; d < PARTS; ++d) {
            multiply(dk[d], to_k, right(q + 16 * i * PITCH + 16 * d, PITCH));
            multiply(dv[d], to_v, right(g + 16 * i * PITCH + 16 * d, PITCH));
        }
    }
    if (IN_PLACE) __syncthreads();
    const auto write_gradient = [&](Sum(&s)[PARTS], int part) {
        store_rows(s, unused + first * PITCH, dqkv + 3 * start + part * WIDTH + head, 3 * WIDTH, first);
        add_up(s, sums + (part * TILES + warp) * HEAD);
    };
    write_gradient(dq, 0); write_gradient(dk, 1); write_gradient(dv, 2);
    __syncthreads();
    for (int i = threadIdx.x; i < 3 * HEAD; i += TILES * WARP) {
        const int part = i / HEAD, column = i % HEAD;
        real sum = 0;
        for (int w = 0; w < TILES; ++w) sum += sums[(part * TILES + w) * HEAD + column];
        partial[(big)(blockIdx.x / HEADS) * 3 * WIDTH + part * WIDTH + head + column] = sum;
    }
}
