"""Colours: one a meaning, told apart by colour-blind eyes, visible on the page in both themes."""

import itertools
from pathlib import Path

import gradio as gr
import numpy as np
import pytest

from app.charts.palette import PALETTE, read_palette

CSS = (Path(__file__).parents[3] / "app" / "styles" / "base.css").read_text(encoding="utf-8")
THEMES = {"light": read_palette(CSS, ":root"), "dark": read_palette(CSS, ".dark")}
# Colours that stand side by side in one chart.
TOGETHER = [
    ("base-model", "adapter", "gradient", "optimizer", "activation"),
    ("nf4", "fp4-e2m1", "fp4-e3m0", "int4"),
    ("page-resident", "page-evicted"),
]
# Machado, Oliveira and Fernandes 2009, severity 1, on linear RGB.
SIGHT = {
    "usual": np.eye(3),
    "deuteranopia": np.array(
        [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
    ),
    "protanopia": np.array(
        [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
    ),
    "tritanopia": np.array(
        [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
    ),
}
# Below about 10 two colours are hard to tell apart at a glance.
LEAST_DISTANCE = 15


def linear(colour: str) -> np.ndarray:
    value = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


def lab(rgb: np.ndarray) -> np.ndarray:
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    xyz = to_xyz @ rgb.clip(0, 1) / np.array([0.9505, 1, 1.089])
    f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def contrast(first: str, second: str) -> float:
    """WCAG's contrast ratio."""
    low, high = sorted(float(linear(colour) @ [0.2126, 0.7152, 0.0722]) for colour in (first, second))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", THEMES)
@pytest.mark.parametrize("sight", SIGHT)
def test_colours_of_one_chart_are_told_apart(theme, sight):
    palette = THEMES[theme]
    for group in TOGETHER:
        for first, second in itertools.combinations(group, 2):
            seen = [lab(SIGHT[sight] @ linear(palette[name])) for name in (first, second)]
            assert np.linalg.norm(seen[0] - seen[1]) > LEAST_DISTANCE, f"{first} and {second}"


@pytest.mark.parametrize("theme", THEMES)
def test_contrast_with_the_page(theme):
    palette = THEMES[theme]
    for name in itertools.chain(*TOGETHER):
        assert contrast(palette[name], palette["surface"]) >= 3, name
    for name in ("ink", "muted", "accent", "error"):
        for behind in ("surface", "surface-raised"):
            assert contrast(palette[name], palette[behind]) >= 4.5, f"{name} on {behind}"
    assert contrast(palette["ink"], palette["highlight"]) >= 4.5


def test_every_colour_has_a_dark_twin_and_none_is_used_twice():
    assert THEMES["light"].keys() == THEMES["dark"].keys()
    assert THEMES["light"] == PALETTE
    assert len(set(PALETTE.values())) == len(PALETTE)


def test_no_variable_of_gradio_is_overwritten():
    gradio_css = gr.themes.Base()._get_theme_css()
    assert "--body-background-fill:" in gradio_css, "gradio's variables have another form now"
    assert not [name for name in PALETTE if f"--{name}:" in gradio_css]
