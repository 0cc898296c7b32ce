"""What every pair promises, whatever it computes: one test a promise, run on all pairs."""

import array_api_strict
import numpy as np
import pytest
from helpers.cases import CASES, Case, as_tuple, assert_close, assert_right, is_float, random, untidy
from tolerances import FORWARD, GRADIENT, STRICT_ARRAYS

from minivit import functions as fn
from minivit.functions.softmax import SoftmaxCache

every_case = pytest.mark.parametrize("case", CASES.values(), ids=list(CASES))
every_dtype = pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])


def copied(x):
    """A deep copy of arguments or caches, to compare with afterwards."""
    if isinstance(x, tuple):
        return tuple(map(copied, x))
    return x.copy() if isinstance(x, np.ndarray) else x


def same(a, b):
    """Equal down to the last bit, through nested tuples."""
    if isinstance(a, tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return np.array_equal(a, b) and getattr(a, "dtype", None) == getattr(b, "dtype", None)


def test_every_exported_pair_has_a_case():
    pairs = {name for name in fn.__all__ if f"{name}_backward" in fn.__all__}
    assert pairs == {case.f.__name__ for case in CASES.values()}


@every_case
def test_gradients_agree_with_the_complex_step(case: Case):
    assert_right(case.f, case.f_backward, *case.args)


@every_case
@every_dtype
def test_dtype_is_kept(case: Case, dtype):
    case = case.cast(dtype)
    wide = np.promote_types(dtype, np.float32)
    y, cache = case.f(*case.args)
    assert y.dtype == (wide if case.wide_result else dtype)
    gradients = as_tuple(case.f_backward(random(1, *y.shape).astype(y.dtype), cache))
    expected = [dtype if i < case.like_x else wide for i in range(len(gradients))]
    assert [g.dtype for g in gradients] == expected


@every_case
def test_gradients_have_the_shapes_of_the_arguments(case: Case):
    y, cache = case.f(*case.args)
    gradients = as_tuple(case.f_backward(random(1, *y.shape), cache))
    assert [g.shape for g in gradients] == [a.shape for a in case.args if is_float(a)]


@every_case
@every_dtype
def test_arguments_and_cache_are_unchanged_and_a_second_backward_gives_the_same(case: Case, dtype):
    """In-place work inside a pair must only ever touch arrays of its own, and leave the cache usable."""
    case = case.cast(dtype)
    args = tuple(map(untidy, case.args))
    before = copied(args)
    y, cache = case.f(*args)
    kept = copied((y, cache))
    dy = untidy(random(1, *y.shape).astype(y.dtype))
    dy_before = copied(dy)
    first = copied(as_tuple(case.f_backward(dy, cache)))
    second = as_tuple(case.f_backward(dy, cache))
    assert same(first, second)
    assert same(before, args)
    assert same(kept, (y, cache))
    assert same(dy_before, dy)


@every_case
def test_memory_layout_does_not_matter(case: Case):
    y, cache = case.f(*case.args)
    y_untidy, cache_untidy = case.f(*map(untidy, case.args))
    dy = random(1, *y.shape)
    assert_close(y_untidy, y, FORWARD[np.dtype(np.float64)])
    pairs = zip(as_tuple(case.f_backward(untidy(dy), cache_untidy)), as_tuple(case.f_backward(dy, cache)), strict=True)
    for a, b in pairs:
        assert_close(a, b, GRADIENT[np.dtype(np.float64)])


@every_case
@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_narrow_types_agree_with_float64(case: Case, dtype):
    """Both start from the same rounded numbers, so only the roundings inside the pair are seen."""
    narrow = case.cast(dtype)
    y, cache = narrow.f(*narrow.args)
    exact_y, exact_cache = case.f(*narrow.cast(np.float64).args)
    assert_close(y, exact_y, FORWARD[np.dtype(dtype)])
    dy = random(1, *y.shape).astype(y.dtype)
    found = as_tuple(case.f_backward(dy, cache))
    exact = as_tuple(case.f_backward(dy.astype(np.float64), exact_cache))
    for a, b in zip(found, exact, strict=True):
        assert_close(a, b, GRADIENT[np.dtype(dtype)])


@every_case
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_but_the_array_standard_is_used(case: Case, dtype):
    """array_api_strict refuses what NumPy allows beyond the standard, which another library may lack."""
    case = case.cast(dtype)
    y, cache = case.f(*case.args)
    dy = random(1, *y.shape).astype(y.dtype)
    gradients = as_tuple(case.f_backward(np.asarray(dy), cache))

    strict = array_api_strict.asarray
    strict_y, strict_cache = case.f(*(strict(a) if isinstance(a, np.ndarray) else a for a in case.args))
    strict_gradients = as_tuple(case.f_backward(strict(dy), strict_cache))
    for found, expected in zip((strict_y, *strict_gradients), (y, *gradients), strict=True):
        assert isinstance(found, array_api_strict._array_object.Array)
        assert np.asarray(found).dtype == expected.dtype
        assert_close(found, expected, STRICT_ARRAYS if dtype == np.float64 else FORWARD[np.dtype(dtype)])


# A softmax at 1e2 is saturated, its gradient nothing but cancellation: test_softmax.py looks at values there.
SATURATES = ("softmax", "attention", "multi_head_attention", "cross_entropy")
SCALED = [(name, scale) for name in CASES for scale in (1e-8, 1e-3, 1e2) if scale < 1.0 or name not in SATURATES]


@pytest.mark.parametrize(("name", "scale"), SCALED)
def test_gradients_at_tiny_and_large_magnitudes(name, scale):
    case = CASES[name]
    assert_right(case.f, case.f_backward, case.args[0] * scale, *case.args[1:])


def test_a_cache_is_a_named_tuple_that_can_be_made_by_hand():
    """The notebooks do so; a cache holds what its comments say and nothing else."""
    y, cache = fn.softmax(random(1, 3, 4))
    assert cache == SoftmaxCache(cache.y)
    assert cache.y is y


@every_case
def test_integers_are_refused_or_computed_with_as_numbers(case: Case):
    """A result "like x" of an integer x would be cut to integers, without a word."""
    whole = [
        np.arange(1, a.size + 1).reshape(a.shape) % 7 if i == 0 and is_float(a) else a for i, a in enumerate(case.args)
    ]
    said = y = None
    try:
        y, _ = case.f(*whole)
    except TypeError as error:
        said = str(error)
    if y is None:
        assert "int64 was given; expected floating-point numbers" in said
    else:
        exact, _ = case.f(whole[0].astype(np.float64), *whole[1:])
        assert np.array_equal(y, exact)
