"""A run directory: everything that one training leaves behind.

config.toml        the whole configuration, every default filled in
environment.json   versions and machine
metrics.csv        one row an epoch
curves.png         loss and accuracy over the epochs
predictions.png    test images with what the model says
results.json       accuracy and loss on the test images, computed once, at the end
checkpoints/       see checkpoint.py
"""

from __future__ import annotations

import contextlib
import csv
import importlib.metadata
import io
import itertools
import json
import os
import platform
from pathlib import Path
from typing import NamedTuple, get_type_hints

from minivit import __version__
from minivit.arrays import to_device
from minivit.errors import MinivitError
from minivit.files import expanded, write_whole
from minivit.model import ViTParams
from minivit.model.params import map_tree
from minivit.ops import choose_ops
from minivit.training.checkpoint import MODEL, load_params
from minivit.training.config import RunConfig, read_run_config, to_toml
from minivit.training.evaluate import Score


class EpochRow(NamedTuple):
    """One line of metrics.csv. The last two are times; all others repeat exactly for the same seed."""

    epoch: int
    step: int  # steps done since the start
    learning_rate: float  # of the epoch's last step
    train_loss: float  # mean over the epoch's batches, as they came, augmented
    train_accuracy: float
    validation_loss: float
    validation_accuracy: float
    gradient_norm: float  # mean over the epoch's steps, before clipping
    seconds: float  # the epoch's training and evaluation
    images_per_second: float  # in training


UNRESUMABLE = "the run cannot be resumed without its metrics: restore the file, or train again"


class LoadedRun(NamedTuple):
    """A trained model, ready to be used."""

    config: RunConfig
    params: ViTParams
    epoch: int


def new_run_directory(out: Path | None, dataset: str) -> Path:
    """Make the directory of a new run: `out`, or the first free runs/<dataset>-<number>.

    Raises MinivitError if `out` holds anything, or cannot be made.
    """
    try:
        if out is None:
            return _next_directory(dataset)
        path = expanded(out)
        if path.exists() and not path.is_dir():
            raise MinivitError(f"{path} is a file; choose another --out, for a directory")
        if path.exists() and any(path.iterdir()):
            more = f", or go on with --resume {path}" if (path / MODEL).is_file() else ""
            raise MinivitError(f"{path} is there and not empty; choose another --out{more}")
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        where = out or Path("runs")
        raise MinivitError(f"{where} cannot be made ({error.strerror}); choose another --out") from error
    return path


def _next_directory(dataset: str) -> Path:
    """Make the first runs/<dataset>-<number> that is not there; of two runs that begin at once, each its own."""
    Path("runs").mkdir(exist_ok=True)
    for number in itertools.count(1):
        path = Path("runs") / f"{dataset}-{number}"
        with contextlib.suppress(FileExistsError):
            path.mkdir()
            return path
    raise AssertionError("numbers do not end")


def start_run(run: Path, config: RunConfig, device: str = "cpu") -> None:
    """Write what is known before the first step."""
    write_whole(run / "config.toml", to_toml(config))
    found = environment(device) | {"ops": choose_ops(config.training.ops, device).__name__}
    write_whole(run / "environment.json", json.dumps(found, indent=2) + "\n")


def recorded_ops(run: Path) -> str | None:
    """The functions that a run began with, "minivit.ops.cpu"; None where it does not say."""
    try:
        found = json.loads((run / "environment.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return found.get("ops") if isinstance(found, dict) else None


def load_run(run: Path, device: str = "cpu") -> LoadedRun:
    """The configuration of a run, and its parameters on `device`, "cpu" or "cuda".

    Raises MinivitError if `run` is not a whole run directory.
    """
    check_run(run)
    config = read_run_config(run / "config.toml")
    params, epoch = load_params(run / MODEL, config.model)
    return LoadedRun(config, map_tree(lambda x: to_device(x, device), params), epoch)


def check_run(run: Path) -> None:
    """Raise MinivitError unless `run` looks like a run directory with a trained model in it."""
    if not run.is_dir():
        what = "is a file" if run.exists() else "is not there"
        raise MinivitError(f"the run directory {run} {what}; expected a folder that `minivit train` wrote")
    if not (run / "config.toml").is_file():
        raise MinivitError(
            f"{run} is not a run directory: it has no config.toml; expected a folder that `minivit train` wrote"
        )
    if not (run / MODEL).is_file():
        raise MinivitError(f"{run} has no {MODEL} yet: no epoch of it was finished; train it again under another --out")


def write_metrics(run: Path, rows: list[EpochRow]) -> None:
    """Write metrics.csv anew, as a whole."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(EpochRow._fields)
    writer.writerows(rows)
    write_whole(run / "metrics.csv", text.getvalue())


def read_metrics(run: Path) -> list[EpochRow]:
    """The rows of metrics.csv. Raises MinivitError if it is missing or damaged."""
    path = run / "metrics.csv"
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        return [EpochRow(*(kind(row[name]) for name, kind in get_type_hints(EpochRow).items())) for row in rows]
    except OSError as error:
        raise MinivitError(f"{path} cannot be read ({error.strerror}); {UNRESUMABLE}") from error
    except (KeyError, TypeError, ValueError) as error:
        raise MinivitError(f"{path} holds no metrics as a run writes them; {UNRESUMABLE}") from error


def write_results(run: Path, score: Score) -> None:
    """Write results.json: the accuracy on the test images."""
    write_whole(run / "results.json", json.dumps(score_as_json(score), indent=2) + "\n")


def score_as_json(score: Score) -> dict[str, float | int]:
    """A test score under the names that `minivit eval --json` prints."""
    return {"test_accuracy": score.accuracy, "test_loss": score.loss, "images": score.images}


def environment(device: str = "cpu") -> dict[str, object]:
    """Versions and machine, for whoever wants to repeat a run on "cpu" or "cuda"."""
    import numpy as np

    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    found: dict[str, object] = {
        "minivit": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": _version("numba"),
        "blas": f"{blas.get('name', 'unknown')} {blas.get('version', '')}".strip(),
        "system": f"{platform.system()} {platform.machine()}",
        "processor": _processor(),
        "cores": os.cpu_count(),
    }
    if device == "cuda":
        import cupy

        found |= {"cupy": cupy.__version__, "gpu": cupy.cuda.runtime.getDeviceProperties(0)["name"].decode()}
    return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    """The processor's name where the system tells it."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next(
        (line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.processor()
    )
