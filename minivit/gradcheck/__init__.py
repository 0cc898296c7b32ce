"""Check a backward pass that was derived by hand, for any pair of functions; your own included.

    y, cache = f(*args)                    the pair that is checked
    grads = f_backward(dy, cache)          one gradient for each float array among args, in their order

    from minivit.gradcheck import check
    print(check(f, f_backward, (x, w)))    a table: each gradient, its error, and what is wrong with it
    check(f, f_backward, (x, w)).require() raises with that table; for tests

The other ways to be sure are methods of the same function: central differences, random directions, the
Taylor remainder, the adjoint. `step_sweep` shows why the default is the complex step.
"""

from minivit.gradcheck.check import METHODS, TOLERANCES, Method, check
from minivit.gradcheck.derivative import complex_step_along, complex_step_gradients, relative_error
from minivit.gradcheck.pair import GradcheckError
from minivit.gradcheck.report import GradientError, Report, Row
from minivit.gradcheck.sweep import StepSweep, step_sweep

__all__ = [
    "METHODS",
    "TOLERANCES",
    "GradcheckError",
    "GradientError",
    "Method",
    "Report",
    "Row",
    "StepSweep",
    "check",
    "complex_step_along",
    "complex_step_gradients",
    "relative_error",
    "step_sweep",
]
