"""`check`: is this backward pass the derivative of this forward pass? In words.

    complex_step    every number, to the last digits; f has to take complex numbers (real-analytic)
    central         every number, to 9 digits; f takes real numbers
    directions      along random directions of +-1, to the last digits: for models too large for the above
    taylor          the remainder L(x + h v) - L(x) - h <dL/dx, v> falls with h^2; real numbers
    adjoint         <f(x), dy> = <x, f_backward(dy)>: no numeric derivative; for what is linear in an argument

Whatever the method, the pair also keeps its promises: see `trial.py`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, get_args

import numpy as np

from minivit.gradcheck import directional
from minivit.gradcheck.entries import entry_by_entry
from minivit.gradcheck.pair import Backward, Forward, GradcheckError, Pair, make_pair
from minivit.gradcheck.report import Report, sorted_rows
from minivit.gradcheck.roundings import Roundings
from minivit.gradcheck.trial import copied, float32_faults, try_pair

Method = Literal["complex_step", "central", "directions", "taylor", "adjoint"]
METHODS: tuple[Method, ...] = get_args(Method)

# How far within these right gradients are in float64, examples/gradient_figures.py measures. A gradient in float32 or
# float16 has that type's own roundings, whatever the method.
TOLERANCES: Mapping[Method, float] = {
    "complex_step": 1e-12, "central": 1e-6, "directions": 1e-12, "taylor": 0.02, "adjoint": 1e-14,
}  # fmt: skip
NARROW_TOLERANCES = {np.dtype(np.float32): 1e-5, np.dtype(np.float16): 1e-2}


def check(
    f: Forward,
    f_backward: Backward,
    args: Sequence[Any],
    *,
    method: Method = "complex_step",
    seed: int = 0,
    dtype: Any = None,
    tolerance: float | None = None,
    directions: int = 8,
    joint: bool = False,
    names: Sequence[str] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    name: str | None = None,
) -> Report:
    """Compare the gradients of f_backward with numeric ones, for a random dy; returns a `Report`.

    args: every array of a real float type is differentiated by; anything else (labels, settings, keys) is
    passed through. dtype casts the float arrays first; the numeric side is computed in float64 always.
    directions: how many random directions the methods "directions" and "taylor" take; joint moves all
    arguments at once, one row in all. tolerance: of every row, in place of TOLERANCES. names, axes: of the
    arguments ({"x": "BTD"}), where signature and docstring ("x (B, T, D)") do not say them.

    Raises GradcheckError, a ValueError, where there is nothing to compare: f fails or returns no pair, a wrong
    number of gradients, no float array, a method that does not fit.
    """
    _check_settings(method, seed, dtype, tolerance, directions)
    pair = make_pair(f, f_backward, args, names=names, axes=axes, dtype=dtype)
    if method == "taylor" and _dtype_name(pair) != "float64":
        raise GradcheckError(
            f"method 'taylor' needs float64, got {_dtype_name(pair)}: the roundings of a narrow gradient fall with the "
            "step as a wrong one's error does; give dtype='float64'"
        )
    trial = try_pair(pair, seed)
    changed = trial.changed
    if changed:  # with copies its gradients, and what else is wrong, can still be told
        pair = dataclasses.replace(pair, f=lambda *args: f(*copied(args)))
        trial = try_pair(pair, seed)
    limit = _tolerance(pair, method) if tolerance is None else tolerance
    note = ""
    if not trial.steady:
        rows = []
    elif method in ("complex_step", "central"):
        rows = entry_by_entry(pair, trial, limit, Roundings(pair, trial, method, seed))
    elif method == "directions":
        rows = directional.along_directions(pair, trial, directions, joint, limit, Roundings(pair, trial, method, seed))
    elif method == "taylor":
        rows = directional.taylor(pair, trial, directions, seed, limit)
    else:
        rows, note = directional.adjoint(pair, trial, seed, limit)
    faults = [*changed, *trial.faults]
    if not faults and all(row.passed for row in rows):  # wrong numbers are mended first
        faults = float32_faults(pair, seed)
    broken = [dataclasses.replace(row, tolerance=limit) for row in faults]
    title = pair.name if name is None else name
    return Report(title, method, _dtype_name(pair), sorted_rows([*broken, *rows]), note)


def _check_settings(method: Method, seed: int, dtype: Any, tolerance: float | None, directions: int) -> None:
    if method not in METHODS:
        raise GradcheckError(f"method {method!r} is not known; expected one of {', '.join(map(repr, METHODS))}")
    if dtype is not None and str(getattr(dtype, "__name__", dtype)) not in ("float16", "float32", "float64"):
        raise GradcheckError(f"dtype {dtype!r} is not known; expected 'float64', 'float32' or 'float16'")
    for name, value in (("directions", directions), ("seed", seed)):
        if not isinstance(value, Integral):
            raise GradcheckError(f"{name} is {value!r}; expected an integer")
    if tolerance is not None and not isinstance(tolerance, Real):
        raise GradcheckError(f"tolerance is {tolerance!r}; expected a small positive number, such as 1e-12")
    if directions < 1:
        raise GradcheckError(f"directions is {directions}; expected at least 1")
    if seed < 0:
        raise GradcheckError(f"seed is {seed}; expected 0 or more")
    if tolerance is not None and not tolerance > 0.0:
        raise GradcheckError(f"tolerance is {tolerance}; expected a small positive number, such as 1e-12")


def _tolerance(pair: Pair, method: Method) -> float:
    narrowest = min((pair.args[a.place].dtype for a in pair.floats), key=lambda dtype: dtype.itemsize)
    return max(TOLERANCES[method], NARROW_TOLERANCES.get(narrowest, 0.0))


def _dtype_name(pair: Pair) -> str:
    return " and ".join(dict.fromkeys(str(pair.args[a.place].dtype) for a in pair.floats))
