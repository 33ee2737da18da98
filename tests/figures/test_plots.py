"""Figures have one style, work without a network, and depend on what they show alone."""

import base64
import json
import re
from html.parser import HTMLParser
from itertools import combinations

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import plotly.graph_objects as go
import pytest
from matplotlib.mathtext import MathTextParser
from matplotlib.text import Text

from symmbfn.crystals.reconstruction import reconstruct
from symmbfn.figures.plots import (
    COLOURS,
    crystal_view,
    draw_loops,
    formula_mathtext,
    plotly_figure,
    probability_map,
    space_group_mathtext,
    use_style,
)
from tests.models import batch

CRYSTALS = reconstruct(batch(0, 7, 11))


def test_the_style_has_the_palette_and_a_second_cue() -> None:
    with matplotlib.rc_context():
        use_style()
        cycle = list(plt.rcParams["axes.prop_cycle"])
    assert [f"#{entry['color'].lstrip('#')}" for entry in cycle] == list(COLOURS.values())
    assert len({str(entry["linestyle"]) for entry in cycle}) == len(cycle)


def test_a_view_is_the_same_text_for_the_same_crystal() -> None:
    salt, other = crystal_view(CRYSTALS[0]), crystal_view(CRYSTALS[1])
    assert salt.forms["text/html"] == crystal_view(CRYSTALS[0]).forms["text/html"]
    assert salt.forms["text/html"] != other.forms["text/html"]
    named = crystal_view(CRYSTALS[0].to_ase(), name="rock salt").forms["text/html"]
    assert 'aria-label="rock salt"' in named
    data = re.compile(r"var d=(\{.*?\}),n=0")
    assert data.search(named)[1] == data.search(salt.forms["text/html"])[1]
    assert repr(salt) == "<NaCl, 8 atoms in the cell>"


def test_a_view_turns_without_network_and_stands_still_without_script() -> None:
    for crystal in CRYSTALS:
        forms = crystal_view(crystal).forms
        html = forms["text/html"]
        # the class by which the book's pages know to bring 3Dmol.js
        assert 'class="symmbfn-crystal"' in html
        assert "http" not in html and "<svg" in html
        data = json.loads(re.search(r"var d=(\{.*?\}),n=0", html)[1])
        assert len(data["atoms"]) >= len(crystal)
        assert base64.b64decode(forms["image/png"]).startswith(b"\x89PNG")


def test_plotly_figures_bring_no_script_and_keep_the_original() -> None:
    original = go.Figure(go.Scatter(y=[1, 3, 2]), layout={"title": "</script>"})
    before = original.to_json()
    forms = plotly_figure(original, name="a line").forms
    assert original.to_json() == before
    html = forms["text/html"]
    assert 'class="symmbfn-plotly"' in html and "http" not in html
    assert html.count("</script>") == 1 and html.endswith("</script>")
    assert forms["application/vnd.plotly.v1+json"]["layout"]["colorway"][0] == COLOURS["blue"]
    assert html == plotly_figure(original, name="a line").forms["text/html"]


def test_words_of_the_chart_stay_in_their_boxes() -> None:
    with matplotlib.rc_context():
        use_style()
        figure, axes = plt.subplots(figsize=(6.5, 5))
        draw_loops(axes)
        figure.canvas.draw()
    boxes = [patch.get_window_extent() for patch in axes.patches]
    assert len(boxes) == 13
    assert not any(a.overlaps(b) for a, b in combinations(boxes, 2))
    paper = figure.bbox
    for text in filter(Text.get_text, axes.texts):  # an arrow is a text without words
        words = text.get_window_extent()
        assert paper.contains(words.x0, words.y0) and paper.contains(words.x1, words.y1)
        around = [box for box in boxes if box.overlaps(words)]
        assert len(around) <= 1
        assert all(box.x0 < words.x0 and words.x1 < box.x1 for box in around), text
    plt.close(figure)


@pytest.mark.parametrize(
    ("formula", "text"),
    [("NaCl", "NaCl"), ("Al2O3", "Al$_{2}$O$_{3}$"), ("C12H", "C$_{12}$H"), ("", "")],
)
def test_formulas_get_subscripts(formula: str, text: str) -> None:
    assert formula_mathtext(formula) == text


def test_symbols_of_all_groups_can_be_set() -> None:
    parser = MathTextParser("agg")
    texts = [space_group_mathtext(number) for number in range(1, 231)]
    for text in texts:
        parser.parse(text)
    assert len(set(texts)) == 230
    assert texts[224] == r"$Fm\overline{3}m$"
    assert texts[193] == r"$P\mathrm{6}_{3}\mathrm{/}mmc$"


def test_a_map_of_probabilities_names_the_classes_that_were_ever_likely() -> None:
    over_time = np.full((2, 10), 0.01)
    over_time[0, [1, 2, 4]] = 0.3, 0.5, 0.13
    over_time[1, [0, 1, 2]] = 0.02, 0.0, 0.91
    over_time[:, 9] = 0.0
    over_time[:, 7] = 0.005
    figure, axes = plt.subplots()
    probability_map(axes, over_time, "abcdefghij")
    (image,) = axes.images
    # eight rows, without the two classes that were never as likely as the others
    assert [label.get_text() for label in axes.get_yticklabels()] == list("abcdefgi")
    assert np.array_equal(image.get_array()[[1, 2]], [[0.3, 0.0], [0.5, 0.91]])
    # one scale for all maps: white is impossible, dark is certain
    assert image.get_clim() == (0, 1)
    plt.close(figure)


HOSTILE = """</script><script>alert("a")</script><!-- & 'b' <i>"""


class Elements(HTMLParser):
    """Names and attributes of the elements that a browser sees."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def test_names_and_titles_of_others_stay_texts() -> None:
    line = go.Figure(go.Scatter(y=[1, 3, 2]), layout={"title": HOSTILE})
    for plain, hostile in (
        (crystal_view(CRYSTALS[0], name="a"), crystal_view(CRYSTALS[0], name=HOSTILE)),
        (plotly_figure(line, name="a"), plotly_figure(line, name=HOSTILE)),
    ):
        before, after = (Elements(view.forms["text/html"]).found for view in (plain, hostile))
        assert [tag for tag, _ in before] == [tag for tag, _ in after]
        assert after[0][1]["aria-label"] == HOSTILE
        assert hostile.forms["text/html"].count("<script") == 1


def test_a_view_has_the_height_and_zoom_that_it_is_given() -> None:
    html = crystal_view(CRYSTALS[0], height=123, zoom=4.5).forms["text/html"]
    box, *_, picture = [found for found in Elements(html).found if found[0] in ("div", "svg")]
    assert "height:123px" in box[1]["style"] and "height:123px" in picture[1]["style"]
    assert "v.zoom(4.5)" in html
