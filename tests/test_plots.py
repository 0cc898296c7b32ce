"""Pictures: what is drawn is what was measured, and it can be read."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
from matplotlib.figure import Figure

from minivit.gradcheck import StepSweep
from minivit.plots import (
    plot_accuracy,
    plot_image,
    plot_loss,
    plot_step_sweep,
    plot_step_times,
    save_curves,
    save_predictions,
)
from minivit.training.run_directory import EpochRow

ROWS = [EpochRow(i, 10 * i, 0.1, 2.0 / i, 0.2 * i, 2.5 / i, 0.1 * i, 1.0, 3.0, 100.0) for i in (1, 2, 3)]


@pytest.mark.parametrize(
    ("plot", "train", "validation"),
    [(plot_loss, [2.0, 1.0, 2 / 3], [2.5, 1.25, 2.5 / 3]), (plot_accuracy, [20, 40, 60], [10, 20, 30])],
)
def test_curves_show_the_rows_and_differ_without_colour(plot, train, validation):
    ax = plot(Figure().subplots(), ROWS)
    one, two = ax.get_lines()
    assert one.get_xdata().tolist() == two.get_xdata().tolist() == [1, 2, 3]
    assert one.get_ydata() == pytest.approx(train)
    assert two.get_ydata() == pytest.approx(validation)
    assert one.get_linestyle() != two.get_linestyle()
    assert one.get_marker() != two.get_marker()
    assert ax.get_xlabel() == "epoch"
    assert "(" in ax.get_ylabel()  # a unit
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["training (augmented)", "validation"]


def test_accuracies_are_drawn_from_none_to_all():
    """Else a curve of a tenth of a percent would look like one of half the images; a mark at 100 % is whole."""
    low, high = plot_accuracy(Figure().subplots(), ROWS).get_ylim()
    assert low == 0
    assert 100 < high < 105


def test_an_image_is_shown_with_its_rows_down_and_its_colours_last():
    image = np.arange(2 * 3 * 5, dtype=np.uint8).reshape(3, 2, 5)
    ax = plot_image(Figure().subplots(), image, "title")
    shown = ax.get_images()[0].get_array()
    assert shown.shape == (2, 5, 3)
    assert shown[1, 4].tolist() == image[:, 1, 4].tolist()
    assert ax.get_title() == "title"


def test_wrong_predictions_are_marked_and_the_truth_is_told(tmp_path, monkeypatch):
    from minivit import plots

    titles = []
    monkeypatch.setattr(plots, "plot_image", lambda ax, image, title: titles.append(title))
    probabilities = np.array([[0.9, 0.1], [0.8, 0.2]])
    save_predictions(np.zeros((2, 3, 4, 4), np.uint8), np.array([0, 1]), probabilities, ("a", "b"), tmp_path / "p.png")
    assert titles == ["a 90%", "✗ a 80%\nis b"]


def test_long_class_names_do_not_run_into_each_other(tmp_path, monkeypatch):
    from minivit import plots

    figures = []
    monkeypatch.setattr(plots, "_save", lambda figure, path: figures.append(figure))
    names = ("a_very_long_name_without_any_space", "golden retriever of the second kind, sitting")
    images, probabilities = np.zeros((10, 3, 4, 4), np.uint8), np.tile(np.eye(2), (5, 1))
    save_predictions(images, np.arange(1, 11) % 2, probabilities, names, tmp_path / "p.png")
    figures[0].canvas.draw()
    places = [ax.title.get_window_extent() for ax in figures[0].axes]
    assert len(places) == 10
    assert not any(a.overlaps(b) for a, b in itertools.combinations(places, 2))


def test_saved_pictures_are_png_files_of_a_readable_size(tmp_path):
    from PIL import Image

    save_curves(ROWS, tmp_path / "curves.png")
    save_curves(ROWS[:1], tmp_path / "one.png")
    save_predictions(np.zeros((1, 3, 4, 4), np.uint8), np.array([0]), np.ones((1, 2)), ("a", "b"), tmp_path / "p.png")
    for name in ("curves", "one", "p"):
        with Image.open(tmp_path / f"{name}.png") as picture:
            assert picture.format == "PNG"
            assert picture.width > 800


@pytest.mark.parametrize("classes", [("$\\frac$", "$x^$"), ("猫", "犬")])
def test_any_class_name_can_be_drawn(tmp_path, classes):
    """Neither taken for a formula nor warned of where the font lacks its letters."""
    save_predictions(np.zeros((1, 3, 4, 4), np.uint8), np.array([1]), np.eye(2)[:1], classes, tmp_path / "p.png")


def test_a_step_sweep_is_drawn_with_a_line_for_each_method_and_type():
    errors = {
        "central float64": np.array([1e-4, 0.0]),
        "central float32": np.array([1e-3, 1e-1]),
        "complex_step float64": np.array([1e-4, 1e-8]),
    }
    sweep = StepSweep("layer", np.array([1e-2, 1e-4]), errors)
    ax = plot_step_sweep(Figure().subplots(), sweep)
    lines = ax.get_lines()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == [
        "central, float64", "central, float32", "complex step, float64",
    ]  # fmt: skip
    assert [line.get_xdata().tolist() for line in lines] == [[1e-2, 1e-4]] * 3
    assert np.isnan(lines[0].get_ydata()[1]), "0 has no place on a logarithmic axis"
    assert lines[1].get_ydata().tolist() == [1e-3, 1e-1]
    assert (ax.get_xscale(), ax.get_yscale(), ax.get_xlabel()) == ("log", "log", "step h")
    assert ax.xaxis_inverted(), "steps get smaller to the right"
    assert len({(line.get_linestyle(), line.get_marker()) for line in lines}) == 3


def test_step_times_are_stacked_beside_pytorch_s_and_the_floor():
    found = {"batch": 8, "forward_s": 0.2, "backward_s": 0.5, "optimizer_s": 0.1, "torch_step_s": 1.0, "floor_s": 0.6}
    ax = plot_step_times(Figure().subplots(), found)
    assert [bar.get_x() for bar in ax.patches] == pytest.approx([0.0, 0.2, 0.7, 0.0])
    assert [bar.get_width() for bar in ax.patches] == pytest.approx([0.2, 0.5, 0.1, 1.0])
    assert len({bar.get_hatch() for bar in ax.patches[:3]}) == 3, "told apart without colour"
    assert ax.get_lines()[0].get_xdata()[0] == 0.6
    assert ax.get_xlabel() == "seconds for a training step of 8 images"


def test_one_epoch_is_marked_as_1():
    row = EpochRow(1, 4, 1e-3, 1.5, 0.25, 1.25, 1.0, 1.0, 7.0, 1234.5)
    for draw in (plot_loss, plot_accuracy):
        ax = draw(Figure().subplots(), [row])
        low, high = ax.get_xlim()
        assert [tick for tick in ax.get_xticks() if low <= tick <= high] == [1]
        assert (low, high) == (0.5, 1.5)
        assert ax.get_ylim()[1] > ax.lines[1].get_ydata()[0]


def test_a_backend_that_matplotlib_does_not_know_is_a_sentence():
    program = "from minivit.plots import save_curves; save_curves([], 'curves.png')"
    command, settings = [sys.executable, "-c", program], os.environ | {"MPLBACKEND": "nonsense"}
    done = subprocess.run(command, env=settings, stderr=subprocess.PIPE, text=True, check=False)
    last = done.stderr.splitlines()[-1]
    assert last.startswith("minivit.errors.MinivitError: matplotlib cannot be used: Key backend: 'nonsense'")
    assert last.endswith("; mend or unset MPLBACKEND")
