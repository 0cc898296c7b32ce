"""`check`: every method passes right pairs and fails wrong ones, on the arguments that it should."""

import numpy as np
import pytest
from bugs.functions import FUNCTION_BUGS
from helpers.cases import CASES, random
from helpers.spoiled import cube, cube_backward
from tolerances import ADJOINT, COMPLEX_STEP, TAYLOR_SLOPE

from minivit.gradcheck import METHODS, TOLERANCES, GradcheckError, check
from minivit.gradcheck.catalog import MODELS

LINEAR = ("patchify", "unpatchify", "pool_mean", "pool_class_token", "dropout", "drop_path", "add_positions", "linear")


def wrong_backward(dy, cache):
    return 2.9 * cache * cache * dy


def test_the_tolerances_are_those_of_the_tests():
    assert TOLERANCES["complex_step"] == TOLERANCES["directions"] == COMPLEX_STEP
    assert TOLERANCES["adjoint"] == ADJOINT
    assert TOLERANCES["taylor"] == TAYLOR_SLOPE
    assert tuple(TOLERANCES) == METHODS


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("method", ["complex_step", "central", "directions", "taylor"])
def test_models_pass_every_method(name, method):
    case = MODELS[name]
    report = check(case.f, case.f_backward, case.args, names=case.names, method=method).require()
    assert report.method == method


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("method", ["complex_step", "central", "directions", "taylor"])
@pytest.mark.parametrize("seed", [0, 1])
def test_functions_pass_every_method(name, method, seed):
    case = CASES[name]
    check(case.f, case.f_backward, case.args, method=method, seed=seed).require()


@pytest.mark.parametrize("method", ["complex_step", "central", "directions", "taylor"])
def test_every_method_fails_a_wrong_pair(method):
    report = check(cube, wrong_backward, (random(1, 4),), method=method)
    assert not report.passed
    assert report.error > 0.01


@pytest.mark.parametrize("joint", [False, True])
def test_directions_fail_each_of_several_wrong_gradients(joint):
    """One gradient is off by 1e-6 of itself, and small beside the other: it is seen all the same."""

    def f(x, w):
        return x * 1e6 + w**3, w

    for right, wrong in ((1.0, 1.0 + 1e-6), (1.0 + 1e-6, 1.0)):
        backward = lambda dy, w, a=right, b=wrong: (a * 1e6 * dy, b * 3 * w * w * dy)  # noqa: E731
        report = check(f, backward, (random(1, 5), random(2, 5)), method="directions", joint=joint)
        assert (1e-10 if joint else 1e-8) < report.error < 1e-5
        assert len(report.rows) == (1 if joint else 2)
        assert [row.passed for row in report.rows].count(False) == 1


def test_joint_directions_see_a_gradient_that_is_never_computed():
    report = check(
        lambda x, w: (x * w, (x, w)), lambda dy, c: (dy * c[1], 0.0 * c[0]), (random(1, 5), random(2, 5)),
        method="directions", joint=True,
    )  # fmt: skip
    assert report.error > 0.1


def test_more_directions_are_more_calls():
    calls = []

    def counted(x):
        calls.append(1)
        return cube(x)

    counts = []
    for directions in (1, 5):
        calls.clear()
        check(counted, cube_backward, (random(1, 4),), method="directions", directions=directions).require()
        counts.append(len(calls))
    assert counts[1] - counts[0] == 4


@pytest.mark.parametrize("name", LINEAR)
@pytest.mark.parametrize("seed", range(3))
def test_linear_functions_and_their_backward_are_adjoint(name, seed):
    case = CASES[name]
    report = check(case.f, case.f_backward, case.args, method="adjoint", seed=seed).require(ADJOINT)
    assert report.note == ""


def test_the_adjoint_of_what_is_linear_in_some_arguments():
    case = CASES["attention"]
    report = check(case.f, case.f_backward, case.args, method="adjoint").require()
    assert [row.tensor for row in report.rows] == ["dv"]
    assert report.note == "not linear in q, k: not checked"


@pytest.mark.parametrize("name", ["patchify: channels before pixels", "pool_mean: factor T", "dropout: not rescaled"])
def test_what_is_not_the_adjoint_is_seen(name):
    case, broken = FUNCTION_BUGS[name]
    assert check(case.f, broken, case.args, method="adjoint").error > 1e-3


def relu(x):
    """Homogeneous, f(2 x) = 2 f(x), but not linear."""
    return np.where(x.real > 0, x, 0 * x), x.real > 0


def relu_backward(dy, cache):
    return dy * cache


@pytest.mark.parametrize(("f", "f_backward"), [(cube, cube_backward), (relu, relu_backward)])
def test_the_adjoint_of_what_is_not_linear_is_refused(f, f_backward):
    with pytest.raises(GradcheckError, match=r"is linear in none of its arguments \(x\).*method='complex_step'"):
        check(f, f_backward, (random(1, 9),), method="adjoint")


def test_outside_its_domain_a_function_is_not_linear():
    """The adjoint's probe looks at 0, where log has none."""
    with pytest.raises(GradcheckError, match="linear in none"):
        check(lambda x: (np.log(x), x), lambda dy, x: dy / x, (np.exp(random(1, 4)),), method="adjoint")


def test_a_linear_function_has_no_taylor_remainder():
    case = CASES["patchify"]
    report = check(case.f, case.f_backward, case.args, method="taylor")
    assert report.passed
    assert "linear here" in report.worst.verdict
    wrong = check(case.f, lambda dy, c: 1.01 * case.f_backward(dy, c), case.args, method="taylor")
    assert wrong.worst.error == pytest.approx(1.0, abs=TAYLOR_SLOPE)


@pytest.mark.parametrize("method", METHODS[:4])
def test_a_function_with_a_kink_passes_where_it_is_smooth(method):
    check(relu, relu_backward, (random(1, 9),), method=method).require()


def test_a_gradient_at_a_kink_is_not_called_wrong_unless_it_is_elsewhere():
    """A relu of 0: a half is right for differences, 0 by convention."""
    x = np.array([0.0, 1.5, -2.0, 4.0, 0.0, -0.7])
    row = check(relu, relu_backward, (x,), method="central").worst
    assert not row.passed
    assert row.verdict.startswith("not checked: f has a kink where it differs")
    wrong = check(relu, lambda dy, c: relu_backward(dy, c) * (x < 4.0), (x,), method="central").worst
    assert "not checked" not in wrong.verdict


def test_a_gradient_beyond_both_sides_of_a_kink_is_wrong():
    """Between 0 and dy anything may be meant, but nothing else."""
    x = np.array([0.0, 1.5, -2.0, 4.0])
    for slope, said in ((1.0, "not checked: f has a kink"), (50.0, "right but for index 0"), (-3.0, "right but for")):
        row = check(relu, lambda dy, c, s=slope: dy * np.where(x == 0.0, s, c), (x,), method="central").worst
        assert row.verdict.startswith(said)


@pytest.mark.parametrize("method", ["central", "taylor"])
def test_real_numbers_are_enough_for_central_differences_and_taylor(method):
    """What the complex step cannot judge: it takes |x| for a constant."""
    f, f_backward = lambda x: (np.abs(x) * x, x), lambda dy, x: 2 * np.abs(x) * dy
    check(f, f_backward, (random(1, 9),), method=method).require()
    with pytest.raises(GradcheckError, match=r"is not real-analytic.*use method='central'"):
        check(f, f_backward, (random(1, 9),))


def test_a_single_gradient_needs_no_tuple_and_a_list_will_do():
    for backward in (cube_backward, lambda dy, c: [cube_backward(dy, c)], lambda dy, c: (cube_backward(dy, c),)):
        check(cube, backward, (random(1, 4),)).require()


@pytest.mark.parametrize("x", [np.asarray(1.7), np.zeros(3), np.zeros((0, 3)), np.zeros((1, 1, 1))])
@pytest.mark.parametrize("method", ["complex_step", "directions", "taylor"])
def test_numbers_empty_arrays_and_zeros_are_arguments_too(x, method):
    check(cube, cube_backward, (x,), method=method).require()


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_dtype_casts_the_arguments_and_sets_the_tolerance(dtype):
    case = CASES["layer_norm"]
    report = check(case.f, case.f_backward, case.args, dtype=dtype).require()
    assert report.dtype == dtype
    assert report.worst.tolerance == {"float16": 1e-2, "float32": 1e-5, "float64": 1e-12}[dtype]
    assert report["dx"].error > {"float16": 1e-5, "float32": 1e-9, "float64": 0.0}[dtype], "it was computed in it"


def test_a_tolerance_of_one_s_own():
    args = (random(1, 4),)
    assert not check(cube, wrong_backward, args).passed
    assert check(cube, wrong_backward, args, tolerance=0.1).passed


def test_every_seed_feeds_another_dy():
    """The check is of the product with dy: a backward pass that only fits dy = 1 fails for all of them."""
    seen = []

    def spy(dy, cache):
        seen.append(dy.copy())
        return cube_backward(dy, cache)

    for seed in (0, 0, 1):
        seen.append(None)
        check(cube, spy, (random(1, 4),), seed=seed)
    first, same, other = (seen[i + 1] for i, dy in enumerate(seen) if dy is None)
    assert np.array_equal(first, same)
    assert not np.array_equal(first, other)
    assert np.abs(first - 1.0).min() > 1e-3


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

    report = check(f, f_backward, (np.array([2, 0, 2]), random(1, 3), 3, None, random(2, 4))).require()
    assert sorted(row.tensor for row in report.rows) == ["dw", "dx"]


def test_a_gradient_that_is_zero_in_theory_is_judged_against_what_others_are():
    """The key bias adds one number to each row of scores, which softmax does not see: only roundings remain."""

    def f(x, b):
        y, cache = CASES["softmax"].f(x + b)
        return y, cache

    def f_backward(dy, cache):
        dx = CASES["softmax"].f_backward(dy, cache)
        return dx, dx.sum(-1, keepdims=True)

    args = (random(1, 4, 5), random(2, 4, 1))
    for method in ("complex_step", "directions"):
        report = check(f, f_backward, args, method=method).require()
        assert 0.0 < report["db"].error < 0.05 * report["db"].tolerance  # at which it would be 30 times its roundings
    spoiled = check(f, lambda dy, c: (f_backward(dy, c)[0], 1e-9 * dy.sum(-1, keepdims=True)), args)
    assert spoiled["db"].error > 1e-11


@pytest.mark.parametrize("method", METHODS)
def test_a_missing_a_wrongly_shaped_and_an_infinite_gradient_are_rows_of_the_report(method):
    case = CASES["linear"]

    def broken(dy, cache):
        _, dw, db = case.f_backward(dy, cache)
        return None, dw.T, db * np.inf

    report = check(case.f, broken, case.args, method=method)
    said = {row.tensor: row.verdict for row in report.rows}
    assert said["dx"] == "missing: the backward pass returned None for it"
    assert said["dw"].startswith("has shape (4, 7) where the argument has (7, 4)")
    assert said["db"] == "4 of 4 numbers are not finite"
    assert all(row.error == np.inf for row in report.rows)
    joint = check(case.f, broken, case.args, method="directions", joint=True)
    assert {row.tensor for row in joint.rows} == {"dx", "dw", "db"}


def test_a_method_that_is_not_known():
    with pytest.raises(
        GradcheckError, match="method 'complex' is not known; expected one of 'complex_step', 'central'"
    ):
        check(cube, cube_backward, (random(1, 4),), method="complex")


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ({"directions": 0}, "directions is 0; expected at least 1"),
        ({"directions": 2.5}, "directions is 2.5; expected an integer"),
        ({"seed": "a"}, "seed is 'a'; expected an integer"),
        ({"tolerance": "x"}, "tolerance is 'x'; expected a small positive number"),
        ({"seed": -1}, "seed is -1; expected 0 or more"),
        ({"tolerance": 0.0}, "tolerance is 0.0; expected a small positive number"),
        ({"tolerance": float("nan")}, "tolerance is nan; expected a small positive number"),
        ({"dtype": "floaty"}, "dtype 'floaty' is not known; expected 'float64', 'float32' or 'float16'"),
        ({"dtype": np.int8}, "is not known; expected 'float64', 'float32' or 'float16'"),
    ],
)
def test_settings_that_cannot_work(setting, said):
    with pytest.raises(GradcheckError, match=said):
        check(cube, cube_backward, (random(1, 4),), **setting)


@pytest.mark.parametrize("dtype", ["float32", np.float32, np.dtype("float32")])
def test_a_dtype_may_be_said_in_any_way(dtype):
    assert check(cube, cube_backward, (random(1, 4),), dtype=dtype).require().dtype == "float32"
