"""What a function says of its arguments: their names, and in its docstring the letters of their axes."""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any


def signature_of(f: Callable[..., Any]) -> inspect.Signature | None:
    """What f takes; None for built-in functions that do not say.

    Its annotations may name what is nowhere, as what a type checker alone imports: from Python 3.14 on they are
    evaluated when they are asked for, and are not asked for here.
    """
    try:
        if sys.version_info >= (3, 14):
            from annotationlib import Format

            return inspect.signature(f, annotation_format=Format.STRING)
        return inspect.signature(f)
    except (TypeError, ValueError):
        return None


def axes_in_docstring(f: Callable[..., Any]) -> dict[str, tuple[str, ...]]:
    """The letters that f's docstring gives to axes: {"x": ("B", "T", "D")} for "x (B, T, D)"."""
    found: dict[str, tuple[str, ...]] = {}
    for name, inside in re.findall(r"\b(\w+) \(([\w ,./*+-]+)\)", str(f.__doc__ or "")):
        letters = tuple(part.strip() for part in inside.split(",") if part.strip())
        if all(letter == "..." or re.match(r"[A-Z]|\d", letter) for letter in letters):
            found.setdefault(name, letters)
    return found
