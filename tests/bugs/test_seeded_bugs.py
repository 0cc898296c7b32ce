"""Every seeded bug is caught, and it is the bug that is seen: the right pass passes on the same arguments."""

import functools
import os
import re

import numpy as np
import pytest
from helpers.cases import CASES
from tolerances import COMPLEX_STEP

from bugs import others
from bugs.functions import FUNCTION_BUGS
from bugs.model import BLOCK, MEAN, MODEL_BUGS, VIT
from bugs.report import BUGS, OTHERS, REPORT, line
from minivit.arrays import is_complex
from minivit.gradcheck import check

FULL = os.environ.get("MINIVIT_TESTS") == "full"
LINES = REPORT.read_text(encoding="utf-8").splitlines()
# What the other checks say takes a minute for the models: all of it in the full profile only.
COMPARED = list(BUGS) if FULL else list(FUNCTION_BUGS)


@functools.cache
def remembered(f):
    """f, which keeps y of complex arguments: one numeric derivative for all the passes it is compared with."""
    kept = {}

    @functools.wraps(f)
    def forward(*args):
        if not any(is_complex(a) for a in args if hasattr(a, "dtype")):
            return f(*args)
        key = tuple((a.shape, a.tobytes()) if hasattr(a, "dtype") else a for a in args)
        if key not in kept:
            kept[key] = f(*args)[0].copy()  # it may be a view of what is moved on
        return kept[key], None

    return forward


def caught(case, f_backward, **how):
    return check(remembered(case.f), f_backward, case.args, names=case.names, axes=case.axes, **how)


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_caught(name):
    """Six orders above what a right pass shows, or as a promise that is broken."""
    case, broken = BUGS[name]
    report = caught(case, broken)
    assert not report.passed
    assert report.error > 1e6 * COMPLEX_STEP


@pytest.mark.parametrize("case", [*CASES.values(), *(bug[0] for bug in FUNCTION_BUGS.values()), VIT, MEAN, BLOCK])
def test_the_right_pass_passes_on_the_same_arguments(case):
    caught(case, case.f_backward).require()


@pytest.mark.parametrize("name", BUGS)
def test_a_bug_is_caught_along_two_directions_too(name):
    """Each time; the error along two directions is smaller or larger by chance, so the middle one of three counts."""
    case, broken = BUGS[name]
    reports = [caught(case, broken, method="directions", directions=2, seed=seed) for seed in range(3)]
    assert not any(report.passed for report in reports)
    assert sorted(report.error for report in reports)[1] > 1e6 * COMPLEX_STEP


@pytest.mark.parametrize("name", FUNCTION_BUGS)
def test_a_bug_is_caught_by_central_differences_too(name):
    case, broken = BUGS[name]
    assert not caught(case, broken, method="central").passed


def test_there_are_many_and_none_is_spared():
    """At least 40, every function and every part of the model among them."""
    assert len(BUGS) >= 40
    assert len(MODEL_BUGS) >= 20
    assert {case.f.__name__ for case in CASES.values()} <= {case.f.__name__ for case, _ in FUNCTION_BUGS.values()}
    assert {id(VIT), id(MEAN), id(BLOCK)} == {id(case) for case, _ in MODEL_BUGS.values()}


def test_the_report_lists_every_bug_and_counts_them():
    rows = [text for text in LINES if text.startswith("| ") and not text.startswith("| bug")]
    assert [row.split(" | ")[0].strip("| ") for row in rows] == list(BUGS)
    counted = re.search(r"(\d+) backward passes.*catches (\d+) of them.*?(\d+) pass torch, (\d+) pass chainer, "
                        r"(\d+) pass llm.c", " ".join(LINES))  # fmt: skip
    columns = [[row.split(" | ")[i].strip("| ") for row in rows] for i in (4, 5, 6)]
    expected = [len(rows), len(rows), *(column.count("passes") for column in columns)]
    assert [int(n) for n in counted.groups()] == expected


@pytest.mark.parametrize("name", COMPARED)
def test_the_report_is_up_to_date(name):
    assert line(name) in LINES, "write it anew: PYTHONPATH=tests python -m bugs.report"


@pytest.mark.parametrize("passes", OTHERS.values(), ids=OTHERS)
def test_the_other_checks_pass_right_passes(passes):
    """What they are compared by: none of them is wrong about what is right."""
    for case in (*CASES.values(), *((VIT, MEAN) if FULL else ())):
        assert passes(case, case.f_backward), case.f.__name__


def test_two_bugs_pass_them_all():
    """Why the table of tolerances says 1e-12."""
    for name in ("gelu: constant 0.0447", "softmax: of the last call, not of its cache"):
        assert all(passes(*BUGS[name]) for passes in OTHERS.values()), name


class Torch:
    """A pair of NumPy functions as a function of torch tensors, for torch's own check."""

    def __new__(cls, case, f_backward):
        import torch

        class Function(torch.autograd.Function):
            @staticmethod
            def forward(ctx, *tensors):
                pending = iter(tensors)
                args = [next(pending).detach().numpy() if others.is_float(a) else a for a in case.args]
                y, ctx.cache = case.f(*args)
                return torch.tensor(np.array(y))

            @staticmethod
            def backward(ctx, dy):
                gradients = others.as_tuple(f_backward(dy.numpy().copy(), ctx.cache))
                return tuple(torch.tensor(np.array(g)) for g in gradients)

        tensors = [torch.tensor(a.copy(), requires_grad=True) for a in case.args if others.is_float(a)]
        return Function.apply, tensors


@pytest.mark.parametrize("name", FUNCTION_BUGS)
def test_torch_itself_says_what_the_report_says_of_it(name):
    torch = pytest.importorskip("torch")
    case, broken = FUNCTION_BUGS[name]
    for f_backward in (broken, case.f_backward):
        function, tensors = Torch(case, f_backward)
        says = torch.autograd.gradcheck(function, tensors, raise_exception=False)
        assert says == others.torch_passes(case, f_backward)
