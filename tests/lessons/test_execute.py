"""notebooks/execute.py: what a maintainer runs after a change."""

import importlib.util

import nbformat
import pytest
from lessons.notebook_code import NOTEBOOKS
from nbclient.exceptions import CellExecutionError

spec = importlib.util.spec_from_file_location("execute", NOTEBOOKS / "execute.py")
execute = importlib.util.module_from_spec(spec)
spec.loader.exec_module(execute)


def written(path, *sources):
    """A notebook of such code cells, not run yet."""
    cells = [nbformat.v4.new_code_cell(source, metadata={"scrolled": True}) for source in sources]
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"author": "me"}), path)
    return path


def test_outputs_are_kept_and_a_second_run_changes_nothing(tmp_path):
    path = written(tmp_path / "a.ipynb", "from pathlib import Path; x = 2", "print(x + 1, Path.cwd().name)")
    execute.main([path])
    notebook = nbformat.read(path, as_version=4)
    assert notebook.cells[1].outputs[0].text == f"3 {tmp_path.name}\n"  # in the notebook's own folder
    assert [cell.execution_count for cell in notebook.cells] == [1, 2]
    assert [cell.id for cell in notebook.cells] == ["cell-00", "cell-01"]
    assert not any(cell.metadata for cell in notebook.cells)
    assert set(notebook.metadata) == {"kernelspec", "language_info"}
    first = path.read_bytes()
    execute.main([path])
    assert path.read_bytes() == first


def test_a_notebook_that_fails_is_left_as_it_was(tmp_path):
    path = written(tmp_path / "a.ipynb", "1 / 0")
    before = path.read_bytes()
    with pytest.raises(CellExecutionError, match="ZeroDivisionError"):
        execute.main([path])
    assert path.read_bytes() == before
