"""The theme asks nothing of another host, and the style sheets come in order."""

import re

from app import theme


def test_no_request_leaves_the_machine():
    for sheet in (theme.css(), theme.THEME._get_theme_css()):
        outside = [url for url in re.findall(r"https?://[^\s\"')]+", sheet) if url != "http://www.w3.org/2000/svg"]
        assert not outside
        assert "@import" not in sheet
    assert theme.THEME._stylesheets == []


def test_base_sheet_comes_first_and_every_sheet_is_in():
    css = theme.css()
    for sheet in theme.STYLES.glob("*.css"):
        assert sheet.read_text(encoding="utf-8") in css
    assert css.startswith((theme.STYLES / "base.css").read_text(encoding="utf-8"))


def test_every_variable_in_use_is_defined():
    css = theme.css()
    known = set(re.findall(r"(--[a-z0-9-]+):", css)) | set(re.findall(r"(--[a-z0-9-]+):", theme.THEME._get_theme_css()))
    assert set(re.findall(r"var\((--[a-z0-9-]+)", css)) <= known


def test_style_sheets_close_what_they_open():
    for sheet in theme.STYLES.glob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert text.count("{") == text.count("}"), sheet.name


def test_head_carries_the_sheets_unchanged():
    assert theme.css() in theme.head()
