"""`minivit gradcheck`: the table, JSON, exit codes, models, pairs of one's own, and what cannot be checked."""

import json
import time

import pytest
from helpers.command import minivit, refused

from minivit.cli.gradcheck import CATALOG

RIGHT = '''
def twice(x, w):
    """Map x (B, T, D) and w (D,)."""
    return 2.0 * x * w, (x, w)

def twice_backward(dy, cache):
    x, w = cache
    return 2.0 * dy * w, (2.0 * dy * x).sum((0, 1))
'''


@pytest.fixture
def layers(tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(RIGHT)
    return path


def rows(outcome):
    return json.loads(outcome.out, parse_constant=lambda word: pytest.fail(f"{word} is not JSON"))


def test_with_no_argument_everything_is_checked_within_seconds(capsys):
    started = time.perf_counter()
    outcome = minivit(capsys, "gradcheck")
    assert time.perf_counter() - started < 20.0
    assert outcome.code == 0
    assert outcome.err == ""
    lines = outcome.out.splitlines()
    assert [line.split()[0] for line in lines[1:-1]] == list(CATALOG)
    assert lines[-1].startswith(f"{len(CATALOG)} of {len(CATALOG)} right, in ")


def test_json_is_a_list_of_objects(capsys):
    found = rows(minivit(capsys, "gradcheck", "--json", "softmax", "gelu", "vit"))
    assert [row["name"] for row in found] == ["softmax", "gelu_tanh", "gelu_erf", "vit"]
    for row in found:
        assert {"name", "tensor", "error", "tolerance", "seconds", "passed", "verdict", "note"} <= set(row)
        assert row["passed"]
        assert 0.0 <= row["error"] <= row["tolerance"] == 1e-12
        assert row["seconds"] > 0.0
    assert found[0]["tensor"] == "dx"


@pytest.mark.parametrize(
    ("method", "tolerance"), [("central", 1e-6), ("directions", 1e-12), ("taylor", 0.02), ("adjoint", 1e-14)]
)
def test_methods(capsys, method, tolerance):
    outcome = minivit(capsys, "gradcheck", "--method", method, "--json")
    assert outcome.code == 0
    found = rows(outcome)
    assert {row["tolerance"] for row in found} == {tolerance}
    assert len(found) == (20 if method == "adjoint" else len(CATALOG))


def test_what_has_no_adjoint_is_told(capsys):
    out = minivit(capsys, "gradcheck", "--method", "adjoint").out
    assert out.endswith("not linear, so without an adjoint: softmax, gelu_tanh, gelu_erf, cross_entropy\n")
    assert "linear in none of its arguments (x)" in refused(capsys, "gradcheck", "softmax", "--method", "adjoint")


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-5), ("float16", 1e-2)])
def test_dtypes(capsys, dtype, tolerance):
    outcome = minivit(capsys, "gradcheck", "--dtype", dtype, "--json")
    assert outcome.code == 0
    found = rows(outcome)
    assert {row["tolerance"] for row in found} == {tolerance}
    assert max(row["error"] for row in found) > tolerance / 1e3, "it is computed in this type"


def test_a_seed_is_another_upstream_gradient(capsys):
    one, same, other = (
        rows(minivit(capsys, "gradcheck", "softmax", "--json", "--seed", s))[0]["error"] for s in (0, 0, 1)
    )
    assert one == same != other


def test_a_model_of_a_configuration_file(capsys, tmp_path):
    path = tmp_path / "tiny.toml"
    path.write_text("[model]\nimage_size = 8\nwidth = 12\nheads = 2\ndepth = 1\nmlp_width = 10\npositions = 'none'\n")
    (row,) = rows(minivit(capsys, "gradcheck", "--model", path, "--json"))
    assert row["name"] == str(path)
    assert row["error"] <= 1e-12
    assert "complex step" in minivit(capsys, "gradcheck", "--model", path).out


@pytest.mark.parametrize(("name", "tensor"), [("examples/cifar10_cpu.toml", "all 56"), ("micro/4", "all 57")])
def test_a_large_model_goes_along_directions(capsys, name, tensor):
    (row,) = rows(minivit(capsys, "gradcheck", "--model", name, "--json"))
    assert row["tensor"] == tensor
    assert row["error"] <= 1e-12


def test_a_model_beside_functions(capsys, layers):
    found = rows(minivit(capsys, "gradcheck", "linear", f"{layers}:twice", "--model", "micro/4", "--json"))
    assert [row["name"] for row in found] == ["linear", "twice", "micro/4"]


def test_a_pair_of_one_s_own(capsys, layers):
    outcome = minivit(capsys, "gradcheck", f"{layers}:twice")
    assert outcome.code == 0
    assert "1 of 1 right" in outcome.out
    assert minivit(capsys, "gradcheck", layers).code == 0
    assert minivit(capsys, "gradcheck", f"{layers}:twice", "--shape", "x=2,3,4", "--shape", "w=4").code == 0


def test_what_the_adjoint_cannot_check_is_said(capsys):
    out = minivit(capsys, "gradcheck", "layer_norm", "--method", "adjoint").out
    assert "layer_norm: not linear in x: not checked" in out
    assert "use --method complex_step" in refused(capsys, "gradcheck", "softmax", "--method", "adjoint")


def test_a_wrong_pair_is_exit_code_1_and_told_in_words(capsys, layers):
    layers.write_text(
        RIGHT.replace(
            "return 2.0 * dy * w, (2.0 * dy * x).sum((0, 1))", "return 2.0 * dy * w, (2.0 * dy * x).mean((0, 1))"
        )
    )
    outcome = minivit(capsys, "gradcheck", f"{layers}:twice")
    assert outcome.code == 1
    assert outcome.err == ""
    assert "off by the factor 0.0666667 = 1 / (B * T)" in outcome.out
    assert "0 of 1 right" in outcome.out
    failed = minivit(capsys, "gradcheck", f"{layers}:twice", "--json")
    assert failed.code == 1
    assert rows(failed)[0]["tensor"] == "dw"


def test_an_error_that_is_no_number_is_null(capsys, layers):
    layers.write_text(RIGHT.replace("return 2.0 * dy * w,", "return dy / 0.0,"))
    outcome = minivit(capsys, "gradcheck", f"{layers}:twice", "--json")
    assert outcome.code == 1
    assert rows(outcome)[0]["error"] is None
    assert "105 of 105 numbers are not finite" in minivit(capsys, "gradcheck", f"{layers}:twice").out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["linaer"], "function 'linaer' is not known; expected FILE.py:NAME or one of linear, "),
        (["linaer"], "Did you mean 'linear'?"),
        (["--seed", "-1"], "seed is -1; expected 0 or more"),
        (["--method", "guess"], "--method is 'guess'; expected one of 'complex_step', 'central', "),
        (["--model", "none.toml"], "none.toml cannot be read"),
        (["--model", "S/16", "--method", "central"], "22050664 parameters, too many to move one by one"),
        (["--shape", "x=3"], "--shape is for a pair of your own; give its file"),
        (["none.py:f"], "none.py is no file"),
        (["--method", "taylor", "--dtype", "float32"], "method 'taylor' needs float64, got float32"),
        (["softmax", "--sed", "1"], "the argument --sed is not known. Did you mean '--seed'?"),
    ],
)
def test_what_cannot_be_checked_is_one_line(capsys, words, said):
    assert said in refused(capsys, "gradcheck", *words)


@pytest.mark.parametrize("shape", ["x", "x=a", "=3", "x=2.5", "1x=3"])
def test_a_shape_that_is_none(capsys, layers, shape):
    assert f"--shape {shape} is no shape; expected" in refused(capsys, "gradcheck", f"{layers}:twice", "--shape", shape)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: text.replace("return 2.0 * x * w, (x, w)", "return 2.0 * x * w"), "expected a pair (y, cache)"),
        (lambda text: text.replace(", (2.0 * dy * x).sum((0, 1))", ""), "returned 1 gradient for 2 float arrays"),
        (lambda text: text.replace("x, w = cache", "x, = cache"), "twice_backward raised ValueError: too many values"),
        (lambda text: "import nothing_of_this_name", "cannot be run: ModuleNotFoundError"),
    ],
)  # fmt: skip
def test_a_pair_that_fails_is_one_line(capsys, layers, change, said):
    layers.write_text(change(RIGHT))
    assert said in refused(capsys, "gradcheck", f"{layers}:twice")


def test_a_file_that_ends_the_program_is_refused(capsys, tmp_path):
    path = tmp_path / "ends.py"
    path.write_text(f"{RIGHT}\nraise SystemExit(0)\n")
    assert "ends.py cannot be run: SystemExit: 0" in refused(capsys, "gradcheck", f"{path}:twice")


def test_nothing_to_check_is_not_right(capsys, layers):
    assert "--shape x=3,0,2 holds no numbers" in refused(capsys, "gradcheck", f"{layers}:twice", "--shape", "x=3,0,2")


def test_what_was_not_checked_is_said(capsys, tmp_path):
    path = tmp_path / "layers.py"
    cubic = RIGHT.replace("2.0 * x * w,", "2.0 * x * w**3,").replace("2.0 * dy * w,", "2.0 * dy * w**3,")
    path.write_text(cubic.replace("(2.0 * dy * x)", "(6.0 * dy * x * w**2)"))
    outcome = minivit(capsys, "gradcheck", f"{path}:twice", "--method", "adjoint")
    assert outcome.code == 0
    assert "1 of 1 right, as far as they were checked" in outcome.out
    (found,) = rows(minivit(capsys, "gradcheck", f"{path}:twice", "--method", "adjoint", "--json"))
    assert found["note"] == "not linear in w: not checked"


def test_json_says_whether_it_passed_and_why_not(capsys, tmp_path):
    path = tmp_path / "layers.py"
    path.write_text(RIGHT.replace("2.0 * dy * w,", "-2.0 * dy * w,"))
    (found,) = rows(minivit(capsys, "gradcheck", f"{path}:twice", "--json"))
    assert (found["tensor"], found["passed"], found["verdict"]) == ("dx", False, "the sign is wrong")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["softmax", "--seed", "-1"], "--seed is -1; expected 0 or more"),
        (["--model", "micro/5"], "variant 'micro/5' is not known; expected one of Ti/16"),
        (["--model", "none.toml"], "none.toml cannot be read"),
    ],
)
def test_what_else_is_refused(capsys, words, said):
    assert said in refused(capsys, "gradcheck", *words)


@pytest.mark.parametrize("word", ["layers:twice", "layers.twice"])
def test_a_file_without_its_ending_is_recognised(capsys, layers, monkeypatch, word):
    monkeypatch.chdir(layers.parent)
    assert "Did you mean layers.py:twice?" in refused(capsys, "gradcheck", word)


def test_one_pair_that_cannot_be_checked_hides_no_other(capsys, tmp_path):
    path = tmp_path / "layers.py"
    bare = "def bare(x):\n    return 2.0 * x, None\n\ndef bare_backward(dy, cache):\n    return 2.0 * dy\n"
    path.write_text(f"{bare}{RIGHT.replace('2.0 * dy * w,', '-2.0 * dy * w,')}")
    outcome = minivit(capsys, "gradcheck", path)
    assert outcome.code == 2
    assert "the sign is wrong" in outcome.out
    assert outcome.err.startswith("minivit: bare does not say the shape of x")


def test_every_pair_that_cannot_be_checked_has_a_line_and_is_counted(capsys, tmp_path):
    (tmp_path / "layers.py").write_text(
        'def right(x):\n    """x (B, D)"""\n    return x, 1\ndef right_backward(dy, c):\n    return dy\n'
        'def rows(x, labels):\n    """x (B, D), labels (B,)"""\n    return x[labels], 1\n'
        "def rows_backward(dy, c):\n    return dy\n"
        "def bare(x):\n    return x, 1\ndef bare_backward(dy, c):\n    return dy\n"
    )
    outcome = minivit(capsys, "gradcheck", tmp_path / "layers.py")
    assert outcome.code == 2
    assert "1 of 1 right, 2 not checked, in " in outcome.out
    rows, bare = outcome.err.splitlines()
    assert rows.startswith("minivit: rows raised IndexError: ")
    assert rows.endswith("; its arguments were random numbers: where it takes others, define rows_args in the file")
    assert bare.startswith("minivit: bare does not say the shape of x; ")


def test_what_a_file_prints_is_no_json(capsys, tmp_path):
    path = tmp_path / "talks.py"
    path.write_text(
        'print("hello")\ndef f(x):\n    """x (B, D)"""\n    print("f")\n    return 2.0 * x, None\n'
        "def f_backward(dy, cache):\n    return 2.0 * dy\n"
    )
    outcome = minivit(capsys, "gradcheck", path, "--json")
    assert [row["name"] for row in rows(outcome)] == ["f"]
    assert outcome.err.startswith("hello\nf\n")
    assert minivit(capsys, "gradcheck", path).out.startswith("hello\nf\n")


def test_a_name_that_is_not_there_is_no_matter_of_arguments(capsys, tmp_path):
    path = tmp_path / "bare.py"
    path.write_text('def f(x):\n    """x (B, D)"""\n    return y, None\ndef f_backward(dy, cache):\n    return dy\n')
    assert refused(capsys, "gradcheck", path).endswith("name 'y' is not defined (bare.py, line 3)")
