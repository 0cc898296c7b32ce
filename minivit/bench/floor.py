"""The floor: a training step's matrix products and nothing else.

Every product of the forward pass comes back twice, for the gradient of each factor: y = x w, dx = dy w',
dw = x' dy. They are timed in two ways, whole with the library's own threads, and in parts side by side, as
`minivit.threads` computes; the faster one is the floor.
"""

from __future__ import annotations

import numpy as np

from minivit.arrays import Array
from minivit.bench.timing import Run, median_seconds
from minivit.bench.workload import Workload, products
from minivit.threads import in_parts
from minivit.training.step import parts_of

Factors = tuple[Array, Array, Array]  # a, b and where a @ b goes


def floor_run(workload: Workload) -> Run:
    """The products of one training step on the CPU, to be run and timed: the faster one of the two ways."""
    whole = _products_for(workload, workload.batch)
    parts = parts_of(workload.batch, workload.settings.accumulate)
    by_part = [_products_for(workload, part.stop - part.start) for part in parts]

    def side_by_side() -> None:
        for _ in in_parts(lambda i: _multiply(by_part[i]), len(parts), workload.settings.threads):
            pass

    return min((lambda: _multiply(whole), side_by_side), key=lambda run: median_seconds(run, 3))


def _products_for(workload: Workload, images: int) -> list[tuple[int, list[Factors]]]:
    """How often, and the three products: of all tokens by a weight, or of each head of each image alone."""
    groups = []
    for p in products(workload):
        stack = (images * p.heads,) if p.heads else ()
        rows = p.rows if p.heads else p.rows * images
        shapes = ((rows, p.inner), (p.inner, p.columns), (rows, p.columns))
        x, w, dy = (np.ones((*stack, *shape), np.float32) for shape in shapes)
        pairs = ((x, w), (dy, np.swapaxes(w, -1, -2)), (np.swapaxes(x, -1, -2), dy))
        three = [(a, b, np.empty((*a.shape[:-1], b.shape[-1]), np.float32)) for a, b in pairs]
        groups.append((p.times, three))
    return groups


def _multiply(groups: list[tuple[int, list[Factors]]]) -> None:
    for count, three in groups:
        for _ in range(count):
            for a, b, out in three:
                np.matmul(a, b, out=out)
