"""How exact minivit's gradients are, measured: the largest error of each kind.

    python examples/gradient_figures.py

The tests require these figures to stay within their tolerances; this prints how far within they are.
"""

import argparse
import itertools
import platform
import time

import numpy as np

from minivit.gradcheck import GradcheckError, check
from minivit.gradcheck.catalog import DROP_KEY, FUNCTIONS, MODELS, TINY, model_case
from minivit.model import count_params, variant

SEEDS = range(10)
OPTIONS = {
    "pooling": ("class_token", "mean"),
    "positions": ("learned", "sincos", "none"),
    "gelu": ("tanh", "erf"),
    "dropout": (0.0, 0.3),
    "drop_path": (0.0, 0.5),
}


def errors(cases, **how):
    """The largest error of each case for each seed; cases that the method does not fit are left out."""
    found = {}
    for (name, case), seed in itertools.product(cases.items(), SEEDS):
        try:
            report = check(case.f, case.f_backward, case.args, names=case.names, axes=case.axes, seed=seed, **how)
        except GradcheckError:
            continue
        found[name, seed] = report.error
    return found


def line(what, found, started):
    """One line: the largest of the errors found, and where."""
    worst = max(found, key=lambda place: found[place])
    print(
        f"{what:<58} {found[worst]:8.1e}  {len(found):3d}  {time.perf_counter() - started:5.1f} s  {worst}", flush=True
    )


def main():
    """Measure and print."""
    print(f"Python {platform.python_version()}, NumPy {np.__version__}, {platform.machine()}")
    print(f"{'':<58} {'largest':>8}  of")
    for what, cases, how in (
        ("functions, complex step, float64", FUNCTIONS, {}),
        ("block and models, complex step, float64", MODELS, {}),
        ("functions, float32 against float64", FUNCTIONS, {"dtype": "float32"}),
        ("block and models, float32 against float64", MODELS, {"dtype": "float32"}),
        ("Taylor slope, distance from 2", FUNCTIONS | MODELS, {"method": "taylor"}),
        ("adjoint, of what is linear", FUNCTIONS | MODELS, {"method": "adjoint"}),
    ):
        started = time.perf_counter()
        line(what, errors(cases, **how), started)

    started, found = time.perf_counter(), {}
    for values in itertools.product(*OPTIONS.values()):
        changes = dict(zip(OPTIONS, values, strict=True))
        case = model_case(TINY.replace(**changes), DROP_KEY)
        found[" ".join(map(str, values))] = check(case.f, case.f_backward, case.args, names=case.names).error
    line("model, every combination of options, every number", found, started)

    started = time.perf_counter()
    config = variant("Ti/16", image_size=(32, 32), patch_size=(8, 8), dropout=0.1, drop_path=0.2)
    case = model_case(config, DROP_KEY, batch=2)
    report = check(
        case.f, case.f_backward, case.args, names=case.names, method="directions", joint=True, directions=100
    )
    line(f"Ti, {count_params(config)} parameters, 100 directions", {"Ti": report.error}, started)


if __name__ == "__main__":
    argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    ).parse_args()  # it takes none
    main()
