"""The Start tab's picture of one QLoRA layer: boxes that open what explains them, and room for a run's numbers.

Drawn by hand as SVG, because its boxes are controls: each can be reached by the keyboard and says what it opens.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from html import escape

from app.text import start as text

_BOX_RADIUS = 8
_PAGES_HEIGHT = 40


@dataclass(frozen=True)
class _Box:
    x: float
    y: float
    width: float
    height: float
    colour: str

    @property
    def right(self) -> float:
        return self.x + self.width

    @property
    def bottom(self) -> float:
        return self.y + self.height

    @property
    def middle(self) -> tuple[float, float]:
        return self.x + self.width / 2, self.y + self.height / 2


# Colours by meaning, as in every chart: variables of app/styles/base.css.
_WIDE = {
    "codes": _Box(210, 20, 190, 64, "base-model"),
    "decode": _Box(450, 20, 190, 64, "base-model"),
    "tokens": _Box(10, 132, 150, 64, "muted"),
    "product": _Box(450, 132, 190, 64, "base-model"),
    "loss": _Box(740, 188, 130, 64, "accent"),
    "adapter": _Box(330, 244, 310, 64, "adapter"),
    "gradient": _Box(530, 382, 220, 64, "gradient"),
    "optimizer": _Box(140, 362, 330, 106, "optimizer"),
}
_NARROW = {
    "tokens": _Box(95, 8, 150, 58, "muted"),
    "codes": _Box(4, 100, 160, 58, "base-model"),
    "decode": _Box(4, 184, 160, 58, "base-model"),
    "product": _Box(4, 268, 160, 58, "base-model"),
    "adapter": _Box(180, 184, 156, 142, "adapter"),
    "loss": _Box(75, 384, 190, 58, "accent"),
    "gradient": _Box(65, 474, 210, 58, "gradient"),
    "optimizer": _Box(20, 560, 300, 106, "optimizer"),
}
_SIZES = {"wide": (880, 476), "narrow": (340, 674)}


def diagram(numbers: Mapping[str, str], pages: int) -> str:
    """The picture twice, for wide and for narrow pages; the style sheet shows one of them.

    Args:
        numbers: name -> text, for the places in ``app.text.start.BOXES``; a place without one stays empty.
        pages: optimizer pages of the run, drawn one by one.
    """
    return _drawing("wide", _WIDE, numbers, pages) + _drawing("narrow", _NARROW, numbers, pages)


def _drawing(kind: str, boxes: Mapping[str, _Box], numbers: Mapping[str, str], pages: int) -> str:
    width, height = _SIZES[kind]
    lines = _wide_lines(boxes) if kind == "wide" else _narrow_lines(boxes)
    drawn = "".join(_box(name, box, numbers) for name, box in boxes.items())
    marker = f"story-head-{kind}"
    return (
        f'<svg class="story story-{kind}" viewBox="0 0 {width} {height}" role="group" '
        f'aria-label="{escape(text.DIAGRAM_TITLE)}"><desc>{escape(text.ALTERNATIVE)}</desc>'
        f'<defs><marker id="{marker}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" markerHeight="8" '
        f'orient="auto-start-reverse"><path d="M0 0 8 4 0 8z" fill="context-stroke"/></marker></defs>'
        f"{lines.replace('MARKER', f'url(#{marker})')}{drawn}{_pages(boxes['optimizer'], pages)}</svg>"
    )


def _box(name: str, box: _Box, numbers: Mapping[str, str]) -> str:
    title, detail, tab, element = text.BOXES[name]
    filled = _filled(detail, numbers)
    middle, _ = box.middle
    top = box.y + (26 if box.height > 60 else 24)
    return (
        f'<g class="story-box story-{box.colour}" role="button" tabindex="0" data-open-tab="{tab}" '
        f'data-open-at="{element}" aria-label="{escape(f"{title}: {filled}")}">'
        f'<rect x="{box.x}" y="{box.y}" width="{box.width}" height="{box.height}" rx="{_BOX_RADIUS}"/>'
        f'<text class="story-title" x="{middle}" y="{top}">{escape(title)}</text>'
        f'<text class="story-detail" x="{middle}" y="{top + 20}" data-detail="{escape(detail)}">{escape(filled)}</text>'
        f"</g>"
    )


def _filled(detail: str, numbers: Mapping[str, str]) -> str:
    """The detail with its numbers; a dash for one that is not known."""
    return detail.format_map(_Dashes(numbers))


class _Dashes(dict):
    def __missing__(self, key: str) -> str:
        return "–"


def _pages(box: _Box, pages: int) -> str:
    """A square a page under the optimizer's words; the script marks where each one is."""
    if not pages:
        return ""
    width = box.width - 24
    # As large as fits into the room under the words.
    pitch = next((size for size in range(20, 5, -1) if -(-pages // int(width // size)) * size <= _PAGES_HEIGHT), 5)
    columns = min(pages, int(width // pitch))
    left = box.x + (box.width - pitch * columns) / 2
    top = box.bottom - 12 - pitch * -(-pages // columns)
    gap = 3 if pitch > 10 else 2
    squares = "".join(
        f'<rect class="story-page" data-page="{number}" x="{left + pitch * (number % columns):.1f}" '
        f'y="{top + pitch * (number // columns):.1f}" width="{pitch - gap}" height="{pitch - gap}" rx="1"/>'
        for number in range(pages)
    )
    return f'<g role="img" aria-label="{escape(text.PAGES)}">{squares}</g>'


def _line(points: str, kind: str) -> str:
    return f'<path class="story-line story-{kind}" d="{points}" marker-end="MARKER"/>'


def _label(x: float, y: float, words: str, kind: str) -> str:
    return f'<text class="story-label story-{kind}-label" x="{x}" y="{y}">{escape(words)}</text>'


def _sum(x: float, y: float, radius: float) -> str:
    return (
        f'<circle class="story-sum" cx="{x}" cy="{y}" r="{radius}"/>'
        f'<text class="story-plus" x="{x}" y="{y + 6}">+</text>'
    )


def _wide_lines(at: Mapping[str, _Box]) -> str:
    tokens, codes, decode, product = (at[name] for name in ("tokens", "codes", "decode", "product"))
    adapter, loss, gradient, optimizer = (at[name] for name in ("adapter", "loss", "gradient", "optimizer"))
    x, y = tokens.right, tokens.middle[1]
    sum_x, sum_y = 690, loss.middle[1]
    return (
        _line(f"M{codes.right} {codes.middle[1]}H{decode.x - 2}", "forward")
        + _line(f"M{decode.middle[0]} {decode.bottom}V{product.y - 2}", "forward")
        + _line(f"M{x} {y}H{product.x - 2}", "forward")
        + _line(f"M{x + 80} {y}V{adapter.middle[1]}H{adapter.x - 2}", "forward")
        + _line(f"M{product.right} {product.middle[1]}H{sum_x}V{sum_y - 15}", "forward")
        + _line(f"M{adapter.right} {adapter.middle[1]}H{sum_x}V{sum_y + 15}", "forward")
        + _sum(sum_x, sum_y, radius=13)
        + _line(f"M{sum_x + 13} {sum_y}H{loss.x - 2}", "forward")
        + _line(f"M{loss.middle[0]} {loss.bottom}V{gradient.middle[1]}H{gradient.right + 2}", "backward")
        + _line(f"M{gradient.x} {gradient.middle[1]}H{optimizer.right + 2}", "backward")
        + _line(f"M{adapter.x + 60} {optimizer.y}V{adapter.bottom + 2}", "backward")
        + _label(x + 90, y - 8, text.FORWARD, "forward")
        + _label(adapter.x + 70, adapter.bottom + 32, text.BACKWARD, "backward")
    )


def _narrow_lines(at: Mapping[str, _Box]) -> str:
    tokens, codes, decode, product = (at[name] for name in ("tokens", "codes", "decode", "product"))
    adapter, loss, gradient, optimizer = (at[name] for name in ("adapter", "loss", "gradient", "optimizer"))
    sum_x, sum_y = loss.middle[0], 356
    return (
        _line(f"M{tokens.right} {tokens.middle[1]}H{adapter.middle[0]}V{adapter.y - 2}", "forward")
        + _line(f"M{sum_x} {tokens.bottom}V{product.middle[1]}H{product.right + 2}", "forward")
        + _line(f"M{codes.middle[0]} {codes.bottom}V{decode.y - 2}", "forward")
        + _line(f"M{decode.middle[0]} {decode.bottom}V{product.y - 2}", "forward")
        + _line(f"M{product.middle[0]} {product.bottom}V{sum_y}H{sum_x - 14}", "forward")
        + _line(f"M{adapter.middle[0]} {adapter.bottom}V{sum_y}H{sum_x + 14}", "forward")
        + _sum(sum_x, sum_y, radius=12)
        + _line(f"M{sum_x} {sum_y + 12}V{loss.y - 2}", "forward")
        + _line(f"M{sum_x} {loss.bottom}V{gradient.y - 2}", "backward")
        + _line(f"M{sum_x} {gradient.bottom}V{optimizer.y - 2}", "backward")
        + _line(f"M{optimizer.right} {optimizer.middle[1]}H334V{adapter.bottom + 2}", "backward")
    )
