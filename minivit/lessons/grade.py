"""`grade`: what is right and what is wrong about an exercise's solution, in the words of minivit.gradcheck.

    rms_norm_backward = grade("4.1", rms_norm, rms_norm_backward)[1]

A notebook runs from top to bottom whatever its reader has written so far: where a solution is missing or wrong,
`grade` says so and hands the library's answer on.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from minivit.errors import MinivitError, counted
from minivit.gradcheck import GradcheckError, Report
from minivit.gradcheck.pair import describe, kind_of
from minivit.lessons.answers import find_exercise
from minivit.lessons.exercise import Exercise


def grade(number: str, *attempt: Any) -> Any:
    """Print what is right and wrong about an attempt at exercise `number`, such as "4.1".

    attempt: what the exercise asks for, a function or several (forward, then backward). Returns it where it is
    right; where it is wrong, or still raises NotImplementedError, the library's answer. What is returned is
    one function, or a tuple where several were asked for. Raises MinivitError for a number or a count of
    functions that the exercise does not have.
    """
    number = str(number)  # 4.1 is as good as "4.1"
    exercise = find_exercise(number)
    title, answer = f"exercise {number}, {exercise.title}", exercise.answer
    if len(attempt) != len(answer):
        names = ", ".join(function.__name__ for function in answer)
        given = counted(len(attempt), "function")
        raise MinivitError(f"{title}: {given} given; expected {len(answer)}, in order: {names}")
    if all(mine is library for mine, library in zip(attempt, answer, strict=True)):
        print(f"{title}: this is the library's answer; run the cell that defines yours again, then this one")
        return _one_or_all(answer)
    try:
        report = _judged(exercise, title, attempt)
    except (Exception, SystemExit) as error:  # whatever a reader's function raises, the notebook goes on
        print(f"{title}: {_why_not_graded(error)}\nThe notebook goes on with the library's answer.")
        return _one_or_all(answer)
    print(report)
    if report.passed:
        return _one_or_all(attempt)
    print("The notebook goes on with the library's answer.")
    return _one_or_all(answer)


def _judged(exercise: Exercise, title: str, attempt: tuple[Any, ...]) -> Report:
    """The report, without NumPy's warnings: what overflowed or lost its imaginary part, it says itself."""
    for mine, library in zip(attempt, exercise.answer, strict=True):
        if not callable(mine):
            raise GradcheckError(f"{library.__name__} is {kind_of(mine)}; expected a function")
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)
        return exercise.judge(title, *attempt)


def _why_not_graded(error: Exception | SystemExit) -> str:
    """ "not written yet" for a stub as it stands in the notebook, else the error's sentence."""
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, NotImplementedError):
            return "not written yet"
        cause = cause.__cause__
    return f"WRONG\n   {error if isinstance(error, GradcheckError) else f'it raised {describe(error)}'}"


def _one_or_all(functions: tuple[Any, ...]) -> Any:
    return functions[0] if len(functions) == 1 else functions
