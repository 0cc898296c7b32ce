"""Loops over rows, compiled by Numba, where a chain of NumPy calls would pass over memory once each.

Every kernel works on contiguous arrays of float32 or float64, on the thread that calls it; other threads work
on other parts of the batch (`minivit.threads`). What a kernel computes stands in `minivit.functions`, where it
can be read; `minivit.ops.cpu` puts the two together, and the tests compare them.

Numba is optional: importing this package needs it.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from numba import config, njit

if getattr(config, "DISABLE_JIT", 0):  # what it would compile has no meaning in Python
    raise ImportError("NUMBA_DISABLE_JIT is set: unset it")

# Sums may be added in any order and products fused; nan and infinity keep their meaning.
FAST = {"contract", "nsz", "arcp", "reassoc"}

_SOURCES = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.glob("*.py"))))


def kernel(function: Any) -> Any:
    """Compile a function once for each type, for any thread; the machine code is kept on disk, if it may be."""
    # Numba asks the kernel's own file alone whether what it kept is stale: what the kernel calls has to be in its name.
    function.__qualname__ += f"-{_SOURCES.hexdigest()[:12]}"
    try:
        return njit(nogil=True, cache=True, fastmath=FAST, error_model="numpy")(function)
    except RuntimeError:  # no folder that it could be written to
        return njit(nogil=True, fastmath=FAST, error_model="numpy")(function)
