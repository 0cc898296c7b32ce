"""Freed memory is kept: a second large array costs no new pages."""

import ctypes
import re
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from minivit.memory import keep_freed_memory

PROGRAM = """
import resource, sys
import numpy as np
from minivit.memory import keep_freed_memory
if sys.argv[1] == "keep":
    assert keep_freed_memory()
np.ones(10_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(5):
    np.ones(10_000_000)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the switch is glibc's")
def test_pages_are_used_again():
    faults = {
        how: int(
            subprocess.run([sys.executable, "-c", PROGRAM, how], capture_output=True, text=True, check=True).stdout
        )
        for how in ("keep", "not")
    }
    assert faults["keep"] < faults["not"] / 3


@pytest.mark.skipif(sys.platform != "linux", reason="the switches are glibc's")
def test_the_switches_are_glibc_s(monkeypatch):
    """Neighbours of these numbers are other switches, which a mistake would turn without a word."""
    asked = []
    monkeypatch.setattr(ctypes, "CDLL", lambda _: SimpleNamespace(mallopt=lambda *given: asked.append(given) or 1))
    assert keep_freed_memory()
    trim_threshold, mmap_max = -1, -4  # M_TRIM_THRESHOLD and M_MMAP_MAX in malloc.h
    assert dict(asked) == {mmap_max: 0, trim_threshold: 2**31 - 1}
    header = Path("/usr/include/malloc.h")
    if header.exists():
        known = dict(re.findall(r"#define (M_\w+)\s+(-\d+)", header.read_text(encoding="utf-8")))
        for name, number in (("M_TRIM_THRESHOLD", trim_threshold), ("M_MMAP_MAX", mmap_max)):
            assert int(known.get(name, number)) == number


def test_other_systems_are_left_alone(monkeypatch):
    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
