"""From two arrays of numbers to a sentence: the way in which a wrong gradient is wrong.

Every mistake leaves its pattern in the difference between what was found and what is right. A transposed
matrix is right after a transpose; a mean taken twice is right up to a factor, which is the length of an axis;
a layer norm without its mean term is right up to one number per row. The patterns are tried from the plainest
on, and a pattern counts only if it explains everything: all digits of all numbers.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array
from minivit.gradcheck.derivative import norm


class Clues(NamedTuple):
    """What a verdict may look at beside the two gradients. Arrays are NumPy's, float64."""

    x: Array  # the argument
    y: Array  # the result
    dy: Array  # the upstream gradient
    axes: tuple[str, ...]  # letters of the argument's axes, "" where unknown
    numbers: Mapping[str, float]  # that a factor may be: lengths of axes, settings: {"T": 65, "rate": 0.1}
    others: Mapping[str, Array]  # the right gradients of the other arguments, by name
    masked: Callable[[Array], Array] | None  # the right gradient for another dy, if it may be computed
    precise: float  # two gradients that differ by less are the same


def verdict(found: Array, expected: Array, clues: Clues) -> str:
    """Name what is wrong with `found`, given the gradient that is right; shapes may differ."""
    if found.shape != expected.shape:
        return _of_shapes(found, expected, clues)
    bad = int((~np.isfinite(found)).sum())
    if bad:
        return f"{bad} of {found.size} numbers are not finite"
    if not found.any():
        return "zero everywhere: it is never computed, or multiplied by 0"
    if not expected.any():
        return "should be zero: y does not depend on it here"
    if _same(found, expected, clues.precise):
        return _nearly(found, expected, clues)
    for pattern in (_ignores_dy, _factor, _moved, _of_another_argument, _partly, _lost_images, _added_term, _nearly):
        said = pattern(found, expected, clues)
        if said:
            return said
    if _sums_to_0(expected, clues) and not _sums_to_0(found, clues):
        return "wrong: each row of the right gradient sums to 0, not so here; a term is missing or wrong"
    index = np.unravel_index(int(np.abs(found - expected).argmax()), found.shape)
    where = f"at {_numbers(index)} it is" if found.ndim else "it is"
    return f"wrong: {where} {found[index] + 0.0:.4g} where {expected[index] + 0.0:.4g} is right"  # 0, not -0


def factor_between(found: Array, expected: Array, numbers: Mapping[str, float], precise: float) -> str:
    """The sentence for found = c * expected, or "" if there is no such c."""
    if not expected.any():
        return ""
    c = float((found * expected).sum() / (expected * expected).sum())
    if not _same(found, c * expected, precise) or abs(c - 1.0) <= 10.0 * precise:
        return ""
    if abs(c + 1.0) <= precise:
        return "the sign is wrong"
    close = (name for value, name in _named_factors(numbers) if math.isclose(abs(c), value, rel_tol=max(precise, 1e-9)))
    if _is_plain(abs(c)):  # a 2 is more often a 2 than the root of an axis that nobody named, or B - 1
        less = re.compile(r"(1 / \()?\w+ - 1\)?")
        close = (n for n in close if not (("axis" in n and ("sqrt" in n or "*" in n or "(" in n)) or less.fullmatch(n)))
    names = list(itertools.islice(dict.fromkeys(close), 3))
    sign = "-" if c < 0.0 else ""
    if found.size == 1 and not names and not _is_plain(abs(c)):
        return ""  # two single numbers always have a factor; it means something only where it has a name
    shown = f"{c:.6g}" if abs(abs(c) - 1.0) > 1e-5 else f"{c:.10g}"
    return f"off by the factor {shown}" + (f" = {sign}{' or '.join(names)}" if names else "")


def _is_plain(c: float) -> bool:
    """Whether c is a small whole number or one over it: a forgotten 2, a half too much."""
    return any(math.isclose(n, max(c, 1.0 / c), rel_tol=1e-9) for n in range(2, 11)) if c > 0.0 else False


def _same(a: Array, b: Array, precise: float) -> bool:
    return a.shape == b.shape and norm(a - b) <= precise * norm(b)


def _of_shapes(found: Array, expected: Array, clues: Clues) -> str:
    """Gradients of another shape than their argument's; what is said depends on the numbers, too."""
    said = f"has shape {found.shape} where the argument has {expected.shape}"
    if found.ndim == 2 and found.shape == expected.shape[::-1]:
        return f"{said}: transposed"
    axes = _right_axes(found, expected, clues)
    if axes:
        return f"{said}: its axes are in the wrong order: transpose it by {axes}"
    extra = found.ndim - expected.ndim
    if extra > 0:
        if _kept_an_axis(found, expected, clues):
            too_many = "an axis of length 1" if extra == 1 else f"{extra} axes of length 1"
            return f"{said}: the right numbers, with {too_many} too many: keepdims=True?"
        for axes in itertools.combinations(range(found.ndim), extra):  # the first ones first
            if _same(found.sum(axes), expected, clues.precise):
                return f"{said}: not summed over {_unsummed(axes, found, clues.dy)}"
    if found.size == expected.size and _same(found.reshape(expected.shape), expected, clues.precise):
        return f"{said}: the right numbers, to be reshaped"
    if found.ndim == expected.ndim:
        kept = tuple(i for i, (a, b) in enumerate(zip(found.shape, expected.shape, strict=True)) if b == 1 < a)
        if kept and _same(found.sum(kept, keepdims=True), expected, clues.precise):
            return f"{said}: not summed over {' and '.join(f'axis {i}' for i in kept)}, which was broadcast"
    return said


def _unsummed(axes: tuple[int, ...], found: Array, dy: Array) -> str:
    """The axes of `found` that are left to be summed over, in words."""
    if axes == (0,):
        # Else the batch was summed over, and not the tokens, or it cannot be told.
        batch = found.shape[:1] == dy.shape[:1] and dy.shape.count(len(found)) == 1
        return "the batch" if batch else "the first axis"
    first = axes == tuple(range(len(axes)))
    return f"the first {len(axes)} axes" if first else f"its {' and '.join(f'axis {i}' for i in axes)}"


def _kept_an_axis(found: Array, expected: Array, clues: Clues) -> bool:
    """Whether found is right but for axes of length 1 too many, and not those of a batch of one image."""
    lead = found.ndim - expected.ndim
    if clues.dy.ndim > lead and found.shape[:lead] == clues.dy.shape[:lead] == (1,) * lead:
        return False  # summed or not, it is the same
    longer = [n for n in found.shape if n != 1] == [n for n in expected.shape if n != 1]
    return longer and _same(found.reshape(expected.shape), expected, clues.precise)


def _ignores_dy(found: Array, expected: Array, clues: Clues) -> str:
    if clues.masked is not None and _same(found, clues.masked(np.ones_like(clues.dy)), clues.precise):
        return "dy is ignored: this is the gradient for dy = 1"
    return ""


def _factor(found: Array, expected: Array, clues: Clues) -> str:
    return factor_between(found, expected, clues.numbers, clues.precise)


def _named_factors(numbers: Mapping[str, float]) -> Iterator[tuple[float, str]]:
    """Factors that people forget or apply twice, the plainest first."""
    named = {name: n for name, n in numbers.items() if n > 0.0 and n != 1.0}
    for name, n in named.items():
        yield n, name
        yield 1.0 / n, f"1 / {name}"
        yield math.sqrt(n), f"sqrt({name})"
        yield 1.0 / math.sqrt(n), f"1 / sqrt({name})"
        if n > 1.0 and " " not in name:
            yield n / (n - 1.0), f"{name} / ({name} - 1)"
            yield (n - 1.0) / n, f"({name} - 1) / {name}"
        elif n < 1.0:
            yield 1.0 - n, f"1 - {name}"
            yield 1.0 / (1.0 - n), f"1 / (1 - {name})"
            yield (1.0 - n) / n, f"(1 - {name}) / {name}"
            yield n / (1.0 - n), f"{name} / (1 - {name})"
    for (one, n), (two, m) in itertools.combinations(named.items(), 2):
        yield n * m, f"{one} * {two}"
        yield 1.0 / (n * m), f"1 / ({one} * {two})"
    for name, n in named.items():
        if n > 2.0 and " " not in name:
            yield n - 1.0, f"{name} - 1"
            yield 1.0 / (n - 1.0), f"1 / ({name} - 1)"


def _moved(found: Array, expected: Array, clues: Clues) -> str:
    """The right numbers in the wrong places."""
    if not _same(np.sort(found, axis=None), np.sort(expected, axis=None), clues.precise):
        return ""
    if found.ndim >= 2 and _same(np.swapaxes(found, -1, -2), expected, clues.precise):
        return "transposed" if found.ndim == 2 else "transposed in its last two axes"
    axes = _right_axes(found, expected, clues)
    if axes:
        return f"its axes are in the wrong order: transpose it by {axes}"
    for axis in range(found.ndim):
        name = _axis(axis, clues)
        if _same(np.flip(found, axis), expected, clues.precise):
            return f"reversed along {name}"
        for by in range(1, found.shape[axis]):
            if _same(np.roll(found, -by, axis), expected, clues.precise):
                return f"shifted by {by} along {name}"
    return "the right numbers in another order: a reshape, a transpose or an index is missing or misplaced"


def _right_axes(found: Array, expected: Array, clues: Clues) -> tuple[int, ...]:
    """The order of axes in which found is right, or () if there is none."""
    for axes in itertools.permutations(range(found.ndim)) if 2 <= found.ndim <= 5 else ():
        if _same(found.transpose(axes), expected, clues.precise):
            return axes
    return ()


def _of_another_argument(found: Array, expected: Array, clues: Clues) -> str:
    for name, other in clues.others.items():
        if _same(found, other, clues.precise):
            return f"this is the gradient of {name}: swapped"
    return ""


def _lost_images(found: Array, expected: Array, clues: Clues) -> str:
    """A gradient that only one image of the batch has entered, or one part of dy where no argument has the batch."""
    dy = clues.dy
    if clues.masked is None or dy.ndim == 0 or dy.shape[0] < 2:
        return ""
    for which, name in ((0, "first"), (-1, "last")):
        only = np.zeros_like(dy)
        only[which] = dy[which]
        if _same(found, clues.masked(only), clues.precise):
            if not _is_batch(dy.shape[0], clues):
                return f"only dy[{which}] counts, of {dy.shape[0]}: not summed over axis 0 of dy"
            return f"only the {name} of {dy.shape[0]} images counts: not summed over the batch"
    return ""


def _is_batch(length: int, clues: Clues) -> bool:
    """Whether some argument is as long as y: where none is, y may be several results in one array."""
    return any(a.ndim > 1 and a.shape[0] == length for a in (clues.x, *clues.others.values()))


def _added_term(found: Array, expected: Array, clues: Clues) -> str:
    """Right but for one term: the same for a whole row, or a multiple of x, of y, or of dy."""
    d = found - expected
    for axis in reversed(range(d.ndim)):
        if d.shape[axis] >= 3 and _same(np.broadcast_to(d.mean(axis, keepdims=True), d.shape), d, clues.precise):
            name = _axis(axis, clues)
            return f"correct but for the mean term: the difference is constant along {name}"
    if d.shape == clues.dy.shape:
        if _same(-clues.dy, d, clues.precise):
            return "dy itself is missing: the gradient that goes past the branch, in a residual sum"
        if _same(clues.dy, d, clues.precise):
            return "dy itself is added once too often"
    if d.ndim and d.shape[-1] >= 3:
        terms = [("x - mean(x)", clues.x - clues.x.mean(-1, keepdims=True)), ("x", clues.x)]
        terms += [("y", clues.y), ("dy", clues.dy)]
        for name, term in terms:
            if term.shape == d.shape and _same(_part_along(d, term), d, clues.precise):
                return f"correct but for a multiple of {name} in each row: a sum over the row is missing or wrong"
    return ""


def _part_along(d: Array, term: Array) -> Array:
    """The part of each row of d that is a multiple of that row of term."""
    size = (term * term).sum(-1, keepdims=True)
    share = (d * term).sum(-1, keepdims=True) / np.where(size > 0.0, size, 1.0)
    return share * term


def _partly(found: Array, expected: Array, clues: Clues) -> str:
    """Right in some entries: which are not?"""
    scale = norm(expected) / math.sqrt(expected.size)
    wrong = np.abs(found - expected) > clues.precise * np.maximum(np.abs(expected), scale)
    count = int(wrong.sum())
    if not 0 < count <= 0.75 * wrong.size:
        return ""
    how = ", where it is 0" if not found[wrong].any() else ""
    for axis in range(wrong.ndim):
        others = tuple(i for i in range(wrong.ndim) if i != axis)
        along = wrong.any(others)
        if along.sum() < along.size and np.array_equal(along, wrong.all(others)):
            if 2 * along.sum() > along.size:  # then the few that are right say more
                return (
                    f"right only for index {_listed(~along)} of {_axis(axis, clues)}{how.replace('where', 'elsewhere')}"
                )
            return f"right but for index {_listed(along)} of {_axis(axis, clues)}{how}"
    return (
        f"right in {wrong.size - count} of {wrong.size} numbers; first wrong at {_numbers(np.argwhere(wrong)[0])}{how}"
    )


def _listed(chosen: Array) -> str:
    """The indices where chosen (n,) is True: 0, 3, 4 or 16 to 23."""
    indices = [int(i) for i in np.flatnonzero(chosen)]
    if len(indices) > 3 and indices[-1] - indices[0] == len(indices) - 1:
        return f"{indices[0]} to {indices[-1]}"
    return ", ".join(map(str, indices[:6])) + (", ..." if len(indices) > 6 else "")


def _nearly(found: Array, expected: Array, clues: Clues) -> str:
    if norm(found - expected) > max(1e-3, 10.0 * clues.precise) * norm(expected):
        return ""
    narrow = ", or the roundings of a narrow type add up: try float64" if clues.precise > 1e-5 else ""
    return f"nearly right: a constant or an eps differs a little between forward and backward{narrow}"


def _sums_to_0(g: Array, clues: Clues) -> bool:
    """Whether each row does, of an array of more than one row."""
    return g.ndim > 1 and norm(g.sum(-1)) <= clues.precise * norm(g)


def _axis(axis: int, clues: Clues) -> str:
    letter = clues.axes[axis] if axis < len(clues.axes) else ""
    return f"axis {axis} ({letter})" if letter else f"axis {axis}"


def _numbers(index: object) -> str:
    return "[" + ", ".join(str(int(i)) for i in index) + "]"  # type: ignore[attr-defined]
