"""CUDA's runtime, as far as CuPy needs it for minivit. Source: NVIDIA, CUDA Runtime API.

A function that is neither here nor in runtime_memory.py or runtime_streams.py says so when it is called, and fails.
"""

from __future__ import annotations

import ctypes
from ctypes import POINTER, c_char, c_int, c_void_p

from helpers.software_gpu import streams
from helpers.software_gpu.calls import Functions
from helpers.software_gpu.kernels import OPT_IN, WITHOUT_ASKING
from helpers.software_gpu.runtime_memory import memory
from helpers.software_gpu.runtime_streams import work

VERSION = 13000
NAME = b"a GPU in software, as an H100 answers"
# What an H100 has, by the numbers of cudaDeviceAttr: sizes of blocks and grids, shared memory, a warp's 32 threads, 132
# multiprocessors, compute capability 9.0. Of all others it has 0.
_ATTRIBUTES = {1: 1024, 2: 1024, 3: 1024, 4: 64, 5: 2**31 - 1, 6: 65535, 7: 65535, 8: WITHOUT_ASKING, 10: 32,
               12: 65536, 16: 132, 39: 2048, 75: 9, 76: 0, 81: 233472, 97: OPT_IN}  # fmt: skip
Text = POINTER(c_char)
runtime = Functions(memory | work)
_texts = {0: b"cudaSuccess", 2: b"cudaErrorMemoryAllocation", 600: b"cudaErrorNotReady", 999: b"cudaErrorUnknown",
          801: b"cudaErrorNotSupported", 900: b"cudaErrorStreamCaptureUnsupported"}  # fmt: skip
_strings = {number: ctypes.create_string_buffer(text) for number, text in _texts.items()}


# Which GPU.


@runtime
def cudaGetDeviceCount(count: POINTER(c_int)):
    count[0] = 1


@runtime
def cudaGetDevice(device: POINTER(c_int)):
    device[0] = 0


@runtime
def cudaSetDevice(device: c_int):
    assert device == 0


@runtime
def cudaRuntimeGetVersion(version: POINTER(c_int)):
    version[0] = VERSION


@runtime
def cudaDriverGetVersion(version: POINTER(c_int)):
    version[0] = VERSION


@runtime
def cudaDeviceGetAttribute(value: POINTER(c_int), attribute: c_int, device: c_int):
    value[0] = _ATTRIBUTES.get(attribute, 0)


@runtime
def cudaGetDeviceProperties(properties: Text, device: c_int):
    for i, byte in enumerate(NAME + b"\0"):  # the structure begins with char name[256]
        properties[i] = byte


@runtime
def cudaGetErrorName(number: c_int) -> c_void_p:
    return ctypes.addressof(_strings.get(number, _strings[999]))


@runtime
def cudaGetErrorString(number: c_int) -> c_void_p:
    return ctypes.addressof(_strings.get(number, _strings[999]))


@runtime
def cudaGetLastError():
    pass


@runtime
def cudaDeviceSynchronize():
    streams.refuse_recording()
    streams.synchronize_all()
