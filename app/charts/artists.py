"""The artists of a figure as elements of an SVG, written down directly.

Matplotlib's own way to a file lays out every text with its font, asks every artist for its state several times and
takes tens of milliseconds a chart; a page waits for that at every move of a slider. The charts here are lines, filled
shapes and texts at known places, so their coordinates and colours are all that is needed. An artist of another kind is
an error, never left out.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from html import escape
from typing import TYPE_CHECKING

from app.charts.svg_values import (
    box_of,
    colour_of,
    decimal,
    line_metrics,
    marker_of,
    path_of,
    polyline,
    stroke_of,
    style_of,
    text_width,
)

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.collections import LineCollection
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch
    from matplotlib.text import Text
    from matplotlib.transforms import Transform

_ANCHORS = {"left": "", "center": "text-anchor: middle", "right": "text-anchor: end"}
# Of a line's height, as in matplotlib's texts of several lines.
_LINE_SPACING = 1.2


class Writer:
    """Writes one figure.

    Attributes:
        spoken: whether a part that has words was found.
    """

    def __init__(self, figure: Figure, prefix: str, parts: Mapping[str, str]) -> None:
        """``prefix`` stands before every id; ``parts`` as for :func:`app.charts.svg.to_svg`."""
        self._figure, self._prefix, self._parts = figure, prefix, parts
        self.spoken = False
        self._height = figure.bbox.height
        self._matrices: dict[int, tuple[Transform, np.ndarray]] = {}
        self._markers: dict[str, str] = {}
        self._ids = itertools.count()

    def elements(self) -> str:
        """The figure's artists in the order in which they are drawn.

        Raises:
            TypeError: an artist that is neither a line, a shape nor a text.
        """
        own = [artist for artist in self._figure.get_children() if artist is not self._figure.patch]
        return "".join(self._written(own))

    def _written(self, artists: Iterable[Artist], axes: Axes | None = None) -> Iterator[str]:
        from matplotlib.axes import Axes
        from matplotlib.collections import LineCollection
        from matplotlib.lines import Line2D
        from matplotlib.patches import Patch
        from matplotlib.text import Text

        for artist in sorted(artists, key=lambda artist: artist.get_zorder()):
            if not artist.get_visible():
                continue
            if isinstance(artist, Axes):
                yield from self._written(_contents(artist), artist)
                continue
            if isinstance(artist, Text):
                drawn, box = self._text(artist), None
            elif isinstance(artist, Line2D):
                drawn, box = self._line(artist)
            elif isinstance(artist, LineCollection):
                drawn, box = self._lines(artist)
            elif isinstance(artist, Patch):
                drawn, box = self._shape(artist)
            else:
                raise TypeError(f"{type(artist).__name__} cannot be written as SVG")
            if axes is not None and box is not None and artist.get_clip_on():
                drawn = self._clipped(drawn, box, axes)
            name = artist.get_gid()
            yield f"<g{self._named(name)}>{drawn}</g>" if drawn and name is not None else drawn

    def _named(self, name: str) -> str:
        """A part's attributes, with its words and a place in the order of the keyboard where it has any."""
        named = f' data-part="{escape(name)}"'
        if name not in self._parts:
            return named
        self.spoken = True
        words = escape(self._parts[name])
        return f'{named} tabindex="0" role="img" aria-label="{words}" data-tip="{words}"'

    def _points(self, points: np.ndarray, transform: Transform) -> np.ndarray:
        """Values -> pixels from the top left."""
        found = self._matrices.get(id(transform))
        if found is None:
            # Kept with its transform: the number of one that is gone may be given to another.
            found = self._matrices[id(transform)] = (transform, transform.get_affine().get_matrix())
        (a, b, x), (c, d, y), _ = found[1]
        pixels = points @ ((a, c), (b, d)) + (x, y)
        pixels[:, 1] = self._height - pixels[:, 1]
        return pixels

    def _clipped(self, drawn: str, box: tuple[float, float, float, float], axes: Axes) -> str:
        """The drawing cut off at the plot's edges, where it reaches beyond them."""
        left, right = axes.bbox.x0, axes.bbox.x1
        top, bottom = self._height - axes.bbox.y1, self._height - axes.bbox.y0
        slack = 0.01
        if box[0] >= left - slack and box[2] <= right + slack and box[1] >= top - slack and box[3] <= bottom + slack:
            return drawn
        name = f"{self._prefix}-clip{next(self._ids)}"
        size = _rectangle(left, top, right - left, bottom - top)
        return f'<clipPath id="{name}"><rect {size}/></clipPath><g clip-path="url(#{name})">{drawn}</g>'

    def _text(self, text: Text) -> str:
        words = text.get_text()
        if not words:
            return ""
        import numpy as np

        ((x, y),) = self._points(np.array([text.get_unitless_position()], float), text.get_transform())
        size, weight = text.get_fontsize(), text.get_fontweight()
        height, below = line_metrics(size, weight)
        lines = words.split("\n")
        # Baseline of the first line below the top of the text, and the text's height.
        first, step = height - below, below + (height - below) * _LINE_SPACING
        whole = first + step * (len(lines) - 1) + below
        shift = {"top": 0, "bottom": -whole, "center": -whole / 2, "baseline": below - whole}[text.get_va()] + first
        style = style_of(
            f"font-size: {decimal(size)}px",
            f"font-weight: {weight}" if weight not in ("normal", 400) else "",
            _ANCHORS[text.get_ha()],
            f"fill: {colour_of(text.get_color())}",
            f"opacity: {decimal(text.get_alpha())}" if text.get_alpha() is not None else "",
        )
        if text.get_rotation():
            return _upright(text, x + first, y, style)
        backing = self._backing(text, x, y + shift - first, whole) if text.get_bbox_patch() else ""
        return backing + "".join(
            f'<text x="{decimal(x)}" y="{decimal(y + shift + step * place)}"{style}>{escape(line, quote=False)}</text>'
            for place, line in enumerate(lines)
        )

    def _backing(self, text: Text, x: float, top: float, height: float) -> str:
        """The box behind a text of one line."""
        box = text.get_bbox_patch()
        pad = box.get_boxstyle().pad * text.get_fontsize()
        width = text_width(text.get_text(), text.get_fontsize(), text.get_fontweight())
        left = x - {"left": 0, "center": width / 2, "right": width}[text.get_ha()]
        size = _rectangle(left - pad, top - pad, width + 2 * pad, height + 2 * pad)
        return f'<rect {size} style="fill: {colour_of(box.get_facecolor()[:3])}"/>'

    def _line(self, line: Line2D) -> tuple[str, tuple | None]:
        points = self._points(line.get_xydata(), line.get_transform())
        if not len(points):
            return "", None
        drawn = ""
        alpha = f"opacity: {decimal(line.get_alpha())}" if line.get_alpha() is not None else ""
        if line.get_linestyle() not in ("None", " ", "") and line.get_linewidth():
            cap = line.get_dash_capstyle() if line.is_dashed() else line.get_solid_capstyle()
            join = line.get_dash_joinstyle() if line.is_dashed() else line.get_solid_joinstyle()
            # Matplotlib tells a pattern of one's own to nobody else.
            dashes = line._dash_pattern[1]
            stroke = stroke_of(line.get_color(), line.get_linewidth(), dashes, cap, join)
            drawn = f'<path d="{polyline(points)}"{style_of("fill: none", *stroke, alpha)}/>'
        marker = line.get_marker()
        if marker not in ("None", None, " ", ""):
            drawn += self._marks(line, points, alpha)
        return drawn, box_of(points)

    def _marks(self, line: Line2D, points: np.ndarray, alpha: str) -> str:
        shape, filled = marker_of(line.get_marker(), line.get_markersize())
        defined = ""
        if shape not in self._markers:
            self._markers[shape] = f"{self._prefix}-mark{next(self._ids)}"
            defined = f'<defs><path id="{self._markers[shape]}" d="{shape}"/></defs>'
        edge = line.get_markeredgewidth()
        style = style_of(
            f"fill: {colour_of(line.get_markerfacecolor())}" if filled else "fill: none",
            *(stroke_of(line.get_markeredgecolor(), edge, None, "butt", "miter") if edge else ()),
            alpha,
        )
        return defined + "".join(
            f'<use href="#{self._markers[shape]}" x="{decimal(x)}" y="{decimal(y)}"{style}/>'
            for x, y in points.tolist()
        )

    def _lines(self, lines: LineCollection) -> tuple[str, tuple | None]:
        segments = [self._points(points, lines.get_transform()) for points in lines.get_segments()]
        if not segments:
            return "", None
        import numpy as np

        colours, widths, dashes = lines.get_colors(), lines.get_linewidths(), lines.get_linestyles()
        if len(colours) > 1 or len(widths) > 1 or len(dashes) > 1:
            raise TypeError("Lines that are drawn together must look the same")
        alpha = f"opacity: {decimal(colours[0][3])}" if colours[0][3] < 1 else ""
        stroke = stroke_of(tuple(colours[0][:3]), widths[0], dashes[0][1], lines.get_capstyle() or "butt", "round")
        style = style_of("fill: none", *stroke, alpha)
        # What has a name can be told apart line by line.
        paths = map(polyline, segments) if lines.get_gid() else (" ".join(map(polyline, segments)),)
        return "".join(f'<path d="{path}"{style}/>' for path in paths), box_of(np.concatenate(segments))

    def _shape(self, patch: Patch) -> tuple[str, tuple | None]:
        from matplotlib.artist import Artist
        from matplotlib.patches import Rectangle

        if patch.get_linestyle() not in ("solid", "-"):
            raise TypeError("The edge of a shape must be solid")
        import numpy as np

        transform = Artist.get_transform(patch)
        if type(patch) is Rectangle and not patch.get_angle():
            x, y, width, height = patch.get_x(), patch.get_y(), patch.get_width(), patch.get_height()
            corners = np.array([(x, y), (x + width, y), (x + width, y + height), (x, y + height)], float)
            points = self._points(corners, transform)
            path = f"{polyline(points)} z"
        else:
            outline = patch.get_path()
            own = patch.get_patch_transform()
            points = self._points(own.transform(outline.vertices), transform)
            path = path_of(outline, points)
        face, edge = patch.get_facecolor(), patch.get_edgecolor()
        stroke = (
            stroke_of(tuple(edge[:3]), patch.get_linewidth(), None, "butt", patch.get_joinstyle())
            if patch.get_linewidth() and edge[3]
            else ()
        )
        filled = patch.get_fill() and (face[3] or patch.get_alpha() == 0)
        style = style_of(
            f"fill: {colour_of(tuple(face[:3]))}" if filled else "fill: none",
            *stroke,
            f"opacity: {decimal(patch.get_alpha())}" if patch.get_alpha() is not None else "",
        )
        return f'<path d="{path}"{style}/>', box_of(points)


def _upright(text: Text, x: float, y: float, style: str) -> str:
    """A line of text that runs upwards, with its baseline at ``x`` and its middle at ``y``."""
    if (text.get_rotation(), text.get_ha(), text.get_va()) != (90, "left", "center") or "\n" in text.get_text():
        raise TypeError(f"The text {text.get_text()!r} is turned or aligned as no other is")
    style = style.replace('style="', 'style="text-anchor: middle; ')
    place = f"translate({decimal(x)} {decimal(y)}) rotate(-90)"
    return f'<text transform="{place}"{style}>{escape(text.get_text(), quote=False)}</text>'


def _rectangle(left: float, top: float, width: float, height: float) -> str:
    return f'x="{decimal(left)}" y="{decimal(top)}" width="{decimal(width)}" height="{decimal(height)}"'


def _contents(axes: Axes) -> list[Artist]:
    """What was drawn into bare axes.

    Raises:
        TypeError: the axes have scales of their own.
    """
    if axes.axison:
        raise TypeError("Axes with matplotlib's own scales cannot be written as SVG")
    return [*axes.patches, *axes.lines, *axes.collections, *axes.texts, *axes.artists]
