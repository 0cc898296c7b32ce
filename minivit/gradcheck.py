"""Check a backward pass against the complex step, for any pure pair of functions.

    f(x + i h v) = f(x) + i h f'(x) v + O(h^2)      so      f'(x) v = Im f(x + i h v) / h

Nothing is subtracted, so h may be as small as 1e-30 and the derivative is right to the last digits; a
central difference loses half of them. f must be real-analytic: no abs, maximum or conj on its path.

    y, cache = f(*args)                    the pair that is checked
    grads = f_backward(dy, cache)          one gradient for each array argument of a real float type

Source: Squire & Trapp 1998, "Using complex variables to estimate derivatives of real functions", SIAM
Review 40(1).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from minivit.arrays import Array

STEP = 1e-30


def relative_error(found: Array, expected: Array) -> float:
    """|found - expected| / |expected| in the L2 norm of the whole tensor; absolute where expected is 0.

    Tensor by tensor, not number by number: a gradient that is nearly 0 by cancellation has few right
    digits in any method. Raises ValueError if the shapes differ.
    """
    if found.shape != expected.shape:
        raise ValueError(f"gradient of shape {found.shape} where the argument has shape {expected.shape}")
    size = float(np.linalg.norm(np.ravel(expected)))
    error = float(np.linalg.norm(np.ravel(found - expected)))
    return error / size if size > 0.0 else error


def complex_step_gradients(f: Callable[..., tuple[Array, Any]], args: Sequence[Any], dy: Array) -> list[Array]:
    """Gradients of sum(dy * f(*args)) by each float array among args, entry by entry, in float64.

    f takes complex128 arrays and returns (y, cache); dy has the shape of y.
    """
    where = [i for i, a in enumerate(args) if _is_checked(a)]
    complex_args = [a.astype(np.complex128) if i in where else a for i, a in enumerate(args)]
    gradients = []
    for i in where:
        x = complex_args[i].copy()
        gradient = np.empty(x.size)
        for j in range(x.size):
            original = x.flat[j]
            x.flat[j] += 1j * STEP
            y, _ = f(*complex_args[:i], x, *complex_args[i + 1 :])
            gradient[j] = np.sum(y.imag * dy) / STEP
            x.flat[j] = original
        gradients.append(gradient.reshape(x.shape))
    return gradients


def complex_step_along(f: Callable[..., tuple[Array, Any]], args: Sequence[Any], directions: Sequence[Array]) -> Array:
    """Derivative of y = f(*args)[0] along one direction per float array among args; it has y's shape.

    One call of f, whatever the number of parameters: for models too large to check entry by entry.
    """
    pending = iter(directions)
    moved = [a + 1j * STEP * next(pending) if _is_checked(a) else a for a in args]
    y, _ = f(*moved)
    return y.imag / STEP


def adjoint_error(
    f: Callable[..., tuple[Array, Any]], f_backward: Callable[[Array, Any], Any], x: Array, seed: int = 0
) -> float:
    """How far f_backward is from the adjoint of a map f of x that is linear: <f(x), dy> = <x, f_backward(dy)>.

    Returns the difference over |f(x)| |dy|, for a random dy. Needs no numeric derivative at all, so it holds
    to the last digits; of a map that is not linear it says nothing.
    """
    y, cache = f(x)
    dy = np.asarray(np.random.default_rng(seed).standard_normal(y.shape))
    (dx,) = _as_tuple(f_backward(dy, cache))
    return float(abs(np.sum(y * dy) - np.sum(x * dx)) / (np.linalg.norm(np.ravel(y)) * np.linalg.norm(np.ravel(dy))))


def taylor_slope(
    f: Callable[..., tuple[Array, Any]],
    f_backward: Callable[[Array, Any], Any],
    args: Sequence[Any],
    steps: Sequence[float] = (1e-4, 5e-5, 2.5e-5),
    directions: int = 8,
    seed: int = 0,
) -> float:
    """Slope, on logarithmic axes, of the Taylor remainder over the step h: 2 if the gradient is right, else 1.

        r(h) = |L(x + h v) - L(x) - h <dL/dx, v>|        L = sum(dy * f), v random signs, for all arguments at once

    Needs real numbers only, so it also judges an f that takes no complex ones. Where f is linear the remainder
    is nothing but roundings and the slope means nothing: use adjoint_error there.
    """
    rng = np.random.default_rng(seed)
    y, cache = f(*args)
    dy = np.asarray(rng.standard_normal(y.shape))
    gradients = _as_tuple(f_backward(dy, cache))

    def remainders() -> Array:
        signs = [rng.choice([-1.0, 1.0], a.shape) if _is_checked(a) else None for a in args]
        moved = [v for v in signs if v is not None]
        slope_at_0 = sum(float(np.sum(g * v)) for g, v in zip(gradients, moved, strict=True))
        found = []
        for h in steps:
            nearby = [a if v is None else a + h * v for a, v in zip(args, signs, strict=True)]
            found.append(abs(float(np.sum((f(*nearby)[0] - y) * dy)) - h * slope_at_0))
        return np.array(found)

    # Along some directions L hardly bends, and its cubic term is seen instead: take the most bent of a few.
    most = max((remainders() for _ in range(directions)), key=lambda r: float(r[0]))
    return float(np.polyfit(np.log(steps), np.log(most), 1)[0])


def check(
    f: Callable[..., tuple[Array, Any]],
    f_backward: Callable[[Array, Any], Any],
    args: Sequence[Any],
    seed: int = 0,
) -> list[float]:
    """Relative error of each gradient that f_backward returns, against the complex step, for a random dy.

    args: arrays of a real float type are differentiated by; anything else is passed through. Raises
    ValueError for a wrong number or shape of gradients, or if f or f_backward changed an argument
    or the cache.
    """
    before = [a.copy() if isinstance(a, np.ndarray) else a for a in args]
    y, cache = f(*args)
    dy = np.asarray(np.random.default_rng(seed).standard_normal(y.shape))
    dy_before = dy.copy()
    found = [np.array(gradient) for gradient in _as_tuple(f_backward(dy, cache))]
    again = _as_tuple(f_backward(dy, cache))
    _require_unchanged("dy", dy, dy_before)
    for i, (now, then) in enumerate(zip(args, before, strict=True)):
        _require_unchanged(f"argument {i}", now, then)
    if not all(np.array_equal(one, two, equal_nan=True) for one, two in zip(found, again, strict=True)):
        raise ValueError("a second backward pass gave other gradients; the first one changed its cache")
    expected = complex_step_gradients(f, args, dy)
    if len(found) != len(expected):
        raise ValueError(f"{len(found)} gradients were returned for {len(expected)} float array arguments")
    return [relative_error(a, b) for a, b in zip(found, expected, strict=True)]


def _as_tuple(gradients: Any) -> tuple[Array, ...]:
    return gradients if isinstance(gradients, tuple) else (gradients,)


def _require_unchanged(name: str, now: Any, then: Any) -> None:
    if isinstance(now, np.ndarray) and not np.array_equal(now, then, equal_nan=True):
        raise ValueError(f"{name} was changed by the pair; a pure function leaves its arguments alone")


def _is_checked(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "f"
