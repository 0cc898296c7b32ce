"""Checks along directions: for large models, for functions without complex numbers, for linear maps.

    directions    <dy, J v> = <J' dy, v> for random signs v; J v by the complex step, one call of f
    taylor        r(h) = |L(x + h v) - L(x) - h <dL/dx, v>| falls with h^2 if dL/dx is right, else with h
    adjoint       <f(x) - f(0), dy> = <x, dx> for what is linear in x, a bias aside

Source: Farrell et al. 2013, "Automated derivation of the adjoint of high-level transient finite element
programs", SIAM J. Sci. Comput. 35(4), section 6.1 (Taylor remainder); Claerbout 2014, "Geophysical Image
Estimation by Example", chapter 2 (dot-product test).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from minivit.arrays import Array, array_module, to_host
from minivit.gradcheck.analytic import require_analytic
from minivit.gradcheck.derivative import COMPLEX_STEP, norm, typical
from minivit.gradcheck.pair import Argument, GradcheckError, Pair, require_complex
from minivit.gradcheck.report import Row
from minivit.gradcheck.roundings import LOST, SMALL, Roundings
from minivit.gradcheck.trial import MISSING, Trial
from minivit.gradcheck.verdict import factor_between

Gradients = list[tuple[Argument, Array]]

TAYLOR_STEPS = (1e-4, 5e-5, 2.5e-5)
_ELSE = "wrong: <dy, J v> and <J' dy, v> differ; method='complex_step' tells how"


def along_directions(
    pair: Pair, trial: Trial, count: int, joint: bool, limit: float, roundings: Roundings
) -> list[Row]:
    """One row for each argument, or one for all of them together; errors are root mean squares over directions."""
    rng = np.random.default_rng((roundings.seed, 1))
    rows, usable = _sorted_out(pair, trial, limit)
    for group in [pair.floats] if joint else [(argument,) for argument, _ in usable]:
        require_analytic(pair, trial, group, roundings.seed)
    if joint:
        return rows or [_all_at_once(pair, trial, usable, count, rng, limit)]
    args = pair.cast(np.complex128).args
    for argument, found in usable:
        started = time.perf_counter()
        hand, numeric, probes = np.empty(count), np.empty(count), []
        for n in range(count):
            v = rng.choice([-1.0, 1.0], found.shape)
            hand[n] = (found * v).sum()
            numeric[n] = _slope(pair, trial, args, {argument.place: v})
            if n < 2:
                probes.append((v, numeric[n]))
        error, size = norm(hand - numeric), max(norm(numeric), norm(found) * count**0.5)
        if error > limit * size:
            size = max(size, roundings.explain(argument, found, probes) * count**0.5 / limit)
        said = "right" if error <= limit * size else _along_verdict(hand, numeric, pair, limit)
        said = SMALL if roundings.doubtful(argument, error / count**0.5, said) else said
        error = error / size if size else 0.0
        rows.append(Row(f"d{argument.name}", found.shape, error, limit, said, time.perf_counter() - started))
    return rows


def _all_at_once(
    pair: Pair, trial: Trial, usable: Gradients, count: int, rng: np.random.Generator, limit: float
) -> Row:
    """Every argument moved by signs over the length of its gradient, so that a large one hides no small one."""
    started = time.perf_counter()
    args = pair.cast(np.complex128).args
    sizes = [norm(g) for _, g in usable]
    # A gradient that is zero in theory is nothing but roundings: not magnified beyond a thousand times.
    weights = [1.0 / max(size, 1e-3 * max(sizes)) if max(sizes) > 0.0 else 1.0 for size in sizes]
    hand, numeric = np.zeros(count), np.empty(count)
    for n in range(count):
        moved = {}
        for (argument, g), weight in zip(usable, weights, strict=True):
            v = moved[argument.place] = rng.choice([-weight, weight], g.shape)
            hand[n] += (g * v).sum()
        numeric[n] = _slope(pair, trial, args, moved)
    # Each of n arguments adds about +-1 to a slope: together sqrt(n).
    error = norm(hand - numeric) / max(norm(numeric), (count * len(sizes)) ** 0.5)
    said = "right" if error <= limit else "wrong: at least one of them; joint=False tells which"
    size = sum(g.size for _, g in usable)
    return Row(f"all {len(sizes)}", (size,), error, limit, said, time.perf_counter() - started)


def _slope(pair: Pair, trial: Trial, args: Sequence[Any], moved: dict[int, Array]) -> float:
    """Derivative of sum(dy * f) along `moved`, by the complex step; args are complex128 already."""
    there = list(args)
    for i, v in moved.items():
        there[i] = there[i] + 1j * COMPLEX_STEP * array_module(there[i]).asarray(v)
    y, _ = pair.forward(there)
    require_complex(pair, y)
    return float((to_host(y.imag) * trial.dy).sum()) / COMPLEX_STEP


def taylor(pair: Pair, trial: Trial, count: int, seed: int, limit: float) -> list[Row]:
    """One row for all arguments: the slope of the remainder over the step, on logarithmic axes.

    They are moved together, so that an error in a gradient hides where the others' remainders are far larger.

    The error is its distance from 2. Where f is linear the remainder is nothing but roundings, and the gradient right.
    """
    rows, usable = _sorted_out(pair, trial, limit)
    if rows:
        return rows
    started = time.perf_counter()
    rng = np.random.default_rng((seed, 2))
    args = pair.cast(np.float64).args
    here = to_host(pair.forward(args)[0])
    # Along some directions L hardly bends, and its cubic term is seen instead: the most bent of a few counts.
    most = max((_remainders(pair, trial, usable, args, here, rng) for _ in range(count)), key=lambda r: float(r[0]))
    size = sum(g.size for _, g in usable)
    name = "all" if len(pair.floats) > 1 else f"d{pair.floats[0].name}"
    rounded = 16.0 * np.finfo(np.float64).eps * norm(trial.y * trial.dy)
    if most.max() <= rounded:
        change = max(TAYLOR_STEPS) * sum(norm(g) * typical(to_host(args[a.place])) for a, g in usable)
        lost = rounded > 1e-2 * change > 0.0  # a wrong gradient's remainder would be of the size of the change
        error, said = (np.inf, LOST) if lost else (0.0, "right: linear here, no remainder but roundings")
        return [Row(name, (size,), error, limit, said, time.perf_counter() - started)]
    slope = float(np.polyfit(np.log(TAYLOR_STEPS), np.log(most), 1)[0])
    # Where L does not bend at all, as x^3 at 0, a higher power is seen; a wrong gradient gives 1.
    error = abs(slope - max(2, round(slope)))
    said = "right" if error <= limit else "wrong"
    verdict = f"{said}: the remainder falls with the step to the power {slope:.3f}"
    return [Row(name, (size,), error, limit, verdict, time.perf_counter() - started)]


def _remainders(
    pair: Pair, trial: Trial, usable: Gradients, args: Sequence[Any], here: Array, rng: np.random.Generator
) -> Array:
    """|L(x + h v) - L(x) - h <dL/dx, v>| for each step h, along one direction of random signs."""
    directions, at_0 = {}, 0.0
    for argument, g in usable:
        directions[argument.place] = rng.choice([-1.0, 1.0], g.shape) * typical(to_host(args[argument.place]))
        at_0 += float((g * directions[argument.place]).sum())
    found = []
    for h in TAYLOR_STEPS:
        there = list(args)
        for i, v in directions.items():
            there[i] = there[i] + array_module(there[i]).asarray(h * v)
        rise = float(((to_host(pair.forward(there)[0]) - here) * trial.dy).sum())
        found.append(abs(rise - h * at_0))
    return np.array(found)


def adjoint(pair: Pair, trial: Trial, seed: int, limit: float, count: int = 4) -> tuple[list[Row], str]:
    """One row for each argument that f is linear in, and a note that names the others.

    Raises GradcheckError if f is linear in none.
    """
    rng = np.random.default_rng((seed, 3))
    args = pair.cast(np.float64).args
    rows, usable = _sorted_out(pair, trial, limit)
    skipped = []
    for argument, found in usable:
        started = time.perf_counter()
        x = to_host(args[argument.place])
        probes = [x, *(np.asarray(rng.standard_normal(x.shape)) * typical(x) for _ in range(count - 1))]
        found_parts = _linear_part(pair, args, argument, probes)
        if found_parts is None:
            skipped.append(argument.name)
            continue
        at_0, rises = found_parts
        hand = np.array([(z * found).sum() for z in probes])
        exact = np.array([(rise * trial.dy).sum() for rise in rises])
        # f(z) - f(0) is rounded as f(0) is.
        change, constant = norm(np.stack(rises)) * norm(trial.dy), norm(at_0) * norm(trial.dy) * count**0.5
        error = norm(hand - exact) / max(change + constant, 1e-300)
        said = "right" if error <= limit else _along_verdict(hand, exact, pair, limit)
        if limit * constant > 1e-6 * max(change, norm(hand)) > 0.0:
            error, said = np.inf, LOST
        rows.append(Row(f"d{argument.name}", x.shape, error, limit, said, time.perf_counter() - started))
    if not rows:
        raise GradcheckError(
            f"{pair.name} is linear in none of its arguments ({', '.join(skipped)}), which the adjoint needs; "
            "use method='complex_step'"
        )
    return rows, f"not linear in {', '.join(skipped)}: not checked" if skipped else ""


def _linear_part(
    pair: Pair, args: Sequence[Any], argument: Argument, probes: list[Array]
) -> tuple[Array, list[Array]] | None:
    """f(0), and f(z) - f(0) for each probe z of one argument, the others fixed; None if sums are not kept."""

    def rise(z: Array) -> Array:
        there = list(args)
        there[argument.place] = array_module(there[argument.place]).asarray(z)
        return to_host(pair.forward(there)[0])

    with np.errstate(all="ignore"):  # 0 may lie outside f's domain: then f is not linear either
        try:
            at_0 = rise(np.zeros_like(probes[0]))
            rises = [rise(z) - at_0 for z in probes]
            together = rise(probes[0] - 2.0 * probes[1]) - at_0
        except (GradcheckError, ArithmeticError):
            return None
        size = norm(rises[0]) + 2.0 * norm(rises[1]) + norm(at_0)
        kept = norm(together - (rises[0] - 2.0 * rises[1])) <= 1e-12 * size
    return (at_0, rises) if kept else None


def _along_verdict(hand: Array, exact: Array, pair: Pair, limit: float) -> str:
    """A factor shows along directions too; other patterns need every number."""
    if not hand.any():
        return "zero: it is never computed, or multiplied by 0"
    return factor_between(hand, exact, pair.numbers(), max(10 * limit, 1e-9)) or _ELSE


def _sorted_out(pair: Pair, trial: Trial, limit: float) -> tuple[list[Row], Gradients]:
    """Rows for the gradients that cannot be multiplied by a direction, and the others with their arguments."""
    rows: list[Row] = []
    usable: Gradients = []
    for argument, found in zip(pair.floats, trial.gradients, strict=True):
        shape = pair.args[argument.place].shape
        if found is None:
            rows.append(Row(f"d{argument.name}", shape, np.inf, limit, MISSING))
        elif found.shape != shape:
            said = f"has shape {found.shape} where the argument has {shape}"
            rows.append(Row(f"d{argument.name}", found.shape, np.inf, limit, said))
        elif not np.isfinite(found).all():
            said = f"{int((~np.isfinite(found)).sum())} of {found.size} numbers are not finite"
            rows.append(Row(f"d{argument.name}", shape, np.inf, limit, said))
        else:
            usable.append((argument, found))
    return rows, usable
