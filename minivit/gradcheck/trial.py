"""One forward and backward pass of a pair, watched: does it keep the promises of a pure function?

    arguments, dy and cache are left alone          or the next function computes with other numbers
    nothing is remembered outside the cache         or a second use of the function spoils the first
    y and gradients are new arrays each time        or a second use overwrites what the first gave
    a second backward pass gives the same           or gradients cannot be taken twice, nor masks be trusted
    float32 stays float32                           or training in float32 runs in float64 at half the speed
    results are finite

Between the forward and the backward pass f is called with other arguments: what a pair keeps in itself instead of in
the cache is stale by then.
"""

from __future__ import annotations

import contextlib
import copy
import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, cast, to_host
from minivit.gradcheck.derivative import is_float
from minivit.gradcheck.pair import GradcheckError, Pair
from minivit.gradcheck.report import Row

MISSING = "missing: the backward pass returned None for it"


class Trial(NamedTuple):
    """What a pair did. Arrays are NumPy's, in float64."""

    y: Array
    dy: Array  # random, rounded to y's type
    gradients: tuple[Array | None, ...]  # one for each float argument; None where one is missing
    direct: tuple[Array | None, ...]  # of a backward pass straight after its forward pass
    changed: tuple[Row, ...]  # arguments that were written to: other faults, and gradients, may come of that
    faults: tuple[Row, ...]  # other promises broken
    steady: bool  # y is finite and the same each time; of another no derivative tells anything


def try_pair(pair: Pair, seed: int) -> Trial:
    """Call the pair, with copies of its arguments, for a random dy of y's shape and type.

    Raises GradcheckError if it cannot be called.
    """
    given = pair.args
    pair = dataclasses.replace(pair, args=copied(given))
    y, cache = pair.forward(pair.args)
    if y.dtype.kind == "c":
        raise GradcheckError(f"{pair.name} returned complex y for real arguments; expected real numbers")
    faults = [] if _finite(y) else [_fault("y", y.shape, _NOT_FINITE)]
    kept_y, kept_cache = copied(y), _kept(cache, pair)
    drawn = _upstream(seed, y.shape, y.dtype)
    dy = array_module(y).asarray(drawn.copy())

    direct = on_host(pair, pair.backward(copied(dy), pair.forward(pair.args)[1]))
    written = _call_with_others(pair)
    steady = same(y, kept_y)
    if not steady:
        faults.append(_fault("y", y.shape, f"y was changed by a later forward pass: {_USED_AGAIN}"))
    fresh_dy = copied(dy)
    found = pair.backward(dy, cache)
    gradients = on_host(pair, found)
    faults += _type_faults(pair, found)
    second = on_host(pair, pair.backward(fresh_dy, cache))

    changed = _changed(pair, given, written)
    if not same(np.asarray(to_host(dy)), drawn):
        faults.append(_fault("dy", y.shape, "dy was changed by the backward pass: work on a copy of it"))
    if not same(kept_cache, cache):
        faults.append(_fault("cache", (), "the cache was changed after the forward pass: a second backward goes wrong"))
    if not same(gradients, second):
        said = "a second backward pass gave other gradients: something is drawn or changed anew in it"
        faults.append(_fault("backward twice", (), said))
    if not (changed or faults):
        faults += _overwritten(pair, found, gradients, array_module(y).asarray(-drawn), cache)
    if not (changed or faults) and not same(pair.forward(pair.args)[0], kept_y):
        steady = False
        said = "a second forward pass gave another y: draw random numbers from a key among the arguments"
        faults.append(_fault("y", y.shape, said))
    return Trial(
        _wide(kept_y), _wide(drawn), gradients, direct, tuple(changed), tuple(faults), steady and _finite(kept_y)
    )


def _changed(pair: Pair, given: tuple[Any, ...], written: set[int]) -> list[Row]:
    """Arguments that are no longer as they were given, or were written to where others were given."""
    return [
        _fault(name, _shape(now), f"{name} was changed by the pair: work on a copy of it")
        for i, (name, now, then) in enumerate(zip(pair.names, pair.args, given, strict=True))
        if i in written or not same(now, then)
    ]


_USED_AGAIN = "an array that is used again; return a new one each time"


def _overwritten(pair: Pair, found: list[Any], gradients: tuple[Array | None, ...], dy: Array, cache: Any) -> list[Row]:
    """What was `found`, and copied to `gradients`, and is changed by a backward pass for another dy."""
    pair.backward(dy, cache)
    return [
        _fault(f"d{argument.name}", then.shape, f"d{argument.name} was changed by a later backward pass: {_USED_AGAIN}")
        for argument, now, then in zip(pair.floats, on_host(pair, found), gradients, strict=True)
        if then is not None and not same(now, then)
    ]


def _kept(cache: Any, pair: Pair) -> Any:
    """A copy of the cache. Raises GradcheckError for one that holds itself."""
    try:
        return copied(cache)
    except RecursionError as error:
        raise GradcheckError(
            f"{pair.name} returned a cache that holds itself, or is nested too deeply; expected arrays in tuples, "
            "lists and dicts"
        ) from error


def mapped(f: Callable[[Array], Array], x: Any) -> Any:
    """x with f of each array in its tuples, lists and dicts; anything else as it is."""
    if isinstance(x, tuple) and hasattr(x, "_make"):  # a NamedTuple
        return x._make(mapped(f, part) for part in x)
    if isinstance(x, tuple):
        return tuple(mapped(f, part) for part in x)
    if isinstance(x, list | dict):
        parts = copy.copy(x)  # of its own kind, with attributes
        for place in range(len(x)) if isinstance(x, list) else x:
            parts[place] = mapped(f, x[place])
        return parts
    return f(x) if _is_array(x) else x


def _is_array(x: Any) -> bool:
    """Whether x is an array or a number of NumPy's, or an array of CuPy's; not what merely has a dtype."""
    return isinstance(x, np.ndarray | np.generic) or (
        not isinstance(x, type) and all(hasattr(x, name) for name in ("dtype", "shape", "get", "copy"))
    )


def copied(x: Any) -> Any:
    """A deep copy of arrays in tuples, lists and dicts, laid out in memory as they are; anything else as it is."""
    return mapped(lambda a: a.copy(order="K"), x)


def same(a: Any, b: Any) -> bool:
    """Equal in every bit, nan to nan, through tuples, lists and dicts; what holds no arrays is not looked at."""
    if isinstance(a, tuple | list):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[name], b[name]) for name in a)
    if _is_array(a) and a.dtype.kind == "O":  # an array of arrays
        return _is_array(b) and same(a.tolist(), b.tolist())
    if _is_array(a):
        return _is_array(b) and np.array_equal(
            np.asarray(to_host(a)), np.asarray(to_host(b)), equal_nan=a.dtype.kind in "fc"
        )
    return True


def _call_with_others(pair: Pair) -> set[int]:
    """Call f with other arguments, which it may remember; returns the places of those that it wrote to.

    To take a maximum of 0 off changes nothing, but another one does.
    """
    written = set()
    for args in _others(pair):
        kept = copied(args)
        with contextlib.suppress(GradcheckError):  # f may take no others
            pair.forward(args)
        written |= {i for i, (now, then) in enumerate(zip(args, kept, strict=True)) if not same(now, then)}
    return written


def _others(pair: Pair) -> list[list[Any]]:
    """Other arguments: the numbers of each float array moved on by one, as legal as they were; then smaller ones too.

    With the latter, arrays of integers are moved on as well: labels, which a pair may remember.
    """
    moved, smaller = list(pair.args), list(pair.args)
    floats = {argument.place for argument in pair.floats}
    for i, x in enumerate(pair.args):
        if i in floats or (hasattr(x, "dtype") and hasattr(x, "reshape") and x.dtype.kind in "iu"):
            other = array_module(x).roll(x.reshape(-1), 1).reshape(x.shape)
            smaller[i] = array_module(x).asarray(other * 0.75) if i in floats else other
            moved[i] = other if i in floats else x
    return [moved, smaller]


def on_host(pair: Pair, gradients: list[Any]) -> tuple[Array | None, ...]:
    """Copies in float64. Raises GradcheckError for a gradient that is no array of numbers."""
    copies: list[Array | None] = []
    for argument, g in zip(pair.floats, gradients, strict=True):
        if g is not None and (not hasattr(g, "dtype") or g.dtype.kind not in "fiub"):
            kind = g.dtype if hasattr(g, "dtype") else type(g).__name__
            raise GradcheckError(f"the gradient of {argument.name} is of {kind}; expected an array of real numbers")
        copies.append(None if g is None else _wide(g))
    return tuple(copies)


def _type_faults(pair: Pair, gradients: list[Any], tried: str = "") -> list[Row]:
    """Gradients in neither their argument's type nor, for a narrow one, float32; `tried` is said of the type."""
    faults = []
    for argument, g in zip(pair.floats, gradients, strict=True):
        dtype = pair.args[argument.place].dtype
        if g is not None and g.dtype not in (dtype, np.promote_types(dtype, np.float32)):
            mend = f"make it of {argument.name}'s type, as np.zeros_like does"
            if g.dtype.kind == "f":
                mend = _widened(pair, g.dtype) if g.dtype.itemsize > dtype.itemsize else _NARROWED
            said = f"is of {g.dtype} where {argument.name} is of {dtype}{tried}: {mend}"
            faults.append(_fault(f"d{argument.name}", g.shape, said))
    return faults


def _widened(pair: Pair, to: Any) -> str:
    """What made a gradient as wide as the type `to`: an argument that is, or an array from outside them."""
    for argument in pair.floats:
        dtype = pair.args[argument.place].dtype
        if dtype.itemsize >= to.itemsize:
            return (
                f"{argument.name} is of {dtype} and widens what it meets; give both in one type, or cast the gradient"
            )
    return _MEND


_NOT_FINITE = (
    "y is not finite: nan or inf for finite arguments; where f does not take every number, as a logarithm, give "
    "arguments that it takes"
)
_NARROWED = "a cast or an array of a narrower type on its path loses digits; make them of x.dtype"
_MEND = (
    "np.sqrt(2.0), np.where(..., 1.0, 0.1), mask * 0.1, np.zeros(n), np.eye(n) and arrays from outside the arguments "
    "are float64 and widen what they meet; use Python floats (math.sqrt) and x.dtype"
)


def float32_faults(pair: Pair, seed: int) -> list[Row]:
    """What becomes of float32, if nothing narrower was tried: y and every gradient should be of it."""
    if any(pair.args[argument.place].dtype.itemsize < 8 for argument in pair.floats):
        return []
    with np.errstate(all="ignore"):  # only types are looked at, and float32 overflows earlier
        # Settings are arrays, too: the parameters in a dict, say.
        args = tuple(mapped(lambda a: cast(a, np.float32) if is_float(a) else a, a) for a in pair.args)
        narrow = dataclasses.replace(pair, args=args)
        try:
            y, cache = narrow.forward(narrow.args)
        except GradcheckError:  # f looks its arguments over, and rounded ones are none
            return []
        if y.dtype != np.float32:
            said = f"is of {y.dtype} where the arguments are of float32, in which it was tried as well: {_MEND}"
            return [_fault("y", y.shape, said)]
        dy = array_module(y).asarray(_upstream(seed, y.shape, np.float32))
        return _type_faults(narrow, narrow.backward(dy, cache), ", in which it was tried as well")


def _upstream(seed: int, shape: tuple[int, ...], dtype: Any) -> Array:
    """A random dy.

    Out of a stream of its own: whoever draws x with default_rng(seed) would have dy = x, for which x in the place
    of dy is right, and some functions have no gradient to compare.
    """
    return np.asarray(np.random.default_rng((seed, 5)).standard_normal(shape)).astype(dtype)


def _fault(tensor: str, shape: tuple[int, ...], verdict: str) -> Row:
    return Row(tensor, shape, np.inf, 0.0, verdict)  # check() puts its own tolerance


def _finite(y: Array) -> bool:
    return bool(array_module(y).isfinite(y).all())


def _wide(x: Any) -> Array:
    return np.array(to_host(x), np.float64)


def _shape(x: Any) -> tuple[int, ...]:
    return tuple(x.shape) if hasattr(x, "shape") else ()
