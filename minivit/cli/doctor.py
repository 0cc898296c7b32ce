"""`minivit doctor`: what is installed, what works, and how to mend the rest."""

from __future__ import annotations

import argparse
from typing import Any

from minivit.doctor import findings
from minivit.errors import MinivitError

HELP = "what is installed, what works, and the command that mends what does not"


def add_to(commands: Any) -> None:
    """Add the command to the parser of all commands."""
    command = commands.add_parser("doctor", help=HELP, description=HELP.capitalize() + ".", allow_abbrev=False)
    command.set_defaults(run_command=run)


def run(options: argparse.Namespace) -> None:
    """Print a line for each finding, and the fix below it. Raises MinivitError if something is wrong."""
    wrong = 0
    for finding in findings():
        mark = "!" if finding.wrong else " "
        print(f"{mark} {finding.what:18} {finding.found}", flush=True)
        if finding.fix:
            print(f"{'':21}-> {finding.fix}")
        wrong += finding.wrong
    if wrong:
        what = "thing marked ! above does" if wrong == 1 else "things marked ! above do"
        raise MinivitError(f"{wrong} {what} not work; the commands after -> mend that")
