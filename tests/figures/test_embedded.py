"""A figure inside a page keeps its texts, and shares no name with another figure."""

import re
from xml.etree import ElementTree

from symmbfn.figures.embedded import canvas

HOSTILE = """"><script>alert('a')</script> & <b>"""


def test_texts_stay_texts() -> None:
    with canvas(HOSTILE, height=2.0) as (axes, picture):
        axes.set(title=HOSTILE)
    root = ElementTree.fromstring(str(picture[0]).replace("<svg ", '<svg xmlns:xlink="x" ', 1))
    assert root.attrib["aria-label"] == HOSTILE and root.attrib["role"] == "img"
    assert not [node for node in root.iter() if node.tag.endswith("script")]
    assert HOSTILE in {node.text for node in root.iter() if node.tag.endswith("text")}


def test_figures_of_a_page_share_no_identifier() -> None:
    found = []
    for alt in ("one figure", "another figure"):
        with canvas(alt, height=2.0) as (axes, picture):
            axes.plot([0, 1], [0, 2], "o-")
        found.append(set(re.findall(r' id="([^"]+)"', picture[0])))
    assert found[0] and not found[0] & found[1]
