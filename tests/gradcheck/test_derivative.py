"""Numeric derivatives: of known functions, of every pair, and the error that a step leaves."""

import numpy as np
import pytest
from helpers.cases import CASES, as_tuple, random
from tolerances import COMPLEX_STEP

from minivit.gradcheck import complex_step_along, complex_step_gradients, relative_error
from minivit.gradcheck.derivative import central_along, central_gradient, forward_along, random_signs


def cube(x):
    return x * x * x, x


def test_relative_error_is_of_the_whole_tensor():
    expected = np.array([3.0, 4.0])
    assert relative_error(np.array([3.0, 4.5]), expected) == 0.1
    assert relative_error(np.array([[3.0], [4.0]]), expected[:, None]) == 0.0
    assert relative_error(np.array([3.0, 4.0]), np.zeros(2)) == 5.0, "absolute where 0 is expected"
    with pytest.raises(ValueError, match=r"gradient of shape \(3,\) where the argument has shape \(2,\)"):
        relative_error(np.zeros(3), expected)


def test_complex_step_gradients_of_a_known_function():
    """sum(dy * x^3) has gradient 3 x^2 dy, at every size of x, and for arrays of any order in memory."""
    for x in (random(1, 3, 4), random(1, 3, 4) * 1e8, random(1, 3, 4) * 1e-8, random(1, 4, 3).T):
        dy = random(2, 3, 4)
        (gradient,) = complex_step_gradients(cube, (x,), dy)
        assert gradient.shape == (3, 4)
        assert relative_error(gradient, 3 * x * x * dy) <= COMPLEX_STEP


@pytest.mark.parametrize("scale", [1e-8, 1.0, 1e8])
def test_central_differences_of_a_known_function_at_every_size(scale):
    x, dy = random(1, 3, 4) * scale, random(2, 3, 4)
    assert relative_error(central_gradient(cube, (x,), dy, 0), 3 * x * x * dy) <= 1e-8
    assert (
        relative_error(central_gradient(lambda x: (2.0 * x, None), (np.zeros(3),), np.ones(3), 0), np.full(3, 2.0))
        < 1e-9
    )


def test_numeric_gradients_leave_their_arguments_alone_even_views_of_one_number():
    x = np.broadcast_to(np.float64(1.5), (3, 4))
    dy = random(2, 3, 4)
    for gradient in (complex_step_gradients(cube, (x,), dy)[0], central_gradient(cube, (x,), dy, 0)):
        assert relative_error(gradient, 6.75 * dy) <= 1e-8
    assert np.array_equal(x, np.full((3, 4), 1.5))


def test_complex_step_along_is_the_product_with_the_jacobian():
    """For every pair: <dy, J v> = <J' dy, v>, in one call of f whatever the number of parameters."""
    for case in CASES.values():
        y, cache = case.f(*case.args)
        dy = random(1, *y.shape)
        gradients = as_tuple(case.f_backward(dy, cache))
        directions = [random(50 + i, *g.shape) for i, g in enumerate(gradients)]
        along = complex_step_along(case.f, case.args, directions)
        assert along.shape == y.shape
        expected = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
        size = sum(np.abs(g * v).sum() for g, v in zip(gradients, directions, strict=True))
        assert abs((along * dy).sum() - expected) <= COMPLEX_STEP * size, case.f.__name__


def test_every_float_array_moves_by_its_own_direction():
    x, w = random(1, 3), random(2, 3)

    def f(x, n, w):
        return n * x * w, None

    assert relative_error(complex_step_along(f, (x, 2, w), [np.ones(3), np.zeros(3)]), 2 * w) <= COMPLEX_STEP
    assert relative_error(complex_step_along(f, (x, 2, w), [np.zeros(3), np.ones(3)]), 2 * x) <= COMPLEX_STEP


def test_the_order_of_each_method():
    """A tenth of the step: a forward difference errs by a tenth, a central one and the complex step by a hundredth."""
    x, v = np.array([0.7]), [np.ones(1)]
    f = lambda x: (np.exp(x), None)  # noqa: E731
    for along, order in ((forward_along, 1), (central_along, 2), (complex_step_along, 2)):
        error = [abs(float(along(f, (x,), v, h)[0]) - np.exp(0.7)) for h in (1e-2, 1e-3)]
        assert np.log10(error[0] / error[1]) == pytest.approx(order, abs=0.01), along.__name__


def test_random_signs_are_signs_of_each_array_s_type():
    x, w = random(1, 3, 4), random(2, 5).astype(np.float32)
    first, second = random_signs(np.random.default_rng(0), (x, 3, w, np.arange(3)))
    assert (first.shape, first.dtype, second.shape, second.dtype) == ((3, 4), np.float64, (5,), np.float32)
    assert set(first.ravel()) == {-1.0, 1.0}
