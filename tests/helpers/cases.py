"""What the tests of the functions and of the model share: profiles, untidy arrays, ways to compare.

Hypothesis runs 25 examples of a test, the same each time; MINIVIT_TESTS=full runs 200 fresh ones.
"""

import os
from typing import Any

import numpy as np
from hypothesis import HealthCheck, settings
from tolerances import COMPLEX_STEP

from minivit import gradcheck
from minivit.gradcheck.catalog import DROP_KEY, FUNCTIONS, TINY, Case, random_images, random_params
from minivit.gradcheck.catalog import normal as random
from minivit.gradcheck.derivative import is_float

CASES = FUNCTIONS

__all__ = [
    "CASES",
    "DROP_KEY",
    "TINY",
    "Case",
    "as_tuple",
    "assert_close",
    "assert_right",
    "is_float",
    "random",
    "random_images",
    "random_params",
    "untidy",
]

settings.register_profile(
    "everyday", max_examples=25, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("full", max_examples=200, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("full" if os.environ.get("MINIVIT_TESTS") == "full" else "everyday")


def untidy(x: Any) -> Any:
    """The numbers of x in memory that runs backwards, with gaps of NaN between, and the axes reversed."""
    if not isinstance(x, np.ndarray) or x.ndim == 0 or x.dtype.kind != "f":
        return x
    room = np.full((*x.shape[:0:-1], 2 * x.shape[0]), np.nan, x.dtype)
    view = room[..., ::-2].transpose()
    view[...] = x
    return view


def as_tuple(gradients: Any) -> tuple[Any, ...]:
    return gradients if isinstance(gradients, tuple) else (gradients,)


def assert_right(f: Any, f_backward: Any, *args: Any, seed: int = 0) -> None:
    """Every gradient of the pair agrees with the complex step, for tidy and for untidy arrays."""
    for these in (args, tuple(map(untidy, args))):
        gradcheck.check(f, f_backward, these, seed=seed).require(COMPLEX_STEP)


def assert_close(found: Any, expected: Any, tolerance: float) -> None:
    """Relative error in the L2 norm of the whole tensor; names the error when it fails."""
    error = gradcheck.relative_error(np.asarray(found, np.float64), np.asarray(expected, np.float64))
    assert error <= tolerance, f"relative error {error:.2e} is above {tolerance:.0e}"
