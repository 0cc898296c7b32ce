"""A notebook's code without running it: its functions, for tests that call them."""

from __future__ import annotations

import ast
from pathlib import Path
from typing import Any

import nbformat

NOTEBOOKS = Path(__file__).parents[2] / "notebooks"
LESSONS = sorted(NOTEBOOKS.glob("[0-9][0-9]_*.ipynb"))
SOLUTIONS = sorted(NOTEBOOKS.glob("solutions/[0-9][0-9]_*.ipynb"))


def read(path: Path) -> Any:
    """The notebook as nbformat reads it."""
    return nbformat.read(path, as_version=4)


def code_of(path: Path) -> str:
    """All code cells as one module's text."""
    return "\n\n".join(cell.source for cell in read(path).cells if cell.cell_type == "code")


def definitions(path: Path) -> dict[str, Any]:
    """The namespace after a notebook's imports, definitions and constants, without anything else it does.

    A name that is defined twice has its last meaning, as after running the notebook.
    """
    module = ast.parse(code_of(path))
    module.body = [node for node in module.body if _is_definition(node)]
    namespace: dict[str, Any] = {"__name__": path.stem}
    exec(compile(module, str(path), "exec"), namespace)
    return namespace


def defined_functions(path: Path) -> dict[str, Any]:
    """The functions that a notebook itself defines at its top level, by name."""
    names = {node.name for node in ast.parse(code_of(path)).body if isinstance(node, ast.FunctionDef)}
    namespace = definitions(path)
    return {name: namespace[name] for name in sorted(names)}


def _is_definition(node: ast.stmt) -> bool:
    if isinstance(node, ast.Import | ast.ImportFrom | ast.FunctionDef | ast.ClassDef):
        return True
    if not isinstance(node, ast.Assign) or not _is_constant(node.value):
        return False
    return all(isinstance(part, _NAMES) for target in node.targets for part in ast.walk(target))


def _is_constant(value: ast.expr) -> bool:
    """A number, a text, arithmetic on constants, or a random generator."""
    if isinstance(value, ast.Call):
        return ast.unparse(value.func) in ("np.random.default_rng", "math.sqrt", "np.sqrt")
    return all(isinstance(node, _CONSTANT) for node in ast.walk(value))


_NAMES = (ast.Name, ast.Tuple, ast.expr_context)
_CONSTANT = (ast.Constant, ast.Tuple, ast.List, ast.UnaryOp, ast.BinOp, ast.operator, ast.unaryop, ast.expr_context)
