"""Keep freed memory: a training step allocates the same large arrays again and again.

glibc hands every large block back to the system as soon as it is freed, and the next step pays for its
pages anew, a fault each. Told to keep them, a NumPy training step spends that time computing.
"""

from __future__ import annotations

import ctypes
import sys

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # from glibc's malloc.h


def keep_freed_memory() -> bool:
    """Tell the C library to keep freed memory for later; returns whether it understood (glibc on Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is None:
        return False
    return bool(mallopt(_M_MMAP_MAX, 0) and mallopt(_M_TRIM_THRESHOLD, 2**31 - 1))
