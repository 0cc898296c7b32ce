"""A pair of one's own, out of a file: found, given arguments, or told what it lacks."""

import re

import numpy as np
import pytest

from minivit.errors import MinivitError
from minivit.gradcheck import check
from minivit.gradcheck.from_file import pairs_in_file

LAYERS = '''
import numpy as np

def scale(x, g, power=2):
    """Scale x (B, T, D) by g (D,)."""
    return x * g**power, (x, g, power)

def scale_backward(dy, cache):
    x, g, power = cache
    return dy * g**power, (dy * x * power * g ** (power - 1)).sum((0, 1))

def double(x):
    return 2.0 * x, None

def double_backward(dy, cache):
    return 2.0 * dy

def _args():
    return (np.linspace(-1.0, 1.0, 6),)

double_args = _args

def project(x, w, b):
    """Map x (..., D) by w (D, 3 D) and b (3 D,), D + 1 tokens or so."""
    return x @ w + b, (x, w)

def project_backward(dy, cache):
    x, w = cache
    return dy @ w.T, x.reshape(-1, len(w)).T @ dy.reshape(-1, w.shape[1]), dy.reshape(-1, w.shape[1]).sum(0)

def bare(x, w):
    return x * w, (x, w)

def bare_backward(dy, cache):
    return dy * cache[1], dy * cache[0]

def alone(x):
    return x, None
'''


@pytest.fixture
def layers(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(LAYERS)
    return path


def shapes_of(case):
    return [a.shape if isinstance(a, np.ndarray) else a for a in case.args]


@pytest.mark.parametrize(
    ("name", "given", "expected"),
    [
        ("scale", {}, [(3, 5, 7), (7,), 2]),
        ("scale", {"x": (2, 4, 6), "g": (6,)}, [(2, 4, 6), (6,), 2]),
        ("double", {}, [(6,)]),
        ("double", {"x": (2, 3)}, [(2, 3)]),
        ("project", {}, [(2, 3, 3), (3, 9), (9,)]),
        ("bare", {"x": (4,), "w": (4,)}, [(4,), (4,)]),
        ("bare", {"x": (), "w": ()}, [(), ()]),
    ],
)
def test_arguments(layers, name, given, expected):
    (case,) = pairs_in_file(layers, name, given).values()
    assert shapes_of(case) == expected
    check(case.f, case.f_backward, case.args).require()


def test_another_seed_draws_other_numbers(layers):
    one, same, other = (pairs_in_file(layers, "scale", {}, seed)["scale"].args[0] for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_without_a_name_all_pairs_of_the_file(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(LAYERS.split("def bare")[0])
    assert list(pairs_in_file(path, None, {})) == ["scale", "double", "project"]


def test_a_file_may_import_its_neighbour(tmp_path):
    (tmp_path / "neighbour_of_mine.py").write_text("SIZE = 5")
    path = tmp_path / "layers.py"
    path.write_text(LAYERS + "\nimport neighbour_of_mine\nbare_args = (np.ones(neighbour_of_mine.SIZE),) * 2\n")
    assert shapes_of(pairs_in_file(path, "bare", {})["bare"]) == [(5,), (5,)]


@pytest.mark.parametrize(
    ("name", "given", "said"),
    [
        ("scael", {}, "has no function 'scael'. Did you mean 'scale'?"),
        ("alone", {}, "has alone, but no alone_backward; expected both"),
        ("bare", {}, "bare does not say the shape of x; give --shape x=5,7, define bare_args in the file, or write"),
        ("bare", {"x": (3,)}, "bare does not say the shape of w"),
        ("scale", {"gg": (3,)}, "scale has no argument 'gg'"),
    ],
)
def test_what_a_file_lacks(layers, name, given, said):
    with pytest.raises(MinivitError, match=re.escape(said)):
        pairs_in_file(layers, name, given)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("x = 1", "holds no pair; expected two functions such as my_layer and my_layer_backward"),
        ("x = 1 / 0", "cannot be run: ZeroDivisionError: division by zero (layers.py, line 1)"),
        ("def f(:", "cannot be run: SyntaxError: invalid syntax"),
        (LAYERS + "bare_args = 3", "bare_args is an int; expected a tuple of arguments, (x,) for one"),
        (LAYERS + "def bare_args():\n    raise OSError('gone')", "bare_args raised OSError: gone (layers.py, line"),
    ],
)
def test_files_that_cannot_be_used(tmp_path, text, said):
    path = tmp_path / "layers.py"
    path.write_text(text)
    with pytest.raises(MinivitError, match=re.escape(said)):
        pairs_in_file(path, "bare" if "bare" in text else None, {})


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(MinivitError, match="is no file; expected a Python file"):
        pairs_in_file(tmp_path / "none.py", "f", {})


@pytest.mark.parametrize("end", ["sys.exit(0)", "raise SystemExit", "exit(3)"])
def test_a_file_that_ends_the_program_is_no_check_that_passed(tmp_path, end):
    path = tmp_path / "ends.py"
    path.write_text(f"import sys\n{LAYERS}\n{end}\n")
    with pytest.raises(MinivitError, match=r"ends.py cannot be run: SystemExit.* \(ends.py, line \d+\)"):
        pairs_in_file(path, "double", {})


OWN = """
def double(x):
    "x (D,)"
    return 2.0 * x, None

def double_backward(dy, cache):
    return 2.0 * dy
"""


def test_pairs_that_a_file_imports_are_not_its_own(tmp_path):
    """Without a name only its own are checked; with one, or where it has no other, those too."""
    path = tmp_path / "imports.py"
    imported = "from minivit.functions import softmax, softmax_backward\n"
    path.write_text(imported + OWN)
    assert list(pairs_in_file(path, None, {})) == ["double"]
    assert list(pairs_in_file(path, "softmax", {})) == ["softmax"]
    path.write_text(
        imported + "import functools\nhalf = functools.partial(softmax)\nhalf_backward = softmax_backward\n"
    )
    assert list(pairs_in_file(path, None, {"x": (3, 2)})) == ["half"]
    path.write_text(imported)
    assert list(pairs_in_file(path, None, {})) == ["softmax"]


def test_the_backward_half_is_no_name(layers):
    with pytest.raises(MinivitError, match="double_backward is the half of a pair; name the other, double"):
        pairs_in_file(layers, "double_backward", {})


def test_a_default_of_none_with_a_shape_is_drawn(tmp_path):
    path = tmp_path / "optional.py"
    path.write_text(OWN.replace("def double(x):", "def double(x, b=None, c=None):").replace("x (D,)", "x (D,), b (D,)"))
    x, b, c = pairs_in_file(path, "double", {})["double"].args
    assert x.shape == b.shape == (3,)
    assert c is None


@pytest.mark.parametrize(
    ("head", "args", "said"),
    [
        ("pair(x, *, eps)", "", "pair takes eps by its name alone, with no default; give it one"),
        ("pair(*x)", "", r"pair takes any number of arrays, \*x; define pair_args in the file"),
        ("pair(x)", "pair_args = (numpy.ones(3), 2.0)",
         r"pair_args holds 2 arguments for pair\(x\): too many positional arguments; expected one for each"),
        ("pair(x, y)", "pair_args = (numpy.ones(3),)", r"pair_args holds 1 argument for pair\(x, y\): missing a"),
        ("pair(x)", "pair_args = (numpy.ones((0, 3)),)", "pair_args holds no number, so any gradient is right"),
    ],
)  # fmt: skip
def test_arguments_that_do_not_fit(tmp_path, head, args, said):
    path = tmp_path / "pair.py"
    pair = f'def {head}:\n    """x (B, D)"""\n    return x, 1\ndef pair_backward(dy, c):\n    return dy\n'
    path.write_text(f"import numpy\n{args}\n{pair}")
    with pytest.raises(MinivitError, match=said):
        pairs_in_file(path, "pair", {})


def test_an_argument_by_name_alone_keeps_its_default(tmp_path):
    path = tmp_path / "pair.py"
    path.write_text(
        'def pair(x, *, by=3.0):\n    """x (B, D)"""\n    return x * by, by\n'
        "def pair_backward(dy, by):\n    return dy * by\n"
    )
    (case,) = pairs_in_file(path, "pair", {}).values()
    assert shapes_of(case) == [(3, 5)]
    check(case.f, case.f_backward, case.args).require()


@pytest.mark.parametrize("shape", ["(0, D)", "(B - 5, D)"])
def test_a_docstring_of_no_numbers(tmp_path, shape):
    path = tmp_path / "pair.py"
    path.write_text(f'def pair(x):\n    """x {shape}"""\n    return x, 1\ndef pair_backward(dy, c):\n    return dy\n')
    with pytest.raises(MinivitError, match=r"pair says that x is of shape \(.*\), which holds no number"):
        pairs_in_file(path, "pair", {})


def test_a_function_without_a_signature(tmp_path):
    path = tmp_path / "pair.py"
    path.write_text("pair = max\npair_backward = min\n")
    with pytest.raises(MinivitError, match="pair does not say what its arguments are; define pair_args in the file"):
        pairs_in_file(path, "pair", {})


PAIR = 'def pair(x):\n    """x (B, D)"""\n    return x, 1\ndef pair_backward(dy, c):\n    return dy\n'


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ("def pair(x:", r"cannot be run: SyntaxError: '\(' was never closed \(pair.py, line 6\)$"),
        ("import pytest\npytest.importorskip('none')", "cannot be run: Skipped: could not import 'none'"),
    ],
)
def test_a_file_that_ends_early(tmp_path, more, said):
    path = tmp_path / "pair.py"
    path.write_text(f"{PAIR}{more}\n")
    with pytest.raises(MinivitError, match=said):
        pairs_in_file(path, None, {})


@pytest.mark.parametrize("more", ["def __getattr__(name):\n    raise RuntimeError(name)", "pair.__module__ = ['a']"])
def test_a_file_with_names_of_other_kinds(tmp_path, more):
    path = tmp_path / "pair.py"
    path.write_text(f"{PAIR}{more}\n")
    assert list(pairs_in_file(path, None, {})) == ["pair"]
