"""Figures carry alt text, are closed, and show one of each."""

from __future__ import annotations

import base64

import matplotlib as mpl
import matplotlib.pyplot as plt
import pytest
import torch

from mmcook import plots

ALT = 'A line from "low" to <high> & on'


@pytest.fixture(autouse=True)
def style():
    """The course's style, and matplotlib left as it was."""
    with mpl.rc_context():
        plots.use_style()
        yield
    plt.close("all")


@pytest.fixture
def displayed(monkeypatch) -> list[dict]:
    """What is displayed."""
    outputs: list[dict] = []
    monkeypatch.setattr("IPython.display.display", lambda bundle, raw: outputs.append(bundle))
    return outputs


def test_the_style_sets_colours_that_the_colour_blind_can_tell_apart():
    assert [entry["color"] for entry in mpl.rcParams["axes.prop_cycle"]] == plots.COLOURS
    assert mpl.get_backend() == "agg"


def test_a_figure_is_shown_as_a_picture_with_its_alt_text_escaped_and_closed(displayed):
    figure, axis = plt.subplots()
    axis.plot([0, 1])
    plots.show(figure, ALT)
    (bundle,) = displayed
    assert set(bundle) == {"text/html", "text/plain"}
    assert bundle["text/plain"] == ALT
    start = '<img alt="A line from &quot;low&quot; to &lt;high&gt; &amp; on" src="data:image/png;base64,'
    assert bundle["text/html"].startswith(start)
    assert base64.b64decode(bundle["text/html"].removeprefix(start).removesuffix('">')).startswith(b"\x89PNG")
    assert plt.get_fignums() == []


@pytest.mark.parametrize("alt", ["", "A plot"])
def test_a_figure_without_a_sentence_of_alt_text_is_refused(alt, displayed):
    with pytest.raises(ValueError, match="expected a sentence that says what is to be seen"):
        plots.show(plt.figure(), alt)
    assert displayed == []


def pictures(n: int) -> torch.Tensor:
    """Pictures of a few pixels."""
    return torch.randint(0, 256, (n, 3, 4, 4), dtype=torch.uint8)


@pytest.mark.parametrize(("n", "columns", "axes"), [(1, 8, 8), (8, 8, 8), (9, 8, 16), (5, 2, 6)])
def test_the_grid_has_a_picture_and_a_caption_each(n, columns, axes):
    shown = pictures(n)
    figure = plots.pictures(shown, [f"caption {i}" for i in range(n)], columns=columns)
    assert len(figure.axes) == axes
    assert [len(axis.images) for axis in figure.axes] == [1] * n + [0] * (axes - n)
    assert [axis.texts[0].get_text() for axis in figure.axes[:n]] == [f"caption {i}" for i in range(n)]
    assert (figure.axes[0].images[0].get_array() == shown[0].permute(1, 2, 0).numpy()).all()


def test_long_captions_are_wrapped_and_coloured():
    caption = "a very long caption that goes on and on over more lines than there is room for"
    figure = plots.pictures(pictures(2), [caption, "b"], colours=["red", "black"])
    first, second = (axis.texts[0] for axis in figure.axes[:2])
    assert first.get_text() == "a very long\ncaption that\ngoes on and on\nover more lines"
    assert (first.get_color(), second.get_color()) == ("red", "black")


@pytest.mark.parametrize(
    ("captions", "colours"), [(["a"], None), (["a", "b", "c"], None), (["a", "b"], ["red"])], ids=["few", "many", "red"]
)
def test_a_grid_with_captions_or_colours_of_another_number_is_refused(captions, colours):
    with pytest.raises(ValueError, match=r"2 images, .* expected one each"):
        plots.pictures(pictures(2), captions, colours=colours)
    assert plt.get_fignums() == []


def test_bars_stand_from_the_top_with_numbers_intervals_and_the_line_of_chance():
    _, axis = plt.subplots()
    plots.bars(axis, ["best", "worst"], [0.75, 0.5], [0.5, 0.25], [0.875, 0.625], chance=0.25)
    bars, intervals = axis.patches, axis.collections[0].get_segments()
    assert [bar.get_width() for bar in bars] == [0.75, 0.5]
    assert bars[0].get_y() > bars[1].get_y()
    assert [segment[:, 0].tolist() for segment in intervals] == [[0.5, 0.875], [0.25, 0.625]]
    assert [label.get_text() for label in axis.get_yticklabels()] == ["best", "worst"]
    assert [text.get_text().strip() for text in axis.texts] == ["0.75", "0.50", "chance"]
    assert axis.lines[-1].get_xdata() == [0.25, 0.25]
    assert axis.get_xlim()[0] == 0


def test_bars_without_a_number_each_are_refused():
    _, axis = plt.subplots()
    with pytest.raises(ValueError):  # in matplotlib's own words
        plots.bars(axis, ["best", "worst"], [0.75], [0.5], [0.875], chance=0.25)
