"""The colours of charts by meaning, read from ``app/styles/base.css``, where they are defined."""

import re
from pathlib import Path

_BASE_CSS = Path(__file__).parents[1] / "styles" / "base.css"


def read_palette(css: str, selector: str) -> dict[str, str]:
    """Colours of one rule of a style sheet.

    Args:
        css: text of the sheet.
        selector: the rule, ``":root"`` for the light theme or ``".dark"``.

    Returns:
        Variable name without dashes in front -> ``#rrggbb``, in the sheet's order.
    """
    block = re.search(rf"^{re.escape(selector)} \{{(.*?)^\}}", css, re.DOTALL | re.MULTILINE).group(1)
    return dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6});", block))


# Draw with these. app.charts.svg turns each into a reference to its variable, so no two may be equal.
PALETTE = read_palette(_BASE_CSS.read_text(encoding="utf-8"), ":root")

INK = PALETTE["ink"]
MUTED = PALETTE["muted"]
GRID = PALETTE["grid"]
SURFACE = PALETTE["surface"]
