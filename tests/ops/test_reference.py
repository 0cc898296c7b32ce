"""The reference namespace is the readable functions themselves, under the same names."""

import inspect

from minivit import functions
from minivit.ops import reference


def test_every_function_is_there_unchanged():
    assert reference.__all__ == functions.__all__
    for name in functions.__all__:
        assert getattr(reference, name) is getattr(functions, name)


def test_every_pair_is_complete():
    """y, cache = f(x, ...) and dx = f_backward(dy, cache): two names, and two arguments on the way back.

    Where a branch leaves the stream there are two results, z itself being one, and a gradient for each.
    """
    alone = {"GeluForm", "sincos_positions"}
    forward = {name for name in reference.__all__ if not name.endswith("_backward")} - alone
    assert {f"{name}_backward" for name in forward} == set(reference.__all__) - forward - alone
    for name in forward:
        given = inspect.signature(getattr(reference, f"{name}_backward")).parameters
        assert len(given) == (3 if name == "pre_norm" else 2)
