"""Numbers, colours, paths and styles as an SVG writes them."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.charts.palette import PALETTE

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.path import Path

_VARIABLE = {colour: f"var(--{name}, {colour})" for name, colour in PALETTE.items()}
_DIGITS = 3


def decimal(value: float) -> str:
    """A number with at most `_DIGITS` decimals."""
    return f"{round(float(value), _DIGITS):.10g}"


def _pairs(points: np.ndarray) -> list[str]:
    return [f"{x:.10g} {y:.10g}" for x, y in points.round(_DIGITS).tolist()]


def polyline(points: np.ndarray) -> str:
    """A path along the points."""
    return "M " + " L ".join(_pairs(points))


def path_of(outline: Path, points: np.ndarray) -> str:
    """Any outline; ``points`` are its vertices in pixels."""
    if outline.codes is None:
        return polyline(points)
    from matplotlib.path import Path

    letters = {Path.MOVETO: ("M", 1), Path.LINETO: ("L", 1), Path.CURVE3: ("Q", 2), Path.CURVE4: ("C", 3)}
    pairs, codes, written, place = _pairs(points), outline.codes.tolist(), [], 0
    while place < len(codes):
        if codes[place] == Path.CLOSEPOLY:
            written.append("z")
            place += 1
        elif codes[place] == Path.STOP:
            break
        else:
            letter, count = letters[codes[place]]
            written.append(f"{letter} {' '.join(pairs[place : place + count])}")
            place += count
    return " ".join(written)


def box_of(points: np.ndarray) -> tuple[float, float, float, float]:
    """(left, top, right, bottom)."""
    return *points.min(axis=0).tolist(), *points.max(axis=0).tolist()


def style_of(*declarations: str) -> str:
    """The attribute with those of the declarations that are not empty."""
    return f' style="{"; ".join(filter(None, declarations))}"'


def stroke_of(
    colour: str | tuple[float, float, float], width: float, dashes: Sequence[float] | None, cap: str, join: str
) -> tuple[str, ...]:
    """The declarations of a line; ``cap`` and ``join`` as matplotlib calls them."""
    return (
        f"stroke: {colour_of(colour)}",
        f"stroke-width: {decimal(width)}",
        f"stroke-dasharray: {','.join(map(decimal, dashes))}" if dashes is not None else "",
        {"butt": "", "projecting": "stroke-linecap: square", "round": "stroke-linecap: round"}[cap],
        # The whole drawing says "round".
        f"stroke-linejoin: {join}" if join != "round" else "",
    )


@functools.lru_cache(maxsize=1024)
def colour_of(colour: str | tuple[float, float, float]) -> str:
    """The page's variable for a colour of the palette, else the colour itself."""
    from matplotlib.colors import to_hex

    found = to_hex(colour)
    return _VARIABLE.get(found, found)


@functools.lru_cache(maxsize=256)
def marker_of(name: str, size: float) -> tuple[str, bool]:
    """(path around 0 in pixels, whether it is filled) of a marker."""
    from matplotlib.markers import MarkerStyle

    marker = MarkerStyle(name)
    outline = marker.get_path()
    points = marker.get_transform().transform(outline.vertices) * (size, -size)
    return path_of(outline, points), bool(marker.is_filled())


@functools.lru_cache(maxsize=64)
def line_metrics(size: float, weight: str | int) -> tuple[float, float]:
    """(height, how much of it lies below the baseline) of a line of text, whatever stands in it."""
    return _measured("lp", size, weight)[1:]


@functools.lru_cache(maxsize=4096)
def text_width(words: str, size: float, weight: str | int) -> float:
    """Width of a line of text."""
    return _measured(words, size, weight)[0]


def _measured(words: str, size: float, weight: str | int) -> tuple[float, float, float]:
    """(width, height, depth) in matplotlib's font, which the page's is not far from."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    return text_to_path.get_text_width_height_descent(words, FontProperties(size=size, weight=weight), ismath=False)
