"""How far off a right gradient may be: by its roundings alone, which are measured.

A gradient that is small because large terms cancel, of a saturated softmax or of a layer norm of two numbers, has
few right digits, and one that is zero in theory has none. How many cannot be known beforehand, but it shows: when
every number of the arguments and of dy is moved by no more than its last bit, the gradient moves by what its
roundings are worth. A numeric derivative is linear in its direction but for its roundings, which shows them.

Source: Vignes 1993, "A stochastic arithmetic for reliable scientific computation", Math. Comput. Simul. 35(3):
roundings are estimated from a few runs whose last bits are random.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module, to_host
from minivit.gradcheck.derivative import CENTRAL_STEP, central_along, complex_step_along, is_float, norm, typical
from minivit.gradcheck.pair import Argument, GradcheckError, Pair
from minivit.gradcheck.trial import Trial, on_host

_RUNS = 8
# An error of so many times the movement that was seen is one of roundings: a few runs may have seen little of it.
_ALLOWED = 30.0
# What moves by more than so many last bits of what gradients usually are does not round but jump: a maximum of equals.
_JUMP = 1e6
# The complex step errs by its square, 1e-60, times a third derivative.
_STEP_ERROR = 1e-50

LOST = "not checked: the numeric derivative is lost in roundings, as y is so much larger than what x changes in it"
SMALL = (
    "not checked: beside the terms that cancel in it (of a saturated softmax, say) the gradient is nothing but "
    "roundings; give smaller arguments"
)
# What is said where no pattern is sure.
_WEAK = (
    "wrong", "nearly right", "right ", "zero everywhere", "should be zero", "off by the factor 0.999",
    "off by the factor 1.000",
)  # fmt: skip

Probes = Sequence[tuple[Array, float]]  # directions, and the derivative along each


class Roundings:
    """What the roundings of one pair's gradients are worth; measured when asked for, and kept."""

    def __init__(self, pair: Pair, trial: Trial, method: str, seed: int) -> None:
        """method: of the numeric derivative, "central" or else by the complex step."""
        self.pair, self.trial, self.method, self.seed = pair, trial, method, seed

    def explain(self, argument: Argument, found: Array, probes: Probes) -> float:
        """The largest error, as a norm, that the roundings of both sides explain in the gradient of `argument`.

        Where the numeric derivative is nothing but roundings, and `found` is more, they explain nothing.
        """
        hand, numeric, size = self.of_hand(argument), self.of_numeric(argument, probes), norm(found)
        nothing = self.method != "central" and size <= numeric
        if size > _ALLOWED * hand and _drowned(size, numeric) and not nothing:
            numeric = 0.0
        if last_bit(self.pair.args) > 1e-10 and size > 3.0 * hand:  # narrow types have wide tolerances already
            hand = numeric = 0.0
        return _ALLOWED * (hand + numeric) + _STEP_ERROR * (self.usual(argument) or 1.0)

    def lost(self, argument: Argument, found: Array, numeric: Array) -> bool:
        """Whether the numeric gradient tells nothing of `found`: its roundings are no small part of the larger one."""
        roundings = max(self.of_numeric(argument, self.probes(numeric)), self._unseen(argument))
        return _drowned(max(norm(found), norm(numeric)), roundings)

    def doubtful(self, argument: Argument, error: float, said: str) -> bool:
        """Whether what is said of an error may be wrong: no sure pattern, and nothing beside usual gradients."""
        bit = last_bit(self.pair.args)
        return said.startswith(_WEAK) and error <= _ALLOWED * bit * self.usual(argument)

    def probes(self, expected: Array) -> Probes:
        """Derivatives along random signs, as a gradient gives them."""
        rng = np.random.default_rng((self.seed, 7))
        signs = [rng.choice([-1.0, 1.0], expected.shape) for _ in range(2)]
        return [(v, float((expected * v).sum())) for v in signs]

    def usual(self, argument: Argument) -> float:
        """What a gradient between such y and x would be, |dy| |y| / |x|."""
        x = np.asarray(to_host(self.pair.args[argument.place]), np.float64)
        return norm(self.trial.dy) * norm(self.trial.y) / max(norm(x), max(1, x.size) ** 0.5)

    def of_hand(self, argument: Argument) -> float:
        """By how much the hand-written gradient of `argument` moves with the last bits of all that it is made of."""
        place = self.pair.floats.index(argument)
        found = self.trial.gradients[place]
        moved = [run[place] for run in self._again]
        if found is None or any(g is None or g.shape != found.shape for g in moved):
            return 0.0
        return self._rounded(argument, max((norm(g - found) for g in moved if g is not None), default=0.0))

    def of_numeric(self, argument: Argument, probes: Probes) -> float:
        """How far numeric derivatives, taken anew, are from those of the probes.

        Along v as the difference of those along v + w and w: with signs alone, some roundings are the same each time.
        """
        pair = self.pair.cast(np.float64)
        step = CENTRAL_STEP * typical(pair.args[argument.place])
        rng = np.random.default_rng((self.seed, 8))
        far = 0.0
        for v, slope in probes:
            w = np.asarray(rng.standard_normal(v.shape))
            anew = self._along(pair.args, argument, v + w, step) - self._along(pair.args, argument, w, step)
            far = max(far, abs(anew - slope))
        return far if self.method == "central" else self._rounded(argument, far)

    def _unseen(self, argument: Argument) -> float:
        """What differences cannot see of a gradient, its roundings' share: a step too small for y gives 0 each time."""
        if self.method != "central":
            return 0.0
        x = self.pair.cast(np.float64).args[argument.place]
        rounded = float(np.finfo(np.float64).eps) * norm(self.trial.y * self.trial.dy)
        return rounded / (CENTRAL_STEP * typical(x)) * max(1, x.size) ** 0.5 / _ALLOWED

    def _along(self, args: Sequence[Any], argument: Argument, direction: Array, step: float) -> float:
        """The numeric derivative of sum(dy * f) along a direction of one argument."""
        moved = [np.zeros(a.shape) for a in args if is_float(a)]
        moved[self.pair.floats.index(argument)] = direction
        directions = [array_module(a).asarray(m) for a, m in zip(filter(is_float, args), moved, strict=True)]

        def forward(*args: Any) -> tuple[Array, Any]:
            return self.pair.forward(args)

        if self.method == "central":
            dy = central_along(forward, args, directions, step)
        else:
            dy = complex_step_along(forward, args, directions)
        return float((np.asarray(to_host(dy), np.float64) * self.trial.dy).sum())

    def _rounded(self, argument: Argument, moved: float) -> float:
        """The movement, where it is one of roundings."""
        x, g = self.pair.args[argument.place], self.trial.gradients[self.pair.floats.index(argument)]
        # Of y near 0, as of a loss at its end, 1 is what its terms may be.
        size = norm(self.trial.dy) * max(1, self.trial.y.size) ** 0.5 / max(typical(x) * x.size**0.5, 1.0)
        size = max(size, self.usual(argument), 0.0 if g is None else norm(g))
        return moved if moved <= min(_JUMP * last_bit(self.pair.args), 1e-2) * size else 0.0

    @functools.cached_property
    def _again(self) -> list[tuple[Array | None, ...]]:
        """The gradients of a few runs, each with other last bits."""
        rng = np.random.default_rng((self.seed, 6))
        runs = []
        with np.errstate(all="ignore"):
            for _ in range(_RUNS):
                try:
                    y, cache = self.pair.forward(nudged(self.pair.args, rng))
                    dy = array_module(y).asarray(self.trial.dy.astype(y.dtype))
                    runs.append(on_host(self.pair, self.pair.backward(nudged((dy,), rng)[0], cache)))
                except GradcheckError:  # arguments that may not be moved
                    break
        return runs


def _drowned(size: float, roundings: float) -> bool:
    return _ALLOWED * roundings > 1e-4 * size > 0.0


def last_bit(args: Sequence[Any]) -> float:
    """The relative worth of the last bit of the narrowest float array among args."""
    return max(float(np.finfo(a.dtype).eps) for a in args if is_float(a))


def nudged(args: Sequence[Any], rng: np.random.Generator) -> list[Any]:
    """args with each number of the float arrays moved at random: by its last bit, either way, or not at all."""
    moved = list(args)
    for i, a in enumerate(args):
        if is_float(a):
            by = 1.0 + np.finfo(a.dtype).eps * rng.choice(np.array([-1.0, 0.0, 1.0], a.dtype), a.shape)
            moved[i] = array_module(a).asarray(a * array_module(a).asarray(by.astype(a.dtype)))  # of no axes, too
    return moved
