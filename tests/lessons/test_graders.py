"""Every grader rejects typical wrong answers in words that help, and accepts what is right."""

import ast
import importlib

import numpy as np
import pytest
from lessons.notebook_code import LESSONS, SOLUTIONS, code_of, definitions

from minivit import MinivitError
from minivit.lessons import grade
from minivit.lessons.answers import LESSONS as NUMBERS
from minivit.lessons.answers import exercises_of, find_exercise

EXERCISES = {number: exercise for lesson in NUMBERS for number, exercise in exercises_of(lesson).items()}
WRONG = {
    number: attempts
    for lesson, name in NUMBERS.items()
    for number, attempts in importlib.import_module(f"lessons.wrong.n{lesson:02d}_{name}").WRONG.items()
}
ATTEMPTS = [(number, i) for number, attempts in WRONG.items() for i in range(len(attempts))]


def names_of(number):
    return [function.__name__ for function in EXERCISES[number].answer]


def number_of(number):
    """The two digits that a notebook's file begins with."""
    return f"{int(number.split('.')[0]):02d}"


def of_notebook(paths, number):
    """The functions of an exercise as a notebook defines them."""
    (path,) = (path for path in paths if path.stem.startswith(number_of(number)))
    namespace = definitions(path)
    return [namespace[name] for name in names_of(number)]


def test_there_are_ten_lessons_with_three_exercises_and_solutions():
    assert [path.name for path in LESSONS] == [path.name for path in SOLUTIONS]
    assert [path.stem for path in LESSONS] == [f"{lesson:02d}_{name}" for lesson, name in NUMBERS.items()]
    for lesson in NUMBERS:
        assert list(exercises_of(lesson)) == [f"{lesson}.1", f"{lesson}.2", f"{lesson}.3"]


@pytest.mark.parametrize("number", EXERCISES)
def test_at_least_three_wrong_answers_are_tried(number):
    assert len(WRONG[number]) >= 3


@pytest.mark.parametrize(("number", "i"), ATTEMPTS)
def test_a_wrong_answer_is_rejected_in_words(number, i, capsys):
    attempt, words = WRONG[number][i]
    found = grade(number, *attempt)
    printed = capsys.readouterr().out
    assert "WRONG" in printed
    assert words in printed
    answer = EXERCISES[number].answer
    assert found == (answer if len(answer) > 1 else answer[0])


@pytest.mark.parametrize("number", EXERCISES)
def test_the_library_s_answer_is_right_and_never_taken_for_the_reader_s(number, capsys):
    exercise = EXERCISES[number]
    assert exercise.judge(exercise.title, *exercise.answer).passed
    grade(number, *exercise.answer)
    printed = capsys.readouterr().out
    assert "this is the library's answer" in printed
    assert "right" not in printed


@pytest.mark.parametrize("number", EXERCISES)
def test_the_solution_of_the_notebook_is_right(number, capsys):
    solution = of_notebook(SOLUTIONS, number)
    found = grade(number, *solution)
    assert ": right" in capsys.readouterr().out.splitlines()[0]
    assert found == (tuple(solution) if len(solution) > 1 else solution[0])


@pytest.mark.parametrize("number", EXERCISES)
def test_the_stub_of_the_notebook_is_not_written_yet(number, capsys):
    grade(number, *of_notebook(LESSONS, number))
    assert capsys.readouterr().out.splitlines()[0] == f"exercise {number}, {EXERCISES[number].title}: not written yet"


@pytest.mark.parametrize("number", EXERCISES)
def test_a_solution_works_where_the_exercise_stands(number, capsys):
    """Its functions written in place of the stubs, beside the forward pass that the lesson gives, if it gives one."""
    (lesson,), (solution,) = (
        [p for p in paths if p.stem.startswith(number_of(number))] for paths in (LESSONS, SOLUTIONS)
    )
    namespace = definitions(lesson)
    stubs = [name for name in names_of(number) if "NotImplementedError" in namespace[name].__code__.co_names]
    assert stubs
    written = [node for node in ast.parse(code_of(solution)).body if isinstance(node, ast.FunctionDef)]
    for node in written:
        if node.name in stubs or node.name not in namespace:  # with its helpers
            exec(ast.unparse(node), namespace)
    grade(number, *(namespace[name] for name in names_of(number)))
    printed = capsys.readouterr().out
    assert ": right" in printed.splitlines()[0], printed


@pytest.mark.parametrize("shape", [(20, 40, 3), (40, 40), (40, 40, 4)])
def test_a_picture_that_does_not_fit_is_told_what_would(shape):
    prepare = find_exercise("10.1").answer[0]
    with pytest.raises(MinivitError, match=r"the image has shape \(\d+, .*both sides at least 32: take a larger"):
        prepare(np.zeros(shape, np.uint8), 32, (0.5,) * 3, (0.2,) * 3)
