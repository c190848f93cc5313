"""Matplotlib figures as inline SVG that follows the page's theme and speaks to screen readers."""

from __future__ import annotations

import itertools
import re
import threading
from collections.abc import Callable, Mapping
from io import StringIO
from typing import TYPE_CHECKING
from xml.etree import ElementTree

from app.charts.frame import Data, framed
from app.charts.palette import PALETTE

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
WIDE_PX = 880
NARROW_PX = 340

_VARIABLE = {colour: f"var(--{name}, {colour})" for name, colour in PALETTE.items()}
_COLOUR = re.compile("|".join(map(re.escape, _VARIABLE)))
_FONT_FAMILY = re.compile(r"font-family: [^;]*(; )?")
_NUMBERS = itertools.count(1)
# One drawing at a time: rcParams and the font cache are shared by threads, and drawing holds the interpreter anyway.
_DRAWING = threading.Lock()

ElementTree.register_namespace("", SVG)
ElementTree.register_namespace("xlink", XLINK)


def to_svg(figure: Figure, *, title: str, description: str, parts: Mapping[str, str] | None = None) -> str:
    """One ``<svg>`` element for putting into a page.

    Colours of the palette become ``var(--name, #rrggbb)``; the element scales to its container; text stays text in the
    page's font; ids are unique within the process, so that several charts can stand on one page. An artist's ``gid``
    becomes ``data-part``, by which tests and scripts find it.

    Args:
        figure: drawn with colours of :mod:`app.charts.palette`.
        title: name of the chart, a few words.
        description: what the chart shows, in sentences; the text alternative.
        parts: name of a part -> what it is, said when the pointer or the keyboard reaches it.
    """
    import matplotlib

    buffer = StringIO()
    with _DRAWING, matplotlib.rc_context({"svg.fonttype": "none"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    root = ElementTree.fromstring(buffer.getvalue().encode())
    prefix = f"chart{next(_NUMBERS)}"
    _drop_page_wide_parts(root)
    _make_ids_unique(root, prefix)
    for element in root.iter():
        if style := element.get("style"):
            style = _FONT_FAMILY.sub("", style)
            element.set("style", _COLOUR.sub(lambda match: _VARIABLE[match.group()], style))
    del root.attrib["width"], root.attrib["height"]
    root.set("style", "stroke-linejoin: round")
    root.set("role", "group" if _say_parts(root, parts or {}) else "img")
    root.set("aria-labelledby", f"{prefix}-title")
    root.set("aria-describedby", f"{prefix}-description")
    for position, (tag, text) in enumerate((("title", title), ("desc", description))):
        element = ElementTree.Element(
            f"{{{SVG}}}{tag}", {"id": f"{prefix}-{'title' if tag == 'title' else 'description'}"}
        )
        element.text = text
        root.insert(position, element)
    return ElementTree.tostring(root, encoding="unicode")


def _say_parts(root: ElementTree.Element, parts: Mapping[str, str]) -> bool:
    """Give the named parts their words and a place in the order of the keyboard; whether there is one."""
    found = [element for element in root.iter() if element.get("data-part") in parts]
    for element in found:
        words = parts[element.get("data-part")]
        for name, value in (("tabindex", "0"), ("role", "img"), ("aria-label", words), ("data-tip", words)):
            element.set(name, value)
    return bool(found)


def chart(
    draw: Callable[[int], Figure],
    *,
    narrow: bool,
    title: str,
    description: str,
    data: Data | None = None,
    parts: Mapping[str, str] | None = None,
) -> str:
    """A ``<figure>`` with the chart drawn for a wide or a narrow page, its table and its buttons.

    Args:
        draw: makes the figure for a width in CSS pixels.
        narrow: whether the page is.
        title, description, parts: as for :func:`to_svg`.
        data: the chart's numbers (:class:`app.charts.frame.Data`).
    """
    drawing = to_svg(draw(NARROW_PX if narrow else WIDE_PX), title=title, description=description, parts=parts)
    return framed(drawing, title=title, data=data)


def _drop_page_wide_parts(root: ElementTree.Element) -> None:
    """Metadata, and the style element: inside a page its ``*`` rule would hold for the whole page."""
    for element in root.findall(f"{{{SVG}}}metadata"):
        root.remove(element)
    for parent in list(root.iter(f"{{{SVG}}}defs")):
        for element in parent.findall(f"{{{SVG}}}style"):
            parent.remove(element)


def _make_ids_unique(root: ElementTree.Element, prefix: str) -> None:
    """Prefix the ids that something refers to, turn given names into ``data-part`` and drop the rest."""
    text = " ".join(value for element in root.iter() for value in element.attrib.values())
    referred = set(re.findall(r"url\(#([^)]+)\)", text)) | {
        element.get(f"{{{XLINK}}}href", "").removeprefix("#") for element in root.iter()
    }
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name is not None and name in referred:
            element.set("id", f"{prefix}-{name}")
        elif name is not None and not re.fullmatch(r"[A-Za-z0-9.]+_\d+", name):
            element.set("data-part", name)
        for key, value in element.attrib.items():
            if key == f"{{{XLINK}}}href":
                element.set(key, value.replace("#", f"#{prefix}-", 1))
            elif "url(#" in value:
                element.set(key, value.replace("url(#", f"url(#{prefix}-"))
