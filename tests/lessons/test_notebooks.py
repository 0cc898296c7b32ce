"""What every notebook promises its reader, seen without running it: its parts, its outputs, its links, its size."""

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from lessons.notebook_code import LESSONS, NOTEBOOKS, SOLUTIONS, code_of, read

every_notebook = pytest.mark.parametrize("path", [*LESSONS, *SOLUTIONS], ids=lambda p: f"{p.parent.name}/{p.stem}")
every_lesson = pytest.mark.parametrize("path", LESSONS, ids=lambda p: p.stem)
every_solution = pytest.mark.parametrize("path", SOLUTIONS, ids=lambda p: p.stem)
INDEX = NOTEBOOKS / "README.md"
LINK = re.compile(r"\]\(([^)\s]+)\)")


def code_cells(path):
    return [cell for cell in read(path).cells if cell.cell_type == "code"]


def prose_of(path):
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "markdown")


def printed_by(path):
    outputs = [output for cell in code_cells(path) for output in cell.outputs]
    return "".join(output.text for output in outputs if output.output_type == "stream")


@every_lesson
def test_a_lesson_has_its_parts_in_order(path):
    titles = re.findall(r"^##? (.+)$", prose_of(path), re.MULTILINE)
    assert titles[0].startswith(f"{path.stem[:2]} · ")
    assert titles[1] == "Shapes"
    assert titles[2] == "The idea"
    assert titles[-2:] == ["Exercises", "What to try next"]
    assert "Is it right?" in titles
    assert any("derivation" in title.lower() for title in titles)
    opening = prose_of(path).split("\n## ")[0]
    assert opening.count("- **") == 3  # goal, what you need, what you get


@every_lesson
def test_a_lesson_has_its_figures_a_check_and_three_graded_exercises(path):
    code, number = code_of(path), int(path.stem[:2])
    assert code.count("plt.show()") >= 3
    assert "check(" in code
    assert re.findall(r'grade\(\s*"([\d.]+)"', code) == [f"{number}.{i}" for i in (1, 2, 3)]
    assert printed_by(path).count("not written yet") == 3
    assert f"(solutions/{path.name})" in prose_of(path)


@every_solution
def test_a_solutions_notebook_is_graded_right(path):
    number = int(path.stem[:2])
    for i in (1, 2, 3):
        assert re.search(rf"^exercise {number}\.{i}, .*: right$", printed_by(path), re.MULTILINE)
        assert re.search(rf'grade\(\s*"{number}\.{i}"', code_of(path))
    assert "WRONG" not in printed_by(path)


@every_notebook
def test_its_outputs_are_those_of_one_run_from_the_top(path):
    cells = code_cells(path)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    for cell in cells:
        for output in cell.outputs:
            assert output.output_type != "error"
            assert output.get("name") != "stderr", output.text


@every_notebook
def test_it_is_small(path):
    assert path.stat().st_size < 1_000_000
    for cell in code_cells(path):
        assert len(cell.source.splitlines()) <= 30, cell.source


@every_notebook
def test_every_figure_is_shown_by_the_cell_that_makes_it(path):
    """plt.show() is where the figure's rules are looked at: see figure_rules.py."""
    for cell in code_cells(path):
        pictures = [output for output in cell.outputs if "image/png" in output.get("data", {})]
        assert len(pictures) == cell.source.count("plt.show()"), cell.source


@every_notebook
def test_nothing_of_one_machine_is_in_it(path):
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(home|root|tmp|usr|work|Users)/|site-packages|ipykernel_\d", text)
    for cell in read(path).cells:
        assert not cell.metadata, "run notebooks/execute.py, which takes times out"


@pytest.mark.parametrize(
    ("path", "link"),
    [(path, link) for path in [*LESSONS, *SOLUTIONS] for link in sorted(set(LINK.findall(prose_of(path))))]
    + [(INDEX, link) for link in LINK.findall(INDEX.read_text(encoding="utf-8"))],
    ids=lambda x: x.stem if isinstance(x, Path) else x,
)
def test_a_link_leads_somewhere(path, link):
    if link.startswith(("http://", "https://")):
        assert link.startswith("https://")
        return
    file, _, anchor = link.partition("#")
    target = (path.parent / file).resolve() if file else path
    assert target.exists()
    if anchor and target.suffix == ".ipynb":
        assert anchor in [title.replace(" ", "-") for title in re.findall(r"^#+ (.+)$", prose_of(target), re.MULTILINE)]


@every_lesson
def test_the_index_names_it(path):
    assert f"({path.name})" in INDEX.read_text(encoding="utf-8")
    assert f"(solutions/{path.name})" in INDEX.read_text(encoding="utf-8")


@every_notebook
def test_formulas_are_closed(path):
    """An odd number of dollars in a paragraph is a formula that swallows the text after it."""
    for cell in read(path).cells:
        if cell.cell_type == "markdown":
            text = re.sub(r"`[^`]*`", "", cell.source)
            assert text.count("$$") % 2 == 0, cell.source
            for paragraph in re.sub(r"\$\$.*?\$\$", "", text, flags=re.DOTALL).split("\n\n"):
                assert paragraph.count("$") % 2 == 0, paragraph
                for formula in re.findall(r"\$([^$]+)\$", paragraph):
                    assert formula.count("{") == formula.count("}"), formula


@every_notebook
def test_a_gradient_that_is_right_is_required_to_be(path):
    """check(...).require() stops the notebook, and with it CI, where check(...) alone would print WRONG and go on."""
    for cell in code_cells(path):
        shown = [output.get("data", {}).get("text/plain", "").partition("\n")[0] for output in cell.outputs]
        if any(title.endswith(": right") for title in shown):
            assert ".require()" in cell.source, cell.source


def test_pytest_runs_them_under_the_rules_for_figures():
    """The startup file of their kernels makes plt.show() look at each figure; in a process of its own."""
    project = NOTEBOOKS.parent
    with (project / "pyproject.toml").open("rb") as file:
        assert "notebooks" in tomllib.load(file)["tool"]["pytest"]["ini_options"]["testpaths"]
    startup = project / "tests" / "lessons" / "startup.py"
    conftest = NOTEBOOKS / "conftest.py"
    set_by_it = f"import os, runpy; runpy.run_path({str(conftest)!r}); print(os.environ['PYTHONSTARTUP'])"
    done = subprocess.run([sys.executable, "-c", set_by_it], capture_output=True, text=True, check=True)
    assert Path(done.stdout.strip()) == startup
    bare = "import matplotlib.pyplot as plt; plt.plot([1, 2]); plt.show()"
    run = f"exec(open({str(startup)!r}).read(), {{'__file__': {str(startup)!r}}})"
    code = f"import matplotlib; matplotlib.use('agg'); {run}; {bare}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "FigureError: axes 0: the x axis has numbers and no label" in done.stderr
