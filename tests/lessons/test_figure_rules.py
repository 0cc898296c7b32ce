"""The rules for figures find what they are for, and let good figures pass."""

import matplotlib as mpl
import numpy as np
import pytest
from lessons.figure_rules import FigureError, check_figure
from matplotlib.figure import Figure

from minivit.lessons import set_up


def figure_of(draw):
    """A figure with one axes that `draw` draws on."""
    figure = Figure()
    draw(figure.subplots())
    return figure


def labelled(ax):
    ax.set(xlabel="step", ylabel="loss (nats)")
    return ax


def two_lines(ax, **second):
    ax.plot([1, 2], [1, 2], color="#0072B2", label="a")
    ax.plot([1, 2], [2, 3], label="b", **second)
    ax.legend()


def picture(ax, **settings):
    ax.imshow(np.arange(6.0).reshape(2, 3), **settings)
    ax.set_axis_off()
    return ax


def categories(ax):
    ax.barh(["forward", "backward"], [1.0, 2.0])
    ax.set_xlabel("seconds")


def bars(ax, **second):
    labelled(ax).bar([1, 2], [1, 2], color="0.4", label="a")
    ax.bar([1, 2], [1, 2], bottom=[1, 2], label="b", **second)


GOOD = {
    "labels": lambda ax: labelled(ax).plot([1, 2]),
    "categories": categories,
    "line styles": lambda ax: two_lines(labelled(ax), color="#0072B2", linestyle="--"),
    "markers": lambda ax: two_lines(labelled(ax), color="#0072B2", marker="s"),
    "brightness": lambda ax: two_lines(labelled(ax), color="#E69F00"),
    "a titled picture": lambda ax: picture(ax, cmap="cividis").set_title("an image"),
    "a photograph": lambda ax: labelled(ax).imshow(np.zeros((2, 2, 3), np.uint8)),
    "hatched bars": lambda ax: bars(ax, color="0.4", hatch="//"),
    "brighter bars": lambda ax: bars(ax, color="0.8"),
}
BAD = {
    "the x axis has numbers and no label": lambda ax: ax.plot([1, 2]),
    "the y axis has numbers and no label": lambda ax: ax.plot([1, 2]) and ax.set_xlabel("step"),
    "look alike in greyscale": lambda ax: two_lines(labelled(ax), color="#D55E00"),
    "needs a title": picture,
    "colour map 'jet' does not rise": lambda ax: picture(ax, cmap="jet").set_title("an image"),
    "colour map 'RdBu' does not rise": lambda ax: labelled(ax).scatter([1, 2], [1, 2], c=[1.0, 2.0], cmap="RdBu"),
    "the bars 'a' and 'b' look alike": lambda ax: bars(ax, color="0.45"),
}


@pytest.mark.parametrize("draw", GOOD.values(), ids=list(GOOD))
def test_a_good_figure_passes(draw):
    check_figure(figure_of(draw))


@pytest.mark.parametrize(("said", "draw"), BAD.items(), ids=list(BAD))
def test_a_bad_figure_is_refused(said, draw):
    with pytest.raises(FigureError, match=said):
        check_figure(figure_of(draw))


def test_a_colour_bar_needs_a_label():
    def draw(ax, **label):
        image = ax.imshow(np.eye(3), cmap="cividis")
        ax.set(xlabel="key", ylabel="query")
        ax.figure.colorbar(image, ax=ax, **label)

    check_figure(figure_of(lambda ax: draw(ax, label="probability")))
    with pytest.raises(FigureError, match="the colour bar has no label"):
        check_figure(figure_of(draw))


def test_shared_axes_need_their_labels_once():
    figure = Figure()
    axes = figure.subplots(2, 1, sharex=True)
    for ax in axes:
        ax.plot([1, 2])
        ax.set_ylabel("loss (nats)")
    axes[1].set_xlabel("step")
    check_figure(figure)


def test_a_row_of_pictures_needs_one_title():
    figure = Figure()
    axes = figure.subplots(1, 3)
    for ax in axes:
        picture(ax, cmap="gray")
    with pytest.raises(FigureError, match="needs a title"):
        check_figure(figure)
    axes[0].set_title("three images", loc="left")
    check_figure(figure)


def test_an_empty_figure_is_refused():
    with pytest.raises(FigureError, match="no axes"):
        check_figure(Figure())


def test_the_style_of_the_notebooks_keeps_the_rules():
    """Seven lines in the order of the cycle, and an image in the default colours."""
    with mpl.rc_context():
        set_up()
        figure = Figure()
        left, right = figure.subplots(1, 2)
        for i in range(7):
            labelled(left).plot([i, i + 1], label=f"line {i}")
        left.legend()
        right.imshow(np.eye(3))
        right.set(xlabel="key", ylabel="query")
        check_figure(figure)
