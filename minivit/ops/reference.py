"""The readable functions, unchanged: any dtype, NumPy or CuPy arrays."""

from minivit.functions import *  # noqa: F403
from minivit.functions import __all__ as __all__
