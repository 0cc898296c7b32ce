"""Pictures: functions that take data and draw on matplotlib Axes, and two that save a finished figure.

Nothing here touches pyplot's global state, so no window opens and nothing needs closing. Colours are from
Okabe and Ito's palette for the colour-blind; lines differ in style and marker too, for greyscale.
"""

from __future__ import annotations

import io
import math
import textwrap
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from minivit.arrays import Array
from minivit.errors import MinivitError, first_line
from minivit.files import write_whole

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from minivit.gradcheck import StepSweep
    from minivit.training.run_directory import EpochRow

_BLUE, _ORANGE, _GREEN = "#0072B2", "#D55E00", "#009E73"
_TITLE = 18  # characters of a line above one of the predicted images: no wider than the image's place
_TRAIN: dict[str, Any] = {"color": _BLUE, "linestyle": "--", "marker": "o", "markersize": 4}
_VALIDATION: dict[str, Any] = {"color": _ORANGE, "linestyle": "-", "marker": "s", "markersize": 4}


def plot_loss(ax: Axes, rows: Sequence[EpochRow]) -> Axes:
    """Draw training and validation loss over the epochs."""
    epochs = [row.epoch for row in rows]
    ax.plot(epochs, [row.train_loss for row in rows], label="training (augmented)", **_TRAIN)
    ax.plot(epochs, [row.validation_loss for row in rows], label="validation", **_VALIDATION)
    ax.set(xlabel="epoch", ylabel="cross-entropy (nats)")
    return _dress(ax, epochs)


def plot_accuracy(ax: Axes, rows: Sequence[EpochRow]) -> Axes:
    """Draw training and validation accuracy over the epochs."""
    epochs = [row.epoch for row in rows]
    ax.plot(epochs, [100 * row.train_accuracy for row in rows], label="training (augmented)", **_TRAIN)
    ax.plot(epochs, [100 * row.validation_accuracy for row in rows], label="validation", **_VALIDATION)
    ax.set(xlabel="epoch", ylabel="accuracy (%)", ylim=(0, 103))  # a mark at 100 is whole
    return _dress(ax, epochs)


def plot_step_sweep(ax: Axes, sweep: StepSweep) -> Axes:
    """Draw the relative error of numeric derivatives over the step, both axes logarithmic: the U-curve.

    An error of exactly 0 has no place on such an axis and leaves a gap.
    """
    colors = {"forward": _BLUE, "central": _ORANGE, "complex_step": _GREEN}
    markers = {"forward": "v", "central": "o", "complex_step": "s"}
    for name, errors in sweep.errors.items():
        method, dtype = name.split(" ")
        shown = [e if e > 0.0 else math.nan for e in errors]
        ax.plot(
            sweep.steps, shown, label=f"{method.replace('_', ' ')}, {dtype}", color=colors[method],
            linestyle="-" if dtype == "float64" else ":", marker=markers[method], markersize=4,
            markerfacecolor=colors[method] if dtype == "float64" else "white",
        )  # fmt: skip
    ax.set(xscale="log", yscale="log", xlabel="step h", ylabel="relative error of the derivative", title=sweep.name)
    ax.invert_xaxis()
    ax.grid(alpha=0.3)
    ax.legend(frameon=False, fontsize=8)
    return ax


def plot_image(ax: Axes, image: Array, title: str = "") -> Axes:
    """Show one image (C, H, W) uint8 without axes."""
    ax.imshow(image.transpose(1, 2, 0), interpolation="nearest")
    ax.set_title(title, fontsize=9, parse_math=False)  # a class may be named "$1"
    ax.set_axis_off()
    return ax


def plot_step_times(ax: Axes, found: Mapping[str, Any]) -> Axes:
    """Draw what `minivit bench` measured: minivit's step by its parts, PyTorch's, and the matrix products alone."""
    left = 0.0
    parts = (
        ("forward", "forward_s", _BLUE, ""),
        ("backward", "backward_s", _ORANGE, "//"),
        ("optimiser", "optimizer_s", _GREEN, ".."),
    )
    for name, key, color, hatch in parts:
        width = float(found[key])
        ax.barh("minivit", width, left=left, color=color, hatch=hatch, edgecolor="white", label=name)
        left += width
    for label, key in (("PyTorch eager", "torch_step_s"), ("torch.compile", "torch_compile_step_s")):
        if key in found:
            ax.barh(label, float(found[key]), color="0.6", edgecolor="white")
    if "floor_s" in found:
        ax.axvline(float(found["floor_s"]), color="black", linestyle="--", label="matrix products alone")
    ax.set(xlabel=f"seconds for a training step of {found['batch']} images")
    ax.legend(frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.25), ncols=4)
    return ax


def save_step_times(found: Mapping[str, Any], path: Path) -> None:
    """Write the picture of `plot_step_times` to a PNG file."""
    figure = _figure(8, 2.8)
    plot_step_times(figure.subplots(), found)
    _save(figure, path)


def save_curves(rows: Sequence[EpochRow], path: Path) -> None:
    """Write loss and accuracy side by side to a PNG file."""
    figure = _figure(9, 3.6)
    left, right = figure.subplots(1, 2)
    plot_loss(left, rows)
    plot_accuracy(right, rows)
    _save(figure, path)


def save_predictions(images: Array, labels: Array, probabilities: Array, classes: Sequence[str], path: Path) -> None:
    """Write images (N, C, H, W) uint8 with the predicted class and its probability to a PNG file.

    A wrong prediction is marked by a cross and the true class beneath it.
    """
    columns = 5
    lines = -(-len(images) // columns)
    figure = _figure(9, 1.95 * lines)
    axes = figure.subplots(lines, columns, squeeze=False).ravel()
    for ax in axes:
        ax.set_axis_off()
    for ax, image, label, p in zip(axes, images, labels, probabilities, strict=False):
        best = int(p.argmax())
        said = f"{classes[best]} {p[best]:.0%}"
        lines_of_title = [said] if best == label else [f"✗ {said}", f"is {classes[label]}"]
        plot_image(ax, image, "\n".join(textwrap.fill(line, _TITLE) for line in lines_of_title))
    _save(figure, path)


def _figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches. Raises MinivitError where matplotlib refuses to be imported."""
    try:
        from matplotlib.figure import Figure
    except ValueError as error:  # one of its settings is none that it knows
        raise MinivitError(f"matplotlib cannot be used: {first_line(error)}; mend or unset MPLBACKEND") from error
    return Figure(figsize=(width, height), layout="constrained", dpi=110)


def _dress(ax: Axes, epochs: Sequence[int]) -> Axes:
    from matplotlib.ticker import MaxNLocator

    ax.xaxis.set_major_locator(MaxNLocator(integer=True, min_n_ticks=1))
    if len(epochs) == 1:  # one point says nothing of how wide its axis should be
        ax.set_xlim(epochs[0] - 0.5, epochs[0] + 0.5)
    ax.grid(alpha=0.3)
    ax.legend(frameon=False)
    return ax


def _save(figure: Figure, path: Path) -> None:
    png = io.BytesIO()
    with warnings.catch_warnings():
        # A class name in a script that the font lacks is drawn as boxes; the run is not worse for it.
        warnings.filterwarnings("ignore", message="Glyph .* missing from font")
        figure.savefig(png, format="png")
    write_whole(path, png.getvalue())
