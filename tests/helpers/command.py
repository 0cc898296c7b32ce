"""Running the command line inside the test process, and small pictures for it to learn."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivit.cli.main import main
from minivit.training import loop

# A model and a run that take a second.
TINY = "--patch-size 8 --width 16 --depth 1 --heads 2 --epochs 2 --batch-size 16 --warmup-epochs 0.5".split()  # noqa: SIM905


class Outcome(NamedTuple):
    """What a command left behind."""

    code: int
    out: str
    err: str


def minivit(capsys, *words: object) -> Outcome:
    """Run `minivit WORDS` and catch what it prints."""
    capsys.readouterr()
    try:
        code = main([str(word) for word in words])
    except SystemExit as end:  # --help and --version
        code = int(end.code or 0)
    return Outcome(code, *capsys.readouterr())


def refused(capsys, *words: object) -> str:
    """The one line on stderr with which `minivit WORDS` must end, exit code 2, without a traceback."""
    outcome = minivit(capsys, *words)
    assert outcome.code == 2, outcome
    lines = outcome.err.strip().splitlines()
    assert len(lines) == 1, outcome.err
    assert lines[0].startswith("minivit: ")
    assert "Traceback" not in outcome.err
    return lines[0]


def picture_folder(folder: Path, per_class: int = 12, size: tuple[int, int] = (32, 32), test: bool = True) -> Path:
    """Write folder/{train,test}/{dark,light}/*.png: grey noise that is dark or light. Returns folder."""
    from PIL import Image

    rng = np.random.default_rng(0)
    for split in ("train", "test") if test else ("train",):
        for name, base in (("dark", 20), ("light", 180)):
            where = folder / split / name
            where.mkdir(parents=True)
            for i in range(per_class):
                pixels = rng.integers(base, base + 60, (*size, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(where / f"{i}.png")
    return folder


def folder_run(capsys, pictures: Path, out: Path, *more: object) -> Outcome:
    """A tiny run on a folder of pictures, which has to succeed."""
    outcome = minivit(capsys, "train", "--dataset", "folder", "--data-dir", pictures, "--out", out, *TINY, *more)
    assert outcome.code == 0, outcome.err
    return outcome


def stop_in_epoch(patch, number: int) -> None:
    """From now on a training is interrupted, as by Ctrl-C, when that epoch begins."""
    epoch = loop._epoch

    def stopped(state, config, splits, now, *rest):
        if now == number:
            raise KeyboardInterrupt
        return epoch(state, config, splits, now, *rest)

    patch.setattr(loop, "_epoch", stopped)


def same_numbers(one: Path, other: Path) -> bool:
    """Whether the metrics of two runs are the same, but for their times."""
    tables = []
    for run in (one, other):
        with (run / "metrics.csv").open() as file:
            tables.append([row[:-2] for row in csv.reader(file)])
    return tables[0] == tables[1]
