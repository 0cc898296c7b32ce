"""Checkpoints: the parameters under timm's names, and beside them what the optimiser remembers.

    checkpoints/model.safetensors            the parameters after the last whole epoch; plain timm tensors
    checkpoints/optimizer-<epoch>.safetensors   the optimiser's moments after that epoch, flat

The optimiser's file is written first and the model's, which names the epoch, second; each is replaced in
one step. Whenever the process dies, the model file and the moments of its epoch are both there.
"""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from minivit.arrays import Array, to_device, to_host
from minivit.errors import MinivitError
from minivit.files import write_whole
from minivit.interop.timm import from_timm, to_timm
from minivit.model import ViTConfig, ViTParams
from minivit.training.optimizers import Moments
from minivit.training.step import TrainState

MODEL = Path("checkpoints") / "model.safetensors"


def save_checkpoint(run: Path, state: TrainState, config: ViTConfig, epoch: int) -> None:
    """Write the state after `epoch` (1, 2, ...) into the run directory. Raises MinivitError if it cannot."""
    from safetensors.numpy import save

    moments = {"first": to_host(state.moments.first)}
    if state.moments.second is not None:
        moments["second"] = to_host(state.moments.second)
    kept = _optimizer_file(run, epoch)
    write_whole(kept, save(moments, {"epoch": str(epoch), "step": str(state.step)}))
    params = {name: np.ascontiguousarray(x) for name, x in to_timm(state.params.tree, config).items()}
    write_whole(run / MODEL, save(params, {"epoch": str(epoch)}))
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
