"""Shared by all tests."""

import os

# Tests run side by side, a process for each core: matrix products that use all cores in each of them only
# wait for one another. Set before NumPy is imported; a value from outside wins.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
