"""The restricted unpickler."""

import contextlib
import os
import pickle
import tracemalloc

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from minivit.data.unpickle import unpickle
from minivit.errors import MinivitError


class Calls:
    """Pickles as a call of `function` with `arguments`."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def refusal(blob):
    with pytest.raises(MinivitError) as caught:
        unpickle(blob, "some/file")
    message = str(caught.value)
    assert message.startswith("some/file is not a batch file")
    assert "\n" not in message
    return message


@pytest.mark.parametrize("protocol", [0, 1, 2, 3, 4])
@given(values=hnp.arrays(hnp.integer_dtypes() | hnp.unsigned_integer_dtypes(), hnp.array_shapes()))
def test_arrays_of_integers_come_back(protocol, values):
    for array in (values, np.asfortranarray(values)):
        back = unpickle(pickle.dumps({"data": array}, protocol), "f")["data"]
        np.testing.assert_array_equal(back, values)
        assert back.dtype == values.dtype


def test_plain_contents_come_back_with_str_keys():
    content = {b"labels": [1, 2], "filenames": [b"a.png"], b"n": 3}
    assert unpickle(pickle.dumps(content, 2), "f") == {"labels": [1, 2], "filenames": [b"a.png"], "n": 3}


def test_what_python_2_and_numpy_1_wrote_is_read():
    """As in the official files: protocol 2, str of bytes, numpy.core."""
    blob = (
        b"\x80\x02}U\x04datacnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R"
        b"(K\x01K\x02K\x03\x86cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
        b"\x89U\x06abcdeftbs."
    )
    data = unpickle(blob, "f")["data"]
    np.testing.assert_array_equal(data, np.frombuffer(b"abcdef", np.uint8).reshape(2, 3))


def test_a_command_is_not_run(tmp_path):
    evidence = tmp_path / "evidence"
    message = refusal(pickle.dumps({"data": Calls(os.system, f"touch {evidence}")}))
    assert "system" in message
    assert not evidence.exists()


@pytest.mark.parametrize("function", [eval, getattr, open, np.load, np.fromfile, np.zeros])
def test_other_functions_are_refused(function):
    assert function.__name__ in refusal(pickle.dumps({"data": Calls(function, "x")}))


def test_numpys_own_constructors_are_not_called():
    refusal(pickle.dumps({"data": Calls(np.ndarray, (10**15,))}))
    assert not isinstance(unpickle(pickle.dumps({"data": Calls(np.dtype, "O")}), "f")["data"], np.dtype)


@pytest.mark.parametrize(
    "value", [np.array([None, "x"], object), np.array(["abc"]), np.zeros(3), np.zeros(2, [("a", "i4")])]
)
def test_arrays_of_other_things_are_refused(value):
    refusal(pickle.dumps({"data": value}, 2))


def test_a_shape_that_does_not_fit_its_bytes_is_refused():
    blob = pickle.dumps({"data": np.arange(6, dtype=np.uint8)}, 2)
    assert blob.count(b"K\x06\x85") == 1
    assert "6 bytes" in refusal(blob.replace(b"K\x06\x85", b"K\x07\x85"))


def test_something_else_than_a_dict_is_refused():
    assert "holds a list" in refusal(pickle.dumps([1, 2]))
    refusal(pickle.dumps({1: 2}))


@given(st.data())
def test_a_cut_or_changed_pickle_ends_in_one_sentence_or_a_dict(data):
    whole = bytearray(pickle.dumps({b"data": np.arange(12, dtype=np.uint8).reshape(3, 4), b"labels": [1, 2, 3]}, 2))
    cut = data.draw(st.integers(0, len(whole) - 1))
    refusal(bytes(whole[:cut]))
    place = data.draw(st.integers(0, len(whole) - 1))
    whole[place] ^= data.draw(st.integers(1, 255))
    with contextlib.suppress(MinivitError):
        assert isinstance(unpickle(bytes(whole), "some/file"), dict)


def test_a_large_number_of_a_part_costs_no_memory():
    tracemalloc.start()
    try:
        assert unpickle(b"\x80\x02}r\xff\xff\xff\xff.", "x") == {}
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
