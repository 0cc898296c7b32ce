"""What cannot be checked ends in one sentence: the thing, what it did, what was expected, the likely mend."""

import json
from typing import NamedTuple

import numpy as np
import pytest
from helpers.cases import CASES, random
from helpers.spoiled import cube, cube_backward

from minivit.errors import MinivitError
from minivit.functions import cross_entropy, linear, linear_backward
from minivit.gradcheck import GradcheckError, check
from minivit.gradcheck.catalog import MODELS
from minivit.gradcheck.pair import make_pair

X = random(1, 4)


def refused(*what, **how):
    with pytest.raises(GradcheckError) as error:
        check(*what, **how)
    sentence = str(error.value)
    assert "\n" not in sentence
    assert len(sentence) < 400
    return sentence


def test_it_is_an_error_that_a_person_reads():
    assert issubclass(GradcheckError, MinivitError)
    assert issubclass(GradcheckError, ValueError)


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "returned 0 gradients for 2 float arrays (x, w)"),
        (1, "returned 1 gradient for 2 float arrays (x, w)"),
        (3, "returned 3 gradients for 2 float arrays (x, w)"),
    ],
)
def test_a_wrong_number_of_gradients(count, said):
    def backward(dy, cache):
        return (dy,) * count

    sentence = refused(lambda x, w: (x * w, None), backward, (X, X))
    assert sentence.startswith(f"backward {said}; expected one for each, in this order")


def test_an_integer_argument_that_is_meant_to_be_a_variable():
    """As it happens: np.arange(6) for an example x. It is no variable, but the backward pass takes it for one."""

    def layer(x, w, b):
        return x @ w + b, (x, w)

    def layer_backward(dy, cache):
        x, w = cache
        return dy @ w.T, x.T @ dy, dy.sum(0)

    w, b = random(1, 3, 4), random(2, 4)
    sentence = refused(layer, layer_backward, (np.arange(6).reshape(2, 3), w, b))
    assert "3 gradients for 2 float arrays (w, b)" in sentence
    assert "x is of int64 and so no variable: pass x.astype(float) if it is one" in sentence
    assert "pass x.astype(float)" in refused(cube, cube_backward, (np.arange(3),))


def test_a_list_that_is_meant_to_be_an_array():
    assert "x is a list and so no variable: pass numpy.array(x)" in refused(cube, cube_backward, ([1.0, 2.0],))


@pytest.mark.parametrize("x", [2.5, np.float64(2.5)])
def test_a_number_that_is_meant_to_be_a_variable(x):
    assert "x is a float and so no variable: pass numpy.asarray(x) if it is one" in refused(cube, cube_backward, (x,))


def test_parameters_in_a_dict_or_a_namedtuple_are_no_variables():
    class Parameters(NamedTuple):
        w: object

    def f(x, p):
        return x * 2.0, None

    def f_backward(dy, cache):
        return dy, dy

    said = "f_backward returned 2 gradients for 1 float array (x); expected one for each, in this order; p is a "
    for p, kind in (({"w": X}, "dict"), (Parameters(X), "Parameters of 1")):
        sentence = refused(f, f_backward, (X, p))
        assert sentence == f"{said}{kind} and so no variable: pass its arrays one by one if it is one"


def test_gradients_in_a_dict():
    def f_backward(dy, cache):
        return {"x": dy, "w": dy}

    assert refused(lambda x, w: (x * w, None), f_backward, (X, X)) == (
        "f_backward returned a dict, no tuple of gradients, for 2 float arrays (x, w); expected one for each, "
        "in this order"
    )


def test_nothing_to_differentiate_by():
    assert refused(cube, cube_backward, (3,)) == (
        "cube has no float array among its arguments, nothing to differentiate by"
    )


def test_arguments_that_are_no_tuple():
    assert refused(cube, cube_backward, X) == (
        "args is an array of float64; expected a tuple of arguments, such as (x,) for one"
    )


@pytest.mark.parametrize(
    ("x", "said"), [(X + 1j, "is of complex128; expected real numbers"), (X * np.nan, "holds nan")]
)
def test_arguments_that_have_no_derivative(x, said):
    assert said in refused(cube, cube_backward, (x,))


@pytest.mark.parametrize(
    ("returned", "said"),
    [
        (lambda x: x * x, "f returned an array of float64; expected a pair (y, cache)"),
        (lambda x: None, "f returned None; expected a pair (y, cache)"),
        (lambda x: (x, x, x), "f returned a tuple of 3; expected a pair (y, cache)"),
        (lambda x: ([1.0], x), "f returned y as a list of 1; expected an array of a float type"),
        (
            lambda x: ((x, x), x),
            "f returned y as a tuple of 2; expected an array of a float type: join several results into one",
        ),
        (lambda x: (x > 0, x), "f returned y as an array of bool; expected an array of a float type"),
        (lambda x: (x * 1j, x), "f returned complex y for real arguments; expected real numbers"),
    ],
)
def test_a_forward_pass_that_returns_no_pair(returned, said):
    def f(x):
        return returned(x)

    assert refused(f, cube_backward, (X,)) == said


def test_a_python_number_is_a_result():
    check(lambda x: (x[0] * x[1], x), lambda dy, x: dy * x[::-1], (random(1, 2),), method="central").require()
    check(lambda x: ((x * x).sum(), x), lambda dy, x: 2 * dy * x, (X,)).require()


def test_a_python_number_is_a_gradient_of_any_type():
    for dtype in ("float64", "float32"):
        check(lambda x: (x * 2.0, None), lambda dy, c: 2.0 * float(dy), (np.asarray(1.5),), dtype=dtype).require()


def test_a_gradient_that_is_no_array():
    assert refused(cube, lambda dy, c: ["dx"], (X,)) == "the gradient of x is of str; expected an array of real numbers"
    assert "is of complex128; expected an array of real" in refused(cube, lambda dy, c: dy * 1j, (X,))


def test_errors_inside_the_pair_are_told_with_their_place():
    def f(x):
        return x @ np.ones(7), x

    def f_backward(dy, cache):
        raise KeyError("mean")

    assert "f raised ValueError: matmul: " in refused(f, cube_backward, (X,))
    assert "(test_pair.py, line " in refused(f, cube_backward, (X,))
    assert "f_backward raised KeyError: 'mean' (test_pair.py, line " in refused(cube, f_backward, (X,))


def test_errors_of_minivit_s_own_functions_reach_the_reader():
    sentence = refused(linear, linear_backward, (random(1, 2, 3), random(2, 4, 5), random(3, 5)))
    assert "linear: x (2, 3) needs w of shape (3, D_out)" in sentence
    labels = np.array([0, 9])
    assert "do not fit 3 classes" in refused(cross_entropy, lambda dy, c: dy, (random(1, 2, 3), labels))


@pytest.mark.parametrize(
    "f",
    [lambda x: (x * float(x[0]), x), lambda x: (x.astype(np.float64), x), lambda x: (np.maximum(x, 0) * (x // 1), x)],
)
def test_a_forward_pass_that_takes_no_complex_numbers(f):
    sentence = refused(f, cube_backward, (X,))
    assert "takes no complex numbers" in sentence
    assert "method='central'" in sentence


@pytest.mark.parametrize("method", ["complex_step", "directions"])
def test_a_forward_pass_that_drops_imaginary_parts(method):
    sentence = refused(lambda x: (x.real**2, x), lambda dy, x: 2 * x * dy, (X,), method=method)
    assert "returned real numbers for complex arguments" in sentence
    assert "method='central'" in sentence


def test_what_is_no_function():
    assert refused(3, cube_backward, (X,)) == "f is an int; expected a function"
    assert refused(cube, None, (X,)) == "f_backward is None; expected a function"


def test_too_few_names():
    assert "names holds 1 names for 2 arguments" in refused(lambda x, w: (x * w, 0), cube_backward, (X, X), names=["x"])


def test_letters_that_do_not_fit():
    assert refused(cube, cube_backward, (X,), axes={"x": "BTD"}) == (
        "axes gives 3 letters for x (4,); expected one for each axis"
    )
    assert "axes names 'y', which is no argument" in refused(cube, cube_backward, (X,), axes={"y": "B"})


def names_of(f, *args, **how):
    return [argument.name for argument in make_pair(f, cube_backward, args, **how).floats]


def test_names_come_from_the_signature():
    assert names_of(lambda x, w, n=3: 0, X, X, 3) == ["x", "w"]
    assert names_of(lambda x, *tensors: 0, X, X, X) == ["x", "tensors[0]", "tensors[1]"]
    assert names_of(np.multiply, X, X)[0] != ""
    assert names_of(lambda x, w: 0, X, X, names=("a", "b")) == ["a", "b"]
    assert MODELS["vit"].names[0] == "images"


def axes_of(f, *args, **how):
    return {argument.name: argument.axes for argument in make_pair(f, cube_backward, args, **how).floats}


def test_letters_of_axes_come_from_the_docstring():
    def f(x, w, v):
        """Map x (B, T, D) by w (D, 3 D) and v (..., F); see (Note) and x (again)."""

    assert axes_of(f, random(1, 2, 3, 4), random(2, 4, 12), random(3, 5, 6, 7)) == {
        "x": ("B", "T", "D"),
        "w": ("D", ""),
        "v": ("", "", "F"),
    }
    assert axes_of(f, X, random(2, 4, 12), X) == {"x": ("",), "w": ("D", ""), "v": ("F",)}
    assert axes_of(f, X, X, X, axes={"w": "Q"})["w"] == ("Q",)


@pytest.mark.parametrize(
    ("name", "axes"),
    [
        ("linear", {"x": ("", "", "D_in"), "w": ("D_in", "D_out"), "b": ("D_out",)}),
        ("attention", {"q": ("", "", "T", "D_h"), "k": ("", "", "S", "D_h"), "v": ("", "", "S", "D_v")}),
        ("patchify", {"x": ("B", "C", "H", "W")}),
        ("add_positions", {"x": ("B", "T", "D"), "positions": ("T", "D")}),
    ],
)
def test_letters_of_minivit_s_functions(name, axes):
    case = CASES[name]
    assert {a.name: a.axes for a in make_pair(case.f, case.f_backward, case.args).floats} == axes


def test_an_error_inside_numpy_is_placed_where_it_was_called():
    sentence = refused(lambda x: (np.mean(x, axis=5), None), lambda dy, cache: dy, (X,))
    assert "AxisError" in sentence
    assert "(test_pair.py, line" in sentence


@pytest.mark.parametrize("other", [np.matrix, np.ma.MaskedArray])
def test_arrays_of_other_rules(other):
    x = np.ones((2, 3)).view(other)
    kind = "matrix" if other is np.matrix else "MaskedArray"
    assert refused(cube, cube_backward, (x,)) == f"x is a {kind}; expected a plain array: numpy.asarray(x)"
    sentence = refused(lambda x: (x.view(other), None), cube_backward, (np.ones((2, 3)),))
    assert sentence == f"<lambda> returned y as a {kind}; expected an array of a float type"


def test_a_docstring_that_is_no_text():
    def square(x):
        return x * x, x

    square.__doc__ = 3
    check(square, lambda dy, x: 2.0 * dy * x, (X,)).require()


def test_ctrl_c_is_not_reworded():
    def stopped(x):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        check(stopped, cube_backward, (X,))


def test_a_list_of_numbers_is_no_gradient():
    """Of an argument's shape or not."""
    for x in (X, np.ones((1, 4)), np.ones(1)):
        sentence = refused(cube, lambda dy, x: (3.0 * x * x * dy).tolist(), (x,))
        assert sentence == "<lambda> returned a list of numbers; expected arrays: without tolist()"


def test_the_place_of_an_error_is_in_the_pair():
    """Not where the check calls it."""
    assert refused(cube, lambda dy: dy, (X,)).endswith("but 2 were given")
    assert "(test_pair.py, line " in refused(lambda x: 1 / 0, cube_backward, (X,))
    assert "(test_pair.py, line " in refused(lambda x: json.loads("x"), cube_backward, (X,))
    assert "(test_pair.py, line " in refused(lambda x: eval("1 +"), cube_backward, (X,))


def test_gradients_in_a_list_may_be_single_numbers():
    s = np.asarray(1.5)

    def times(x, s):
        return x * s, (x, s)

    def times_backward(dy, cache):
        x, s = cache
        return [dy * s, (dy * x).sum()]

    check(times, times_backward, (X, s)).require()
    check(times, lambda dy, c: [float(g) for g in times_backward(dy, c)], (np.asarray(2.0), s)).require()
