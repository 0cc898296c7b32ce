"""Which library an array belongs to, and casts that copy nothing when nothing changes."""

import sys
import types

import array_api_strict
import numpy as np
import pytest
from helpers.cases import random

from minivit.arrays import (
    array_module,
    cast,
    choose_device,
    host_copy,
    is_complex,
    is_integer,
    real_part,
    synchronize,
    to_device,
    to_host,
    transposed,
    wide,
)
from minivit.errors import MinivitError


@pytest.fixture
def fake_cupy(monkeypatch):
    """A stand-in for CuPy: an array type, asarray, a number of devices, a stream that counts its waits."""

    class Cupyish:
        def __init__(self, x):
            self.x = x

        def get(self):
            return self.x

    cupy = types.ModuleType("cupy")
    cupy.ndarray = Cupyish
    cupy.asarray = lambda x: x if isinstance(x, Cupyish) else Cupyish(x)
    cupy.waits = 0

    def wait():
        cupy.waits += 1

    def count():
        if cupy.devices is None:
            raise RuntimeError("no driver")
        return cupy.devices

    stream = types.SimpleNamespace(synchronize=wait)
    runtime = types.SimpleNamespace(getDeviceCount=count, CUDARuntimeError=RuntimeError)
    cupy.cuda = types.SimpleNamespace(get_current_stream=lambda: stream, runtime=runtime)
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    return cupy


def test_array_module_asks_the_array(fake_cupy):
    assert array_module(np.zeros(3)) is np
    assert array_module(np.float32(3.0)) is np
    assert array_module(fake_cupy.ndarray(np.zeros(3))) is fake_cupy
    assert array_module(array_api_strict.asarray([1.0])) is array_api_strict


def test_array_module_does_not_import_cupy(monkeypatch):
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    array_module(np.zeros(3))
    assert "cupy" not in sys.modules


@pytest.mark.parametrize(("x", "name"), [([1.0], "list"), (1.0, "float"), (None, "NoneType")])
def test_what_is_no_array_is_named(x, name):
    with pytest.raises(TypeError, match=rf"expected a NumPy or CuPy array, got {name}; wrap it in numpy.asarray"):
        array_module(x)


def test_complex_and_real_part():
    x = random(1, 3)
    assert not is_complex(x)
    assert not is_complex(np.arange(3))
    assert is_complex(x + 1j)
    assert is_complex(x.astype(np.complex64))
    assert real_part(x) is x
    assert np.array_equal(real_part(x + 1j), x)


def test_cast_copies_only_when_the_type_changes():
    x = random(1, 3)
    assert cast(x, np.float64) is x
    assert cast(x, np.float32).dtype == np.float32
    assert cast(x, np.dtype("float64")) is x


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.complex64, np.complex128])
def test_wide_leaves_everything_but_float16_alone(dtype):
    x = np.zeros(3, dtype)
    assert wide(x) is x


@pytest.mark.parametrize("dtype", [np.int8, np.int64, bool])
def test_wide_refuses_integers(dtype):
    with pytest.raises(TypeError, match=rf"an array \(3,\) of {np.dtype(dtype)} was given; expected floating-point"):
        wide(np.zeros(3, dtype))


def test_wide_makes_float16_float32():
    x = np.array([1.0, 65504.0, 6e-8], np.float16)
    assert wide(x).dtype == np.float32
    assert np.array_equal(wide(x), x)


def test_bfloat16_is_a_narrow_float():
    """NumPy itself knows no such type."""
    x = np.array([1.0, 2.0, -3.0], pytest.importorskip("ml_dtypes").bfloat16)
    assert wide(x).dtype == np.float32
    assert np.array_equal(wide(x), x)
    assert not is_complex(x)
    assert not is_integer(x)
    assert real_part(x) is x


def test_integers_are_told_from_floats_and_booleans():
    assert is_integer(np.arange(3))
    assert is_integer(np.zeros(3, np.uint8))
    assert not is_integer(np.zeros(3))
    assert not is_integer(np.zeros(3, bool))


def test_transposed_is_a_view_of_the_last_two_axes():
    x = random(1, 2, 3, 4, 5)
    y = transposed(x)
    assert y.shape == (2, 3, 5, 4)
    assert np.shares_memory(x, y)
    assert np.array_equal(y, np.swapaxes(x, -1, -2))


def test_a_host_copy_shares_nothing(fake_cupy):
    x = random(1, 3)
    for copy in (host_copy(x), host_copy(fake_cupy.ndarray(x.copy()))):
        assert isinstance(copy, np.ndarray)
        assert np.array_equal(copy, x)
        assert not np.shares_memory(copy, x)
    assert host_copy(x[0]) == x[0]


def test_to_host_and_to_device(fake_cupy):
    x = random(1, 3)
    assert to_host(x) is x
    assert to_host(np.float64(2.0)) == 2.0
    assert to_device(x, "cpu") is x
    there = to_device(x, "cuda")
    assert isinstance(there, fake_cupy.ndarray)
    assert to_device(there, "cuda") is there
    assert to_host(there) is x
    assert to_device(there, "cpu") is x


@pytest.mark.parametrize("device", ["gpu", "cuda:0", "CPU", ""])
def test_an_unknown_device_is_named(device):
    with pytest.raises(ValueError, match=rf"device '{device}' is not known; choose 'cpu' or 'cuda'"):
        to_device(np.zeros(3), device)


def test_cuda_without_cupy_is_an_import_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ImportError):
        to_device(np.zeros(3), "cuda")


def test_choose_device(fake_cupy):
    fake_cupy.devices = 1
    assert [choose_device(wanted) for wanted in ("cpu", "cuda", "auto")] == ["cpu", "cuda", "cuda"]
    fake_cupy.devices = 0
    assert [choose_device(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]
    with pytest.raises(MinivitError, match=r"CuPy finds no NVIDIA GPU.* or choose --device cpu"):
        choose_device("cuda")
    fake_cupy.devices = None
    assert choose_device("auto") == "cpu"
    with pytest.raises(MinivitError, match=r"CuPy finds no working driver \(no driver\)"):
        choose_device("cuda")


def test_choose_device_without_cupy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert [choose_device(wanted) for wanted in ("cpu", "auto")] == ["cpu", "cpu"]
    with pytest.raises(
        MinivitError, match=r'CuPy cannot be imported .*pip install -e "\.\[cuda12\]" or "\.\[cuda13\]"'
    ):
        choose_device("cuda")


def test_choose_device_names_an_unknown_one(fake_cupy):
    """With a GPU at hand, a slip of the pen must not be taken for "cuda"."""
    fake_cupy.devices = 1
    with pytest.raises(ValueError, match="'tpu'"):
        choose_device("tpu")


def test_synchronize_waits_for_a_gpu_only(fake_cupy):
    synchronize(np.zeros(3))
    assert fake_cupy.waits == 0
    synchronize(fake_cupy.ndarray(np.zeros(3)))
    assert fake_cupy.waits == 1


def test_a_cupy_that_breaks_in_any_way_is_a_reason(monkeypatch):
    """A wheel for another CUDA may raise anything while it is imported."""

    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "cupy":
                raise RuntimeError("no kernel image\nand more")

    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    assert choose_device("auto") == "cpu"
    with pytest.raises(MinivitError, match=r"CuPy cannot be imported \(no kernel image\); pip install"):
        choose_device("cuda")
