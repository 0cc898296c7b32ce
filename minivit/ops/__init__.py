"""The functions of `minivit.functions` again, as namespaces that the model can be given.

Every namespace has the names and signatures of `reference`; a fast one replaces some by fused twins.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Literal, get_args

from minivit.errors import MinivitError

OpsName = Literal["auto", "cpu", "cuda", "reference"]
NAMES = get_args(OpsName)


def choose_ops(wanted: str = "auto", device: str = "cpu") -> ModuleType:
    """The namespace to compute with: "cpu", "cuda", "reference", or with "auto" the fastest there is for `device`.

    Raises MinivitError for another name, for one of the other device, and for "cpu" without Numba.
    """
    if wanted not in NAMES:
        raise MinivitError(f"ops {wanted!r} is not known; expected one of {', '.join(map(repr, NAMES))}")
    if wanted == "cpu" and device != "cpu":
        raise MinivitError(f"ops 'cpu' runs on the CPU, but the device is {device!r}; choose --ops auto")
    if wanted == "cuda" and device != "cuda":
        raise MinivitError(f"ops 'cuda' runs on an NVIDIA GPU, but the device is {device!r}; choose --device cuda")
    if device == "cuda" and wanted != "reference":
        return importlib.import_module("minivit.ops.cuda")
    if device == "cpu" and wanted != "reference":
        try:
            return importlib.import_module("minivit.ops.cpu")
        except ImportError as error:  # no Numba, or one that does not go with this NumPy
            if wanted == "cpu":
                raise MinivitError(
                    f"ops 'cpu' needs Numba, which cannot be imported ({error}); "
                    'pip install -e ".[fast]", or choose --ops auto'
                ) from error
    return importlib.import_module("minivit.ops.reference")
