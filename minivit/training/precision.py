"""Precision: what activations are stored in, and how float32 is multiplied.

    float32     exact products
    tf32        float32 in memory; tensor cores multiply its first 10 bits and sum in float32
    bfloat16    activations and the weights that products read are bfloat16 (8 bits); statistics, gradients of
                parameters, moments and the master weights stay float32

Source: Micikevicius et al. 2017 (arXiv:1710.03740), section 3.1 (master weights).
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np

from minivit.errors import MinivitError


class Precision(NamedTuple):
    """How to compute."""

    storage: Any  # dtype of activations
    exact: bool  # whether float32 is multiplied as float32


def choose_precision(wanted: str, device: str, ops: str = "auto") -> Precision:
    """What `wanted`, a name or "auto", means on `device`.

    Raises MinivitError for what the device or the functions cannot do.
    """
    if wanted in ("tf32", "bfloat16") and device == "cpu":
        raise MinivitError(f"precision {wanted!r} needs an NVIDIA GPU, but the device is 'cpu'; choose float32")
    if wanted == "bfloat16" and ops == "reference":
        raise MinivitError("precision 'bfloat16' needs the fused functions, but ops is 'reference'; choose --ops cuda")
    if wanted == "bfloat16":
        try:
            import ml_dtypes  # CuPy's own type for bfloat16
        except ImportError as error:
            raise MinivitError(
                f"precision 'bfloat16' needs ml_dtypes, which cannot be imported ({error}); pip install ml_dtypes"
            ) from error
        return Precision(np.dtype(ml_dtypes.bfloat16), False)
    return Precision(np.dtype(np.float32), exact=wanted == "float32" or device == "cpu")


def multiplied(precision: str, device: str, ops: str = "auto") -> contextlib.AbstractContextManager[None]:
    """Inside, matrices are multiplied as `precision` wants it on `device`: on a GPU as TF32, unless exactly."""
    if device == "cpu":
        return contextlib.nullcontext()
    from minivit.ops.cuda.products import exact_products

    return exact_products(choose_precision(precision, device, ops).exact)
