"""`minivit eval`: the accuracy of a trained model on the test images."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np

from minivit.arrays import DeviceName, choose_device
from minivit.cli.train import check_same_classes
from minivit.data import load
from minivit.errors import counted
from minivit.training.config import require_same_images
from minivit.training.evaluate import as_trained, evaluate, require_numbers
from minivit.training.run_directory import load_run, score_as_json


def add_to(commands: Any) -> None:
    """Add this command and its flags."""
    command = commands.add_parser(
        "eval",
        help="accuracy of a trained model on the test images",
        description="Evaluate the model of a run directory on the test images of its data set.",
        allow_abbrev=False,
    )
    command.set_defaults(run_command=run)
    command.add_argument("run", metavar="RUN", type=Path, help="a directory that `minivit train` wrote")
    command.add_argument("--data-dir", metavar="DIR", help="where the images lie now (default: as in training)")
    command.add_argument("--device", choices=get_args(DeviceName), default="auto", help="default: %(default)s")
    command.add_argument("--json", action="store_true", help="print test_accuracy, test_loss and images as JSON")


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    device = choose_device(options.device)
    config, params, epoch = load_run(options.run, device)
    splits = load(config.data.dataset, options.data_dir or config.data.data_dir or None, config.model.image_size)
    check_same_classes(config, splits)
    if splits.test_held_out:  # of other training images, others would be: among them some that the model has seen
        advice = "which were held out cannot be told: take the same images, by their old names, or put some in test/"
        require_same_images(config, splits, options.run, advice)
    how = as_trained(config.training, device)
    with np.errstate(over="ignore", invalid="ignore"):  # said in a sentence
        score = evaluate(params, splits.test, config.model, config.inputs, device, how)
    require_numbers(score.loss, options.run)
    if options.json:
        print(json.dumps(score_as_json(score)))
    else:
        for note in splits.notes:
            print(note)
        print(
            f"test accuracy {score.accuracy:.2%}, loss {score.loss:.4f}, on {counted(score.images, 'image')} of "
            f"{config.data.dataset}; the model after epoch {epoch}"
        )
