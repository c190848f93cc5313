"""Matplotlib figures as inline SVG that follows the page's theme and speaks to screen readers."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Mapping
from html import escape
from typing import TYPE_CHECKING

from app.charts.artists import Writer
from app.charts.frame import Data, framed

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SVG = "http://www.w3.org/2000/svg"
WIDE_PX = 880
NARROW_PX = 340

_NUMBERS = itertools.count(1)
# One drawing at a time: drawing holds the interpreter anyway, and those who wait are served in turn.
_DRAWING = threading.RLock()


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
    prefix = f"chart{next(_NUMBERS)}"
    with _DRAWING:
        writer = Writer(figure, prefix, parts or {})
        drawn = writer.elements()
    width, height = figure.bbox.width, figure.bbox.height
    return (
        f'<svg xmlns="{SVG}" viewBox="0 0 {width:.6g} {height:.6g}" style="stroke-linejoin: round" '
        f'role="{"group" if writer.spoken else "img"}" aria-labelledby="{prefix}-title" '
        f'aria-describedby="{prefix}-description"><title id="{prefix}-title">{escape(title)}</title>'
        f'<desc id="{prefix}-description">{escape(description)}</desc>{drawn}</svg>'
    )


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
    with _DRAWING:
        drawing = to_svg(draw(NARROW_PX if narrow else WIDE_PX), title=title, description=description, parts=parts)
    return framed(drawing, title=title, data=data)
