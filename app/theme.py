"""The look of the page: gradio's theme on our variables, every style sheet in one ``<style>`` element, and the scripts
of ``app/scripts`` that hold for the whole page.

Colours, and what each of them means, are defined in ``app/styles/base.css`` and nowhere else.
"""

from pathlib import Path

import gradio as gr

STYLES = Path(__file__).parent / "styles"
SCRIPTS = Path(__file__).parent / "scripts"

# Fonts of the visitor's system only: gradio's default theme ships its own, others load them from Google.
THEME = gr.themes.Base(
    primary_hue="blue",
    secondary_hue="blue",
    neutral_hue="slate",
    text_size="md",
    radius_size="sm",
    font=["var(--text-font)", "sans-serif"],
    font_mono=["var(--code-font)", "monospace"],
).set(
    body_background_fill="var(--surface)",
    body_background_fill_dark="var(--surface)",
    body_text_color="var(--ink)",
    body_text_color_dark="var(--ink)",
    body_text_color_subdued="var(--muted)",
    body_text_color_subdued_dark="var(--muted)",
    background_fill_primary="var(--surface)",
    background_fill_primary_dark="var(--surface)",
    background_fill_secondary="var(--surface-raised)",
    background_fill_secondary_dark="var(--surface-raised)",
    block_background_fill="var(--surface)",
    block_background_fill_dark="var(--surface)",
    block_border_color="var(--grid)",
    block_border_color_dark="var(--grid)",
    block_label_text_color="var(--muted)",
    block_label_text_color_dark="var(--muted)",
    block_title_text_color="var(--ink)",
    block_title_text_color_dark="var(--ink)",
    block_info_text_color="var(--muted)",
    block_info_text_color_dark="var(--muted)",
    border_color_primary="var(--grid)",
    border_color_primary_dark="var(--grid)",
    link_text_color="var(--accent)",
    link_text_color_dark="var(--accent)",
    slider_color="var(--accent)",
    slider_color_dark="var(--accent)",
    color_accent="var(--accent)",
    button_primary_background_fill="var(--accent)",
    button_primary_background_fill_dark="var(--accent)",
    button_primary_background_fill_hover="var(--accent)",
    button_primary_background_fill_hover_dark="var(--accent)",
    button_primary_text_color="var(--surface)",
    button_primary_text_color_dark="var(--surface)",
    checkbox_background_color_selected="var(--accent)",
    checkbox_background_color_selected_dark="var(--accent)",
    checkbox_border_color_selected="var(--accent)",
    checkbox_border_color_selected_dark="var(--accent)",
)


def css() -> str:
    """All style sheets as one text: ``base.css`` first, because the others use its variables, then by name."""
    sheets = sorted(STYLES.glob("*.css"), key=lambda path: (path.name != "base.css", path.name))
    return "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)


def head() -> str:
    """The element for ``launch(head=…)``.

    Not ``launch(css=…)``: gradio puts a prefix before every selector inside ``@media`` and applies the sheet only
    after its own scripts have run, so ``:root`` and the narrow layout would be lost and the first paint unstyled.
    """
    scripts = "\n".join(script.read_text(encoding="utf-8") for script in sorted(SCRIPTS.glob("*.js")))
    return f"<style>\n{css()}\n</style>\n<script>\n{scripts}\n</script>"
