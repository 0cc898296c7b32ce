"""Writing a file whole or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

from minivit.errors import MinivitError


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a temporary file beside `path`; left without an exception it takes the name, else it is gone.

    Its content is forced to the disk before it takes the name in one step: whatever happens, the old file
    or the whole new one is there. Raises OSError if the folder cannot be written to.
    """
    temporary = path.parent / f".{path.name}.{secrets.token_hex(4)}.part"
    # Not `tempfile`, whose files are private: this one has the mode that the umask leaves.
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o666)
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        _sync_folder(path.parent)
    finally:
        temporary.unlink(missing_ok=True)


def expanded(path: Path) -> Path:
    """`path` with ~ as a home directory. Raises MinivitError for the ~ of somebody who has none."""
    try:
        return path.expanduser()
    except RuntimeError as error:
        raise MinivitError(
            f"{path} cannot be found: {str(error).rstrip('.')}; write the folder's whole name"
        ) from error


def absolute(path: Path) -> Path:
    """`path`, expanded, from the root on. Raises MinivitError as `expanded` does, and in a directory that is gone."""
    try:
        return expanded(path).absolute()
    except FileNotFoundError as error:
        raise MinivitError(
            f"{path} cannot be found: the working directory is gone; change to another, or write the whole name"
        ) from error


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` (text as UTF-8), whole or not at all; makes the folder if need be.

    Raises MinivitError if it cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as file:
            file.write(content.encode() if isinstance(content, str) else content)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
        mend = "free space" if full else "check that you may write there,"
        raise MinivitError(f"{path} cannot be written ({error.strerror}); {mend} or choose another folder") from error


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` survive a power cut, where a folder can be opened (not on Windows)."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
