"""Run by IPython at the start of a notebook's kernel, in its namespace: see notebooks/conftest.py."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
import figure_rules

figure_rules.install()
del sys.path[0], figure_rules, Path, sys
