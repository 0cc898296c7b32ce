"""Checkpoints: the parameters under timm's names, and beside them what the optimiser remembers.

    checkpoints/model.safetensors            the parameters after the last whole epoch; plain timm tensors
    checkpoints/optimizer-<epoch>.safetensors   the optimiser's moments after that epoch, flat

The optimiser's file is written first and the model's, which names the epoch, second; each is replaced in
one step. Whenever the process dies, the model file and the moments of its epoch are both there.

Training goes on while they are written: a disk may take as long for them as a GPU for an epoch.
"""

from __future__ import annotations

import os
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minivit.arrays import Array, host_copy, to_device
from minivit.errors import MinivitError
from minivit.files import write_whole
from minivit.interop.timm import from_timm, to_timm
from minivit.model import ViTConfig, ViTParams
from minivit.model.params import copied_to_host
from minivit.training.optimizers import Moments
from minivit.training.step import TrainState

MODEL = Path("checkpoints") / "model.safetensors"


class Checkpoint(NamedTuple):
    """A state as it was after an epoch: a copy on the host, which training does not change any more."""

    epoch: int
    step: int
    params: ViTParams
    moments: Moments


class Checkpoints:
    """Writes a run's checkpoints, one at a time, on a thread of its own; who leaves it as a context waits for the last.

    A second Ctrl+C, while it waits, may lose that one; the one before is there.
    """

    def __init__(self, run: Path, config: ViTConfig) -> None:
        self.run, self.config = run, config
        self.thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="checkpoint")
        self.writing: Future[None] | None = None

    def save(self, state: TrainState, epoch: int) -> None:
        """Begin to write the state after `epoch` (1, 2, ...), once the one before is there.

        Raises MinivitError if that one could not be written.
        """
        self.wait()
        self.writing = self.thread.submit(write_checkpoint, self.run, checkpoint_of(state, epoch), self.config)

    def wait(self) -> None:
        """Until what was begun is written. Raises MinivitError if it could not be."""
        if self.writing is not None:
            self.writing.result()

    def __enter__(self) -> Checkpoints:
        return self

    def __exit__(self, *_: object) -> None:
        self.thread.shutdown()


def save_checkpoint(run: Path, state: TrainState, config: ViTConfig, epoch: int) -> None:
    """Write the state after `epoch` (1, 2, ...) at once. Raises MinivitError if it cannot."""
    write_checkpoint(run, checkpoint_of(state, epoch), config)


def checkpoint_of(state: TrainState, epoch: int) -> Checkpoint:
    """A copy of the state after `epoch` (1, 2, ...)."""
    first, second = state.moments
    moments = Moments(host_copy(first), None if second is None else host_copy(second))
    return Checkpoint(epoch, state.step, copied_to_host(state.params).tree, moments)


def write_checkpoint(run: Path, checkpoint: Checkpoint, config: ViTConfig) -> None:
    """Write both files into the run directory, and remove older moments. Raises MinivitError if it cannot."""
    from safetensors.numpy import save

    epoch, step, params, moments = checkpoint
    kept = _optimizer_file(run, epoch)
    tensors = {name: x for name, x in moments._asdict().items() if x is not None}
    write_whole(kept, save(tensors, {"step": str(step)}))  # of several entries safetensors draws the order by chance
    tensors = {name: np.ascontiguousarray(x) for name, x in to_timm(params, config).items()}
    write_whole(run / MODEL, save(tensors, {"epoch": str(epoch)}))
    for old in kept.parent.glob("optimizer-*.safetensors"):
        if old != kept:
            old.unlink()


def load_params(path: Path, config: ViTConfig) -> tuple[ViTParams, int]:
    """The parameters in a model file, and the epoch they are from (0 if the file does not say).

    Raises MinivitError if it is damaged or holds another model's parameters.
    """
    tensors, metadata = _read(path)
    for name, x in tensors.items():
        if x.dtype.kind == "f" and not np.isfinite(x).all():
            raise MinivitError(f"{path} cannot be used: {name} holds nan or infinity; restore it or train again")
    try:
        return from_timm(tensors, config), int(metadata.get("epoch", "0"))
    except ValueError as error:
        raise MinivitError(f"{path} does not fit its configuration: {error}") from error


def load_moments(run: Path, epoch: int, moments: Moments, device: str) -> int:
    """Fill `moments` with those saved after `epoch`; returns the number of steps done by then.

    Raises MinivitError if the file is missing or damaged, or holds those of another model or optimiser.
    """
    path = _optimizer_file(run, epoch)
    tensors, metadata = _read(path)
    for name, into in (("first", moments.first), ("second", moments.second)):
        if into is None:
            continue
        if name not in tensors or tensors[name].shape != into.shape or tensors[name].dtype != into.dtype:
            raise MinivitError(f"{path} does not hold the moments of this model's optimiser; restore it or train again")
        into[...] = to_device(tensors[name], device)
    try:
        return int(metadata["step"])
    except (KeyError, ValueError) as error:
        raise MinivitError(f"{path} does not say which step it is from; restore it or train again") from error


def _optimizer_file(run: Path, epoch: int) -> Path:
    return run / "checkpoints" / f"optimizer-{epoch:04d}.safetensors"


def _read(path: Path) -> tuple[dict[str, Array], dict[str, str]]:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        reason = "it is not there" if not path.exists() else " ".join(str(error).split())
        if path.exists() and not os.access(path, os.R_OK):
            reason = "you may not read it"
        raise MinivitError(f"{path} cannot be read as a checkpoint ({reason}); restore it or train again") from error
    except (TypeError, AttributeError) as error:
        raise MinivitError(
            f"{path} holds numbers of a type that NumPy has not ({error}); expected float32, so convert it"
        ) from error
