"""Whether the complex step may be believed: it has to agree with differences, roughly, along one direction.

Where f drops the imaginary part of something on its way (np.abs, np.linalg.norm and x.var() are real for complex
numbers), the complex step drops that term of the derivative, as does a backward pass from which it was forgotten.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from minivit.arrays import Array, array_module, to_host
from minivit.gradcheck.derivative import CENTRAL_STEP, central_along, complex_step_along, is_float, norm, typical
from minivit.gradcheck.pair import Argument, GradcheckError, Pair, require_complex
from minivit.gradcheck.trial import Trial

_AGREE = 1e-4  # relative; a term that is dropped is seldom less


def require_analytic(pair: Pair, trial: Trial, arguments: tuple[Argument, ...], seed: int) -> None:
    """Raise GradcheckError if the complex step and a difference disagree, along random signs for `arguments` at once.

    Where differences leave f's domain, or are nothing but roundings, nothing is said.
    """
    args = pair.cast(np.float64).args
    rng = np.random.default_rng((seed, 9))
    places = {argument.place for argument in arguments}
    step = CENTRAL_STEP
    directions = [
        array_module(a).asarray(rng.choice([-1.0, 1.0], a.shape) * (typical(a) if i in places else 0.0))
        for i, a in enumerate(args)
        if is_float(a)
    ]

    def forward(*args: Any) -> tuple[Array, Any]:
        y, cache = pair.forward(args)
        if any(a.dtype.kind == "c" for a in args if hasattr(a, "dtype")):
            require_complex(pair, y)
        return y, cache

    def slope(dy: Array) -> float:
        return float((np.asarray(to_host(dy), np.float64) * trial.dy).sum())

    by_complex_step = slope(complex_step_along(forward, args, directions))
    try:
        with np.errstate(all="ignore"):
            wide, narrow = (slope(central_along(forward, args, directions, h)) for h in (step, step / 2.0))
    except GradcheckError:  # f takes no such numbers
        return
    unseen = 30.0 * float(np.finfo(np.float64).eps) * norm(trial.y * trial.dy) / step
    allowed = _AGREE * max(abs(by_complex_step), abs(narrow)) + 4.0 * abs(wide - narrow) + unseen
    if max(abs(by_complex_step), abs(narrow)) <= 1e-9 * norm(trial.dy) * max(1, trial.y.size) ** 0.5:
        return  # nothing beside what terms of y may be: a loss at its end
    if np.isfinite([by_complex_step, wide, narrow]).all() and abs(by_complex_step - narrow) > allowed:
        names = arguments[0].name if len(arguments) == 1 else "its arguments"
        raise GradcheckError(
            f"{pair.name} is not real-analytic: by {names}, the complex step disagrees with differences (abs, norm, "
            "var, conj, .real, a cast or a kink on its path); use method='central'"
        )
