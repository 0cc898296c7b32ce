"""Few right digits, and none: what is roundings is not called wrong, and what is wrong does not hide among them."""

import numpy as np
import pytest
from helpers.cases import CASES, random

from minivit import functions as fn
from minivit.gradcheck import check

CANCELLING = {
    "layer norm of two": (
        fn.layer_norm, fn.layer_norm_backward, lambda s: (random(s, 3, 2), random(s + 1, 2), random(s + 2, 2)),
    ),
    "saturated softmax": (fn.softmax, fn.softmax_backward, lambda s: (random(s, 2, 5, scale=10.0),)),
    "saturated attention": (
        fn.attention, fn.attention_backward,
        lambda s: (random(s, 1, 3, 4, scale=5.0), random(s + 1, 1, 5, 4, scale=5.0), random(s + 2, 1, 5, 4)),
    ),
    "sure cross-entropy": (
        fn.cross_entropy, fn.cross_entropy_backward, lambda s: (random(s, 1, 5, scale=9.0), np.array([s % 5])),
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", ["complex_step", "directions"])
@pytest.mark.parametrize("name", CANCELLING)
def test_terms_that_cancel_leave_a_gradient_that_is_right(name, method):
    f, f_backward, args = CANCELLING[name]
    for seed in range(40):
        check(f, f_backward, args(seed), method=method).require()


@pytest.mark.parametrize("method", ["complex_step", "directions"])
@pytest.mark.parametrize("name", CANCELLING)
def test_and_one_that_is_a_little_wrong_is_caught(name, method):
    f, f_backward, args = CANCELLING[name]

    def broken(dy, cache):
        first, *others = fn_tuple(f_backward(dy, cache))
        return (first * (1 + 1e-3), *others)

    for seed in range(10):
        assert not check(f, broken, args(seed), method=method).passed


def fn_tuple(found):
    return found if isinstance(found, tuple) else (found,)


@pytest.mark.parametrize("method", ["complex_step", "directions", "central", "taylor", "adjoint"])
@pytest.mark.parametrize("offset", [0.0, 1e6, 1e9, 1e12, 1e15, 1e20])
def test_a_large_constant_in_y_hides_nothing(offset, method):
    """The complex step does not see it; the others say so where it swallows their differences."""

    def shifted(x):
        return x + offset, None

    args = (random(3, 5),)
    assert not check(shifted, lambda dy, c: 2.0 * dy, args, method=method).passed
    right = check(shifted, lambda dy, c: 1.0 * dy, args, method=method)
    seen = method in ("complex_step", "directions")
    assert right.passed or (not seen and right.worst.verdict.startswith("not checked: the numeric derivative is lost"))
    assert right.passed == (seen or offset <= {"central": 0.0, "taylor": 1e6, "adjoint": 1e6}[method])


def test_a_small_gradient_beside_a_large_one_is_looked_at():
    def f(s, x):
        return (x * x).sum() * 1e6 + (s * 1e-8).sum(), (s, x)

    def broken(dy, cache):
        s, x = cache
        return dy * np.full_like(s, 3e-8), 2e6 * dy * x

    report = check(f, broken, (random(1, 3), random(2, 10)))
    assert report["ds"].verdict.startswith("off by the factor 3")
    assert report["dx"].passed


@pytest.mark.parametrize("method", ["complex_step", "directions"])
@pytest.mark.parametrize("seed", range(5))
def test_a_gradient_of_0_whose_roundings_are_dys_alone(method, seed):
    """A number that is added to all, and taken off again with the mean."""

    def centred(x, b):
        z = x + b
        return z - z.mean(-1, keepdims=True), None

    def backward(dy, cache):
        dx = dy - dy.mean(-1, keepdims=True)
        return dx, dx.sum(-1, keepdims=True)

    args = (random(seed, 4, 7), random(seed + 9, 4, 1))
    check(centred, backward, args, method=method, seed=seed).require()


@pytest.mark.parametrize("method", ["complex_step", "central"])
def test_what_the_step_errs_by_is_no_fault_of_a_gradient_of_0(method):
    """The slope of x^3 at 0 is 0, and h^2 by a difference."""
    args = (np.zeros(3),)
    check(lambda x: (x**3, x), lambda dy, x: 3.0 * dy * x * x, args, method=method).require()
    assert not check(lambda x: (x**3, x), lambda dy, x: dy * (3.0 * x * x + 1e-3), args, method=method).passed


def test_a_small_gradient_of_what_y_does_not_depend_on_is_no_rounding():
    broken = check(lambda x, unused: (x, unused), lambda dy, c: (dy, 1e-14 * dy), (random(1, 3), random(2, 3)))
    assert broken["dunused"].error == 1.0
    assert broken["dunused"].verdict == "should be zero: y does not depend on it here"


@pytest.mark.parametrize("method", ["complex_step", "central"])
def test_a_gradient_that_is_nothing_but_roundings_does_not_hide_the_right_one(method):
    """Where a sum over the scores stands without what they were multiplied by, the terms cancel to 1e-17."""
    broken = check(
        lambda x, s: ((y := fn.softmax(s * x)[0]), (x, s, y)),
        lambda dy, c: (c[1] * (ds := fn.softmax_backward(dy, fn.softmax(c[1] * c[0])[1])), ds.sum()),
        (random(1, 3, 5), np.array(0.7)),
        method=method,
    )
    assert broken["dx"].passed
    assert broken["ds"].verdict.startswith("wrong: it is ")


def test_a_jump_is_no_rounding():
    """Which of two equal numbers is the larger changes with a last bit: nothing is explained by that."""

    def largest(x):
        return x.max(-1), x

    def broken(dy, x):
        return 0.5 * dy[:, None] * (x == x.max(-1, keepdims=True))

    x = np.array([[1.0, 1.0, 0.5], [0.3, 2.0, 0.1]])
    assert not check(largest, broken, (x,), method="central").passed


@pytest.mark.parametrize("factor", [1.0, 5.0])
def test_a_numeric_derivative_outside_of_fs_domain_says_nothing(factor):
    """The step is a share of what x is on the whole, and leads below 0."""
    with np.errstate(invalid="ignore"):
        row = check(
            lambda x: (np.log(x), x), lambda dy, x: factor * dy / x, (np.array([1e-5, 1.0, 10.0]),), method="central"
        ).worst
    assert not row.passed
    assert row.verdict.startswith("not checked: the numeric derivative is not finite; its step leaves f's domain")


def test_arguments_that_may_not_be_moved_are_left_where_they_are():
    """A function may demand that its weights sum to 1; without moving them nothing is explained."""

    def mean(x, w):
        if abs(float(w.real.sum()) - 1.0) > 1e-17:
            raise ValueError("weights must sum to 1")
        return x * w, (x, w)

    args = (random(1, 4), np.full(4, 0.25))
    assert not check(mean, lambda dy, c: (dy * c[1] * 1.1, dy * c[0]), args).passed


@pytest.mark.parametrize("method", ["complex_step", "directions"])
def test_where_a_softmax_is_sure_to_the_last_bit_the_gradient_is_told_to_be_no_gradient(method):
    """The largest share is 1 in float64, and what is left of the gradient less than a last bit."""
    said = set()
    for seed in range(40):
        reports = [
            check(fn.softmax, fn.softmax_backward, (random(seed, 2, 5, scale=40.0),), method=method),
            check(
                fn.attention,
                fn.attention_backward,
                tuple(random(seed + n, 1, 3, 3, scale=8.0) for n in range(3)),
                method=method,
            ),
        ]
        said |= {row.verdict for report in reports for row in report.rows if not row.passed}
    assert len(said) == (2 if method == "complex_step" else 1)
    assert all(verdict.startswith("not checked: ") for verdict in said)


@pytest.mark.parametrize("dtype", ["float16", "float32"])
def test_the_wide_tolerances_of_narrow_types_are_not_made_wider(dtype):
    case = CASES["multi_head_attention"]

    def broken(dy, cache):
        dx, dqkv_weight, *others = case.f_backward(dy, cache)
        return (dx, dqkv_weight * dqkv_weight.dtype.type(1.1), *others)

    assert not check(case.f, broken, case.args, dtype=dtype).passed


def test_a_loss_at_its_end_has_a_gradient_of_roundings_that_is_right():
    """Of two equal distributions."""

    def log_softmax(x):
        z = x - x.max(-1, keepdims=True)
        y = z - np.log(np.exp(z).sum(-1, keepdims=True))
        return y, np.exp(y)

    def divergence(a, b):
        (la, p), (lb, q) = log_softmax(a), log_softmax(b)
        return (p * (la - lb)).sum(-1), (la, p, lb, q)

    def divergence_backward(dy, cache):
        la, p, lb, q = cache
        d = dy[..., None]
        return d * p * (la - lb - (p * (la - lb)).sum(-1, keepdims=True)), d * (q - p)

    for seed in range(10):
        x = random(seed, 3, 5)
        check(divergence, divergence_backward, (x, x.copy()), seed=seed).require()


@pytest.mark.parametrize("method", ["complex_step", "central"])
def test_a_gradient_far_too_small_is_not_lost_in_the_roundings_of_the_right_one(method):
    x = random(1, 3, 4, scale=1e8)
    report = check(lambda x: (x * x, x), lambda dy, x: dy / x**2, (x,), method=method)
    assert report.worst.verdict.startswith("wrong: at ")
