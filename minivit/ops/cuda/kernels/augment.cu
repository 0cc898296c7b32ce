// From the whole uint8 data set to a batch of patches: shuffle, crop, flip, normalise and cut, in one pass.
// Thread per number of the patches (images, N, P*P*C); the image's shift and flip are small tables.
//
// Readable twins: minivit/data/augment.py, dataset.py (normalise), minivit/functions/patches.py.
#include "common.cuh"

// index (images,): which pictures of `pictures` (all, C, H, W); moves (images, 3): top, left, mirrored.
// scale, shift (C,): of the normalisation. Pixels beyond the edge are byte 0, as in the padded picture.
extern "C" __global__ void augment(const unsigned char* pictures, const int* index, const int* moves, const real* scale,
                                   const real* shift, int images, int padding, storage* patches) {
    const big at = (big)blockIdx.x * blockDim.x + threadIdx.x;
    if (at >= (big)images * HEIGHT * COLUMNS * CHANNELS) return;
    big rest = at;
    const int c = rest % CHANNELS; rest /= CHANNELS;
    const int x_in = rest % PATCH_COLUMNS; rest /= PATCH_COLUMNS;
    const int y_in = rest % PATCH_ROWS; rest /= PATCH_ROWS;
    const int x_patch = rest % (COLUMNS / PATCH_COLUMNS); rest /= COLUMNS / PATCH_COLUMNS;
    const int y_patch = rest % (HEIGHT / PATCH_ROWS); rest /= HEIGHT / PATCH_ROWS;
    const int image = (int)rest;
    int x = x_patch * PATCH_COLUMNS + x_in;
    if (moves[3 * image + 2]) x = COLUMNS - 1 - x;  // the crop is mirrored, not the picture
    x += moves[3 * image + 1] - padding;
    const int y = y_patch * PATCH_ROWS + y_in + moves[3 * image] - padding;
    real value = 0;
    if (0 <= y && y < HEIGHT && 0 <= x && x < COLUMNS)
        value = pictures[(((big)index[image] * CHANNELS + c) * HEIGHT + y) * COLUMNS + x];
    patches[at] = narrow(value * scale[c] + shift[c]);
}
