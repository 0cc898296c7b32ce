"""Precision: what activations are stored in, and how float32 is multiplied.

    float32     exact products
    tf32        float32 in memory; tensor cores multiply its first 11 bits and sum in float32
    bfloat16    activations and the weights that products read are bfloat16 (8 bits); statistics, gradients of
                parameters, moments and the master weights stay float32

Bits are a number's significant ones, the leading 1 among them: float32 has 24.

Source: Micikevicius et al. 2017 (arXiv:1710.03740), section 3.1 (master weights).
"""

from __future__ import annotations

import contextlib
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import choose_device
from minivit.errors import MinivitError
from minivit.ops import choose_ops
from minivit.training.settings import TrainSettings


class Precision(NamedTuple):
    """How to compute."""

    name: str  # "float32", "tf32" or "bfloat16"
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
        return Precision("bfloat16", np.dtype(ml_dtypes.bfloat16), exact=False)
    exact = wanted == "float32" or device == "cpu"
    return Precision("float32" if exact else "tf32", np.dtype(np.float32), exact)


def device_of(settings: TrainSettings) -> str:
    """The device, "cpu" or "cuda", that settings ask for.

    Raises MinivitError if it, its functions or its precision cannot be had.
    """
    device = choose_device(settings.device)
    choose_ops(settings.ops, device)
    choose_precision(settings.precision, device, settings.ops)
    return device


def multiplied(precision: str, device: str, ops: str = "auto") -> contextlib.AbstractContextManager[None]:
    """Inside, matrices are multiplied as `precision` wants it on `device`: on a GPU as TF32, unless exactly."""
    if device == "cpu":
        return contextlib.nullcontext()
    from minivit.ops.cuda.products import exact_products

    return exact_products(choose_precision(precision, device, ops).exact)
