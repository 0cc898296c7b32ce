"""CUDA's driver, as far as CuPy calls it itself: modules and launches. Source: NVIDIA, CUDA Driver API."""

from __future__ import annotations

import ctypes
import itertools
from ctypes import POINTER, c_char_p, c_int, c_size_t, c_uint, c_void_p

from helpers.software_gpu import kernels
from helpers.software_gpu.calls import Functions, StatusError
from helpers.software_gpu.runtime import VERSION

NAMES = [
    "cuCtxCreate", "cuCtxCreate_v2", "cuCtxCreate_v4", "cuCtxDestroy", "cuCtxDestroy_v2", "cuCtxGetCurrent",
    "cuCtxGetDevice", "cuCtxSetCurrent", "cuDevicePrimaryCtxRelease", "cuDevicePrimaryCtxRelease_v2",
    "cuFuncGetAttribute", "cuFuncSetAttribute", "cuGetErrorName", "cuGetErrorString", "cuLaunchCooperativeKernel",
    "cuLaunchKernel", "cuLinkAddData", "cuLinkAddData_v2", "cuLinkAddFile", "cuLinkAddFile_v2", "cuLinkComplete",
    "cuLinkCreate", "cuLinkCreate_v2", "cuLinkDestroy", "cuModuleGetFunction", "cuModuleGetGlobal",
    "cuModuleGetGlobal_v2", "cuModuleLoad", "cuModuleLoadData", "cuModuleUnload",
    "cuOccupancyMaxActiveBlocksPerMultiprocessor", "cuOccupancyMaxPotentialBlockSize", "cuStreamGetCtx",
    "cuStreamGetCtx_v2", "cuInit", "cuDriverGetVersion", "cuGetExportTable",
]  # fmt: skip
_INVALID_VALUE, _NOT_FOUND = 1, 500
_MAX_DYNAMIC_SHARED = 8  # CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
Out = POINTER(c_void_p)
driver = Functions()
_text = ctypes.create_string_buffer(b"CUDA_ERROR_UNKNOWN")
_states = itertools.count(0x200000)
_linked: dict[int, ctypes.Array] = {}


@driver
def cuInit(flags: c_uint):
    pass


@driver
def cuGetExportTable(table: Out, of: c_void_p):
    """What NVIDIA's libraries tell one another: nothing here, and they do without."""
    raise StatusError(_NOT_FOUND)


@driver
def cuDriverGetVersion(version: POINTER(c_int)):
    version[0] = VERSION


@driver
def cuGetErrorName(number: c_int, text: Out):
    text[0] = ctypes.addressof(_text)


@driver
def cuGetErrorString(number: c_int, text: Out):
    text[0] = ctypes.addressof(_text)


@driver
def cuCtxGetCurrent(context: Out):
    context[0] = 1


# The linker would make machine code of PTX: here it stays what it is.


@driver
def cuLinkCreate_v2(count: c_uint, options: c_void_p, values: c_void_p, state: Out):
    state[0] = next(_states)


@driver
def cuLinkAddData_v2(
    state: c_void_p, kind: c_int, data: c_void_p, size: c_size_t, name: c_char_p, count: c_uint, options: c_void_p,
    values: c_void_p,
):  # fmt: skip
    _linked[state] = ctypes.create_string_buffer(ctypes.string_at(data, size))


@driver
def cuLinkComplete(state: c_void_p, code: Out, size: POINTER(c_size_t)):
    code[0], size[0] = ctypes.addressof(_linked[state]), len(_linked[state])


@driver
def cuLinkDestroy(state: c_void_p):
    pass


@driver
def cuModuleLoadData(module: Out, image: c_void_p):
    module[0] = kernels.load(ctypes.string_at(image).decode())


@driver
def cuModuleUnload(module: c_void_p):
    pass


@driver
def cuModuleGetFunction(function: Out, module: c_void_p, name: c_char_p):
    try:
        function[0] = kernels.function(module, name.decode())
    except KeyError:
        raise StatusError(_NOT_FOUND) from None


@driver
def cuFuncGetAttribute(value: POINTER(c_int), attribute: c_int, function: c_void_p):
    value[0] = kernels.dynamic_limit(function) if attribute == _MAX_DYNAMIC_SHARED else 0


@driver
def cuFuncSetAttribute(function: c_void_p, attribute: c_int, value: c_int):
    if attribute == _MAX_DYNAMIC_SHARED:
        if value + kernels.functions[function].shared_size > kernels.OPT_IN:
            raise StatusError(_INVALID_VALUE)
        kernels.shared[function] = value


@driver
def cuLaunchKernel(
    function: c_void_p, gx: c_uint, gy: c_uint, gz: c_uint, bx: c_uint, by: c_uint, bz: c_uint, shared: c_uint,
    stream: c_void_p, arguments: Out, extra: c_void_p,
):  # fmt: skip
    kernels.launch(function, (gx, gy, gz), (bx, by, bz), shared, stream, arguments)
