"""Every notebook here is a test: it runs to its end, and its figures keep the rules of tests/lessons/figure_rules.py.

The kernels read the startup file below, as IPython does for whoever sets PYTHONSTARTUP. Each computes on one core,
as the tests do: notebooks run side by side.
"""

import os
from pathlib import Path

os.environ["PYTHONSTARTUP"] = str(Path(__file__).parents[1] / "tests" / "lessons" / "startup.py")
for library in ("OPENBLAS", "MKL", "OMP"):
    os.environ.setdefault(f"{library}_NUM_THREADS", "1")
