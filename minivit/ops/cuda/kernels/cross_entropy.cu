// Softmax, cross-entropy, its gradient and whether the prediction was right, in one pass: a warp takes an image.
//
//     loss = -sum_c t_c log p_c,   t = (1 - smoothing) [c is the label] + smoothing / classes
//     dlogits = (p - t) / total
//
// Readable twin: minivit/functions/cross_entropy.py.
#include "common.cuh"

// found (images, 2): of each image its loss, and 1 where the largest logit is the label's; dlogits (images, classes) of
// the mean over `total` images, which may be more than these: a batch in parts.
extern "C" __global__ void cross_entropy(const storage* logits, const long long* labels, real smoothing, int images,
                                         int total, int classes, storage* dlogits, real* found) {
    const int row = blockIdx.x * (blockDim.x / WARP) + threadIdx.x / WARP, lane = threadIdx.x % WARP;
    if (row >= images) return;
    const storage* z = logits + (big)row * classes;
    real top = NOTHING;
    int best = classes;  // the first of the largest, as argmax
    for (int c = lane; c < classes; c += WARP)
        if (widen(z[c]) > top) { top = widen(z[c]); best = c; }
    for (int step = WARP / 2; step; step /= 2) {
        const real other = __shfl_xor_sync(ALL_LANES, top, step);
        const int where = __shfl_xor_sync(ALL_LANES, best, step);
        if (other > top || (other == top && where < best)) { top = other; best = where; }
    }
    real sum = 0, all = 0;
    for (int c = lane; c < classes; c += WARP) { sum += exp(widen(z[c]) - top); all += widen(z[c]) - top; }
    sum = warp_sum(sum); all = warp_sum(all);
    const real log_sum = log(sum), share = smoothing / classes;
    const int label = (int)labels[row];
    for (int c = lane; c < classes; c += WARP) {
        const real t = (c == label ? 1 - smoothing : 0) + share;
        dlogits[(big)row * classes + c] = narrow((exp(widen(z[c]) - top) / sum - t) / total);
    }
    if (lane == 0) {
        found[2 * row] = log_sum - (1 - smoothing) * (widen(z[label]) - top) - (share > 0 ? share * all : 0);
        found[2 * row + 1] = best == label;
    }
}
