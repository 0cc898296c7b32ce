"""Which check catches which seeded bug, as a table: `PYTHONPATH=tests python -m bugs.report` writes REPORT.md."""

from pathlib import Path

import numpy as np

from bugs.functions import FUNCTION_BUGS
from bugs.model import MODEL_BUGS
from bugs.others import chainer_passes, llm_c_passes, torch_passes
from minivit.gradcheck import check

BUGS = {**FUNCTION_BUGS, **MODEL_BUGS}
REPORT = Path(__file__).parent / "REPORT.md"
OTHERS = {"torch": torch_passes, "chainer": chainer_passes, "llm.c": llm_c_passes}

HEAD = """\
# Which check catches which bug

{count} backward passes, wrong as people's are. `minivit.gradcheck.check` catches {caught} of them. At the tolerances
of others, on the same arguments and in float64, {passes}.

- **torch**: torch.autograd.gradcheck, eps 1e-6, atol 1e-5, rtol 1e-3; every entry of the Jacobian
- **chainer**: check_backward, eps 1e-3, atol 1e-5, rtol 1e-4; one random direction, here most of 11
- **llm.c**: test_gpt2.c, 2e-2 absolute for each number of a gradient; it compares the smaller gradients of a mean
  loss, so this is kind to it

"caught" and "passes" say what the check does with the broken pass. The error is relative, L2 over the worst tensor;
"-" is a broken promise instead. Written by `PYTHONPATH=tests python -m bugs.report`; a test compares.

| bug | worst tensor | error | what `check` says | torch | chainer | llm.c |
|---|---|---|---|---|---|---|
"""


def line(name):
    """The table's line of one bug."""
    case, broken = BUGS[name]
    report = check(case.f, broken, case.args, names=case.names, axes=case.axes)
    row = report.worst
    error = f"{row.error:.0e}" if np.isfinite(row.error) else "-"
    others = " | ".join("passes" if passes(case, broken) else "caught" for passes in OTHERS.values())
    said = "PASSES" if report.passed else row.verdict.split(":")[0].split(";")[0]
    return f"| {name} | {row.tensor} | {error} | {said} | {others} |"


def write():
    """The whole report."""
    lines = [line(name) for name in BUGS]
    cells = [[cell.strip() for cell in text.strip("|").split("|")] for text in lines]
    passes = [f"{sum(row[i] == 'passes' for row in cells)} pass {name}" for i, name in enumerate(OTHERS, 4)]
    caught = sum(row[3] != "PASSES" for row in cells)
    head = HEAD.format(count=len(cells), caught=caught, passes=", ".join(passes))
    REPORT.write_text(head + "\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    write()
