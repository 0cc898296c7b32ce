"""The GPU in software does what a GPU does, and faults where a GPU would be wrong in silence."""

from __future__ import annotations

import contextlib
import ctypes
import importlib
from typing import Any

import numpy as np
import pytest
from helpers import software_gpu
from helpers.device import provided

pytestmark = pytest.mark.gpu


@pytest.fixture
def cupy(monkeypatch: pytest.MonkeyPatch) -> Any:
    if not software_gpu.started():
        pytest.skip("a check of the software GPU: pytest -m gpu --software-gpu")
    return provided("cupy", monkeypatch)


def now(x: Any) -> np.ndarray:
    """What is in an array's memory, whether or not it should be there yet."""
    memory = (ctypes.c_char * x.nbytes).from_address(x.data.ptr)
    return np.frombuffer(memory, x.dtype).reshape(x.shape).copy()


def test_what_nobody_has_written_is_nan(cupy: Any) -> None:
    for _ in range(2):  # the second time, memory that was used
        x = cupy.empty(1000, np.float32)
        assert np.isnan(x.get()).all()
        x[...] = 1
        assert np.isnan(cupy.empty_like(x).get()).all()
        del x


def test_work_is_done_when_somebody_waits(cupy: Any) -> None:
    x = cupy.arange(4.0)
    cupy.cuda.get_current_stream().synchronize()
    x += 1
    np.testing.assert_array_equal(now(x), np.arange(4))
    assert float(x[3]) == 4
    np.testing.assert_array_equal(now(x), np.arange(4) + 1)


def test_streams_wait_only_for_whom_they_are_told_to(cupy: Any) -> None:
    first, second = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    for told in (False, True):
        x, y = cupy.zeros(3), cupy.zeros(3)
        cupy.cuda.runtime.deviceSynchronize()
        with first:
            x += 1
        if told:
            second.wait_event(first.record())
        with second:
            y += x
        second.synchronize()
        assert now(y)[0] == told
    with cupy.cuda.Stream():  # one that the default stream waits for
        x += 1
    assert float((x + 0)[0]) == 2


def test_an_event_is_where_it_was_when_somebody_began_to_wait(cupy: Any) -> None:
    first, second = (cupy.cuda.Stream(non_blocking=True) for _ in range(2))
    x, y, event = cupy.zeros(3), cupy.zeros(3), cupy.cuda.Event()
    cupy.cuda.runtime.deviceSynchronize()
    with first:
        x += 1
        event.record()
        second.wait_event(event)
        x += 1
        event.record()
    with second:
        y += x
    second.synchronize()
    assert now(y)[0] == 1
    assert not event.done, "it was set anew"
    event.synchronize()
    assert event.done
    assert now(x)[0] == 2


def test_the_default_stream_waits_for_others_when_it_is_given_work(cupy: Any) -> None:
    stream, x = cupy.cuda.Stream(), cupy.zeros(3)
    cupy.cuda.runtime.deviceSynchronize()
    with stream:
        x += 1
    cupy.cuda.Stream.null.synchronize()
    assert now(x)[0] == 0, "nothing was queued there"
    assert float((x + 0)[0]) == 1


def test_handles_of_cublas_are_their_own(cupy: Any) -> None:
    from cupy.cuda import cublas

    first, second = cublas.create(), cublas.create()
    cublas.setMathMode(second, 3)
    cublas.destroy(first)
    third = cublas.create()
    assert (cublas.getMathMode(second), cublas.getMathMode(third)) == (3, 0)
    cublas.destroy(second)
    cublas.destroy(third)


def test_what_the_host_gives_is_copied_at_once_and_what_is_pinned_later(cupy: Any) -> None:
    x, given = cupy.zeros(3), np.ones(3)
    x.set(given)
    given[...] = 5
    assert float(x[0]) == 1
    pinned = np.frombuffer(cupy.cuda.alloc_pinned_memory(24), np.float64, 3)
    pinned[...] = 1
    x.set(pinned)
    pinned[...] = 5
    assert float(x[0]) == 5


def test_nobody_leaves_the_memory_that_was_given(cupy: Any) -> None:
    text = 'extern "C" __global__ void f(float* x, int i) { x[i] = 1; }'
    for index, fine in ((127, True), (128, False), (-1, False)):
        memory = cupy.cuda.MemoryPointer(cupy.cuda.Memory(512), 0)  # not of CuPy's pool, which gives parts of more
        x = cupy.ndarray(128, np.float32, memory)
        cupy.RawKernel(text, "f")((1,), (1,), (x, np.int32(index)))
        if fine:
            assert float(x[127]) == 1
        else:
            with pytest.raises(cupy.cuda.runtime.CUDARuntimeError):
                x.get()
            fault = software_gpu.last_fault()
            assert "thread 0 of block 0 writes: 4 bytes at" in fault
            assert "which nobody was given" in fault


def test_a_launch_that_no_gpu_can_do(cupy: Any) -> None:
    x = cupy.zeros(1, np.float32)
    function = cupy.RawKernel('extern "C" __global__ void f(float* x) { x[0] = 1; }', "f")
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        function((1,), (1025,), (x,))
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        function((1,), (32,), (x,), shared_mem=48 * 1024 + 1)
    function.max_dynamic_shared_size_bytes = 64 * 1024
    function((1,), (32,), (x,), shared_mem=64 * 1024)
    assert float(x[0]) == 1


def test_what_a_kernel_says_of_itself_counts(cupy: Any) -> None:
    """Its own shared memory beside that of a launch, and the threads that it was compiled for."""
    text = """extern "C" __global__ __launch_bounds__(64) void f(float* x) {
        __shared__ float own[1024]; own[threadIdx.x] = 1; x[threadIdx.x] = own[threadIdx.x]; }"""
    x = cupy.zeros(64, np.float32)
    function = cupy.RawKernel(text, "f")
    function((1,), (64,), (x,), shared_mem=44 * 1024)
    assert float(x.sum()) == 64
    for threads, shared in ((96, 0), (64, 44 * 1024 + 1)):
        with pytest.raises(cupy.cuda.driver.CUDADriverError):
            function((1,), (threads,), (x,), shared_mem=shared)
    function.max_dynamic_shared_size_bytes = 223 * 1024
    with pytest.raises(cupy.cuda.driver.CUDADriverError):
        function.max_dynamic_shared_size_bytes = 223 * 1024 + 1


def test_a_recorded_stream(cupy: Any) -> None:
    x, stream = cupy.zeros(3), cupy.cuda.Stream(non_blocking=True)
    cupy.cuda.runtime.deviceSynchronize()
    with stream:
        stream.begin_capture()
        x += 1
        with pytest.raises(cupy.cuda.runtime.CUDARuntimeError, match="StreamCaptureUnsupported"):
            cupy.cuda.runtime.deviceSynchronize()
        with pytest.raises(RuntimeError, match="D2H transfers are disallowed"):  # CuPy's own words
            x.get()
        with pytest.raises(NotImplementedError, match="cuBLAS"):
            cupy.eye(3) @ x
        graph = stream.end_capture()
        assert float(x[0]) == 0
        graph.launch()
        graph.launch()
        assert float(x[0]) == 2


def test_the_default_stream_cannot_wait_for_what_is_only_recorded(cupy: Any) -> None:
    x = cupy.zeros(3)
    for non_blocking in (True, False):
        stream = cupy.cuda.Stream(non_blocking=non_blocking)
        with stream:
            stream.begin_capture()
            with cupy.cuda.Stream.null:
                if non_blocking:
                    x += 1
                else:
                    with pytest.raises(cupy.cuda.driver.CUDADriverError):
                        x += 1
            stream.end_capture()
    assert float(x[0]) == 1


def test_cublas_has_memory_of_its_own_while_it_is_recorded(cupy: Any) -> None:
    """Which it loses with another stream."""
    from minivit.ops.cuda.graph import nvmath_gemm, why_no_graph
    from minivit.ops.cuda.products import products, products_by

    if why_no_graph() is not None:
        pytest.skip("nvmath-python is not here")
    stream, a, c = cupy.cuda.Stream(), cupy.ones((4, 4)), cupy.zeros((4, 4))
    for again, fine in ((False, True), (True, False)):
        with stream:
            gemm = nvmath_gemm(cupy, stream)
            if again:
                importlib.import_module("nvmath.bindings.cublas").set_stream(gemm.handle, stream.ptr)
            stream.begin_capture()
            with (
                products_by(gemm),
                contextlib.nullcontext() if fine else pytest.raises(Exception, match="NOT_SUPPORTED"),
            ):
                products(a, a, c)
            stream.end_capture()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_cupys_own_kernels(cupy: Any, dtype: Any) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 70, 50)).astype(dtype)
    on_gpu = cupy.asarray(x)
    eps = np.finfo(dtype).eps
    for name in ("exp", "tanh", "sin", "cos", "sqrt", "log"):
        given = np.abs(x) if name in ("sqrt", "log") else x
        found = getattr(cupy, name)(cupy.asarray(given)).get()
        np.testing.assert_allclose(found, getattr(np, name)(given.astype(np.float64)), rtol=8 * eps, atol=8 * eps)
    np.testing.assert_allclose(on_gpu.sum(axis=(0, 1)).get(), x.sum(axis=(0, 1)), rtol=1e3 * eps)
    np.testing.assert_array_equal(on_gpu.max(axis=-1).get(), x.max(axis=-1))
    np.testing.assert_array_equal(on_gpu.argmax(axis=1).get(), x.argmax(axis=1))
    np.testing.assert_array_equal(cupy.where(on_gpu > 0, on_gpu, 0).get(), np.maximum(x, 0))
    np.testing.assert_array_equal(on_gpu[:, [3, 3, 1]].transpose(2, 0, 1).get(), x[:, [3, 3, 1]].transpose(2, 0, 1))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_products(cupy: Any, dtype: Any) -> None:
    rng = np.random.default_rng(1)
    tolerance = 100 * np.finfo(dtype).eps
    for left, right in (((4, 5), (5, 6)), ((2, 4, 5), (2, 5, 6)), ((3, 4, 5), (5, 6)), ((2, 3, 4, 5), (3, 5, 6))):
        a, b = (rng.standard_normal(shape).astype(dtype) for shape in (left, right))
        x, y = cupy.asarray(a), cupy.asarray(b)
        np.testing.assert_allclose((x @ y).get(), a @ b, rtol=tolerance, atol=tolerance)
        turned = cupy.ascontiguousarray(x.swapaxes(-1, -2)).swapaxes(-1, -2)
        np.testing.assert_allclose((turned @ y).get(), a @ b, rtol=tolerance, atol=tolerance)
