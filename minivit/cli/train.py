"""`minivit train`: train a model into a run directory."""

from __future__ import annotations

import argparse
import dataclasses
import textwrap
import time
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

from minivit.data import Splits, load
from minivit.errors import MinivitError, counted, say
from minivit.fields import parse, types_of
from minivit.files import absolute
from minivit.model import VARIANTS, count_params
from minivit.model.variants import SIZE_FIELDS
from minivit.ops import choose_ops
from minivit.threads import cores
from minivit.training.checkpoint import MODEL
from minivit.training.config import (
    SECTIONS,
    RunConfig,
    Values,
    field_types,
    fit,
    model_config,
    read_values,
    section_of,
)
from minivit.training.loop import train
from minivit.training.memory import estimated_bytes
from minivit.training.precision import choose_precision, device_of
from minivit.training.run_directory import load_run, new_run_directory, recorded_ops
from minivit.training.settings import SHAPES_PRESET, DataSettings, TrainSettings

DESCRIPTION = """\
Train a Vision Transformer into a run directory.

With no argument: learns the built-in shapes, in a minute or two on two cores. Shapes have defaults of their own,
whatever else is given, but for --variant:
PRESET.
Every field of a configuration file is also a flag of that name, and a flag wins over the file.
""".replace("PRESET", textwrap.fill(", ".join(f"{name} {value}" for name, value in SHAPES_PRESET.items()), 110))


def add_to(commands: Any) -> None:
    """Add this command and its flags: one for each field of the configuration."""
    command = commands.add_parser(
        "train",
        help="train a model into a run directory",
        description=DESCRIPTION,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
        argument_default=argparse.SUPPRESS,
    )
    command.set_defaults(run_command=run)
    command.add_argument("--config", metavar="FILE.toml", type=Path, help="read fields from a file; see examples/")
    command.add_argument("--out", metavar="RUN", type=Path, help="run directory to make (default: runs/<dataset>-<n>)")
    command.add_argument("--resume", metavar="RUN", type=Path, help="go on with a run that was interrupted")
    for title, section in SECTIONS.items():
        group = command.add_argument_group(f"{title}")
        if title == "model":
            group.add_argument("--variant", metavar="NAME", help=f"sizes to start from: {', '.join(VARIANTS)}")
        for field in dataclasses.fields(section):
            _add_flag(group, field, types_of(section)[field.name])


def _add_flag(group: Any, field: dataclasses.Field[Any], kind: Any) -> None:
    flag = "--" + field.name.replace("_", "-")
    default = field.default
    shown = "" if default in ("", None) else f" (default: {_text(default)})"
    text = (field.metadata["help"] + shown).replace("%", "%%")
    if kind is bool:
        group.add_argument(flag, action=argparse.BooleanOptionalAction, help=text)
    else:
        group.add_argument(flag, metavar=_metavar(kind), help=text)


def _metavar(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return "|".join(get_args(kind))
    return {int: "N", float: "X", str: "TEXT"}.get(kind, "H[xW]")


def _text(value: object) -> str:
    return "x".join(map(str, value)) if isinstance(value, tuple) else str(value)


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    given = {name: value for name, value in vars(options).items() if name in field_types()}
    flags = {name: parse("--" + name.replace("_", "-"), field_types()[name], value) for name, value in given.items()}
    config_file, out, resumed = (getattr(options, name, None) for name in ("config", "out", "resume"))
    if resumed is not None:
        _resume(resumed, flags, config_file, out)
        return
    asked = read_values(config_file) if config_file else {}
    if "variant" in flags:  # a flag wins over the file: this one over all sizes in it
        asked = {name: value for name, value in asked.items() if name not in SIZE_FIELDS}
    asked |= flags
    is_shapes = asked.get("dataset", "shapes") == "shapes"
    values = (SHAPES_PRESET if is_shapes and "variant" not in asked else {}) | asked
    data, settings = section_of(DataSettings, values), section_of(TrainSettings, values)
    model_config(values)  # refused before any data is read
    device = device_of(settings)  # refused before any data is read
    if data.data_dir:
        data = dataclasses.replace(data, data_dir=str(absolute(Path(data.data_dir))))
    splits = load(data.dataset, data.data_dir or None, values.get("image_size"))
    config = fit(values | dataclasses.asdict(data), splits)
    run_directory = new_run_directory(out, data.dataset)
    if "dataset" not in asked:
        print("No --dataset given: learning the built-in shapes.")
    for name, optimizer in _OF_ONE_OPTIMIZER.items():
        if name in flags and optimizer != settings.optimizer:
            flag = f"--{name.replace('_', '-')}"
            print(f"{flag} is of --optimizer {optimizer}: it changes nothing with {settings.optimizer}")
    _train(config, splits, run_directory, device, resume=False)


NO_GRAPH = "steps are recorded as a graph on a GPU alone: --graph auto changes nothing here"
_OF_ONE_OPTIMIZER = {"beta1": "adamw", "beta2": "adamw", "adam_eps": "adamw", "momentum": "sgd"}


def _resume(run_directory: Path, flags: Values, config_file: Path | None, out: Path | None) -> None:
    """Go on with a run; only where the data lie, which device computes and on how many cores may change."""
    fixed = [name for name in flags if name not in ("data_dir", "device", "threads")]
    fixed += [name for name, value in (("config", config_file), ("out", out)) if value is not None]
    if fixed:
        raise MinivitError(
            f"--{fixed[0].replace('_', '-')} cannot be changed with --resume, which keeps the run's configuration; "
            "leave it out, or start a new run"
        )
    config, _, epoch = load_run(run_directory)
    changed = {name: flags[name] for name in ("device", "threads") if name in flags}
    training = dataclasses.replace(config.training, **changed)
    device = device_of(training)
    splits = load(config.data.dataset, flags.get("data_dir", config.data.data_dir) or None, config.model.image_size)
    check_same_classes(config, splits)
    before, now = recorded_ops(run_directory), choose_ops(config.training.ops, device).__name__
    if before not in (None, now):
        say(f"note: the run began with {before}, and goes on with {now}: the last digits of its numbers will differ")
    if epoch >= config.training.epochs:
        test = "it is tested once more" if (run_directory / "results.json").exists() else "what is left is its test"
        print(f"all epochs of this run are done: {test}")
    _train(dataclasses.replace(config, training=training), splits, run_directory, device, resume=True)


def check_same_classes(config: RunConfig, splits: Splits) -> None:
    """Raise MinivitError if the data's classes are not those that the run learned."""
    if splits.test.classes != config.inputs.classes:
        raise MinivitError(
            f"the run knows {len(config.inputs.classes)} classes, first {config.inputs.classes[0]!r}, the data "
            f"{len(splits.test.classes)}, first {splits.test.classes[0]!r}; pass the --data-dir it was trained on"
        )


def _train(config: RunConfig, splits: Splits, run_directory: Path, device: str, resume: bool) -> None:
    for note in splits.notes:
        print(note)
    model = config.model
    print(
        f"{config.data.dataset}: {len(splits.train.labels)} training, {len(splits.validation.labels)} validation and "
        f"{len(splits.test.labels)} test images of {model.image_size[0]}x{model.image_size[1]}, {model.classes} classes"
    )
    print(
        f"ViT of {count_params(model)} parameters: {model.in_words}, {counted(model.tokens, 'token')}; "
        f"on {_where(config, device)}",
        flush=True,
    )
    if device == "cuda":
        print(f"memory: a step needs about {estimated_bytes(model, config.training) / 2**30:.2g} GiB of the GPU's")
        if config.training.graph == "auto" and (reason := why_not_recorded(config.training)):
            print(f"steps are not recorded as a graph: {reason}")
    elif config.training.graph == "auto":
        print(NO_GRAPH)
    start = time.perf_counter()
    try:
        score = train(config, splits, run_directory, device, resume)
    except KeyboardInterrupt:
        some = (run_directory / MODEL).exists()
        hint = f"go on with minivit train --resume {run_directory}" if some else "no epoch was finished"
        raise KeyboardInterrupt(hint) from None
    seconds, images = time.perf_counter() - start, counted(score.images, "image")
    print(f"test accuracy {score.accuracy:.1%} on {images}, after {seconds:.0f} s")
    print(f"pictures: {run_directory / 'curves.png'}, {run_directory / 'predictions.png'}")
    print(f"next: {_next_step(config, run_directory)}")


def why_not_recorded(settings: TrainSettings) -> str | None:
    """Why --graph auto changes nothing on a GPU; None if it does."""
    from minivit.ops.cuda.graph import why_no_graph

    if settings.ops == "reference":
        return "the readable functions wait for the host"
    return "only AdamW's are" if settings.optimizer != "adamw" else why_no_graph()


def _where(config: RunConfig, device: str) -> str:
    """What computes, said once: the device, the cores, and which functions."""
    ops = choose_ops(config.training.ops, device).__name__.rpartition(".")[2]
    functions = "the readable functions" if ops == "reference" else "compiled functions (--ops reference: the readable)"
    if device != "cpu":
        precision = choose_precision(config.training.precision, device, config.training.ops)
        return f"the GPU in {precision.name}, by {functions}"
    threads = config.training.threads or cores()
    count = min(threads, cores())
    many = f" in {threads} threads" if threads > count else ""
    slow = ops == "reference" and config.training.ops == "auto"
    faster = '; pip install -e ".[fast]" for compiled ones' if slow else ""
    return f"{counted(count, 'core')}{many}, by {functions}{faster}"


def _next_step(config: RunConfig, run_directory: Path) -> str:
    if config.data.dataset == "shapes":
        example = Path("examples/cifar10_cpu.toml")
        what = f"--config {example}" if example.is_file() else "--dataset cifar10"
        return f"minivit train {what}   (real photographs; downloads CIFAR-10 once)"
    return f"minivit predict {run_directory} YOUR_IMAGE.png"
