"""Named members of a .tar.gz, read into memory."""

import gzip
import io
import os
import tarfile

import numpy as np
import pytest

from minivit.data import archive
from minivit.data.archive import read_archive, read_folder
from minivit.errors import MinivitError

LIMITS = {"a": 5000, "b": 5000}


def entry(name, contents=b"", kind=tarfile.REGTYPE, target=""):
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(contents), kind, target
    return info, contents


def write(path, *entries):
    with tarfile.open(path, "w:gz") as tar:
        for info, contents in entries:
            tar.addfile(info, io.BytesIO(contents))
    return path


def noise(count):
    return np.random.default_rng(0).bytes(count)


def refusal(path, limits=LIMITS):
    with pytest.raises(MinivitError) as caught:
        read_archive(path, "top", limits)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    return message


def test_wanted_members_are_read_and_others_are_not(tmp_path):
    path = write(tmp_path / "x.tar.gz", entry("top/a", b"one"), entry("top/c", b"no"), entry("b", b"no"))
    assert read_archive(path, "top", LIMITS) == {"a": b"one"}


def test_nothing_is_written_by_a_path_that_climbs(tmp_path):
    inside = tmp_path / "inside"
    inside.mkdir()
    names = ("../evil", str(tmp_path / "evil"), "top/../../evil", "top/a/../b")
    path = write(inside / "x.tar.gz", *[entry(name, b"evil") for name in names])
    assert read_archive(path, "top", LIMITS) == {}
    assert os.listdir(inside) == ["x.tar.gz"]
    assert os.listdir(tmp_path) == ["inside"]


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE, tarfile.FIFOTYPE])
def test_links_and_special_files_are_refused(tmp_path, kind):
    target = "top/b" if kind in (tarfile.SYMTYPE, tarfile.LNKTYPE) else ""
    path = write(tmp_path / "x.tar.gz", entry("top/b", b"real"), entry("top/a", kind=kind, target=target))
    assert "top/a is a link or a special file" in refusal(path)


def test_a_member_above_its_limit_is_refused_with_numbers(tmp_path):
    path = write(tmp_path / "x.tar.gz", entry("top/a", bytes(5001)))
    assert "top/a has 5001 bytes: expected at most 5000" in refusal(path)


def test_an_archive_that_unpacks_to_too_much_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 100_000)
    path = write(tmp_path / "x.tar.gz", entry("other", bytes(200_000)), entry("top/a", b"one"))
    assert "unpacks to more than 100000 bytes" in refusal(path)
    path = write(tmp_path / "y.tar.gz", entry("other", bytes(110_000)), entry("top/a", b"one"))
    assert "unpacks to more than 100000 bytes" in refusal(path), "a little more is too much as well"


def test_a_long_name_that_claims_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(archive, "UNPACKED_LIMIT", 100_000)
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8_000_000_000
    path = tmp_path / "x.tar.gz"
    path.write_bytes(gzip.compress(info.tobuf() + bytes(10_000)))
    assert "unpacks to more than 100000 bytes" in refusal(path)


def test_a_flipped_byte_anywhere_in_the_body_is_noticed(tmp_path):
    contents = noise(4000)
    path = write(tmp_path / "x.tar.gz", entry("top/a", contents), entry("top/c", noise(300)))
    whole = path.read_bytes()
    start = 10 + len("x.tar\0")  # the gzip header holds a time and a name, which do not matter
    for place in range(start, len(whole), 37):
        changed = bytearray(whole)
        changed[place] ^= 0x10
        path.write_bytes(changed)
        assert "is damaged or no .tar.gz" in refusal(path) or "unpacks to more" in refusal(path)


@pytest.mark.parametrize("kept", [0, 5, 100, 3000, -9, -1])
def test_a_cut_archive_is_refused(tmp_path, kept):
    path = write(tmp_path / "x.tar.gz", entry("top/a", noise(4000)))
    path.write_bytes(path.read_bytes()[:kept])
    assert "is damaged or no .tar.gz" in refusal(path)


@pytest.mark.parametrize(
    "contents", [b"<html>not found</html>", gzip.compress(b"no tar" * 200)], ids=["html", "no tar"]
)
def test_other_files_are_refused(tmp_path, contents):
    path = tmp_path / "x.tar.gz"
    path.write_bytes(contents)
    assert "is damaged or no .tar.gz" in refusal(path)


def test_a_folder_is_read_alike(tmp_path):
    (tmp_path / "a").write_bytes(b"one")
    (tmp_path / "b").mkdir()
    (tmp_path / "c").write_bytes(b"no")
    assert read_folder(tmp_path, LIMITS) == {"a": b"one"}
    (tmp_path / "a").write_bytes(bytes(5001))
    with pytest.raises(MinivitError, match="a has 5001 bytes: expected at most 5000"):
        read_folder(tmp_path, LIMITS)
