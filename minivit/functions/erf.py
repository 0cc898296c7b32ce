"""The error function, erf(x) = 2/sqrt(pi) * integral of exp(-t^2) from 0 to x.

NumPy has none, and SciPy would be a large dependency for one function. Three rational functions cover the
line to double precision: one odd in x near 0, two for the complement erfc further out. They are
analytic, so a complex step goes through them as through the true function.

Source: Cody 1969, "Rational Chebyshev approximations for the error function", Math. Comp. 23, 631-637.
"""

from __future__ import annotations

from minivit.arrays import Array, array_module, cast, real_part, wide

_ONE_OVER_SQRT_PI = 0.5641895835477563

# Coefficients from the highest power down: numerator, denominator.
# Cody changes over at 0.46875, where erfc is just above 1/2 and erf below it: 1 - erfc would cost another bit.
_HALF = 0.4769  # erf is 1/2 here
_NEAR = (  # |x| < _HALF: erf(x) = x R(x^2)
    (
        1.85777706184603153e-1,
        3.16112374387056560,
        1.13864154151050156e2,
        3.77485237685302021e2,
        3.20937758913846947e3,
    ),
    (1.0, 2.36012909523441209e1, 2.44024637934444173e2, 1.28261652607737228e3, 2.84423683343917062e3),
)
_MIDDLE = (  # _HALF <= |x| < 4: erfc(x) = exp(-x^2) R(x)
    (
        2.15311535474403846e-8, 5.64188496988670089e-1, 8.88314979438837594, 6.61191906371416295e1,
        2.98635138197400131e2, 8.81952221241769090e2, 1.71204761263407058e3, 2.05107837782607147e3,
        1.23033935479799725e3,
    ),
    (
        1.0, 1.57449261107098347e1, 1.17693950891312499e2, 5.37181101862009858e2,
        1.62138957456669019e3, 3.29079923573345963e3, 4.36261909014324716e3, 3.43936767414372164e3,
        1.23033935480374942e3,
    ),
)  # fmt: skip
_FAR = (  # 4 <= |x|: erfc(x) = exp(-x^2) / x * (1 / sqrt(pi) - R(1 / x^2) / x^2)
    (
        1.63153871373020978e-2,
        3.05326634961232344e-1,
        3.60344899949804439e-1,
        1.25781726111229246e-1,
        1.60837851487422766e-2,
        6.58749161529837803e-4,
    ),
    (
        1.0,
        2.56852019228982242,
        1.87295284992346725,
        5.27905102951428412e-1,
        6.05183413124413191e-2,
        2.33520497626869185e-3,
    ),
)


def erf(x: Array) -> Array:
    """The error function of x (any shape), like x; within 4 units in the last place for float64."""
    xp = array_module(x)
    z = wide(x)
    negative = real_part(z) < 0
    z = xp.where(negative, -z, z)  # |x| of a real x; of a complex one its analytic continuation
    size = real_part(z)
    near = size < _HALF
    middle = size < 4.0
    # Each rational function is evaluated where it holds and at a harmless constant elsewhere.
    one = xp.ones_like(z)
    z_near = xp.where(near, z, one)
    z_middle = xp.where(middle & ~near, z, one)
    z_far = xp.where(middle, one * 4.0, xp.where(size > 7.0, one * 7.0, z))  # erf(6) rounds to 1
    inverse_square = 1.0 / (z_far * z_far)
    tail = _ONE_OVER_SQRT_PI - inverse_square * _rational(_FAR, inverse_square)
    complement = xp.where(
        middle,
        xp.exp(-z_middle * z_middle) * _rational(_MIDDLE, z_middle),
        xp.exp(-z_far * z_far) / z_far * tail,
    )
    y = xp.where(near, z_near * _rational(_NEAR, z_near * z_near), 1.0 - complement)
    return cast(xp.where(negative, -y, y), x.dtype)


def _rational(coefficients: tuple[tuple[float, ...], tuple[float, ...]], x: Array) -> Array:
    """Evaluate a quotient of two polynomials at x (any shape) by Horner's rule."""
    numerator, denominator = coefficients
    return _horner(numerator, x) / _horner(denominator, x)


def _horner(coefficients: tuple[float, ...], x: Array) -> Array:
    """Evaluate a polynomial, its highest power first, at x (any shape)."""
    y = x * coefficients[0] + coefficients[1]
    for c in coefficients[2:]:
        y *= x
        y += c
    return y
