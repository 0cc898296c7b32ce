"""Fields of a configuration: a default, a sentence of help, and the type that a value has to have.

One dataclass field serves three doors: a keyword in Python, a line of a TOML file and a flag of the
command line all end here, in `parse`.
"""

from __future__ import annotations

import dataclasses
import typing
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, Literal, TypeVar, get_args, get_origin

from minivit.errors import MinivitError

T = TypeVar("T")
_LARGEST = 2**64  # a seed's bound, which its own check names


def setting(default: Any, help: str) -> Any:
    """A dataclass field with a default and the sentence that `--help` shows."""
    return dataclasses.field(default=default, metadata={"help": help})


def types_of(section: type) -> dict[str, Any]:
    """The type of every field of a dataclass, by name."""
    hints = typing.get_type_hints(section)
    return {field.name: hints[field.name] for field in dataclasses.fields(section)}


def parse_fields(section: Any) -> None:
    """Put what `parse` makes of it in place of every field of a frozen dataclass."""
    for name, kind in types_of(type(section)).items():
        object.__setattr__(section, name, parse(name, kind, getattr(section, name)))


def parse(name: str, kind: Any, value: object) -> Any:
    """Return `value`, from a TOML file or the text of a flag, as the type `kind`.

    kind is int, float, bool, str, a Literal of strings, or tuple[int, int] (in text "32" or "32x48").
    Raises MinivitError, a sentence with the name, the value and what was expected.
    """
    if get_origin(kind) is Literal:
        if value in get_args(kind):
            return value
        raise MinivitError(f"{name} is {value!r}; expected one of {', '.join(map(repr, get_args(kind)))}")
    read = {int: _integer, float: _number, bool: _boolean, str: _text}.get(kind, _pair)
    result = read(value)
    if result is None:
        expected = {
            int: "an integer",
            float: "a number",
            bool: "true or false",
            str: "text",
        }.get(kind, "one integer or two, such as 32 or 32x48")
        raise MinivitError(f"{name} is {_shown(value)}; expected {expected}")
    return result


def _shown(value: object) -> str:
    """The value as it would be written; Python writes no integers of thousands of digits."""
    try:
        return repr(value)
    except ValueError:
        return "a number of thousands of digits"


def _integer(value: object) -> int | None:
    if not isinstance(value, str | Integral) or isinstance(value, bool):  # NumPy's integers, too
        return None
    found = _converted(int, value)
    return found if found is None or abs(found) <= _LARGEST else None


def _number(value: object) -> float | None:
    if isinstance(value, str) or (isinstance(value, Real) and not isinstance(value, bool)):
        return _converted(float, value)
    return None


def _converted(kind: Callable[[Any], T], value: object) -> T | None:
    try:
        return kind(value)
    except (ValueError, OverflowError):  # an integer may be too large for a float
        return None


def _boolean(value: object) -> bool | None:
    if isinstance(value, str):
        return {"true": True, "false": False}.get(value.lower())
    return value if isinstance(value, bool) else None


def _text(value: object) -> str | None:
    return value if isinstance(value, str) else None


def _pair(value: object) -> tuple[int, int] | None:
    if isinstance(value, str):
        value = value.split("x")
    sides = list(value) if isinstance(value, list | tuple) else [value]
    numbers = [_integer(side) for side in sides]
    if len(numbers) == 1:
        numbers *= 2
    if len(numbers) != 2 or numbers[0] is None or numbers[1] is None:
        return None
    return numbers[0], numbers[1]
