"""The checker with arrays of a GPU: minivit's gradients there, and those of one's own kernel."""

import sys

import pytest
from helpers.command import minivit, refused
from helpers.device import provided

from minivit.gradcheck import check
from minivit.gradcheck.catalog import FUNCTIONS

CUBE = '''
import cupy

cube = cupy.ElementwiseKernel("T x", "T y", "y = x * x * x", "cube")
square = cupy.ElementwiseKernel("T x, T dy", "T dx", "dx = {factor} * x * x * dy", "cube_backward")


def cubed(x):
    """Each number of x (B, D) to the third."""
    return cube(x), x


def cubed_backward(dy, cache):
    return square(cache, dy)
'''


@pytest.fixture
def gpu(monkeypatch):
    return provided("cupy", monkeypatch)


@pytest.mark.gpu
@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_function_is_right_there_along_a_direction(gpu, name):
    case = FUNCTIONS[name].on("cuda")
    assert any(isinstance(x, gpu.ndarray) for x in case.args)
    how = {"method": "directions", "directions": 1, "names": case.names, "axes": case.axes}
    check(case.f, case.f_backward, case.args, **how).require()


@pytest.mark.gpu
def test_the_command_checks_there_number_by_number(gpu, capsys):
    outcome = minivit(capsys, "gradcheck", "softmax", "cross_entropy", "--device", "cuda")
    assert (outcome.code, outcome.err) == (0, "")
    assert "2 of 2 right" in outcome.out


@pytest.mark.gpu
@pytest.mark.parametrize(("factor", "code"), [("3", 0), ("2", 1)])
def test_a_kernel_of_ones_own(gpu, capsys, tmp_path, factor, code):
    path = tmp_path / "kernel.py"
    path.write_text(CUBE.replace("{factor}", factor))
    words = ["gradcheck", f"{path}:cubed", "--method", "central", "--shape", "x=2,3"]
    outcome = minivit(capsys, *words, "--device", "cuda")
    assert outcome.code == code
    assert ("off by the factor 0.666667" in outcome.out) == bool(code)
    assert "Unsupported type" in refused(capsys, *words), "NumPy's arrays are no good to CuPy's kernel"


@pytest.mark.gpu
def test_arguments_of_a_file_that_are_there_already_stay_or_go(gpu, capsys, tmp_path):
    path = tmp_path / "where.py"
    path.write_text(
        "import cupy, numpy, sys\n"
        "scaled_args = cupy.arange(3.0), {'by': [cupy.ones(3)]}, numpy.float64(2)\n"
        "def scaled(x, settings, power):\n"
        "    print(type(x).__module__, type(settings['by'][0]).__module__, type(power).__module__, file=sys.stderr)\n"
        "    by = settings['by'][0].astype(x.dtype)\n"
        "    return x * by, by\n"
        "def scaled_backward(dy, cache):\n"
        "    return dy * cache\n"
    )
    for words, home in (((), "cupy"), (("--device", "cuda"), "cupy"), (("--device", "cpu"), "numpy")):
        outcome = minivit(capsys, "gradcheck", path, *words)
        assert outcome.code == 0, outcome
        assert set(outcome.err.splitlines()) == {f"{home} {home} numpy"}


def test_without_a_gpu_it_is_refused(capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    line = refused(capsys, "gradcheck", "softmax", "--device", "cuda")
    assert "device 'cuda' cannot be used: CuPy cannot be imported" in line
