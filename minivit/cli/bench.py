"""`minivit bench`: how long a training step takes, against its matrix products and against PyTorch."""

from __future__ import annotations

import argparse
import json
import platform
import statistics
from pathlib import Path
from typing import Any, get_args

import numpy as np

from minivit.arrays import Array, DeviceName, to_host
from minivit.bench.floor import floor_run
from minivit.bench.memory import peak_megabytes
from minivit.bench.ours import free_memory, ours
from minivit.bench.sides import Ours
from minivit.bench.theirs import theirs
from minivit.bench.timing import keep_busy, median_ratio, median_seconds, seconds_of
from minivit.bench.workload import Workload, step_operations
from minivit.cli.train import NO_GRAPH, why_not_recorded
from minivit.errors import MinivitError, counted, first_line
from minivit.fields import types_of
from minivit.model import count_params
from minivit.ops import OpsName, choose_ops
from minivit.threads import cores
from minivit.training.config import model_config, read_values, section_of
from minivit.training.precision import choose_precision, device_of
from minivit.training.settings import GraphName, PrecisionName, TrainSettings

DESCRIPTION = """\
Measure a training step without dropout: forward, backward, optimiser and the whole; images a second, floating-point
operations a second, and growth with the batch and the depth; on a CPU also memory and how long the step's matrix
products take alone, on a GPU how long the host takes to queue it.

With no argument: 65 tokens, width 192, 6 blocks, 3 heads (mini/4), 128 images, float32.
"""


def add_to(commands: Any) -> None:
    """Add this command and its flags."""
    command = commands.add_parser(
        "bench",
        help="how fast a training step is, also against PyTorch",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    command.set_defaults(run_command=run)
    command.add_argument("--config", metavar="FILE.toml", type=Path, help="the model and the batch of a configuration")
    command.add_argument("--batch-size", metavar="N", type=int, help="images in a step (default: 128, or the file's)")
    command.add_argument("--gelu", choices=["tanh", "erf"], help="form of GELU (default: the model's)")
    # No flag has a default of its own: what is not given is as the file says, or as in training.
    command.add_argument("--device", choices=get_args(DeviceName), help="default: the file's, or cpu")
    command.add_argument("--ops", choices=get_args(OpsName), help="default: the file's, or auto")
    command.add_argument("--threads", metavar="N", type=int, help="cores to use; 0: all (default: the file's, or 0)")
    command.add_argument("--precision", choices=get_args(PrecisionName), help="on a GPU: tf32 unless told otherwise")
    command.add_argument("--graph", choices=get_args(GraphName), help="on a GPU: auto launches a step as a CUDA graph")
    command.add_argument(
        "--recompute", action="store_true", default=None, help="compute each block again in the backward pass"
    )
    command.add_argument(
        "--all-tokens",
        dest="skip_unread",
        action="store_false",
        default=None,
        help="also compute the last block's tokens that the head does not read",
    )
    command.add_argument("--against", choices=["torch"], help="time PyTorch too, in turns, on the same weights")
    command.add_argument("--compile", action="store_true", help="with --against torch: torch.compile as well")
    command.add_argument("--pieces", action="store_true", help="on a GPU: the time of each fused function alone")
    command.add_argument("--rounds", metavar="N", type=int, default=7, help="runs of each (default: %(default)s)")
    command.add_argument("--plot", metavar="FILE.png", type=Path, help="draw where the time goes")
    command.add_argument("--json", action="store_true", help="print one JSON object")


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    if options.rounds < 1:
        raise MinivitError(f"--rounds is {options.rounds}; expected at least 1")
    if options.compile and not options.against:
        raise MinivitError("--compile is about PyTorch; give --against torch with it")
    if options.plot and options.plot.suffix.lower() != ".png":
        raise MinivitError(f"--plot is {options.plot}; expected a name that ends in .png, which the picture is")
    if options.pieces and (options.against or options.plot):
        raise MinivitError("--pieces is a measurement of its own; give it without --against and --plot")
    workload = _workload(options)
    if workload.settings.graph == "auto" and workload.device == "cpu" and not options.json:
        print(NO_GRAPH)
    if options.pieces:
        _print_pieces(workload, options.json)
        return
    if options.against:
        theirs(workload)  # refused at once, if it cannot be had
    found = measure(workload, options)
    print(json.dumps(found, indent=2) if options.json else _table(found), flush=True)
    if options.plot:  # after the numbers: these stand where a picture cannot be written
        from minivit.plots import save_step_times

        save_step_times(found, options.plot)
        if not options.json:
            print(f"picture: {options.plot}")
    if "compile_error" in found:
        raise MinivitError(f"torch.compile could not be measured: {found['compile_error'].rstrip('.')}; omit --compile")


def _print_pieces(workload: Workload, as_json: bool) -> None:
    """The time of each fused function, and its share of what all those of a step take together."""
    if workload.device != "cuda" or workload.settings.ops == "reference":
        raise MinivitError("--pieces measures the fused functions of a GPU; give --device cuda, and no --ops reference")
    from minivit.bench.pieces_on_gpu import measure_pieces

    found = measure_pieces(workload)
    if as_json:
        print(json.dumps({"batch": workload.batch, "pieces": found}, indent=2))
        return
    whole = sum(x["times"] * x["seconds"] for x in found.values())
    print(f"{'':<32}{'us':>9}{'GB/s':>9}{'times':>7}{'share':>8}")
    for name, x in found.items():
        share = x["times"] * x["seconds"] / whole
        print(f"  {name:<30}{1e6 * x['seconds']:9.1f}{x['gb_per_s']:9.0f}{x['times']:7.0f}{share:8.1%}")


def _workload(options: argparse.Namespace) -> Workload:
    values = read_values(options.config) if options.config else {"variant": "mini/4", "batch_size": 128}
    values.setdefault("device", "cpu")
    settable = types_of(TrainSettings)
    values |= {name: x for name, x in vars(options).items() if name in settable and x is not None}
    if options.gelu is not None:
        values["gelu"] = options.gelu
    settings: TrainSettings = section_of(TrainSettings, values)
    device = device_of(settings)
    return Workload(model_config(values).replace(dropout=0.0, drop_path=0.0), settings.batch_size, settings, device)


def measure(workload: Workload, options: argparse.Namespace) -> dict[str, Any]:
    """Everything that is printed, by name; times in seconds, memory in MiB."""
    rounds, config = options.rounds, workload.config
    side = ours(workload)
    logits = [to_host(x).astype(np.float32) for x in side.forward()]  # of the weights as they start
    if workload.device == "cuda":
        keep_busy(side.step, _WAKING_SECONDS)
    forward, gradients, update, step = (median_seconds(run, rounds) for run in side[:4])
    found: dict[str, Any] = {
        "model": f"{config.in_words}, MLP {config.mlp_width}, {counted(config.tokens, 'token')}, "
        f"{count_params(config)} parameters, GELU {config.gelu}",
        "batch": workload.batch,
        "rounds": rounds,
        "device": workload.device,
        "threads": workload.settings.threads or cores(),
        "ops": choose_ops(workload.settings.ops, workload.device).__name__.rpartition(".")[2],
        "all_tokens": not workload.settings.skip_unread,
        "recompute": workload.settings.recompute,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "forward_s": forward,
        "backward_s": max(0.0, gradients - forward),
        "optimizer_s": update,
        "step_s": step,
        "images_per_s": workload.batch / step,
        "gflops": step_operations(workload) / step / 1e9,
    }
    if workload.device == "cuda":
        settings = workload.settings
        found["precision"] = choose_precision(settings.precision, workload.device, settings.ops).name
        found["graph"] = settings.graph
        if settings.graph == "auto" and not side.recorded():
            found["not_recorded"] = why_not_recorded(settings) or "it could not be; a warning says why"
        found["queue_s"] = _queue_seconds(side, rounds)
    if workload.device == "cpu":
        _, found["floor_s"], found["step_over_floor"] = median_ratio(side.step, floor_run(workload), rounds)
        found["peak_memory_mb"] = peak_megabytes(workload, "minivit")
    found |= _scaling(workload, side, min(rounds, 5))
    if options.against:
        found |= _against(workload, side, np.concatenate(logits), options)
        if "peak_memory_mb" in found:
            found["ratio_memory"] = found["peak_memory_mb"] / found["torch_peak_memory_mb"]
    return found


def _queue_seconds(side: Ours, rounds: int) -> float:
    """Seconds that the host needs to queue a step: under a step's own time, the GPU never waits for it."""
    found = []
    for _ in range(rounds):
        side.step()  # nothing is queued
        found.append(seconds_of(side.queue))
    side.step()
    return statistics.median(found)


def _scaling(workload: Workload, one: Ours, rounds: int) -> dict[str, float]:
    """Time of twice the batch, and of twice the depth, over the time of one; measured in turns."""
    deeper = workload.config.replace(depth=2 * workload.config.depth)
    larger = {
        "double_batch": workload._replace(batch=2 * workload.batch),
        "double_depth": workload._replace(config=deeper),
    }
    ratios = {}
    for name, other in larger.items():  # one after another: a GPU need not hold both at once
        free_memory(workload.device)
        ratios[name] = median_ratio(ours(other).step, one.step, rounds)[2]
    free_memory(workload.device)
    return ratios


_WAKING_SECONDS = 0.5

# At most so far apart, relative to the largest: roundings, not another model.
_LOGITS_DIFFER = {"cpu": 1e-3, "cuda": 2e-2, "float32": 1e-3, "tf32": 2e-2, "bfloat16": 1e-1}


def _against(workload: Workload, side: Ours, logits: Array, options: argparse.Namespace) -> dict[str, Any]:
    """Ratios to PyTorch, below 1 where minivit is faster; the models are shown to be the same by their logits first."""
    other = theirs(workload)
    expected = other.forward().float().cpu().numpy()
    off = float(np.abs(logits - expected).max() / np.abs(expected).max())
    if off > _LOGITS_DIFFER.get(workload.settings.precision, _LOGITS_DIFFER[workload.device]):
        raise MinivitError(f"the logits of minivit and PyTorch differ by {off:.1e}; the comparison would mean nothing")
    import torch

    _, their_step, ratio = median_ratio(side.step, other.step, options.rounds)
    _, their_forward, inference = median_ratio(side.forward, other.forward, options.rounds)
    found: dict[str, Any] = {
        "torch": torch.__version__,
        **({"torch_attention": other.attention} if other.attention else {}),
        "torch_step_s": their_step,
        "ratio_eager": ratio,
        "torch_forward_s": their_forward,
        "ratio_inference": inference,
    }
    if workload.device == "cpu":
        found["torch_peak_memory_mb"] = peak_megabytes(workload, "torch")
    if options.compile:
        try:
            compiled = median_ratio(side.step, theirs(workload, compiled=True).step, options.rounds)
            _, found["torch_compile_step_s"], found["ratio_compile"] = compiled
        except Exception as error:  # a missing C++ compiler, say: what was measured before stands all the same
            found["compile_error"] = first_line(error)
    return found


_LINES = (
    ("forward", "forward_s", "{:8.3f} s"),
    ("backward", "backward_s", "{:8.3f} s"),
    ("optimiser", "optimizer_s", "{:8.3f} s"),
    ("whole step", "step_s", "{:8.3f} s"),
    ("host, to queue a step", "queue_s", "{:8.3f} s"),
    ("images a second", "images_per_s", "{:8.1f}"),
    ("GFLOP/s of matrix products", "gflops", "{:8.1f}"),
    ("matrix products alone", "floor_s", "{:8.3f} s"),
    ("step / matrix products", "step_over_floor", "{:8.2f}"),
    ("memory of a step", "peak_memory_mb", "{:8.0f} MiB"),
    ("twice the batch / one", "double_batch", "{:8.2f}"),
    ("twice the depth / one", "double_depth", "{:8.2f}"),
    ("PyTorch eager, whole step", "torch_step_s", "{:8.3f} s"),
    ("PyTorch eager, inference", "torch_forward_s", "{:8.3f} s"),
    ("PyTorch memory", "torch_peak_memory_mb", "{:8.0f} MiB"),
    ("torch.compile, whole step", "torch_compile_step_s", "{:8.3f} s"),
    ("step / PyTorch eager", "ratio_eager", "{:8.2f}"),
    ("inference / PyTorch eager", "ratio_inference", "{:8.2f}"),
    ("memory / PyTorch eager", "ratio_memory", "{:8.2f}"),
    ("step / torch.compile", "ratio_compile", "{:8.2f}"),
)


def _table(found: dict[str, Any]) -> str:
    where = "GPU" if found["device"] == "cuda" else counted(found["threads"], "core")
    tokens = "the last block whole" if found["all_tokens"] else "of the last block what is read"
    how = f"{counted(found['batch'], 'image')}, {where}, ops {found['ops']}, NumPy {found['numpy']}, {tokens}"
    head = f"{found['model']}; {how}{', blocks computed again' * found['recompute']}"
    if found.get("graph") == "auto":
        head += f", not recorded as a graph: {found['not_recorded']}" if "not_recorded" in found else ", as a graph"
    return "\n".join([head, *(f"  {text:<28}{form.format(found[k])}" for text, k, form in _LINES if k in found)])
