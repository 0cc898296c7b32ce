"""C functions written in Python: put where CuPy looks for NVIDIA's.

    library(...)    makes a shared library whose functions are Python's
    patch(...)      sends a loaded library's own functions to Python's
    at_once(...)    has C answer in place of Python: nothing is done, and it takes no time

A function's parameters are annotated with their C types. It returns None, or a status other than 0; what it raises is
printed, kept in `faults`, and becomes a status that CuPy raises an error for.
"""

from __future__ import annotations

import atexit
import ctypes
import mmap
import subprocess
import sys
import traceback
from collections import Counter
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_type_hints

from helpers.software_gpu.elf import symbols

UNKNOWN, NOT_SUPPORTED = 999, 801  # cudaErrorUnknown, cudaErrorNotSupported; the driver's are the same
faults: list[BaseException] = []  # what Python's functions raised
calls: Counter[str] = Counter()  # of each function, by its name
_keep: list[Any] = []  # C holds their addresses: they must not go
_places: dict[str, tuple[ctypes.CDLL, int]] = {}  # of each function: its library, and its number in there


class StatusError(Exception):
    """What a function answers other than 0."""

    def __init__(self, number: int) -> None:
        self.number = number


class Functions(dict[str, Callable[..., Any]]):
    """Python functions by the names of the C functions that they are."""

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        self[function.__name__] = function
        return function

    def address(self, name: str) -> int:
        """Where C finds a function; one that nobody wrote says so."""
        pointer = _pointer(self[name] if name in self else _missing(name))
        _keep.append(pointer)
        return int(ctypes.cast(pointer, ctypes.c_void_p).value or 0)


def _missing(name: str) -> Callable[[], int]:
    def missing() -> int:
        print(f"software GPU: {name} is not written", file=sys.stderr)
        return NOT_SUPPORTED

    return missing


def _pointer(function: Callable[..., Any]) -> Any:
    hints = get_type_hints(function)
    answer = hints.pop("return", type(None))

    def call(*given: Any) -> int:
        calls[function.__name__] += 1
        try:
            return function(*given) or 0
        except StatusError as status:
            return status.number
        except BaseException as error:  # C knows no exceptions
            faults.append(error)
            traceback.print_exc()
            return UNKNOWN

    kind = ctypes.c_void_p if answer is ctypes.c_void_p else ctypes.c_int
    return ctypes.CFUNCTYPE(kind, *hints.values())(call)


# A jump for each function, through a table that Python fills: when Python ends, all become one that does nothing, as
# what CuPy gives back after that is called, too.
_CODE = """
static void *table[{count}] __attribute__((used));
static int nothing(void) {{ return 0; }}
static int zero_first(int *out) {{ return *out = 0; }}
static int zero_second(void *of, int *out) {{ return *out = 0; }}
void **software_gpu_table(void) {{ return table; }}
void software_gpu_end(void) {{ for (int i = 0; i < {count}; ++i) table[i] = nothing; }}
void software_gpu_at_once(int i, int out) {{
    table[i] = out == 0 ? (void *)nothing : out == 1 ? (void *)zero_first : (void *)zero_second;
}}
"""
_JUMP = '__attribute__((naked)) void {name}(void) {{ __asm__("jmp *table + {at}(%rip)"); }}\n'


def library(file: Path, names: Iterable[str], functions: Functions, mode: int = ctypes.RTLD_GLOBAL) -> ctypes.CDLL:
    """Make and load a library with the functions `names`: whoever asks for one of the file's name gets it."""
    names = list(names)
    code = _CODE.format(count=len(names)) + "".join(_JUMP.format(name=n, at=8 * i) for i, n in enumerate(names))
    script = file.with_suffix(".map")
    script.write_text(f"{file.name} {{ global: *; }};")
    flags = ["-shared", "-fPIC", f"-Wl,-soname,{file.name}", f"-Wl,--version-script,{script}", "-x", "c", "-"]
    subprocess.run(["gcc", *flags, "-o", str(file)], input=code, text=True, check=True)
    loaded = ctypes.CDLL(str(file), mode=mode)
    loaded.software_gpu_table.restype = ctypes.POINTER(ctypes.c_void_p)
    table = loaded.software_gpu_table()
    for i, name in enumerate(names):
        table[i] = functions.address(name)
        _places[name] = loaded, i
    atexit.register(loaded.software_gpu_end)
    return loaded


def patch(file: Path, prefix: str, functions: Functions, folder: Path) -> None:
    """Every function of a loaded library whose name begins with `prefix` becomes a jump to Python's."""
    base = _loaded_at(file)
    offsets = {name: at for name, at in symbols(file).defined.items() if name.startswith(prefix)}
    jumps = library(folder / f"{prefix}.so", offsets, functions, ctypes.RTLD_LOCAL)
    for name, offset in offsets.items():
        address = int(ctypes.cast(getattr(jumps, name), ctypes.c_void_p).value or 0)
        _write(base + offset, b"\x48\xb8" + address.to_bytes(8, "little") + b"\xff\xe0")  # mov rax, jmp rax


def at_once(names: dict[str, int]) -> None:
    """From now on C answers 0 to these; with a number, the parameter of that number is where it writes 0, too."""
    for name, out in names.items():
        loaded, i = _places[name]
        loaded.software_gpu_at_once(i, out)


def _loaded_at(file: Path) -> int:
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if len(fields) == 6 and fields[5] == str(file.resolve()) and int(fields[2], 16) == 0:
            return int(fields[0].partition("-")[0], 16)
    raise RuntimeError(f"{file} is not loaded")


def _write(address: int, code: bytes) -> None:
    page = address // mmap.PAGESIZE * mmap.PAGESIZE
    size = address + len(code) - page
    everything = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.mprotect(ctypes.c_void_p(page), ctypes.c_size_t(size), everything):
        raise OSError(ctypes.get_errno(), "code cannot be written")
    ctypes.memmove(address, code, len(code))
