"""Run notebooks and keep their outputs: what a maintainer does after a change.

    python notebooks/execute.py notebooks/04_layer_norm.ipynb ...        without arguments: all of them

Prints each notebook's running time and size. Times and versions of this machine are taken out of the file, so that
a second run changes nothing but figures that were measured anew.
"""

import argparse
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).parent


def execute(path: Path) -> float:
    """Run one notebook in its own folder and write it back; returns the seconds it took."""
    notebook = nbformat.read(path, as_version=4)
    started = time.perf_counter()
    client = NotebookClient(notebook, timeout=600, kernel_name="python3", resources={"metadata": {"path": path.parent}})
    client.execute()
    seconds = time.perf_counter() - started
    notebook.metadata = nbformat.from_dict(
        {
            "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
            "language_info": {"name": "python"},
        }
    )
    for number, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({})
        cell.id = f"cell-{number:02d}"
    nbformat.write(notebook, path)
    return seconds


def main(paths: list[Path]) -> None:
    """Run the given notebooks, or all."""
    for path in paths or sorted([*HERE.glob("*.ipynb"), *HERE.glob("solutions/*.ipynb")]):
        seconds = execute(path)
        print(f"{path}  {seconds:.0f} s  {path.stat().st_size / 1e3:.0f} kB")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", metavar="NOTEBOOK", nargs="*", type=Path)
    given = parser.parse_args().notebooks
    for missing in (path for path in given if not path.is_file()):
        parser.error(f"{missing} is not there; expected a notebook, such as notebooks/04_layer_norm.ipynb")
    main(given)
