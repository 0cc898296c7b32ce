"""A pair of one's own, out of a Python file: `my_layer` and `my_layer_backward`, and arguments for them.

Arguments come from the first of these that there is:
    my_layer_args in the file     a tuple of arguments, or a function that returns one
    shapes that are given         {"x": (2, 5, 7)}: standard normal numbers of these shapes
    shapes in the docstring       "x (B, T, D)": every letter gets a length of its own; of a default None, too
    default values
"""

from __future__ import annotations

import importlib.util
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from minivit.errors import MinivitError, counted, nearest
from minivit.gradcheck.catalog import Case, normal
from minivit.gradcheck.derivative import is_float
from minivit.gradcheck.pair import describe, kind_of, reworded
from minivit.gradcheck.signature import axes_in_docstring, signature_of

Shape = tuple[int, ...]

# Lengths that differ, so that what is transposed or multiplied by the wrong one shows.
_LENGTHS = (3, 5, 7, 4, 6, 9, 8, 11, 10, 13)


def pairs_in_file(
    path: Path, name: str | None, shapes: Mapping[str, Shape], seed: int = 0
) -> dict[str, Case | MinivitError]:
    """The pair `name` of a Python file, or without a name all its pairs but those that it imports. Runs the file.

    Of several pairs, one of whose arguments the file says too little comes as the error that says so.
    Raises MinivitError if the file cannot be read or run, holds no such pair, or says too little about its arguments.
    """
    module = _run(path)
    functions = {n: f for n, f in vars(module).items() if callable(f)}
    pairs = [n for n in functions if f"{n}_backward" in functions]
    names = [n for n in pairs if not _is_imported(functions[n], module)] or pairs
    if name is None:
        if not names:
            raise MinivitError(f"{path} holds no pair; expected two functions such as my_layer and my_layer_backward")
    elif name not in functions:
        hint = nearest(name, names or functions) or (f" It has {', '.join(names)}." if names else "")
        raise MinivitError(f"{path} has no function {name!r}.{hint}")
    elif name.endswith("_backward") and name.removesuffix("_backward") in pairs:
        raise MinivitError(f"{name} is the half of a pair; name the other, {name.removesuffix('_backward')}")
    elif name not in pairs:
        raise MinivitError(f"{path} has {name}, but no {name}_backward; expected both")
    else:
        names = [name]
    found: dict[str, Case | MinivitError] = {}
    for n in names:
        try:
            args, drawn = _arguments(module, n, shapes, seed)
            found[n] = Case(functions[n], functions[f"{n}_backward"], args, drawn=drawn)
        except MinivitError as error:
            if len(names) == 1:
                raise
            found[n] = error
    return found


def _run(path: Path) -> ModuleType:
    if not path.is_file():
        raise MinivitError(f"{path} is no file; expected a Python file with a pair of functions")
    spec = importlib.util.spec_from_file_location(f"minivit_checked_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise MinivitError(f"{path} is no Python file; expected a name that ends in .py")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # where dataclasses and NamedTuples look for it
    sys.path.insert(0, str(path.parent.resolve()))  # it may import its neighbours
    try:
        with reworded(lambda error: f"{path} cannot be run: {describe(error)}"):
            spec.loader.exec_module(module)
    finally:
        sys.path.pop(0)
    return module


def _is_imported(f: Callable[..., Any], module: ModuleType) -> bool:
    """Whether another module has f under its name: what a file makes of such functions is its own."""
    home, name = sys.modules.get(str(getattr(f, "__module__", ""))), str(getattr(f, "__name__", ""))
    return home is not None and home is not module and getattr(home, name, None) is f


def _arguments(module: ModuleType, name: str, shapes: Mapping[str, Shape], seed: int) -> tuple[tuple[Any, ...], bool]:
    """Arguments for a function of the file, and whether they were drawn at random."""
    given = vars(module).get(f"{name}_args")
    if given is not None and not shapes:
        with reworded(lambda error: f"{name}_args raised {describe(error)}"):
            found = given() if callable(given) else given
        if not isinstance(found, tuple | list):
            raise MinivitError(f"{name}_args is {kind_of(found)}; expected a tuple of arguments, (x,) for one")
        _check_count(getattr(module, name), name, found)
        floats = [a for a in found if is_float(a)]
        if floats and not any(a.size for a in floats):
            raise MinivitError(f"{name}_args holds no number, so any gradient is right; expected sizes of 1 or more")
        return tuple(found), False
    return _drawn(getattr(module, name), name, shapes, seed), True


def _check_count(f: Callable[..., Any], name: str, args: Sequence[Any]) -> None:
    """Raise MinivitError where f cannot be called with so many arguments."""
    signature = signature_of(f)
    if signature is None:
        return
    try:
        signature.bind(*args)
    except TypeError as error:
        many = counted(len(args), "argument")
        raise MinivitError(f"{name}_args holds {many} for {name}{signature}: {error}; expected one for each") from error


def _drawn(f: Callable[..., Any], name: str, shapes: Mapping[str, Shape], seed: int) -> tuple[Any, ...]:
    """Random arguments by the shapes given and those in the docstring; defaults for the others."""
    signature = signature_of(f)
    if signature is None:
        raise MinivitError(f"{name} does not say what its arguments are; define {name}_args in the file")
    parameters = list(signature.parameters.values())
    for unknown in shapes:
        if unknown not in (p.name for p in parameters):
            known = [p.name for p in parameters]
            hint = nearest(unknown, known) or f" It has {', '.join(known)}."
            raise MinivitError(f"{name} has no argument {unknown!r}.{hint}")
    lengths: dict[str, int] = {}
    letters = axes_in_docstring(f)
    for argument, shape in shapes.items():  # x=2,5,7 says what D is in g (D,), too
        axes = letters.get(argument, ())
        if len(axes) == len(shape):
            lengths |= {letter: n for letter, n in zip(axes, shape, strict=True) if letter.isalpha()}
    args: list[Any] = []
    for i, p in enumerate(parameters):
        if p.name in shapes:
            args.append(normal(seed + i, *shapes[p.name]))
        elif p.kind is p.KEYWORD_ONLY and p.default is p.empty:
            raise MinivitError(f"{name} takes {p.name} by its name alone, with no default; give it one, or drop the *")
        elif p.kind is p.VAR_POSITIONAL and p.name in letters:
            raise MinivitError(f"{name} takes any number of arrays, *{p.name}; define {name}_args in the file")
        elif p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            continue
        elif p.default is not p.empty and (p.default is not None or p.name not in letters):
            args.append(p.default)
        else:
            args.append(normal(seed + i, *_shape_by_letters(letters.get(p.name), lengths, name, p.name)))
    return tuple(args)


def _shape_by_letters(letters: tuple[str, ...] | None, lengths: dict[str, int], name: str, argument: str) -> Shape:
    """The shape that "(B, T, 3 D)" stands for; a new letter gets the next length."""
    shape: list[int] = []
    for letter in letters if letters is not None else ("?",):
        term = re.fullmatch(r"(?:(\d+) ?\*? ?)?([A-Za-z]\w*)(?: ([+-]) (\d+))?", letter)
        if letter == "...":
            shape += [2, 3]
        elif letter.isdecimal():
            shape.append(int(letter))
        elif term:
            times, symbol, sign, more = term.groups()
            length = lengths.setdefault(symbol, _LENGTHS[len(lengths) % len(_LENGTHS)])
            shape.append(int(times or 1) * length + int(f"{sign or '+'}{more or 0}"))
        else:
            raise MinivitError(
                f"{name} does not say the shape of {argument}; give --shape {argument}=5,7, define {name}_args in the "
                f'file, or write "{argument} (B, D)" in its docstring'
            )
    if min(shape, default=1) < 1:
        raise MinivitError(
            f"{name} says that {argument} is of shape {tuple(shape)}, which holds no number; expected sizes above 0"
        )
    return tuple(shape)
