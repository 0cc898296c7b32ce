"""Every tolerance of the tests, in one table. A failing one is a finding: it is never edited away.

All are relative errors in the L2 norm of a whole tensor (`minivit.gradcheck.relative_error`), except those
named ABSOLUTE. One rounding costs 1.1e-16 in float64, 6.0e-8 in float32, 4.9e-4 in float16.
"""

import numpy as np

# --- float64: a hand gradient against another exact method ---------------------------------------------

# The complex step subtracts nothing, so only roundings remain: seen 1e-16 to 3e-14 for a function, up to
# 5e-15 for a model. The subtlest broken pass of the tests is off by 2e-5, seven orders above.
COMPLEX_STEP = 1e-12

# PyTorch adds its own roundings in another order.
TORCH = 1e-12

# ... and ten training steps carry them on, step after step.
TORCH_TRAINED = 1e-11
KEY_BIAS_TRAINED_ABSOLUTE = 1e-9

# <f(x), y> = <x, f'(y)> for functions that only move numbers: two sums of the same products.
ADJOINT = 1e-14

# The Taylor remainder falls with the square of the step: distance of the measured power from 2.
TAYLOR_SLOPE = 0.02

# The same forward formula evaluated in another order (a loop over heads, soft targets for labels).
SAME_FORMULA = 1e-14

# A gradient that is zero in theory (the key bias, one token's queries): per unit of dy, not relative.
ZERO_ABSOLUTE = 1e-15

# erf: error in units in the last place of the result.
ERF_ULP = 4.0

# --- float32 and float16: against the same computation in float64 --------------------------------------

# Forward: a few dozen roundings of random sign. float16 rounds the result, and what comes in, to 11 bits.
FORWARD = {np.dtype(np.float32): 1e-6, np.dtype(np.float16): 4e-3, np.dtype(np.float64): 1e-15}

# Gradients pass through a chain of roundings twice as long, with sums over all tokens.
GRADIENT = {np.dtype(np.float32): 1e-5, np.dtype(np.float16): 1e-2, np.dtype(np.float64): 1e-15}

# --- other libraries: the same operations on the same numbers, but another order inside a sum ----------
STRICT_ARRAYS = 1e-15
