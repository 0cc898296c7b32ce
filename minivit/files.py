"""Writing a file whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from minivit.errors import MinivitError


def write_whole(path: Path, content: bytes | str) -> None:
    """Write `content` to `path` (text as UTF-8); whatever happens, the old file or the new one is there.

    The content goes to a temporary file beside it, is forced to the disk, and then takes the name in one
    step. Raises MinivitError if the folder cannot be written to.
    """
    data = content.encode() if isinstance(content, str) else content
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)  # a temporary file is private by default; a result need not be
        temporary.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        raise MinivitError(
            f"{path} cannot be written ({error.strerror}); free space or choose another folder"
        ) from error
    finally:
        if temporary is not None:
            temporary.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Force a folder's entries to the disk, so that a rename in it survives a power cut."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
