"""What the tests of the commands share."""

import pytest
from helpers.command import picture_folder


@pytest.fixture
def pictures(tmp_path):
    return picture_folder(tmp_path / "pictures")
