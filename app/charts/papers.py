"""Trees of papers, or of one paper's sections, by how alike they are."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING

from app.charts.canvas import FONT_PX, blank, plot_area
from app.charts.palette import INK, MUTED, PALETTE
from app.charts.svg import NARROW_PX
from app.text import papers as text

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Merges = Sequence[tuple[int, int, float]]
"""(branch, branch, likeness) from the most alike to the least; leaves are numbered first, merges counted on."""

_CHARACTER_PX = 0.58 * FONT_PX
_LINE_PX = 16
_NAMED = 3
_STEPS = 5


def tree_figure(width_px: int, *, names: Sequence[str], merges: Merges, chosen: str = "") -> Figure:
    """A lying tree: leaves with their names one below the other, branches that meet farther right the less alike.

    Args:
        width_px: width in CSS pixels.
        names: of the leaves; each takes two lines at most, three on a narrow page.
        merges: how they meet; one fewer than leaves.
        chosen: name of the leaf that is set apart with its way to the root.
    """
    narrow = width_px <= NARROW_PX
    left, right, top, most_lines = (178, 14, 8, 3) if narrow else (330, 24, 8, 2)
    shown = [folded(name, int((left - 14) / _CHARACTER_PX), most_lines) for name in names]
    row = 12 + _LINE_PX * max([name.count("\n") + 1 for name in shown], default=1)
    height = row * max(len(names), 1)
    edge = min(1.0 - min([likeness for _, _, likeness in merges], default=0.0), 2.0) * 1.04 or 1.0
    figure = blank(width_px, top + height + 46)
    axes = plot_area(
        figure,
        x=(0, edge),
        y=(height, 0),
        left=left,
        top=top,
        right=right,
        x_ticks=_ticks(edge),
        grid="x",
        x_label=text.AXIS_NARROW if narrow else text.AXIS,
    )
    path = _path(names, merges, chosen)
    place = {leaf: (0.0, row * (position + 0.5)) for position, leaf in enumerate(leaf_order(len(names), merges))}
    for leaf, (_, y) in place.items():
        style = {"color": PALETTE["accent"], "weight": "bold"} if leaf in path else {"color": INK}
        axes.text(-8 / (width_px - left - right), y, shown[leaf], transform=axes.get_yaxis_transform(), ha="right",
                  va="center", fontsize=FONT_PX, parse_math=False, **style)  # fmt: skip
    for number, (one, other, likeness) in enumerate(merges, start=len(names)):
        x = 1.0 - likeness
        middle = (place[one][1] + place[other][1]) / 2
        for branch in (one, other):
            start, y = place[branch]
            axes.plot([start, x, x], [y, y, middle], gid=f"branch-{branch}", **_line(branch in path))
        place[number] = (x, middle)
    return figure


def _line(is_chosen: bool) -> dict:
    return {
        "color": PALETTE["accent"] if is_chosen else MUTED,
        "linewidth": 2.5 if is_chosen else 1.5,
        "solid_capstyle": "round",
        "solid_joinstyle": "miter",
        "zorder": 3 if is_chosen else 2,
    }


def _ticks(edge: float) -> dict[float, str]:
    """Likeness 1 stands at the left; about four steps."""
    step = next(step for step in (0.02, 0.05, 0.1, 0.2, 0.5) if edge / step <= 5)
    return {step * number: f"{1 - step * number:.2g}" for number in range(int(edge / step) + 1)}


def leaf_order(count: int, merges: Merges) -> list[int]:
    """Numbers of the leaves from top to bottom, so that no branches cross."""
    members: dict[int, list[int]] = {leaf: [leaf] for leaf in range(count)}
    for number, (one, other, _) in enumerate(merges, start=count):
        members[number] = members.pop(one) + members.pop(other)
    return [leaf for group in members.values() for leaf in group]


def _path(names: Sequence[str], merges: Merges, chosen: str) -> set[int]:
    """The chosen leaf and the merges above it."""
    if chosen not in names:
        return set()
    path = {list(names).index(chosen)}
    for number, (one, other, _) in enumerate(merges, start=len(names)):
        if one in path or other in path:
            path.add(number)
    return path


def folded(name: str, characters: int, lines: int) -> str:
    """The name on lines of at most ``characters``, the last ending in "…" where more is cut."""
    return "\n".join(textwrap.wrap(_printable(name), characters, max_lines=lines, placeholder="…"))


def _printable(name: str) -> str:
    """Titles come out of files and may hold anything; a drawing in XML may not."""
    return "".join(character for character in " ".join(name.split()) if character.isprintable())


def tree_description(names: Sequence[str], merges: Merges, *, kind: str) -> str:
    """The chart in sentences; ``kind`` is ``"papers"`` or ``"sections"``."""
    if not names:
        return text.NOTHING
    if not merges:
        return text.ALONE.format(name=_printable(names[0]))
    steps = [
        text.STEP.format(left=one, right=other, likeness=likeness) for one, other, likeness in _named(names, merges)
    ]
    template = text.PAPER_TREE_DESCRIPTION if kind == "papers" else text.SECTION_TREE_DESCRIPTION
    return template.format(count=len(names), steps="; ".join(steps[:_STEPS]) + ".")


def tree_rows(names: Sequence[str], merges: Merges) -> list[tuple[str, str, str]]:
    """Rows of the chart's table twin, under :data:`app.text.papers.COLUMNS`."""
    return [(one, other, f"{likeness:.2f}") for one, other, likeness in _named(names, merges)]


def _named(names: Sequence[str], merges: Merges) -> list[tuple[str, str, float]]:
    members: dict[int, list[str]] = {leaf: [_printable(name)] for leaf, name in enumerate(names)}
    rows = []
    for number, (one, other, likeness) in enumerate(merges, start=len(names)):
        rows.append((_listed(members[one]), _listed(members[other]), likeness))
        members[number] = members[one] + members[other]
    return rows


def _listed(names: list[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else text.MORE.format(names=shown, count=len(names) - _NAMED)
