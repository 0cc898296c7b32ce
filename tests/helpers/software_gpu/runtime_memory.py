"""Memory of CUDA's runtime: what is given and given back, copies, what is filled.

Source: NVIDIA, CUDA Runtime API, "Memory Management", and "API synchronization behavior" for who waits when.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_int, c_size_t, c_uint, c_void_p

from helpers.software_gpu import streams
from helpers.software_gpu.calls import Functions
from helpers.software_gpu.memory import arena, copy

_OUT_OF_MEMORY = 2
Out = POINTER(c_void_p)
memory = Functions()
pinned: dict[int, ctypes.Array[c_char]] = {}


@memory
def cudaMemGetInfo(free: POINTER(c_size_t), total: POINTER(c_size_t)):
    free[0], total[0] = arena.limit - arena.given, arena.limit


@memory
def cudaMalloc(pointer: Out, size: c_size_t):
    found = arena.allocate(size)
    if found is None:
        return _OUT_OF_MEMORY
    pointer[0] = found


@memory
def cudaFree(pointer: c_void_p):
    if pointer:
        streams.synchronize_all()
        arena.release(pointer)


@memory
def cudaHostAlloc(pointer: Out, size: c_size_t, flags: c_uint):
    piece = (c_char * max(size, 1))()
    pointer[0] = ctypes.addressof(piece)
    pinned[ctypes.addressof(piece)] = piece


@memory
def cudaFreeHost(pointer: c_void_p):
    streams.synchronize_all()
    del pinned[pointer]


def _is_pinned(address: int) -> bool:
    return any(start <= address < start + len(memory) for start, memory in pinned.items())


class Attributes(ctypes.Structure):
    """cudaPointerAttributes."""

    _fields_ = [("type", c_int), ("device", c_int), ("on_device", c_void_p), ("on_host", c_void_p)]


@memory
def cudaPointerGetAttributes(found: POINTER(Attributes), pointer: c_void_p):
    kind = 2 if arena.contains(pointer) else 1 if _is_pinned(pointer) else 0  # cudaMemoryType...
    found[0] = Attributes(kind, 0, pointer, pointer if kind < 2 else None)


@memory
def cudaMemcpy(into: c_void_p, source: c_void_p, size: c_size_t, kind: c_int):
    streams.refuse_recording()
    streams.queue(streams.DEFAULT, lambda: copy(into, source, size))
    streams.synchronize()


@memory
def cudaMemcpyAsync(into: c_void_p, source: c_void_p, size: c_size_t, kind: c_int, stream: c_void_p):
    if not size:
        return
    if arena.contains(source) or _is_pinned(source):
        streams.queue(stream, lambda: copy(into, source, size))
        if not arena.contains(into) and not _is_pinned(into):  # to other memory of the host it waits
            streams.refuse_recording()
            streams.synchronize(stream)
    else:  # other memory of the host is read at once
        kept = ctypes.create_string_buffer(ctypes.string_at(source, size), size)
        streams.queue(stream, lambda: copy(into, ctypes.addressof(kept), size))


def fill(into: int, value: int, size: int, stream: int | None) -> None:
    """Queue that `size` bytes become `value`."""

    def work() -> None:
        arena.demand(into, size, "memset", elsewhere=False)
        ctypes.memset(into, value, size)

    streams.queue(stream, work)


@memory
def cudaMemset(into: c_void_p, value: c_int, size: c_size_t):
    fill(into, value, size, streams.DEFAULT)


@memory
def cudaMemsetAsync(into: c_void_p, value: c_int, size: c_size_t, stream: c_void_p):
    fill(into, value, size, stream)
