"""The exception meant for a person, and the hint it may end with."""

import pytest

import minivit
from minivit.errors import MinivitError, nearest


def test_it_is_the_value_error_that_a_program_catches():
    assert issubclass(MinivitError, ValueError)
    assert minivit.MinivitError is MinivitError
    assert str(MinivitError("one sentence")) == "one sentence"


@pytest.mark.parametrize(
    ("word", "hint"),
    [("micr/4", " Did you mean 'micro/4'?"), ("B/16", " Did you mean 'B/16'?"), ("resnet50", ""), ("", "")],
)
def test_nearest_names_a_near_word_or_nothing(word, hint):
    assert nearest(word, ["micro/4", "mini/4", "B/16"]) == hint


def test_nearest_takes_any_iterable():
    assert nearest("tanhh", (form for form in ("tanh", "erf"))) == " Did you mean 'tanh'?"
    assert nearest("tanh", []) == ""
