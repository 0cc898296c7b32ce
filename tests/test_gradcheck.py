"""The checker is checked: it passes right pairs, catches wrong ones, and names what a pair got wrong."""

import numpy as np
import pytest
from functions.broken import BROKEN
from helpers.cases import CASES, random
from tolerances import ADJOINT, COMPLEX_STEP, TAYLOR_SLOPE

from minivit.gradcheck import (
    adjoint_error,
    check,
    complex_step_along,
    complex_step_gradients,
    relative_error,
    taylor_slope,
)


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_backward_pass_is_caught(name):
    """And the right one passes on the same arguments, so that it is the break that is seen."""
    case, broken_backward = BROKEN[name]
    assert max(check(case.f, case.f_backward, case.args)) <= COMPLEX_STEP
    if name == "dropout: mask drawn again":  # it never gives the same gradient twice
        with pytest.raises(ValueError, match="second backward pass gave other gradients"):
            check(case.f, broken_backward, case.args)
    else:
        assert max(check(case.f, broken_backward, case.args)) > 1e6 * COMPLEX_STEP


def test_there_are_many_ways_to_be_wrong():
    assert len(BROKEN) >= 25


# f(x) = x^3, with knobs to break it.
def cube(x):
    return x * x * x, x


def cube_backward(dy, cache):
    return 3.0 * cache * cache * dy


def test_a_single_gradient_needs_no_tuple():
    assert check(cube, cube_backward, (random(1, 4),))[0] <= COMPLEX_STEP


def test_a_number_is_an_argument_too():
    """A 0-d array, such as a temperature or a loss."""
    assert check(cube, cube_backward, (np.asarray(1.7),))[0] <= COMPLEX_STEP


def test_every_seed_feeds_another_dy():
    """The check is of the product with dy: a backward pass that only fits dy = 1 fails for all of them."""
    seen = []

    def spy(dy, cache):
        seen.append(dy.copy())
        return cube_backward(dy, cache)

    for seed in (0, 0, 1):
        check(cube, spy, (random(1, 4),), seed)
    first, _, same, _, other, _ = seen  # each check runs the backward pass twice
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert np.abs(seen[0] - 1.0).min() > 1e-3


def test_only_float_arrays_are_differentiated_by():
    """Integers, settings, None and lists pass through; the number of gradients is that of float arrays."""

    def f(labels, x, n, nothing, w):
        assert labels.dtype == np.int64
        assert (n, nothing) == (3, None)
        return x * w[labels] * n, (labels, x, n, w)

    def f_backward(dy, cache):
        labels, x, n, w = cache
        dw = np.zeros_like(w)
        np.add.at(dw, labels, dy * x * n)
        return dy * w[labels] * n, dw

    args = (np.array([2, 0, 2]), random(1, 3), 3, None, random(2, 4))
    assert max(check(f, f_backward, args)) <= COMPLEX_STEP


@pytest.mark.parametrize("gradients", [lambda dx: (), lambda dx: (dx, dx)])
def test_a_wrong_number_of_gradients_is_named(gradients):
    with pytest.raises(ValueError, match=r"[02] gradients were returned for 1 float array arguments"):
        check(cube, lambda dy, cache: gradients(cube_backward(dy, cache)), (random(1, 4),))


@pytest.mark.parametrize("change", [np.sum, lambda dx: dx[None], lambda dx: dx[:2]])
def test_a_wrong_shape_is_named(change):
    with pytest.raises(ValueError, match=r"gradient of shape .* where the argument has shape \(4,\)"):
        check(cube, lambda dy, cache: change(cube_backward(dy, cache)), (random(1, 4),))


def test_a_forward_pass_that_changes_its_argument_is_named():
    def f(w, x):
        x *= 2.0
        return x * w, (w, x)

    with pytest.raises(ValueError, match="argument 1 was changed by the pair"):
        check(f, lambda dy, cache: (dy * cache[1], dy * cache[0]), (random(1, 4), random(2, 4)))


def test_a_backward_pass_that_changes_an_argument_is_named():
    """Even when what it returns is right."""

    def f_backward(dy, cache):
        dx = cube_backward(dy, cache)
        cache[0] = 7.0
        return dx

    with pytest.raises(ValueError, match="argument 0 was changed by the pair"):
        check(cube, f_backward, (random(1, 4),))


def test_a_backward_pass_that_changes_dy_is_named():
    def f_backward(dy, cache):
        dy *= 3.0
        return dy * cache * cache

    with pytest.raises(ValueError, match="dy was changed by the pair"):
        check(cube, f_backward, (random(1, 4),))


def test_a_backward_pass_that_spoils_its_cache_is_named():
    """The cache is an argument of f_backward: a second backward pass would go wrong without a word."""

    def f(x):
        return x * x * x, (x, 3.0 * x * x)

    def f_backward(dy, cache):
        slope = cache[1]
        slope *= dy
        return slope.copy()

    with pytest.raises(ValueError, match="cache"):
        check(f, f_backward, (random(1, 4),))


def test_nan_never_passes():
    error = check(cube, lambda dy, cache: cube_backward(dy, cache) * np.nan, (random(1, 4),))[0]
    assert not error <= COMPLEX_STEP


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


def test_complex_step_along_is_the_product_with_the_jacobian():
    """For every pair: <dy, J v> = <J' dy, v>, in one call of f whatever the number of parameters."""
    for case in CASES.values():
        y, cache = case.f(*case.args)
        dy = random(1, *y.shape)
        gradients = case.f_backward(dy, cache)
        gradients = gradients if isinstance(gradients, tuple) else (gradients,)
        directions = [random(50 + i, *g.shape) for i, g in enumerate(gradients)]
        along = complex_step_along(case.f, case.args, directions)
        assert along.shape == y.shape
        expected = sum((g * v).sum() for g, v in zip(gradients, directions, strict=True))
        size = sum(np.abs(g * v).sum() for g, v in zip(gradients, directions, strict=True))
        assert abs((along * dy).sum() - expected) <= COMPLEX_STEP * size, case.f.__name__


def test_complex_step_along_moves_every_float_array_by_its_own_direction():
    x, w = random(1, 3), random(2, 3)
    along = complex_step_along(lambda x, n, w: (n * x * w, None), (x, 2, w), [np.ones(3), np.zeros(3)])
    assert relative_error(along, 2 * w) <= COMPLEX_STEP


def test_the_popular_tolerances_would_let_two_breaks_pass():
    """Why the table says 1e-12: central differences with torch's gradcheck bounds see neither."""
    for name in ("gelu: constant 0.0447", "layer_norm: eps 1e-5 in place of 1e-6"):
        case, broken_backward = BROKEN[name]
        y, cache = case.f(*case.args)
        dy = random(1, *y.shape)
        dx = broken_backward(dy, cache)
        dx = dx[0] if isinstance(dx, tuple) else dx
        h, x = 1e-6, case.args[0]
        numeric = np.empty(x.size)
        for j in range(x.size):
            step = np.zeros(x.size)
            step[j] = h
            up, down = (case.f(x + sign * step.reshape(x.shape), *case.args[1:])[0] for sign in (1, -1))
            numeric[j] = ((up - down) * dy).sum() / (2 * h)
        assert np.allclose(dx.ravel(), numeric, rtol=1e-3, atol=1e-5)
        assert max(check(case.f, broken_backward, case.args)) > 1e-6


SMOOTH = ("softmax", "attention", "multi_head_attention", "gelu_tanh", "gelu_erf", "layer_norm", "mlp", "cross_entropy")
LINEAR = ("patchify", "unpatchify", "pool_mean", "pool_class_token", "dropout", "drop_path")


@pytest.mark.parametrize("name", SMOOTH)
def test_the_taylor_remainder_falls_with_the_square_of_the_step(name):
    case = CASES[name]
    slope = taylor_slope(case.f, case.f_backward, case.args)
    assert slope == pytest.approx(2.0, abs=TAYLOR_SLOPE)


def test_the_taylor_remainder_of_a_wrong_gradient_falls_with_the_step_itself():
    for name in ("softmax: sum forgotten", "layer_norm: mean term dropped", "attention: dq and dk swapped"):
        case, broken_backward = BROKEN[name]
        slope = taylor_slope(case.f, broken_backward, case.args)
        assert slope == pytest.approx(1.0, abs=TAYLOR_SLOPE), name


@pytest.mark.parametrize("name", LINEAR)
def test_a_linear_function_and_its_backward_are_adjoint(name):
    case = CASES[name]
    error = adjoint_error(lambda x: case.f(x, *case.args[1:]), case.f_backward, case.args[0])
    assert error <= ADJOINT


def test_a_backward_that_is_not_the_adjoint_is_seen():
    for name in ("patchify: channels before pixels", "pool_mean: factor T", "dropout: not rescaled"):
        case, broken = BROKEN[name]
        assert adjoint_error(lambda x, case=case: case.f(x, *case.args[1:]), broken, case.args[0]) > 1e-3, name
