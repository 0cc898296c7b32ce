"""A pair of functions and its arguments, called with care: whatever goes wrong becomes one sentence.

Learners' mistakes are of two kinds. With some there is nothing to compare (f returned no cache, say): those
raise GradcheckError. The others are lines of the report.
"""

from __future__ import annotations

import contextlib
import dataclasses
import re
import sys
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import Array, array_module, cast, is_complex
from minivit.errors import MinivitError, counted, nearest
from minivit.gradcheck.derivative import is_float
from minivit.gradcheck.signature import axes_in_docstring, signature_of

Forward = Callable[..., tuple[Array, Any]]
Backward = Callable[[Array, Any], Any]


class GradcheckError(MinivitError):
    """A pair that cannot be checked: one sentence with what it did, what was expected, and the likely mend."""


class Argument(NamedTuple):
    """One array that is differentiated by."""

    place: int  # among the arguments
    name: str  # "x"; its gradient is "dx"
    axes: tuple[str, ...]  # a letter for each axis, "" where it has none


@dataclass(frozen=True)
class Pair:
    """A pair with its arguments: what every method of the check works on."""

    f: Forward
    f_backward: Backward
    args: tuple[Any, ...]
    names: tuple[str, ...]  # of all args
    floats: tuple[Argument, ...]  # of those that are differentiated by
    name: str

    def forward(self, args: Sequence[Any]) -> tuple[Array, Any]:
        """y, as an array, and the cache of f(*args). Raises GradcheckError if f fails or returns no such pair."""
        with reworded(lambda error: f"{self.name} {self._failed(error, args)}"):
            result = self.f(*args)
        if not (isinstance(result, tuple) and len(result) == 2):
            raise GradcheckError(f"{self.name} returned {kind_of(result)}; expected a pair (y, cache)")
        y, cache = result
        if isinstance(y, int | float) and not isinstance(y, np.generic):  # a Python number has any float type
            y = np.asarray(y, min((a.dtype for a in args if is_float(a)), key=lambda t: t.itemsize, default=np.float64))
        y = np.asarray(y) if isinstance(y, complex | np.generic) else y
        if not hasattr(y, "dtype") or y.dtype.kind not in "fc" or isinstance(y, _OTHER_RULES):
            more = ": join several results into one" if isinstance(y, tuple) else ""
            raise GradcheckError(f"{self.name} returned y as {kind_of(y)}; expected an array of a float type{more}")
        return y, cache

    def backward(self, dy: Array, cache: Any) -> list[Any]:
        """The gradients of f_backward(dy, cache), one for each argument in `floats`; None where one is missing."""
        name = getattr(self.f_backward, "__name__", "the backward pass")
        with reworded(lambda error: f"{name} raised {describe(error)}"):
            found = self.f_backward(dy, cache)
        if found is None:
            raise GradcheckError(f"{name} returned None; expected its gradients: is the last line a return?")
        # A NamedTuple of gradients is as good as a tuple; a list is what was meant.
        gradients = list(found) if isinstance(found, tuple | list) else [found]
        if (isinstance(found, list) and any(isinstance(g, list) for g in found)) or self._is_flat(found):
            raise GradcheckError(f"{name} returned a list of numbers; expected arrays: without tolist()")
        if len(gradients) != len(self.floats):
            other = isinstance(found, dict | str | Iterator)
            what = f"{kind_of(found)}, no tuple of gradients," if other else counted(len(gradients), "gradient")
            raise GradcheckError(
                f"{name} returned {what} for {counted(len(self.floats), 'float array')} "
                f"({', '.join(a.name for a in self.floats)}); expected one for each, in this order"
                + self._not_checked()
            )
        return [self._as_array(g, argument) for g, argument in zip(gradients, self.floats, strict=True)]

    def _is_flat(self, found: Any) -> bool:
        """Whether this is a vector as a list, where it should be arrays: a gradient by a single number is one."""
        single = all(self.args[argument.place].ndim == 0 for argument in self.floats)
        return isinstance(found, list) and bool(found) and not single and all(type(g) in (int, float) for g in found)

    def _as_array(self, g: Any, argument: Argument) -> Any:
        """A gradient that is a single number as an array; a Python float has any float type."""
        if isinstance(g, np.generic):
            return np.asarray(g)
        return np.asarray(g, self.args[argument.place].dtype) if isinstance(g, int | float) else g

    def cast(self, dtype: Any) -> Pair:
        """The same pair with its float arguments in dtype."""
        where = {argument.place for argument in self.floats}
        args = tuple(cast(a, np.dtype(dtype)) if i in where else a for i, a in enumerate(self.args))
        return dataclasses.replace(self, args=args)

    def numbers(self) -> dict[str, float]:
        """What a factor may be: the length of every axis by its letter, else as "axis 0 of x"; then the settings."""
        found: dict[str, float] = {}
        for argument in self.floats:
            for letter, n in zip(argument.axes, self.args[argument.place].shape, strict=True):
                if letter:
                    found.setdefault(letter, n)
        for name, a in zip(self.names, self.args, strict=True):
            single = hasattr(a, "dtype") and a.ndim == 0 and a.dtype.kind == "f"  # a number that is differentiated by
            if single or (isinstance(a, int | float) and not isinstance(a, bool)):
                found.setdefault(name, float(a))
        for argument in self.floats:
            for i, n in enumerate(self.args[argument.place].shape):
                if n not in found.values():
                    found[f"axis {i} of {argument.name}"] = n
        return found

    def _not_checked(self) -> str:
        """What is no float array but may be meant as one, for a count that is wrong; the likeliest first."""
        hints = []
        for name, a in zip(self.names, self.args, strict=True):
            if hasattr(a, "dtype") and a.dtype.kind in "iub":
                hints.append((0, f"{name} is of {a.dtype}", f"{name}.astype(float)"))
            elif isinstance(a, list) and a and isinstance(a[0], float | list):
                hints.append((1, f"{name} is a list", f"numpy.array({name})"))
            elif isinstance(a, dict) or hasattr(a, "_fields"):
                hints.append((2, f"{name} is {kind_of(a)}", "its arrays one by one"))
            elif isinstance(a, float | np.floating):
                hints.append((3, f"{name} is a float", f"numpy.asarray({name})"))
        return "; {} and so no variable: pass {} if it is one".format(*min(hints)[1:]) if hints else ""

    def _failed(self, error: BaseException, args: Sequence[Any]) -> str:
        if any(is_complex(a) for a in args if hasattr(a, "dtype")):
            return (
                f"takes no complex numbers, it raised {describe(error)}; the complex step needs them: keep abs, "
                "float() and real types off its path, or use method='central'"
            )
        return f"raised {describe(error)}"


def make_pair(
    f: Forward,
    f_backward: Backward,
    args: Sequence[Any],
    *,
    names: Sequence[str] | None = None,
    axes: Mapping[str, Sequence[str]] | None = None,
    dtype: Any = None,
) -> Pair:
    """Look a pair and its arguments over. Raises GradcheckError if there is nothing to differentiate by.

    names: of the arguments; without them those of f's signature. axes: letters of an argument's axes, as
    {"x": "BTD"}; without them those in f's docstring, where it says "x (B, T, D)".
    """
    for thing, what in ((f, "f"), (f_backward, "f_backward")):
        if not callable(thing):
            raise GradcheckError(f"{what} is {kind_of(thing)}; expected a function")
    if not isinstance(args, tuple | list):
        raise GradcheckError(f"args is {kind_of(args)}; expected a tuple of arguments, such as (x,) for one")
    given = tuple(names) if names is not None else _names(f, len(args))
    if len(given) != len(args):
        raise GradcheckError(f"names holds {len(given)} names for {len(args)} arguments; expected one for each")
    _check_axes(axes or {}, dict(zip(given, args, strict=True)))
    letters = {**axes_in_docstring(f), **(axes or {})}
    named = enumerate(zip(given, args, strict=True))
    floats = [Argument(i, n, _fitted(tuple(letters.get(n, ())), a.ndim)) for i, (n, a) in named if _is_float(n, a)]
    name = getattr(f, "__name__", type(f).__name__)
    pair = Pair(f, f_backward, tuple(args), given, tuple(floats), name)
    if not floats:
        raise GradcheckError(
            f"{name} has no float array among its arguments, nothing to differentiate by{pair._not_checked()}"
        )
    return pair if dtype is None else pair.cast(dtype)


def require_complex(pair: Pair, y: Array) -> None:
    """Raise GradcheckError if y, computed from complex arguments, is real: an imaginary part was dropped."""
    if not is_complex(y):
        raise GradcheckError(
            f"{pair.name} returned real numbers for complex arguments, so it drops imaginary parts (abs, .real, a cast "
            "or an array made without dtype=x.dtype on its path); keep them, or use method='central'"
        )


def _check_axes(axes: Mapping[str, Sequence[str]], args: Mapping[str, Any]) -> None:
    for name, letters in axes.items():
        if name not in args:
            raise GradcheckError(f"axes names {name!r}, which is no argument.{nearest(name, args)}")
        if "..." not in letters and len(letters) != np.ndim(args[name]):
            raise GradcheckError(
                f"axes gives {len(letters)} letters for {name} {np.shape(args[name])}; expected one for each axis"
            )


def _is_float(name: str, a: Any) -> bool:
    """Whether a is differentiated by. Raises GradcheckError for an array that cannot be."""
    if not hasattr(a, "dtype") or isinstance(a, np.generic) or a.dtype.kind not in "fc":
        return False
    if a.dtype.kind == "c":
        raise GradcheckError(f"{name} is of {a.dtype}; expected real numbers, {name}.real say")
    if isinstance(a, _OTHER_RULES):
        raise GradcheckError(f"{name} is {kind_of(a)}; expected a plain array: numpy.asarray({name})")
    if not bool(array_module(a).isfinite(a).all()):
        raise GradcheckError(f"{name} holds nan or inf; expected finite numbers to differentiate at")
    return True


def _names(f: Forward, count: int) -> tuple[str, ...]:
    """Names of f's first arguments by its signature; *tensors are tensors[0], tensors[1], ..."""
    names: list[str] = []
    signature = signature_of(f)
    for parameter in signature.parameters.values() if signature else ():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{i}]" for i in range(count - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return tuple((names + [f"argument {i}" for i in range(len(names), count)])[:count])


def _fitted(letters: tuple[str, ...], ndim: int) -> tuple[str, ...]:
    """One letter for each axis: "..." stands for as many as are left, and what is no plain letter for none."""
    if "..." in letters:
        where = letters.index("...")
        rest = ndim - len(letters) + 1
        letters = letters[:where] + ("",) * max(rest, 0) + letters[where + 1 :]
    if len(letters) != ndim:
        return ("",) * ndim
    return tuple(letter if re.fullmatch(r"\w+", letter) else "" for letter in letters)


# Arrays that multiply, sum or compare by rules of their own.
_OTHER_RULES = (np.matrix, np.ma.MaskedArray)


def kind_of(thing: Any) -> str:
    """What a thing is, with its article: "an array of int64", "a tuple of 3"."""
    if isinstance(thing, tuple | list):
        return f"a {type(thing).__name__} of {len(thing)}"
    if hasattr(thing, "dtype") and not isinstance(thing, _OTHER_RULES):
        return f"an array of {thing.dtype}"
    kind = type(thing).__name__
    return "None" if thing is None else f"{'an' if kind[0].lower() in 'aeiou' else 'a'} {kind}"


_STANDARD_LIBRARY = Path(contextlib.__file__).parent
_CALLERS = (Path(__file__).parent, Path(__file__).parents[1] / "lessons")


def _passed_over(path: Path) -> bool:
    """Whether a file is Python's own, or one of those that call a pair from here."""
    own = path.is_relative_to(_STANDARD_LIBRARY) and not {"site-packages", "dist-packages"} & set(path.parts)
    return own or path.parent in _CALLERS


@contextlib.contextmanager
def reworded(say: Callable[[BaseException], str]) -> Iterator[None]:
    """Raise what other people's code raises in here as a GradcheckError of what `say` says of it; not Ctrl+C."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit is none of Exception's, nor is what pytest skips a test by
        raise GradcheckError(say(error)) from error


def describe(error: BaseException) -> str:
    """The error in one line, with the place where it happened: the last in other people's code.

    That is none of Python's, NumPy's or CuPy's, nor of those who called it from here.
    """
    if isinstance(error, SyntaxError) and error.filename and not error.filename.startswith("<"):
        return f"{type(error).__name__}: {' '.join(str(error).split())}"  # it says where
    frames = [f for f in traceback.extract_tb(error.__traceback__) if not _passed_over(Path(f.filename))]
    libraries = [str(Path(str(sys.modules[name].__file__)).parent) for name in ("numpy", "cupy") if name in sys.modules]
    inside = [f for f in frames if any(Path(f.filename).is_relative_to(there) for there in libraries)]
    frames = [f for f in frames if f not in inside and not f.filename.startswith("<frozen")] or frames
    place = f" ({Path(frames[-1].filename).name}, line {frames[-1].lineno})" if frames else ""
    said = " ".join(str(error).split())
    if not said and frames and isinstance(error, AssertionError):
        said = frames[-1].line or ""  # what it asserts
    return type(error).__name__ + (f": {said}" if said else "") + place
