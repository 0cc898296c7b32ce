"""One look for all figures: colours that the colour-blind tell apart, and lines that differ in greyscale too.

And one core for a matrix product: those of the notebooks are small, and cores that share one mostly wait.
"""

from __future__ import annotations

# Okabe and Ito's palette, ordered so that neighbours differ in brightness.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#000000", "#CC79A7", "#56B4E9", "#E69F00")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
_LINES = ("-", "--", "-.", ":", "-", "--", "-.")


def set_up() -> None:
    """What every notebook begins with: matplotlib's defaults (palette, lines, markers, cividis), one core a product."""
    import matplotlib as mpl
    import threadpoolctl
    from cycler import cycler

    threadpoolctl.threadpool_limits(1, user_api="blas")
    mpl.rcParams.update(
        {
            "axes.prop_cycle": cycler(color=PALETTE) + cycler(linestyle=_LINES) + cycler(marker=MARKERS),
            "axes.grid": False,
            "axes.spines.right": False,
            "axes.spines.top": False,
            "axes.titlesize": 10,
            "figure.constrained_layout.use": True,
            "figure.dpi": 90,
            "font.size": 9,
            "grid.alpha": 0.3,
            "image.cmap": "cividis",
            "image.interpolation": "nearest",
            "legend.frameon": False,
            "lines.markersize": 4,
        }
    )
