"""Rules that every figure of the notebooks keeps, looked at when it is shown. See notebooks/conftest.py.

Axes are labelled, colour bars too; pictures have titles. What is told apart by colour differs in something else as
well, or in brightness, so that it survives greyscale and colour-blindness.
"""

from __future__ import annotations

import itertools
from typing import Any

# Their brightness rises from end to end: dark is little and bright is much (or the reverse), in greyscale too.
COLORMAPS = {"cividis", "cividis_r", "viridis", "viridis_r", "gray", "gray_r", "grey", "Greys", "Greys_r", "binary"}
BRIGHTNESS = 0.15  # the least difference between two things that nothing else tells apart


class FigureError(AssertionError):
    """A figure that some reader could not read."""


def check_figure(figure: Any) -> None:
    """Raise FigureError for the first rule that the figure breaks."""
    figure.canvas.draw()  # labels and limits that are set by drawing
    if not figure.axes:
        raise FigureError("a figure has no axes")
    bars = {id(image.colorbar.ax) for ax in figure.axes for image in _mapped(ax) if image.colorbar is not None}
    for ax in figure.axes:
        if not ax.get_visible():
            continue
        where = f"axes {ax.get_title() or ax.get_label() or figure.axes.index(ax)!r}"
        if id(ax) in bars:
            if not (ax.get_xlabel() or ax.get_ylabel() or ax.get_title()):
                raise FigureError(f"{where}: the colour bar has no label")
            continue
        _check_labels(ax, where, figure)
        _check_colormaps(ax, where)
        _check_lines(ax, where)
        _check_bars(ax, where)


def _mapped(ax: Any) -> list[Any]:
    return [*ax.images, *ax.collections]


def _check_labels(ax: Any, where: str, figure: Any) -> None:
    if not ax.axison:
        if ax.has_data() and not _titled(ax, figure):
            raise FigureError(f"{where}: a picture without axes needs a title, its own or its row's")
        return
    for name, axis in (("x", ax.xaxis), ("y", ax.yaxis)):
        ticks = [text.get_text() for text in axis.get_ticklabels() if text.get_visible()]
        ticks = [text for text in ticks if text] if axis.get_visible() else []
        words = ticks and all(not _is_number(text) for text in ticks)  # categories say what they are
        if ticks and not words and not axis.get_label_text() and not getattr(figure, f"_sup{name}label", None):
            raise FigureError(f"{where}: the {name} axis has numbers and no label")


def _titled(ax: Any, figure: Any) -> bool:
    """Whether the picture, or another in its row or column, or the whole figure has a title."""
    if figure._suptitle is not None or any(ax.get_title(loc=place) for place in ("left", "center", "right")):
        return True
    spec = ax.get_subplotspec()
    if spec is None:
        return False
    return any(
        other is not ax
        and (s := other.get_subplotspec()) is not None
        and (s.rowspan == spec.rowspan or s.colspan == spec.colspan)
        and (other.texts or any(other.get_title(loc=place) for place in ("left", "center", "right")))
        for other in figure.axes
    )


def _is_number(text: str) -> bool:
    text = text.replace("\N{MINUS SIGN}", "-").replace("$\\mathdefault{", "").replace("}$", "").replace("%", "").strip()
    try:
        float(text.replace("10^{", "1e").replace("}", ""))
    except ValueError:
        return False
    return True


def _check_colormaps(ax: Any, where: str) -> None:
    for thing in _mapped(ax):
        array = thing.get_array()
        if array is None or array.ndim == 3 or (not hasattr(thing, "get_cmap")):
            continue
        if thing in ax.collections and thing.get_array() is None:
            continue
        if thing.get_cmap().name not in COLORMAPS:
            raise FigureError(f"{where}: colour map {thing.get_cmap().name!r} does not rise in brightness")


def _check_lines(ax: Any, where: str) -> None:
    lines = [line for line in ax.lines if not line.get_label().startswith("_")]
    for one, two in itertools.combinations(lines, 2):
        same = all(getattr(one, f"get_{what}")() == getattr(two, f"get_{what}")() for what in ("linestyle", "marker"))
        if same and abs(_brightness(one.get_color()) - _brightness(two.get_color())) < BRIGHTNESS:
            raise FigureError(f"{where}: the lines {one.get_label()!r} and {two.get_label()!r} look alike in greyscale")


def _check_bars(ax: Any, where: str) -> None:
    groups = [
        c for c in ax.containers if hasattr(c, "patches") and not c.get_label().startswith("_") and len(c.patches)
    ]
    for one, two in itertools.combinations(groups, 2):
        a, b = one.patches[0], two.patches[0]
        alike = abs(_brightness(a.get_facecolor()) - _brightness(b.get_facecolor())) < BRIGHTNESS
        if alike and a.get_hatch() == b.get_hatch():
            raise FigureError(f"{where}: the bars {one.get_label()!r} and {two.get_label()!r} look alike in greyscale")


def _brightness(color: Any) -> float:
    from matplotlib.colors import to_rgb

    r, g, b = to_rgb(color)
    return 0.299 * r + 0.587 * g + 0.114 * b


def install() -> None:
    """Look at every figure that a notebook shows from now on, and at its warnings."""
    import matplotlib.pyplot as plt

    show = plt.show

    def checked_show(*args: Any, **kwargs: Any) -> Any:
        for number in plt.get_fignums():
            check_figure(plt.figure(number))
        return show(*args, **kwargs)

    plt.show = checked_show
