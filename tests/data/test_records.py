"""Single batch files, good and bad."""

import pickle

import numpy as np
import pytest
from helpers.cifar_files import random_images

from minivit.data.records import parse_binary, parse_python
from minivit.errors import MinivitError


def rows(count, label_bytes=1):
    images, labels = random_images(count, 10)
    return images, labels, np.column_stack([*[labels] * label_bytes, images.reshape(count, -1)]).astype(np.uint8)


def refusal(function, *arguments):
    with pytest.raises(MinivitError) as caught:
        function(*arguments)
    assert str(caught.value).startswith("some/file")
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("label_bytes", [1, 2])
def test_binary_records(label_bytes):
    images, labels, records = rows(4, label_bytes)
    if label_bytes == 2:
        records[:, 0] = 19  # the coarse label, which is not used
    got = parse_binary(records.tobytes(), "f", label_bytes, 10, 4)
    np.testing.assert_array_equal(got[0], images)
    np.testing.assert_array_equal(got[1], labels)
    assert got[1].dtype == np.int64


def test_binary_sizes_are_refused_with_numbers():
    blob = rows(3)[2].tobytes()
    assert "has 9218 bytes, 3.00 records of 3073" in refusal(parse_binary, blob[:-1], "some/file", 1, 10, 5)
    assert "has 0 bytes, 0.00 records" in refusal(parse_binary, b"", "some/file", 1, 10, 5)
    assert "3.00 records of 3073: expected 1 to 2 whole" in refusal(parse_binary, blob, "some/file", 1, 10, 2)
    assert "of 3074" in refusal(parse_binary, blob, "some/file", 2, 100, 5)


def test_a_wrong_label_is_refused_with_its_record():
    records = rows(5)[2]
    records[3, 0] = 10
    message = refusal(parse_binary, records.tobytes(), "some/file", 1, 10, 5)
    assert "record 3 has label 10, expected 0 to 9" in message


def batch(**changes):
    images, labels = random_images(4, 10)
    content = {"data": images.reshape(4, -1), "labels": labels.tolist()} | changes
    return pickle.dumps({k: v for k, v in content.items() if v is not None}, 4)


@pytest.mark.parametrize("labels", [[3, 1, 0, 9], np.array([3, 1, 0, 9], np.uint8)])
def test_python_batches(labels):
    images, got = parse_python(batch(labels=labels), "f", "labels", 10, 4)
    np.testing.assert_array_equal(images, random_images(4, 10)[0])
    assert got.tolist() == [3, 1, 0, 9]
    assert got.dtype == np.int64


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"data": None}, "has no 'data', only 'labels'"),
        ({"labels": None}, "has no 'labels', only 'data'"),
        ({"data": [1, 2]}, "'data' that is a list: expected uint8 (N, 3072)"),
        ({"data": np.zeros((4, 3071), np.uint8)}, "uint8 (4, 3071)"),
        ({"data": np.zeros((4, 3072), np.int64)}, "int64 (4, 3072)"),
        ({"data": np.zeros(3072, np.uint8)}, "uint8 (3072,)"),
        ({"data": np.zeros((5, 3072), np.uint8)}, "5 images: expected 1 to 4"),
        ({"data": np.zeros((0, 3072), np.uint8)}, "0 images: expected 1 to 4"),
        ({"labels": [1, 2, 3]}, "3 labels for 4 images"),
        ({"labels": [1, 2, 10, 3]}, "record 2 has label 10, expected 0 to 9"),
        ({"labels": [1, -1, 4, 3]}, "record 1 has label -1"),
        ({"labels": [1, 2, 3, 4.0]}, "'labels' that is not a list of integers"),
        ({"labels": [1, 2, 3, True]}, "'labels' that is not a list of integers"),
        ({"labels": [1, 2, 3, 2**80]}, "'labels' that is not a list of integers"),
        ({"labels": "1234"}, "'labels' that is not a list of integers"),
        ({"labels": np.zeros((4, 1), np.int64)}, "'labels' that is not a list of integers"),
    ],
)
def test_wrong_python_batches_are_refused(changes, said):
    assert said in refusal(parse_python, batch(**changes), "some/file", "labels", 10, 4)
