"""What a function's head says, whatever its annotations name."""

import sys

import numpy as np
import pytest

from minivit.gradcheck import check
from minivit.gradcheck.signature import signature_of

_FOR_CHECKERS_ALONE = """
{future}

def double(x: NDArray, times: Whatever = 2.0) -> NDArray:
    return times * x, times

def double_backward(dy: NDArray, cache: Whatever) -> NDArray:
    return cache * dy
"""


@pytest.mark.parametrize("future", ["from __future__ import annotations", ""])
def test_annotations_may_name_what_a_type_checker_alone_knows(future):
    if not future and sys.version_info < (3, 14):
        pytest.skip("before Python 3.14 annotations are evaluated where they stand")
    found = {}
    exec(_FOR_CHECKERS_ALONE.format(future=future), found)
    assert list(signature_of(found["double"]).parameters) == ["x", "times"]
    assert check(found["double"], found["double_backward"], (np.ones(3),)).passed


def test_some_built_in_functions_say_nothing():
    assert signature_of(dict.fromkeys) is not None
    assert signature_of(max) is None
