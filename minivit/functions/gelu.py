"""GELU, y = x Phi(x): each number is kept by the share of a standard normal that lies below it.

    erf form     Phi(x)  = (1 + erf(x / sqrt(2))) / 2
                 Phi'(x) = exp(-x^2 / 2) / sqrt(2 pi)
    tanh form    Phi(x)  = (1 + tanh(u)) / 2,    u = a (x + c x^3)
                 Phi'(x) = 2 Phi (1 - Phi) a (1 + 3 c x^2)
    both         dx = dy (Phi(x) + x Phi'(x))

with a = sqrt(2 / pi), c = 0.044715. The tanh form is an approximation of the erf form; each has its own
exact derivative. Published weights were trained with one or the other, so the form is a setting.

Source: Hendrycks & Gimpel 2016 (arXiv:1606.08415), section 2.
"""

from __future__ import annotations

import math
from typing import Literal, NamedTuple, get_args

from minivit.arrays import Array, array_module, cast, wide
from minivit.functions.erf import erf

GeluForm = Literal["tanh", "erf"]

# Python floats: a NumPy float64 scalar would turn float32 arrays into float64.
_A = math.sqrt(2.0 / math.pi)
_C = 0.044715


class GeluCache(NamedTuple):
    """What the backward pass needs."""

    x: Array  # (...)  the input itself, not a copy
    phi: Array  # (...)  Phi(x), float32 or wider: kept, because its tanh or erf is the expensive part
    form: GeluForm


def gelu(x: Array, form: GeluForm = "tanh") -> tuple[Array, GeluCache]:
    """Apply GELU to x (any shape). Returns y like x, and the cache.

    Raises ValueError if form is neither "tanh" nor "erf".
    """
    xp = array_module(x)
    z = wide(x)
    if form == "tanh":
        phi = z * z
        phi *= _C
        phi += 1.0
        phi *= z
        phi *= _A
        phi = xp.tanh(phi)
    elif form == "erf":
        phi = erf(z * math.sqrt(0.5))
    else:
        raise ValueError(f"gelu: form {form!r} is not one of {', '.join(get_args(GeluForm))}")
    phi += 1.0
    phi *= 0.5
    return cast(z * phi, x.dtype), GeluCache(x, phi, form)


def gelu_backward(dy: Array, cache: GeluCache) -> Array:
    """Gradient dx like dy, for dy (the shape of x). Changes no argument."""
    xp = array_module(dy)
    x, phi = wide(cache.x), cache.phi
    slope = x * x
    if cache.form == "tanh":  # 2 phi (1 - phi) a (1 + 3 c x^2)
        slope *= 6.0 * _A * _C
        slope += 2.0 * _A
        slope *= phi
        slope *= 1.0 - phi
    else:  # exp(-x^2 / 2) / sqrt(2 pi)
        slope *= -0.5
        slope = xp.exp(slope)
        slope *= 1.0 / math.sqrt(2.0 * math.pi)
    slope *= x
    slope += phi
    slope *= wide(dy)
    return cast(slope, dy.dtype)
