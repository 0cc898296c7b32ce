"""What a check found, for every reader: text for a terminal, a table for a notebook, JSON for a program.

The worst gradient comes first, with a verdict in words.
"""

from __future__ import annotations

import html
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_HEAD = ("", "tensor", "shape", "error", "tolerance", "verdict")


class GradientError(AssertionError):
    """A gradient that is off by more than its tolerance; the message is the report's table."""


@dataclass(frozen=True)
class Row:
    """One gradient, or one promise that the pair broke."""

    tensor: str  # "dx"
    shape: tuple[int, ...]
    error: float  # relative, L2 over the whole tensor; infinite where there is nothing to compare
    tolerance: float
    verdict: str  # "right", or what is wrong in words
    seconds: float = 0.0  # spent on the numeric derivative

    @property
    def passed(self) -> bool:
        """Whether the error is within the tolerance; never so for nan."""
        return bool(self.error <= self.tolerance)

    @property
    def excess(self) -> float:
        """The error in units of the tolerance, with nan as infinity: what rows are sorted by."""
        ratio = self.error / self.tolerance if self.tolerance > 0.0 else math.inf
        return math.inf if math.isnan(ratio) else ratio


@dataclass(frozen=True)
class Report:
    """All gradients of one pair, worst first. Text by print or str, a table in a notebook, `json()`."""

    name: str
    method: str
    dtype: str
    rows: tuple[Row, ...]
    note: str = ""  # what was not checked, and why

    @property
    def passed(self) -> bool:
        """Whether every row is within its tolerance."""
        return all(row.passed for row in self.rows)

    @property
    def worst(self) -> Row:
        """The row furthest above its tolerance."""
        return self.rows[0]

    @property
    def error(self) -> float:
        """The largest error of all rows."""
        return max((math.inf if math.isnan(row.error) else row.error) for row in self.rows)

    def __getitem__(self, tensor: str) -> Row:
        """The row of a tensor, report["dx"]. Raises KeyError if there is none."""
        for row in self.rows:
            if row.tensor == tensor:
                return row
        raise KeyError(tensor)

    def require(self, tolerance: float | None = None) -> Report:
        """This report, if every error is at most `tolerance` (without it: each row's own).

        Raises GradientError, an AssertionError, with the table if not.
        """
        if all(row.passed if tolerance is None else row.error <= tolerance for row in self.rows):
            return self
        limit = "" if tolerance is None else f" (required: {tolerance:.0e})"
        raise GradientError(f"{self}{limit}")

    def json(self) -> str:
        """A list of objects, one a row; an error that is no number is null."""
        return json.dumps([self.row_as_json(row) for row in self.rows])

    def row_as_json(self, row: Row) -> dict[str, Any]:
        """One row with keys that a program can rely on."""
        return {
            "name": self.name,
            "tensor": row.tensor,
            "error": finite_or_none(row.error),
            "tolerance": row.tolerance,
            "seconds": round(row.seconds, 6),
            "shape": list(row.shape),
            "passed": row.passed,
            "verdict": row.verdict,
        }

    def __str__(self) -> str:
        title = f"{self.name}: {self.method.replace('_', ' ')}, {self.dtype}: "
        title += "right" if self.passed else "WRONG"
        cells = [_HEAD, *(_cells(row, "", "!") for row in self.rows)]
        return "\n".join([title, *aligned(cells, right=(3, 4)), *([f"   {self.note}"] if self.note else [])])

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """What IPython shows where it cannot show HTML: the same text as print."""
        printer.text(str(self))

    def _repr_html_(self) -> str:
        """The table that a notebook shows."""
        style = "text-align:left;padding:2px 10px"
        head = "".join(f'<th style="{style}">{cell}</th>' for cell in _HEAD)
        body = ""
        for row in self.rows:
            weight = "" if row.passed else ";font-weight:bold"
            cells = (html.escape(cell) for cell in _cells(row, "✓", "✗"))
            body += "<tr>" + "".join(f'<td style="{style}{weight}">{cell}</td>' for cell in cells) + "</tr>"
        note = f"<p>{html.escape(self.note)}</p>" if self.note else ""
        title = f"{self.name}: {self.method.replace('_', ' ')}, {self.dtype}: {'right' if self.passed else 'WRONG'}"
        return f"<p>{html.escape(title)}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"


def sorted_rows(rows: list[Row]) -> tuple[Row, ...]:
    """Worst first; equals stay in the order of the arguments."""
    return tuple(sorted(rows, key=lambda row: -row.excess))


def aligned(cells: Sequence[tuple[str, ...]], right: tuple[int, ...] = ()) -> list[str]:
    """Lines of text with the columns below one another; those in `right` end flush."""
    widths = [max(len(line[i]) for line in cells) for i in range(len(cells[0]))]
    placed = [
        [c.rjust(w) if i in right else c.ljust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        for line in cells
    ]
    return ["  ".join(line).rstrip() for line in placed]


def finite_or_none(x: float) -> float | None:
    """x, or None where JSON has no number for it."""
    return x if math.isfinite(x) else None


def _cells(row: Row, right: str, wrong: str) -> tuple[str, ...]:
    mark = right if row.passed else wrong
    error = f"{row.error:.1e}" if math.isfinite(row.error) else "-"
    return mark, row.tensor, str(row.shape), error, f"{row.tolerance:.0e}", row.verdict
