"""Figures of the notebooks: one style, colours that the colour-blind can tell apart, and alt text always."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from torch import Tensor

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]  # Okabe and Ito
GREY = "#8a8a8a"


def use_style() -> None:
    """Set the course's style for all figures that follow."""
    import matplotlib as mpl
    from cycler import cycler

    mpl.use("agg")
    mpl.rcParams.update(
        {
            "figure.figsize": (7.0, 3.6),
            "figure.dpi": 100,
            "figure.constrained_layout.use": True,
            "font.size": 11,
            "axes.prop_cycle": cycler(color=COLOURS),
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.titlelocation": "left",
            "axes.titlesize": 11,
            "legend.frameon": False,
            "lines.linewidth": 2.0,
        }
    )


def show(figure: Figure, alt: str) -> None:
    """Show a figure with an alt text that screen readers find, and close it.

    Args:
        figure: a matplotlib figure.
        alt: what is to be seen, in a sentence or two.
    Raises:
        ValueError: the alt text says too little.
    """
    import matplotlib.pyplot as plt
    from IPython.display import display

    if len(alt) < 20:
        raise ValueError(f"alt is {alt!r}; expected a sentence that says what is to be seen")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    plt.close(figure)
    data = base64.b64encode(buffer.getvalue()).decode()
    picture = f'<img alt="{html.escape(alt)}" src="data:image/png;base64,{data}">'
    display({"text/html": picture, "text/plain": alt}, raw=True)


def pictures(images: Tensor, captions: list[str], *, columns: int = 8, colours: list[str] | None = None) -> Figure:
    """A grid of pictures with a caption under each.

    Args:
        images: (N, 3, H, W) uint8.
        captions: one a picture.
        columns: pictures in a row.
        colours: colour of each caption.
    Raises:
        ValueError: the captions or their colours do not match the pictures in number.
    """
    import textwrap

    import matplotlib.pyplot as plt

    colours = colours or ["black"] * len(images)
    if not len(images) == len(captions) == len(colours):
        raise ValueError(f"{len(images)} images, {len(captions)} captions, {len(colours)} colours; expected one each")
    rows = -(-len(images) // columns)
    figure, axes = plt.subplots(rows, columns, figsize=(1.15 * columns, 1.65 * rows), dpi=76, squeeze=False)
    for axis in axes.flat:
        axis.axis("off")
    for axis, image, caption, colour in zip(axes.flat, images, captions, colours, strict=False):
        axis.imshow(np.moveaxis(image.numpy(), 0, -1), interpolation="nearest")
        lines = "\n".join(textwrap.wrap(caption, 16)[:4])
        axis.text(0.5, -0.06, lines, transform=axis.transAxes, ha="center", va="top", fontsize=8, color=colour)
    return figure


def bars(axis, names: list[str], means: list[float], lows: list[float], highs: list[float], *, chance: float) -> None:
    """Horizontal bars with intervals, the number beside each bar, and the line of chance.

    Args:
        axis: a matplotlib axis.
        names: of the bars, the first on top.
        means, lows, highs: the score of each and the edges of its interval.
        chance: what guessing gives.
    """
    places = np.arange(len(names))[::-1]
    spread = np.abs(np.array([means, means]) - np.array([lows, highs]))
    axis.barh(places, means, xerr=spread, height=0.6, color=COLOURS[0], alpha=0.85, capsize=3, ecolor="black")
    axis.set_yticks(places, names)
    for place, mean, high in zip(places, means, highs, strict=True):
        axis.text(high, place, f"  {mean:.2f}", va="center")
    axis.axvline(chance, color=GREY, linestyle="--")
    axis.text(chance, places[0] + 0.42, " chance", color=GREY, fontsize=9)
    axis.set_xlim(left=0)
