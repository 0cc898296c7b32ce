"""Shared by all tests."""

import os

import pytest

# Tests run side by side, a process for each core: matrix products that use all cores in each of them only
# wait for one another. Set before NumPy is imported; a value from outside wins.
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--software-gpu", action="store_true", help="run what is marked gpu on a GPU in software")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--software-gpu"):
        from helpers import software_gpu

        if not software_gpu.available():
            raise pytest.UsageError(software_gpu.NEEDS)
        software_gpu.start()
