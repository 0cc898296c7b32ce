"""The error of numeric derivatives against the step: the U, its bottom, and the line that never rises."""

import numpy as np
import pytest
from helpers.cases import CASES

from minivit.gradcheck import GradcheckError, step_sweep

CASE = CASES["layer_norm"]


@pytest.fixture(scope="module")
def sweep():
    return step_sweep(CASE.f, CASE.f_backward, CASE.args)


def test_central_differences_have_a_bottom_and_the_complex_step_has_none(sweep):
    for name, bottom in (("central float64", 1e-8), ("forward float64", 1e-5), ("central float32", 1e-2)):
        step, error = sweep.best(name)
        assert 0.0 < error < bottom
        assert sweep.errors[name][0] > 10 * error < sweep.errors[name][-1]
        assert sweep.steps[0] > step > sweep.steps[-1]
    assert sweep.errors["complex_step float64"][-1] < 1e-14
    assert sweep.errors["complex_step float32"][-1] < 1e-5


def test_a_difference_in_float32_is_right_to_three_digits_at_best(sweep):
    """Why float32 gradient checks fail: chainer issue 3046."""
    assert 1e-6 < sweep.best("central float32")[1] < 1e-3
    assert sweep.best("central float32")[1] > 1e4 * sweep.best("central float64")[1]


def test_left_of_the_bottom_the_error_falls_with_the_power_of_the_method(sweep):
    steps = np.log10(sweep.steps[2:8])
    for name, power in (("forward float64", 1), ("central float64", 2), ("complex_step float64", 2)):
        slope = np.polyfit(steps, np.log10(sweep.errors[name][2:8]), 1)[0]
        assert slope == pytest.approx(power, abs=0.1), name


def test_a_wrong_gradient_has_a_floor():
    backward = lambda dy, cache: tuple(g * 1.01 for g in CASE.f_backward(dy, cache))  # noqa: E731
    errors = step_sweep(CASE.f, backward, CASE.args, dtypes=("float64",)).errors["complex_step float64"]
    assert errors.min() > 1e-3


def test_its_choices():
    sweep = step_sweep(CASE.f, CASE.f_backward, CASE.args, steps=(1e-3, 1e-6), dtypes=("float64",), directions=1)
    assert sweep.steps.tolist() == [1e-3, 1e-6]
    assert set(sweep.errors) == {"forward float64", "central float64", "complex_step float64"}
    other = step_sweep(CASE.f, CASE.f_backward, CASE.args, steps=(1e-3, 1e-6), dtypes=("float64",), seed=1)
    assert other.errors["central float64"][0] != sweep.errors["central float64"][0]


def test_text(sweep):
    lines = str(sweep).splitlines()
    assert lines[0] == "layer_norm: relative error of numeric derivatives"
    assert len(lines) == 2 + len(sweep.steps)
    assert lines[1].split()[:1] == ["step"]


def test_a_pair_that_cannot_be_checked():
    with pytest.raises(GradcheckError, match="expected a pair"):
        step_sweep(lambda x: x, CASE.f_backward, CASE.args[:1])
