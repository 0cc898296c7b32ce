"""The error of a numeric derivative against its step: why half of the digits are the most a difference gives.

A large step errs by the curvature that it skips, a small one by the roundings that it divides by a small
number. Between the two lies the bottom of the U. The complex step has no second branch.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, to_host
from minivit.gradcheck.derivative import central_along, complex_step_along, forward_along, norm, random_signs
from minivit.gradcheck.pair import Backward, Forward, make_pair
from minivit.gradcheck.report import aligned
from minivit.gradcheck.trial import try_pair

_ALONG = {"forward": forward_along, "central": central_along, "complex_step": complex_step_along}


class StepSweep(NamedTuple):
    """Errors of numeric derivatives, relative to the gradient's length; draw it with `plots.plot_step_sweep`."""

    name: str
    steps: Array  # (S,)  from large to small
    errors: dict[str, Array]  # (S,) for each "forward float64", "central float64", ...

    def best(self, method: str) -> tuple[float, float]:
        """The step with the smallest error, and that error."""
        i = int(np.argmin(self.errors[method]))
        return float(self.steps[i]), float(self.errors[method][i])

    def __str__(self) -> str:
        head = ("step", *self.errors)
        body = [(f"{h:.0e}", *(f"{e[i]:.1e}" for e in self.errors.values())) for i, h in enumerate(self.steps)]
        return "\n".join(
            [
                f"{self.name}: relative error of numeric derivatives",
                *aligned([head, *body], right=tuple(range(len(head)))),
            ]
        )


def step_sweep(
    f: Forward,
    f_backward: Backward,
    args: Sequence[Any],
    *,
    steps: Sequence[float] | None = None,
    dtypes: Sequence[str] = ("float64", "float32"),
    directions: int = 4,
    seed: int = 0,
) -> StepSweep:
    """Compare numeric derivatives of many steps with the gradients of f_backward, computed in float64.

    steps: 1e-1, 1e-1.5, ... 1e-16 without it. dtypes: in which f is evaluated; the complex step in complex
    numbers of as many bits. Derivatives are taken along random signs for all arguments at once. Raises
    GradcheckError as `check` does.
    """
    pair = make_pair(f, f_backward, args, dtype=np.float64)
    trial = try_pair(pair, seed)
    size = sum(norm(g) ** 2 for g in trial.gradients if g is not None) ** 0.5
    step_list = np.logspace(-1, -16, 31) if steps is None else np.asarray(steps, np.float64)
    errors = {f"{method} {dtype}": np.zeros(len(step_list)) for dtype in dtypes for method in _ALONG}
    for dtype in dtypes:
        moved = pair.cast(dtype).args
        rng = np.random.default_rng((seed, 4))
        for _ in range(directions):
            v = random_signs(rng, moved)
            slope = sum(
                float((g * np.asarray(to_host(s), np.float64)).sum())
                for g, s in zip(trial.gradients, v, strict=True) if g is not None
            )  # fmt: skip
            for method, along in _ALONG.items():
                for i, h in enumerate(step_list):
                    found = to_host(along(lambda *a: pair.forward(a), moved, v, float(h))).astype(np.float64)
                    errors[f"{method} {dtype}"][i] += (float((found * trial.dy).sum()) - slope) ** 2
    return StepSweep(pair.name, step_list, {name: np.sqrt(e / directions) / size for name, e in errors.items()})
