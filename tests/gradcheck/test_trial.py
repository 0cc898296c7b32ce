"""The promises of a pure pair: each one broken alone, in an otherwise right pair, and named."""

import numpy as np
import pytest
from helpers.cases import CASES, random
from helpers.spoiled import cube, cube_backward, named

from minivit.gradcheck import GradcheckError, check
from minivit.gradcheck.trial import copied, same


def test_a_backward_pass_that_changes_dy():
    def f_backward(dy, cache):
        dy *= 3.0
        return dy * cache * cache

    assert named(cube, f_backward, random(1, 4)) == ("dy", "dy was changed by the backward pass: work on a copy of it")


@pytest.mark.parametrize("keep", [lambda a: (a,), lambda a: [a], lambda a: {"a": a}, lambda a: ({"b": [a]},)])
def test_a_backward_pass_that_spoils_its_cache(keep):
    """A second backward pass would go wrong without a word. Caches may be nested."""

    def f(x):
        return x * x * x, keep(3.0 * x * x)

    def f_backward(dy, cache):
        while not isinstance(cache, np.ndarray):
            cache = cache["a" if "a" in cache else "b"] if isinstance(cache, dict) else cache[0]
        cache *= dy
        return cache.copy()

    tensor, verdict = named(f, f_backward, random(1, 4))
    assert tensor == "cache"
    assert "a second backward goes wrong" in verdict


def test_a_backward_pass_that_gives_something_else_each_time():
    """A mask drawn again, here; the cache is an object that nobody can look into."""
    draw = np.random.default_rng(0)
    tensor, verdict = named(cube, lambda dy, c: cube_backward(dy, c) * draw.random(), random(1, 4))
    assert tensor == "backward twice"
    assert "a second backward pass gave other gradients" in verdict


def test_a_forward_pass_that_draws_anew():
    draw = np.random.default_rng(0)

    def f(x):
        scale = float(draw.random())
        return x * scale, scale

    tensor, verdict = named(f, lambda dy, scale: dy * scale, random(1, 4))
    assert tensor == "y"
    assert "a second forward pass gave another y" in verdict


def test_of_what_is_drawn_anew_no_derivative_is_taken():
    """It would disagree with itself, which is no abs on f's path, nor a y too large for differences."""
    draw = np.random.default_rng(0)

    def f(x):
        kept = draw.random(x.shape) > 0.5
        return x * kept, kept

    for method in ("complex_step", "central", "directions", "taylor"):
        (row,) = check(f, lambda dy, kept: dy * kept, (random(1, 4, 5),), method=method).rows
        assert "a second forward pass gave another y" in row.verdict


def test_a_pair_that_remembers_outside_its_cache():
    """A layer that keeps self.x: right in every test that calls it once, wrong when it is used twice."""

    class Layer:
        def forward(self, x):
            self.x = x
            return x * x * x, None

        def backward(self, dy, cache):
            return 3.0 * self.x * self.x * dy

    layer = Layer()
    report = check(layer.forward, layer.backward, (random(1, 4),))
    assert report.error > 0.1
    assert report.worst.verdict.startswith("stale: right only if no other forward pass came in between")


def test_a_result_that_a_later_call_overwrites():
    """The same array is filled each time: right, until the function is used twice."""
    ys, dxs = {}, {}

    def f(x):
        return np.multiply(x, 2.0, out=ys.setdefault(x.dtype, np.empty_like(x))), None

    def f_backward(dy, cache):
        return np.multiply(dy, 2.0, out=dxs.setdefault(dy.dtype, np.empty_like(dy)))

    end = "pass: an array that is used again; return a new one each time"
    assert named(f, lambda dy, c: dy * 2.0, random(1, 4)) == ("y", f"y was changed by a later forward {end}")
    assert named(lambda x: (x * 2.0, None), f_backward, random(1, 4)) == (
        "dx", f"dx was changed by a later backward {end}",
    )  # fmt: skip
    check(lambda x: (x * 1.0, None), lambda dy, c: dy, (random(1, 4),)).require()  # dy itself is no such array


def test_a_result_that_is_not_finite():
    with np.errstate(all="ignore"):
        tensor, verdict = named(lambda x: (x / 0.0, None), lambda dy, c: dy, random(1, 4))
    assert tensor == "y"
    assert "nan or inf" in verdict


def test_after_a_spoiled_argument_the_numbers_are_still_those_that_were_given():
    """The other rows judge the gradient at the arguments, not at what the pair made of them."""

    def f(x):
        y = x * x * x
        kept = x.copy()
        if x.dtype == np.float64:
            x += 1.0
        return y, kept

    report = check(f, cube_backward, (random(1, 4),))
    assert report["dx"].tolerance == 1e-12
    assert report.worst.tensor == "x"


@pytest.mark.parametrize("name", CASES)
def test_every_pair_of_minivit_keeps_them(name):
    case = CASES[name]
    assert check(case.f, case.f_backward, case.args).passed


def test_a_number_as_y_has_a_dy_of_no_axes_each_time():
    """-dy of an array of no axes is no array."""

    def f_backward(dy, x):
        assert isinstance(dy, np.ndarray)
        return 2.0 * dy * x

    check(lambda x: (np.asarray((x * x).sum()), x), f_backward, (random(1, 4),)).require()


def test_a_backward_pass_that_changes_its_cache_where_that_is_y():
    """y was the same until then: of the gradient the truth is told."""

    def f(x):
        y = np.exp(x)
        return y, y

    def f_backward(dy, y):
        y *= dy
        return 2.0 * y

    rows = {row.tensor: row.verdict for row in check(f, f_backward, (random(1, 4),)).rows}
    assert rows["cache"].startswith("the cache was changed after the forward pass")
    assert rows["dx"] == "off by the factor 2"


def test_a_y_that_is_used_again_is_told_whatever_else_is_wrong():
    """No gradient is compared then, and nobody would know why."""
    y = np.empty((2, 3))
    f, f_backward = lambda x: (np.multiply(x, 2.0, out=y), None), lambda dy, c: dy.astype(np.float32)
    rows = check(f, f_backward, (random(1, 2, 3),)).rows
    assert {row.tensor for row in rows} == {"y", "dx"}


def test_settings_are_copied_as_what_they_are():
    class Settings(dict):
        pass

    settings = Settings(w=np.ones(2))
    settings.name = "ours"
    twin = copied({"inside": settings})["inside"]
    assert (type(twin), twin.name) == (Settings, "ours")
    assert twin["w"] is not settings["w"]
    check(lambda x, s: (x * s["w"] * len(s.name), s), lambda dy, s: dy * s["w"] * 4, (random(1, 2), settings)).require()


def test_copies_are_deep_and_of_the_same_kinds():
    cache = CASES["mlp"].f(*CASES["mlp"].args)[1]
    twin = copied((cache, [np.ones(2)], {"a": np.zeros(2)}, "word", None))
    assert type(twin[0]) is type(cache)
    assert same(twin, (cache, [np.ones(2)], {"a": np.zeros(2)}, "word", None))
    cache.fc1.x[0, 0, 0] += 1.0
    assert not same(twin[0], cache)
    cache.fc1.x[0, 0, 0] -= 1.0
    assert not same([np.ones(2)], [np.ones(2), np.ones(2)])
    assert not same({"a": 1}, {"b": 1})
    assert same(np.array([np.nan]), np.array([np.nan]))


ONE_FOR_THE_OTHER = {  # x and dy in each other's place
    "dy forgotten": (lambda x: (x * x, x), lambda dy, x: 2 * x * x),
    "x forgotten": (lambda x: (x * x, x), lambda dy, x: 2 * dy * dy),
    "one dy too many": (lambda x: (x**3, x), lambda dy, x: 3 * dy * dy * x),
}


@pytest.mark.parametrize("name", ONE_FOR_THE_OTHER)
@pytest.mark.parametrize("seed", [0, 1, 4])
def test_dy_is_no_argument_however_these_were_drawn(name, seed):
    x = np.random.default_rng(seed).standard_normal((3, 5))
    assert not check(*ONE_FOR_THE_OTHER[name], (x,), seed=seed).passed
    assert not check(*ONE_FOR_THE_OTHER[name], (x,), seed=seed, method="directions").passed


@pytest.mark.parametrize("seed", [0, 1])
def test_a_gradient_that_is_zero_for_dy_like_x_is_not_called_wrong(seed):
    """Scaling x does not change x / |x|, so that dx is 0 where dy = x."""

    def backward(dy, cache):
        x, n = cache
        return dy / n - x * (dy * x).sum(-1, keepdims=True) / n**3

    def forward(x):
        n = np.linalg.norm(x, axis=-1, keepdims=True)
        return x / n, (x, n)

    x = np.random.default_rng(seed).standard_normal((3, 5))
    check(forward, backward, (x,), seed=seed, method="central").require()
    with pytest.raises(GradcheckError, match="is not real-analytic"):
        check(forward, backward, (x,), seed=seed)


@pytest.mark.parametrize("x", [np.array([3.0]), np.full(4, 2.0), np.array(2.0)], ids=["one", "equal", "of no axes"])
def test_what_a_pair_remembers_is_seen_where_no_other_order_is_another(x):
    def f(x):
        f.kept = x
        return x * x, None

    assert not check(f, lambda dy, c: 2.0 * dy * f.kept, (x,)).passed


def test_of_a_y_that_is_not_finite_no_gradient_is_judged():
    with np.errstate(invalid="ignore"):
        report = check(lambda x: (np.log(x), x), lambda dy, x: dy / x, (random(1, 4),))
    assert [row.tensor for row in report.rows] == ["y"]
    assert report.worst.verdict.endswith(
        "where f does not take every number, as a logarithm, give arguments that it takes"
    )


def test_what_a_pair_remembers_of_labels_and_of_a_common_norm_is_seen():
    """Neither changes with the order of the numbers alone."""

    def entropy(x, labels):
        entropy.labels = labels
        e = np.exp(x - x.max(-1, keepdims=True))
        p = e / e.sum(-1, keepdims=True)
        return -np.log(p[np.arange(len(x)), labels]), p

    def entropy_backward(dy, p):
        g = p.copy()
        g[np.arange(len(p)), entropy.labels] -= 1
        return g * dy[:, None]

    def unit(x):
        unit.n = np.sqrt((x * x).sum())
        return x / unit.n, x

    def unit_backward(dy, x):
        return dy / unit.n - x * (x * dy).sum() / unit.n**3

    x = random(1, 3, 5)
    for f, f_backward, args in ((entropy, entropy_backward, (x, np.array([1, 0, 3]))), (unit, unit_backward, (x,))):
        assert check(f, f_backward, args).worst.verdict.startswith("stale")


def test_a_function_that_looks_its_arguments_over_is_checked_without_others():
    def log(p):
        if not np.allclose(p.real.sum(-1), 1.0, rtol=0.0, atol=1e-10):
            raise ValueError("rows must sum to 1")
        return np.log(p), p

    p = np.exp(random(1, 3, 5))
    check(log, lambda dy, p: dy / p, (p / p.sum(-1, keepdims=True),)).require()


@pytest.mark.parametrize("error", [SystemExit, pytest.skip.Exception])  # none of Exception's
@pytest.mark.parametrize("where", ["f", "f_backward"])
def test_a_pair_that_ends_the_program_is_no_check_that_passed(where, error):
    def end(*_):
        raise error("0")

    pair = {"f": cube, "f_backward": cube_backward, where: end}
    with pytest.raises(GradcheckError, match=f"raised {error.__name__}"):
        check(pair["f"], pair["f_backward"], (random(1, 4),))


class Odd:
    """What has a dtype and is no array."""

    dtype = np.dtype(np.float64)


class Tape(list):
    def __init__(self):
        super().__init__()


@pytest.mark.parametrize("thing", [Odd(), Odd, np.finfo(float), np.float64, Tape(), {"dtype": "float"}], ids=range(6))
def test_a_cache_may_hold_anything(thing):
    check(lambda x: (x * x, (x, thing)), lambda dy, cache: 2.0 * dy * cache[0], (random(1, 4),)).require()


def test_a_cache_that_holds_itself():
    def forward(x):
        cache = [x]
        cache.append(cache)
        return x * x, cache

    with pytest.raises(GradcheckError, match="forward returned a cache that holds itself"):
        check(forward, lambda dy, cache: 2.0 * dy * cache[0], (random(1, 4),))


def test_what_changes_in_a_list_of_its_own_kind_is_seen():
    def backward(dy, cache):
        cache[0] *= 2.0
        return dy * cache[0]

    def forward(x):
        tape = Tape()
        tape.append(2.0 * x)
        return x * x, tape

    assert not check(forward, backward, (random(1, 4),)).passed
    assert "cache" in {row.tensor for row in check(forward, backward, (random(1, 4),)).rows}
