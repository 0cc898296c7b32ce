"""`minivit predict`: what a trained model sees in images of one's own."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any, get_args

import numpy as np

from minivit.arrays import DeviceName, choose_device
from minivit.data import read_image
from minivit.errors import MinivitError, on_one_line, say
from minivit.training.evaluate import as_trained, predict, require_numbers
from minivit.training.run_directory import load_run


def add_to(commands: Any) -> None:
    """Add this command and its flags."""
    command = commands.add_parser(
        "predict",
        help="what a trained model sees in images of your own",
        description="Print the most probable classes of each image. An image of another size is resized.",
        allow_abbrev=False,
    )
    command.set_defaults(run_command=run)
    command.add_argument("run", metavar="RUN", type=Path, help="a directory that `minivit train` wrote")
    command.add_argument("images", metavar="IMAGE", type=Path, nargs="+", help="png, jpg, webp or bmp files")
    command.add_argument("--top", metavar="N", type=int, default=3, help="classes to show (default: %(default)s)")
    # Not "auto": a GPU takes longer to begin with than a CPU for a few images.
    command.add_argument("--device", choices=get_args(DeviceName), default="cpu", help="default: %(default)s")
    command.add_argument("--json", action="store_true", help="print a list with image, resized and predictions")


def run(options: argparse.Namespace) -> None:
    """Carry the command out."""
    if options.top < 1:
        raise MinivitError(f"--top is {options.top}; expected at least 1 class")
    device = choose_device(options.device)
    config, params, _ = load_run(options.run, device)
    height, width = config.model.image_size
    pictures = [read_image(path, config.model.image_size) for path in options.images]  # all, before any is shown
    for path, (_, resized) in zip(options.images, pictures, strict=True):
        if resized:
            say(f"{on_one_line(str(path))} was resized to {height}x{width}, the size of the training images")
    images = np.stack([image for image, _ in pictures])
    how = as_trained(config.training, device)
    with np.errstate(over="ignore", invalid="ignore"):  # said in a sentence
        probabilities = predict(params, images, config.model, config.inputs, device, how)
    require_numbers(probabilities, options.run)
    results: list[dict[str, Any]] = [
        {
            "image": str(path),
            "resized": resized,
            "predictions": [
                {"class": config.inputs.classes[c], "probability": float(p[c])} for c in np.argsort(-p)[: options.top]
            ],
        }
        for path, (_, resized), p in zip(options.images, pictures, probabilities, strict=True)
    ]
    if options.json:
        print(json.dumps(results, indent=2))
        return
    for result in results:
        print(on_one_line(result["image"]))
        for prediction in result["predictions"]:
            print(f"  {prediction['probability']:6.1%}  {on_one_line(prediction['class'])}")
