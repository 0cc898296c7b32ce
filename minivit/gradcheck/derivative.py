"""Numeric derivatives: of a function's every number, or along one direction.

    complex step    f'(x) v = Im f(x + i h v) / h                        error O(h^2), nothing is subtracted
    central         f'(x) v = (f(x + h v) - f(x - h v)) / (2 h)          error O(h^2) + roundings / h
    forward         f'(x) v = (f(x + h v) - f(x)) / h                    error O(h) + roundings / h

A difference of two nearly equal numbers loses half of their digits or more. The complex step has none, so
its h may be 1e-30 and the derivative is right to the last digits. f has to be real-analytic for it: no abs,
maximum or conj on its path.

Source: Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions", SIAM
Review 40(1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module, cast, to_host

COMPLEX_STEP = 1e-30
# Where the two errors of a central difference meet: the cube root of float64's rounding, 1.1e-16.
CENTRAL_STEP = 5e-6

Function = Callable[..., tuple[Array, Any]]


def relative_error(found: Array, expected: Array) -> float:
    """|found - expected| / |expected| in the L2 norm of the whole tensor; absolute where expected is 0.

    Tensor by tensor, not number by number: a gradient that is nearly 0 by cancellation has few right
    digits in any method. Raises ValueError if the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"gradient of shape {found.shape} where the argument has shape {expected.shape}")
    size, error = norm(expected), norm(found - expected)
    return error / size if size > 0.0 else error


def norm(x: Array) -> float:
    """The L2 norm of x (any shape), taken as one row of numbers; no square over- or underflows."""
    largest = float(np.abs(x).max(initial=0.0))
    if not 0.0 < largest < np.inf:
        return largest
    return largest * float(np.linalg.norm(np.ravel(x) / largest))


def is_float(a: Any) -> bool:
    """Whether a is an array of a real float type: what is differentiated by."""
    return hasattr(a, "dtype") and not isinstance(a, np.generic) and a.dtype.kind == "f"


def complex_step_gradients(f: Function, args: Sequence[Any], dy: Array) -> list[Array]:
    """Gradients of sum(dy * f(*args)) by each float array among args, entry by entry, in float64.

    f takes complex128 arrays and returns (y, cache); dy has the shape of y.
    """
    return [complex_step_gradient(f, args, dy, i) for i, a in enumerate(args) if is_float(a)]


def complex_step_gradient(f: Function, args: Sequence[Any], dy: Array, i: int) -> Array:
    """Gradient of sum(dy * f(*args)) by args[i] alone, entry by entry; float64, on the host."""
    moved = [cast(a, np.complex128) if is_float(a) else a for a in args]
    x = moved[i] = moved[i].copy()  # written to below; the caller's may be a view of broadcast numbers
    dy = array_module(x).asarray(dy)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        original = complex(x[index])
        x[index] = original + 1j * COMPLEX_STEP
        y, _ = f(*moved)
        gradient[index] = float((y.imag * dy).sum()) / COMPLEX_STEP
        x[index] = original
    return gradient


def central_gradient(f: Function, args: Sequence[Any], dy: Array, i: int, step: float = CENTRAL_STEP) -> Array:
    """Gradient of sum(dy * f(*args)) by args[i], entry by entry, by central differences in float64.

    The step is `step` times the typical size of the argument's numbers.
    """
    moved = [cast(a, np.float64) if is_float(a) else a for a in args]
    x = moved[i] = moved[i].copy()
    dy = array_module(x).asarray(dy)
    h = step * typical(x)
    gradient = np.empty(x.shape)
    for index in np.ndindex(x.shape):
        original = float(x[index])
        above, below = original + h, original - h
        x[index] = above
        up = f(*moved)[0].copy()  # y may be a view of x
        x[index] = below
        down, _ = f(*moved)
        # Divided by the step that was made, not by the one that was meant: x + h is rounded.
        gradient[index] = float(((up - down) * dy).sum()) / (above - below)
        x[index] = original
    return gradient


def complex_step_along(
    f: Function, args: Sequence[Any], directions: Sequence[Array], step: float = COMPLEX_STEP
) -> Array:
    """Derivative of y = f(*args)[0] along one direction per float array among args; it has y's shape.

    One call of f, whatever the number of parameters: for models too large to check entry by entry.
    """
    y, _ = f(*_moved(args, directions, 1j * step))
    return y.imag / step


def central_along(f: Function, args: Sequence[Any], directions: Sequence[Array], step: float) -> Array:
    """The same by a central difference: two calls of f, with real numbers."""
    up, _ = f(*_moved(args, directions, step))
    down, _ = f(*_moved(args, directions, -step))
    return (up - down) / (2.0 * step)


def forward_along(f: Function, args: Sequence[Any], directions: Sequence[Array], step: float) -> Array:
    """The same by a forward difference, the first that everyone tries."""
    up, _ = f(*_moved(args, directions, step))
    here, _ = f(*args)
    return (up - here) / step


def random_signs(rng: np.random.Generator, args: Sequence[Any]) -> list[Array]:
    """A direction of random +1 and -1 for each float array among args, of its type, where it lives."""
    return [
        array_module(a).asarray(rng.choice(np.array([-1.0, 1.0]), a.shape).astype(a.dtype)) for a in args if is_float(a)
    ]


def _moved(args: Sequence[Any], directions: Sequence[Array], step: complex | float) -> list[Any]:
    """args with every float array moved by step times its direction."""
    pending = iter(directions)
    return [a + step * next(pending) if is_float(a) else a for a in args]


def typical(x: Array) -> float:
    """The root of the mean square of x, or 1 where it is 0."""
    rms = norm(to_host(x)) / max(1, x.size) ** 0.5
    return rms if rms > 0.0 else 1.0
