"""What tests keep for the next run, and for one another: compiling takes longer than most tests."""

from __future__ import annotations

import getpass
import tempfile
from pathlib import Path


def kept(name: str) -> Path:
    """A folder of this user's own."""
    folder = Path(tempfile.gettempdir()) / f"minivit-{name}-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder
