"""Reading named files from a folder or a .tar.gz into memory, with a limit on the size of each.

Nothing is ever extracted, so no member of an archive can be written anywhere.
"""

from __future__ import annotations

import gzip
import tarfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from minivit.errors import MinivitError

UNPACKED_LIMIT = 1 << 30  # bytes; CIFAR's archives hold 0.19 GB


def read_folder(folder: Path, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return {name: contents} of those files of `limits` ({name: most bytes}) that lie in `folder`.

    Raises MinivitError for a file above its limit, or one that cannot be read.
    """
    found = {}
    for name, limit in limits.items():
        path = folder / name
        try:
            if path.is_file():
                _check_size(str(path), path.stat().st_size, limit)
                found[name] = path.read_bytes()
        except OSError as error:
            raise MinivitError(f"{path} cannot be read ({error.strerror}); check its permissions") from error
    return found


def read_archive(archive: Path, folder: str, limits: Mapping[str, int]) -> dict[str, bytes]:
    """Return {name: contents} of those members folder/name of a .tar.gz that `limits` names.

    Reads to the very end, where gzip keeps its checksum. Raises MinivitError for a member above its
    limit ({name: most bytes}), one that is no regular file, or a damaged archive.
    """
    wanted = {f"{folder}/{name}": name for name in limits}
    found = {}
    try:
        with _LimitedGzip(archive) as stream, tarfile.open(fileobj=stream, mode="r:") as tar:
            for member in tar:
                name = wanted.get(member.name)
                if name is not None:
                    found[name] = _read_member(tar, member, f"{archive}: {member.name}", limits[name])
            while stream.read(1 << 20):
                pass
    except (OSError, EOFError, ValueError, OverflowError, zlib.error, tarfile.TarError) as error:
        if isinstance(error, MinivitError):
            raise
        reason = " ".join(str(error).split())[:200]
        raise MinivitError(
            f"{archive} is damaged or no .tar.gz archive ({reason}): expected the official file,"
            " so delete it and download it again"
        ) from error
    return found


def _read_member(tar: tarfile.TarFile, member: tarfile.TarInfo, where: str, limit: int) -> bytes:
    file = tar.extractfile(member) if member.isreg() else None
    if file is None:
        raise MinivitError(
            f"{where} is a link or a special file: expected a regular file, so delete the archive and"
            " download the official one"
        )
    _check_size(where, member.size, limit)
    return file.read()


def _check_size(where: str, size: int, limit: int) -> None:
    if size > limit:
        raise MinivitError(
            f"{where} has {size} bytes: expected at most {limit}, so it is not an official file; download it again"
        )


class _LimitedGzip(gzip.GzipFile):
    """Refuses to unpack more than UNPACKED_LIMIT: a megabyte of gzip can hold a gigabyte of zeros."""

    def read(self, size: int | None = -1) -> bytes:
        if size is None or size < 0 or self.tell() + size > UNPACKED_LIMIT:
            self._refuse()
        return super().read(size)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == 0 and offset > UNPACKED_LIMIT:
            self._refuse()
        return super().seek(offset, whence)

    def _refuse(self) -> None:
        raise MinivitError(
            f"{self.name} unpacks to more than {UNPACKED_LIMIT} bytes: expected an archive of CIFAR's"
            " size, so delete it and download the official one"
        )
