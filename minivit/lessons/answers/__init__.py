"""The library's answers to the notebooks' exercises: one file a notebook, a table `EXERCISES` in each.

What is derived and explained stands in notebooks/solutions; here is what a notebook goes on with while a
solution is missing, and what it is judged by.
"""

from __future__ import annotations

import importlib

from minivit.errors import MinivitError
from minivit.lessons.exercise import Exercise

# Notebook by number; the modules are named like the notebooks.
LESSONS: dict[int, str] = {
    1: "numeric_gradients",
    2: "patches",
    3: "linear_softmax_cross_entropy",
    4: "layer_norm",
    5: "attention",
    6: "mlp_and_block",
    7: "vision_transformer",
    8: "optimisers",
    9: "training",
    10: "looking_inside",
}


def exercises_of(lesson: int) -> dict[str, Exercise]:
    """The exercises of a notebook by number, "4.1" and so on."""
    module = importlib.import_module(f"minivit.lessons.answers.n{lesson:02d}_{LESSONS[lesson]}")
    exercises: dict[str, Exercise] = module.EXERCISES
    return exercises


def find_exercise(number: str) -> Exercise:
    """The exercise of a number such as "4.1". Raises MinivitError if there is none."""
    lesson = number.partition(".")[0]
    known = exercises_of(int(lesson)) if lesson.isdecimal() and int(lesson) in LESSONS else {}
    if number not in known:
        raise MinivitError(
            f"exercise {number!r} is not known; expected notebook and number, such as "
            f"{', '.join(repr(name) for name in known) or repr('4.1')}"
        )
    return known[number]
