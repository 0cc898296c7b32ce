"""A file is written whole or not at all."""

import errno
import os
import re
import stat
from pathlib import Path

import pytest

from minivit.errors import MinivitError
from minivit.files import absolute, replacing, write_whole


def test_writes_bytes_and_text_and_makes_the_folder(tmp_path):
    write_whole(tmp_path / "a/b.txt", "ü\n")
    assert (tmp_path / "a/b.txt").read_bytes() == b"\xc3\xbc\n"
    write_whole(tmp_path / "a/b.txt", b"new")
    assert (tmp_path / "a/b.txt").read_bytes() == b"new"
    assert (tmp_path / "a/b.txt").stat().st_mode & 0o777 == 0o644


def test_a_failure_in_the_middle_keeps_the_old_file_and_leaves_no_other(tmp_path):
    path = tmp_path / "results.json"
    path.write_text("old")

    def interrupted():
        with replacing(path) as file:
            file.write(b"half of it")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert path.read_text() == "old"
    assert [p.name for p in tmp_path.iterdir()] == ["results.json"]


@pytest.mark.skipif(os.name != "posix", reason="a folder cannot be opened")
def test_content_is_on_the_disk_before_it_has_its_name_and_the_name_after(tmp_path, monkeypatch):
    """Or a power cut could leave the name with an empty file, or a newer file than one that was written after it."""
    seen = []

    def forced(handle):
        found = os.fstat(handle)
        seen.append(("folder", found.st_ino) if stat.S_ISDIR(found.st_mode) else ("bytes", found.st_size))
        fsync(handle)

    def renamed(source, target):
        seen.append("named")
        replace(source, target)

    fsync, replace = os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", forced)
    monkeypatch.setattr(os, "replace", renamed)
    write_whole(tmp_path / "x", b"12345")
    assert seen == [("bytes", 5), "named", ("folder", tmp_path.stat().st_ino)]


def test_an_impossible_place_is_a_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(MinivitError, match=r"file.x\.txt cannot be written \(.*\); check that you may"):
        write_whole(tmp_path / "file/x.txt", "text")


@pytest.mark.parametrize(
    ("number", "mend"),
    [
        (errno.ENOSPC, "free space or choose another folder"),
        (errno.EROFS, "check that you may write there, or choose another folder"),
        (errno.EACCES, "check that you may write there, or choose another folder"),
    ],
)
def test_the_mend_is_for_what_is_wrong(tmp_path, monkeypatch, number, mend):
    def refused(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("minivit.files.os.replace", refused)
    with pytest.raises(MinivitError, match=re.escape(f"x.txt cannot be written ({os.strerror(number)}); {mend}")):
        write_whole(tmp_path / "x.txt", "text")


def test_a_new_file_has_the_mode_that_the_umask_leaves(tmp_path):
    before = os.umask(0o077)
    try:
        write_whole(tmp_path / "private", "x")
    finally:
        os.umask(before)
    write_whole(tmp_path / "usual", "x")
    assert [(tmp_path / name).stat().st_mode & 0o777 for name in ("private", "usual")] == [0o600, 0o666 & ~before]


def test_a_name_from_the_root_on(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute(Path("x")) == tmp_path / "x"
    assert absolute(Path("~/x")) == Path.home() / "x"


def test_a_working_directory_that_is_gone_is_a_sentence(monkeypatch):
    def gone():
        raise FileNotFoundError(errno.ENOENT, "No such file or directory")

    monkeypatch.setattr(os, "getcwd", gone)
    with pytest.raises(MinivitError, match="x cannot be found: the working directory is gone; change to another"):
        absolute(Path("x"))
    assert absolute(Path("/x")) == Path("/x")
