"""`minivit gradcheck`: every hand-written gradient, or your own, against a numeric one."""

from __future__ import annotations

import argparse
import contextlib
import json
import re
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minivit.arrays import choose_device
from minivit.errors import MinivitError, nearest, say
from minivit.gradcheck import METHODS, GradcheckError, Method, Report, check
from minivit.gradcheck.catalog import DROP_KEY, FUNCTIONS, MODELS, Case, model_case
from minivit.gradcheck.from_file import Shape, pairs_in_file
from minivit.gradcheck.report import aligned, finite_or_none
from minivit.model import count_params, variant
from minivit.training.config import model_config, read_values

CATALOG = {**FUNCTIONS, **MODELS}

DESCRIPTION = """\
Compare hand-written gradients with numeric ones, and say in words what is wrong.

With no argument: every function of minivit, an encoder block and two whole models. FILE.py:my_layer checks
a pair of your own, my_layer and my_layer_backward; FILE.py all pairs in it. Its arguments are my_layer_args
in the file, or random ones: of the shapes that --shape gives, or its docstring ("x (B, T, D)").

Exit code 1 if an error exceeds its tolerance.
"""

# Beyond these numbers of parameters a model is checked along directions, tensor by tensor or all at once.
_ENTRIES, _TENSORS = 3_000, 300_000


class Target(NamedTuple):
    """One line of the table to come."""

    name: str
    case: Case | MinivitError  # an error: what is missing to check it
    method: Method
    joint: bool = False


def add_to(commands: Any) -> None:
    """Add this command and its flags."""
    command = commands.add_parser(
        "gradcheck",
        help="check hand-written gradients, yours too",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run_command=run)
    command.add_argument(
        "functions", metavar="FUNCTION", nargs="*", help=f"FILE.py[:NAME], or one of {', '.join(CATALOG)}"
    )
    command.add_argument("--model", metavar="CONFIG", help="the model of a .toml file, or a variant such as micro/4")
    command.add_argument("--method", choices=METHODS, help="default: complex_step; directions for a large model")
    command.add_argument("--dtype", choices=["float64", "float32", "float16"], default="float64", help="of the pair")
    command.add_argument(
        "--shape", metavar="X=2,5,7", action="append", default=[], help="shape of an argument, for FILE.py"
    )
    command.add_argument(
        "--device", choices=["cpu", "cuda"], help="where the pair computes (default: where its arguments are)"
    )
    command.add_argument("--seed", type=int, default=0, help="of the upstream gradient; default: %(default)s")
    command.add_argument("--json", action="store_true", help="a list: of each pair the worst gradient, by name")


def run(options: argparse.Namespace) -> int:
    """Carry the command out; returns 1 if a gradient is wrong."""
    if options.seed < 0:
        raise MinivitError(f"--seed is {options.seed}; expected 0 or more")
    if options.device is not None:
        choose_device(options.device)  # refused at once, if it cannot be had
    started = time.perf_counter()
    reports: list[tuple[Report, float]] = []
    skipped, refused = [], []
    with contextlib.redirect_stdout(sys.stderr if options.json else sys.stdout):  # what a file prints is no JSON
        for target in _targets(options):
            before = time.perf_counter()
            try:
                report = _checked(target, options)
            except MinivitError as error:
                if isinstance(error, GradcheckError) and target.method == "adjoint" and not options.functions:
                    skipped.append(target.name)  # it is linear in nothing
                else:
                    refused.append(error)  # the others are checked all the same
                continue
            reports.append((report, time.perf_counter() - before))
    if not reports and refused:
        raise refused[0]
    if options.json:
        print(json.dumps([_as_json(report, seconds) for report, seconds in reports], indent=2))
    else:
        _print(reports, time.perf_counter() - started, len(refused))
        if skipped:
            print(f"not linear, so without an adjoint: {', '.join(skipped)}")
    if refused:
        for why in refused[:-1]:
            say(f"minivit: {' '.join(str(why).split())}")
        raise refused[-1]
    return 0 if all(report.passed for report, _ in reports) else 1


def _checked(target: Target, options: argparse.Namespace) -> Report:
    case = target.case
    if isinstance(case, MinivitError):
        raise case
    if options.device is not None:
        case = case.on(options.device)
    try:
        with np.errstate(all="ignore"):  # what is not finite is a line of the report
            return check(
                case.f, case.f_backward, case.args, method=target.method, seed=options.seed, dtype=options.dtype,
                joint=target.joint, names=case.names, axes=case.axes, name=target.name,
            )  # fmt: skip
    except GradcheckError as error:
        said = re.sub(r"method='(\w+)'", r"--method \1", str(error))
        cause = error.__cause__
        by_numbers = type(cause) is not NameError and not isinstance(cause, ImportError | NotImplementedError)
        if case.drawn and " raised " in said and "complex numbers" not in said and by_numbers:
            said += f"; its arguments were random numbers: where it takes others, define {target.name}_args in the file"
        raise GradcheckError(said) from error


def _targets(options: argparse.Namespace) -> Iterator[Target]:
    method: Method = options.method or "complex_step"
    shapes = dict(_shape(text) for text in options.shape)
    files = [word for word in options.functions if _is_file(word)]
    if shapes and not files:
        raise MinivitError("--shape is for a pair of your own; give its file, as in FILE.py:my_layer")
    for word in options.functions:
        if _is_file(word):
            path, _, name = word.rpartition(":") if ".py:" in word else (word, "", "")
            pairs = pairs_in_file(Path(path), name or None, shapes, options.seed)
            yield from (Target(name, case, method) for name, case in pairs.items())
        else:
            yield from (Target(name, case, method) for name, case in _named(word))
    if options.model is not None:
        yield _model_target(options)
    if not options.functions and options.model is None:
        yield from (Target(name, case, method) for name, case in CATALOG.items())


def _is_file(word: str) -> bool:
    return word.endswith(".py") or ".py:" in word


def _named(word: str) -> list[tuple[str, Case]]:
    """The cases of a name: of a function with two forms (gelu), both."""
    found = [(name, case) for name, case in CATALOG.items() if word in (name, case.f.__name__)]
    if not found:
        file, _, name = word.replace(":", ".").rpartition(".")
        hint = f" Did you mean {file}.py:{name}?" if Path(f"{file}.py").is_file() else nearest(word, CATALOG)
        raise MinivitError(
            f"function {word!r} is not known; expected FILE.py:NAME or one of {', '.join(CATALOG)}.{hint}"
        )
    return found


def _model_target(options: argparse.Namespace) -> Target:
    name = options.model
    config = model_config(read_values(Path(name))) if name.endswith(".toml") else variant(name)
    size = count_params(config)
    if options.method in ("complex_step", "central") and size > _TENSORS:
        raise MinivitError(
            f"the model of {name} has {size} parameters, too many to move one by one; use --method directions"
        )
    method: Method = options.method or ("complex_step" if size <= _ENTRIES else "directions")
    return Target(name, model_case(config, DROP_KEY, batch=2), method, method == "directions" and size > _TENSORS)


def _shape(text: str) -> tuple[str, Shape]:
    """--shape x=2,5,7 as ("x", (2, 5, 7)); x= is a single number."""
    name, equals, sizes = text.partition("=")
    parts = [part.strip() for part in sizes.replace("x", ",").split(",") if part.strip()]
    if not (name.isidentifier() and equals and all(part.isdecimal() for part in parts)):
        raise MinivitError(f"--shape {text} is no shape; expected an argument and its sizes, such as x=2,5,7")
    if "0" in parts:
        raise MinivitError(f"--shape {text} holds no numbers, so any gradient is right; expected sizes of 1 or more")
    return name, tuple(int(part) for part in parts)


def _as_json(report: Report, seconds: float) -> dict[str, Any]:
    """The row of the worst gradient, the time of all, and what was not checked."""
    return report.row_as_json(report.worst) | {"seconds": round(seconds, 6), "note": report.note}


def _print(reports: Sequence[tuple[Report, float]], seconds: float, refused: int) -> None:
    """The table; below it, in full, what is wrong; and how many were `refused`."""
    cells = [("", "name", "method", "worst tensor", "error", "tolerance", "seconds")]
    for report, took in reports:
        worst = report.worst
        error = "-" if finite_or_none(worst.error) is None else f"{worst.error:.1e}"
        mark = "" if report.passed else "!"
        method = report.method.replace("_", " ")
        cells.append((mark, report.name, method, worst.tensor, error, f"{worst.tolerance:.0e}", f"{took:.2f}"))
    print("\n".join(aligned(cells, right=(4, 5, 6))))
    for report, _ in reports:
        if report.note and report.passed:
            print(f"{report.name}: {report.note}")
    wrong = [report for report, _ in reports if not report.passed]
    for report in wrong:
        print(f"\n{report}")
    right = len(reports) - len(wrong)
    partly = ", as far as they were checked" if any(report.note for report, _ in reports) else ""
    missing = f", {refused} not checked" if refused else ""
    print(f"{'' if not wrong else chr(10)}{right} of {len(reports)} right{partly}{missing}, in {seconds:.1f} s")
