"""Run a module or a file on a GPU in software: PYTHONPATH=tests python -m helpers.software_gpu minivit doctor."""

import runpy
import sys

from helpers.software_gpu import start

start()
sys.argv = sys.argv[1:]
if sys.argv[0].endswith(".py"):
    runpy.run_path(sys.argv[0], run_name="__main__")
else:
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
