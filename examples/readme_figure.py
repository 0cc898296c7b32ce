"""The README's figure: test images, what the model says, where it looks, and how it learned.

python examples/readme_figure.py RUN OUT.png        RUN: a run on the built-in shapes
"""

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from minivit import attention_maps, vit
from minivit.data import normalise, shapes_splits
from minivit.functions import softmax
from minivit.plots import plot_accuracy, plot_image
from minivit.training.run_directory import load_run, read_metrics


def main(run: Path, out: Path) -> None:
    """Draw the figure for the first test image of six classes."""
    config, params, _ = load_run(run)
    test = shapes_splits().test
    chosen = [int(np.flatnonzero(test.labels == label)[0]) for label in (1, 3, 4, 5, 6, 9)]
    images = test.images[chosen]
    logits, cache = vit(params, normalise(images, config.inputs.mean, config.inputs.std), config.model)
    probabilities, _ = softmax(logits)
    # How much all patches attend to each patch in the last block, averaged over the heads.
    received = attention_maps(cache)[-1].mean(axis=(1, 2))[:, -config.model.patches :].reshape(-1, *config.model.grid)
    received *= config.model.patches  # 1 is what a patch would get if attention were even

    figure = Figure(figsize=(11, 2.9), layout="constrained", dpi=110)
    left, right = figure.subfigures(1, 2, width_ratios=(2.1, 1))
    axes = left.subplots(2, len(chosen))
    for i, p in enumerate(probabilities):
        plot_image(axes[0, i], images[i], f"{config.inputs.classes[p.argmax()]} {p.max():.0%}")
        shown = axes[1, i].imshow(received[i], cmap="cividis", vmin=0, vmax=received.max())
        axes[1, i].set_axis_off()
    axes[1, 0].set_title("attention received, last block", fontsize=9, loc="left")
    left.colorbar(shown, ax=axes[1, :], label="times the mean", shrink=0.9)
    plot_accuracy(right.subplots(), read_metrics(run))
    figure.savefig(out)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="a run that learned the built-in shapes")
    parser.add_argument("out", type=Path, help="the picture to write")
    options = parser.parse_args()
    main(options.run, options.out)
