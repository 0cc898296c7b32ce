"""Wrong answers to the exercises of 10."""

import numpy as np

from minivit.lessons.answers.n10_looking_inside import linear_probe, prepare, resize_positions


def prepare_by(scale=255.0, transpose=True, corner=False, pick=False, swapped=False, normalised=True):
    def attempt(image, size, mean, std):
        height, width, _ = image.shape
        block = min(height, width) // size
        side = block * size
        top, left = (0, 0) if corner else ((height - side) // 2, (width - side) // 2)
        square = image[top : top + side, left : left + side]
        small = square[::block, ::block] if pick else square.reshape(size, block, size, block, 3).mean((1, 3))
        mean, std = (std, mean) if swapped else (mean, std)
        x = (small / scale - np.asarray(mean)) / np.asarray(std) if normalised else small / scale
        return x.transpose(2, 0, 1) if transpose else x

    return attempt


def probe_by(zero_targets=False, centred=True, ridge_factor=1.0, transposed=False):
    def attempt(features, labels, classes, ridge):
        targets = np.where(np.arange(classes) == labels[:, None], 1.0, 0.0 if zero_targets else -1.0)
        mean, mean_target = (features.mean(0), targets.mean(0)) if centred else (0.0, np.zeros(classes))
        x = features - mean
        w = np.linalg.solve(
            x.T @ x + ridge_factor * ridge * np.eye(features.shape[1]),
            x.T @ (targets - mean_target),
        )
        bias = mean_target - (features.mean(0) @ w if centred else 0.0)
        return w.T if transposed else w, bias

    return attempt


def resize_by_nearest(positions, grid, new_grid):
    rows = np.arange(new_grid[0]) * grid[0] // new_grid[0]
    columns = np.arange(new_grid[1]) * grid[1] // new_grid[1]
    return positions.reshape(*grid, -1)[rows][:, columns].reshape(-1, positions.shape[1])


def resize_at(places, kept=True):
    """Bilinear, from the old places of n new ones at places(m, n)."""

    def along_rows(table, m, n):
        at = np.clip(places(m, n), 0, m - 1) if kept else places(m, n)
        low = np.floor(at).astype(int)
        share = (at - low).reshape(-1, *(1,) * (table.ndim - 1))
        padded = np.concatenate([np.zeros_like(table[:1]), table, np.zeros_like(table[:1])])
        return (1 - share) * padded[low + 1] + share * padded[low + 2]

    def attempt(positions, grid, new_grid):
        table = along_rows(positions.reshape(*grid, -1), grid[0], new_grid[0])
        table = along_rows(table.swapaxes(0, 1), grid[1], new_grid[1]).swapaxes(0, 1)
        return table.reshape(-1, positions.shape[1])

    return attempt


def resize_in_columns_first(positions, grid, new_grid):
    found = resize_positions(positions, grid, new_grid).reshape(*new_grid, -1)
    return found.transpose(1, 0, 2).reshape(-1, positions.shape[1])


def resize_as_a_grid(positions, grid, new_grid):
    return resize_positions(positions, grid, new_grid).reshape(*new_grid, -1)


WRONG = {
    "10.1": [
        ((prepare_by(transpose=False),), "transpose it by (2, 0, 1)"),
        ((prepare_by(corner=True),), "the square is cut from a corner"),
        ((prepare_by(pick=True),), "one pixel of each block is picked"),
        ((prepare_by(scale=1.0),), "divide by 255 before the mean is taken off"),
        ((prepare_by(scale=255.0, normalised=False),), "not normalised"),
        ((prepare_by(scale=1.0, normalised=False),), "neither divided by 255 nor normalised"),
        ((prepare_by(swapped=True),), "mean and std are swapped"),
        ((lambda image, size, mean, std: prepare(image, size, mean, np.multiply(std, 255)),), "factor 0.00392157"),
    ],
    "10.2": [
        ((probe_by(zero_targets=True),), "these are targets of 0 and 1: they have to be +1 and -1"),
        ((probe_by(centred=False),), "features and targets are not centred"),
        ((probe_by(transposed=True),), "transposed"),
        ((probe_by(ridge_factor=0.0),), "the ridge is missing"),
        (
            (lambda x, labels, classes, ridge: linear_probe(x, labels, labels.max() + 1, ridge),),
            "where the right result",
        ),
        ((lambda *args: linear_probe(*args)[0],), "returned"),
    ],
    "10.3": [
        ((resize_by_nearest,), "the nearest old place is taken"),
        ((resize_at(lambda m, n: np.arange(n) * m / n),), "the half pixels are missing"),
        ((resize_at(lambda m, n: np.arange(n) * (m - 1) / (n - 1)),), "the corners' centres are laid on one another"),
        ((resize_at(lambda m, n: (np.arange(n) + 0.5) * m / n - 0.5, False),), "are not kept within 0 and m - 1"),
        ((resize_at(lambda m, n: np.rint((np.arange(n) + 0.5) * m / n - 0.5)),), "the nearest old place is taken"),
        ((resize_in_columns_first,), "the right numbers in another order"),
        ((resize_as_a_grid,), "the right numbers, to be reshaped"),
    ],
}
