"""Values of a configuration, from text and from TOML, as the type of their field."""

from typing import Literal

import pytest

from minivit.errors import MinivitError
from minivit.fields import parse

PAIR = tuple[int, int]


@pytest.mark.parametrize(
    ("kind", "value", "expected"),
    [
        (int, "12", 12),
        (int, 12, 12),
        (float, "1e-3", 1e-3),
        (float, 2, 2.0),
        (bool, "True", True),
        (bool, False, False),
        (str, "x", "x"),
        (Literal["a", "b"], "b", "b"),
        (PAIR, "32", (32, 32)),
        (PAIR, "32x48", (32, 48)),
        (PAIR, 7, (7, 7)),
        (PAIR, [3, 4], (3, 4)),
    ],
)
def test_reads(kind, value, expected):
    result = parse("field", kind, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("kind", "value", "words"),
    [
        (int, "1.5", "an integer"),
        (int, True, "an integer"),
        (int, 1.0, "an integer"),
        (float, "fast", "a number"),
        (float, True, "a number"),
        (bool, 1, "true or false"),
        (bool, "yes", "true or false"),
        (str, 3, "text"),
        (Literal["a", "b"], "c", "one of 'a', 'b'"),
        (PAIR, "32x", "32x48"),
        (PAIR, "1x2x3", "32x48"),
        (PAIR, [], "32x48"),
        (PAIR, [1, 2.5], "32x48"),
        (PAIR, None, "32x48"),
    ],
)
def test_refuses_in_a_sentence(kind, value, words):
    with pytest.raises(MinivitError) as error:
        parse("field", kind, value)
    assert str(error.value).startswith(f"field is {value!r}; expected ")
    assert words in str(error.value)
