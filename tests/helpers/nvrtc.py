"""NVIDIA's run-time compiler, which needs no driver and no GPU: does a kernel compile, and with what registers?"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from minivit.ops.cuda.source import Build, source


class Use(NamedTuple):
    """What the assembler says of one kernel."""

    registers: int
    spilled: int  # bytes stored to memory because registers ran out
    stack: int  # bytes of arrays that are not in registers


def folder() -> Path | None:
    """Where the wheels of NVIDIA keep lib/ and include/; None where they are not installed."""
    spec = importlib.util.find_spec("nvidia")
    roots = spec.submodule_search_locations if spec else None
    for root in roots or ():
        for found in Path(root).glob("cu*/lib/libnvrtc.so.*"):
            return found.parent.parent
    return None


class Nvrtc:
    """The compiler of the wheels in `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # NVRTC opens its built-in functions by name, which not every release finds beside itself: they come first.
        self.builtins = self._loaded("libnvrtc-builtins.so.*")
        self.library = self._loaded("libnvrtc.so.*")

    def _loaded(self, pattern: str) -> ctypes.CDLL:
        return ctypes.CDLL(str(next((self.root / "lib").glob(pattern))))

    def compile(self, build: Build, architecture: str) -> dict[str, Use]:
        """Compile to machine code for `architecture`, "sm_90". Raises RuntimeError with the compiler's words."""
        options = [*build.options, f"-arch={architecture}", "-Xptxas=-v"]
        with self._program(source(build.file), options) as (_, said):
            return _uses(said)

    def ptx(self, text: str, options: Iterable[str], architecture: str) -> str:
        """Compile CUDA to PTX for `architecture`, "compute_90", with what CuPy adds. Raises as above."""
        with self._program(text, [*options, f"-arch={architecture}", "-ftz=true"]) as (program, _):
            return self._text(program, "PTX")

    @contextlib.contextmanager
    def _program(self, text: str, options: list[str]) -> Iterator[tuple[ctypes.c_void_p, str]]:
        program = ctypes.c_void_p()
        self._check(self.library.nvrtcCreateProgram(ctypes.byref(program), text.encode(), b"kernel.cu", 0, None, None))
        try:
            options = [*options, f"-I{self.root / 'include'}"]
            given = (ctypes.c_char_p * len(options))(*(option.encode() for option in options))
            failed = self.library.nvrtcCompileProgram(program, len(options), given)
            said = self._text(program, "ProgramLog")
            if failed:
                raise RuntimeError(f"{' '.join(options)}: {said}")
            yield program, said
        finally:
            self.library.nvrtcDestroyProgram(ctypes.byref(program))

    def _text(self, program: ctypes.c_void_p, what: str) -> str:
        size = ctypes.c_size_t()
        self._check(getattr(self.library, f"nvrtcGet{what}Size")(program, ctypes.byref(size)))
        text = ctypes.create_string_buffer(size.value)
        self._check(getattr(self.library, f"nvrtcGet{what}")(program, text))
        return text.value.decode()

    def _check(self, failed: int) -> None:
        if failed:
            raise RuntimeError(f"NVRTC error {failed}")


_WORDS = (r"Used (\d+) registers", r"(\d+) bytes spill stores", r"(\d+) bytes stack frame")


def _uses(log: str) -> dict[str, Use]:
    parts = re.split(r"Compiling entry function '(\w+)'", log)[1:]
    return {
        name: Use(*(_number(words, said) for words in _WORDS))
        for name, said in zip(parts[::2], parts[1::2], strict=True)
    }


def _number(pattern: str, text: str) -> int:
    found = re.search(pattern, text)
    assert found is not None, f"the assembler no longer says {pattern}"
    return int(found[1])
