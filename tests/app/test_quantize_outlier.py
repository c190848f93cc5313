"""The outlier: what the page measures is what the quantizer does, and the browser does the same arithmetic."""

import csv
import html as markup
import io
import re

import pytest
import torch

import qlora
from app.charts.svg import WIDE_PX
from app.tabs import quantize_outlier as outlier
from app.tabs import quantize_redraw as tab
from app.tabs import quantize_sources as sources
from app.text import quantize as labels
from app.theme import SCRIPTS
from tests.app.test_quantize_tab import chosen, draw


def by_hand(values: torch.Tensor, data_type: str, block_size: int) -> torch.Tensor:
    stored = qlora.quantize(values, data_type, block_size=block_size, double_quantization=False)
    return (stored.dequantize(torch.float32) - values).double().abs()


@pytest.mark.parametrize("block_size", [32, 64, 512, 4096])
def test_errors_are_those_of_the_quantizer(block_size):
    place, size = 700, 6.0
    weights = sources.weights(chosen()).flatten()[:1024].clone()
    typical = weights.double().square().mean().sqrt()
    weights[place] = size * weights.abs().max()
    others = torch.arange(1024) != place
    spoiled = outlier.spoil(chosen(), "nf4", block_size, place, size)
    whole = by_hand(weights, "nf4", 1024) / typical * 100
    blocks = by_hand(weights, "nf4", block_size) / typical * 100
    assert spoiled.mean_whole == pytest.approx(whole[others].mean().item())
    assert spoiled.mean_blocks == pytest.approx(blocks[others].mean().item())
    assert len(spoiled.blocks) == -(-1024 // block_size)
    first = place // block_size * block_size
    group = slice(first, first + block_size)
    assert spoiled.blocks[place // block_size] == pytest.approx(blocks[group][others[group]].mean().item())


def test_an_outlier_spoils_all_with_one_scale_and_one_block_with_many():
    spoiled = outlier.spoil(chosen(), "nf4", 64, 417, 6.0)
    calm = [error for block, error in enumerate(spoiled.blocks) if block != 417 // 64]
    assert min(spoiled.whole) > 2 * max(calm)
    assert spoiled.blocks[417 // 64] > 2 * max(calm)
    assert spoiled.mean_blocks < spoiled.mean_whole / 2


def test_the_weights_of_the_tensor_are_left_alone():
    before = sources.weights(chosen()).clone()
    outlier.spoil(chosen(), "nf4", 64, 10, 8.0)
    assert torch.equal(sources.weights(chosen()), before)


def page_of(data_type: str, block_size: int, size: float, place: int, **more) -> str:
    return draw(tab.draw_outlier, own=(size, place), data_type=data_type, block_size=block_size, **more)[0]


def told(page: str) -> tuple[str, list, list]:
    """The conclusion, the cells of the table and the numbers of the CSV."""
    conclusion = markup.unescape(re.search(r'<p class="conclusion">(.*?)</p>', page).group(1))
    cells = re.findall(r"<td[^>]*>(.*?)</td>", page)
    lines = list(csv.reader(io.StringIO(markup.unescape(re.search(r'data-csv="([^"]*)"', page).group(1)))))
    return conclusion, cells, [float(value) for line in lines[1:] for value in line[1:]]


def drawn(page: str) -> dict[str, list[float]]:
    """Part -> the numbers of its path, in the order of the rectangle's corners."""
    found = {}
    for name, path in re.findall(r'data-part="((?:whole|blocks)-\d+|own-block|stem)"[^>]*>\s*<path d="([^"]+)"', page):
        numbers = [float(number) for number in re.findall(r"-?\d+\.?\d*", path)]
        found[name] = [f(numbers[axis::2]) for axis in (0, 1) for f in (min, max)]
    return found


SLIDERS = "".join(
    f'<div id="quantize-outlier-{name}"><input type="number">'
    f'<input type="range" min="1" max="{most}" step="{step}"></div>'
    for name, most, step in (("size", 8, 0.1), ("place", 1024, 1))
)


@pytest.fixture
def window(browser):
    """An empty page with the tab's scripts, to which a panel and the two sliders are added."""
    page = browser.new_page()
    page.set_default_timeout(20_000)
    scripts = [script.read_text(encoding="utf-8") for script in sorted(SCRIPTS.glob("quantize_*.js"))]
    assert any("data-outlier" in script for script in scripts)
    page.set_content("<body></body>")
    for script in scripts:
        page.add_script_tag(content=script)
    yield page
    page.close()


def move(window, size: float, place: int) -> None:
    window.evaluate(
        """([size, place]) => {
          for (const [name, value] of [['size', size], ['place', place]]) {
            const slider = document.querySelector(`#quantize-outlier-${name} input[type=range]`);
            slider.value = value;
            slider.dispatchEvent(new Event('input', {bubbles: true}));
          }
        }""",
        [size, place],
    )


@pytest.mark.end_to_end
@pytest.mark.parametrize("data_type", labels.DATA_TYPES)
@pytest.mark.parametrize("block_size", [32, 128, 4096])
def test_the_browser_draws_what_the_server_draws(window, data_type, block_size):
    start = page_of(data_type, block_size, 2.0, 5)
    window.evaluate("html => { document.body.innerHTML = html }", SLIDERS + start)
    before = told(start)
    for size, place in ((1.0, 1), (3.7, 417), (8.0, 1024)):
        move(window, size, place)
        ours, theirs = window.inner_html("body"), page_of(data_type, block_size, size, place)
        assert told(theirs) != before, "else this proves nothing"
        assert told(ours)[:2] == told(theirs)[:2]
        assert told(ours)[2] == pytest.approx(told(theirs)[2], rel=1e-9)
        parts = drawn(theirs)
        assert len(parts) == 2 + 2 * -(-1024 // block_size)
        for name, corners in drawn(ours).items():
            assert corners == pytest.approx(parts[name], abs=0.01), name


@pytest.mark.end_to_end
def test_a_short_last_block_is_the_same_in_the_browser(window):
    typed = {"model": "Numbers you type", "numbers": " ".join(f"{0.37 * (i % 13) - 2:.3f}" for i in range(75))}
    window.evaluate("html => { document.body.innerHTML = html }", SLIDERS + page_of("nf4", 32, 2.0, 5, **typed))
    for size, place in ((1.0, 70), (5.0, 3)):
        move(window, size, place)
        ours, theirs = told(window.inner_html("body")), told(page_of("nf4", 32, size, place, **typed))
        assert ours[:2] == theirs[:2]
        assert ours[2] == pytest.approx(theirs[2], rel=1e-9)


@pytest.mark.end_to_end
def test_a_drag_moves_both_sliders(window):
    window.evaluate("html => { document.body.innerHTML = html }", SLIDERS + page_of("nf4", 64, 4.0, 200))
    move(window, 4.0, 200)
    handle = window.locator('[data-part="handle"]').bounding_box()
    x, y = handle["x"] + handle["width"] / 2, handle["y"] + handle["height"] / 2
    window.mouse.move(x, y)
    window.mouse.down()
    window.mouse.move(x + 120, y - 40, steps=4)
    window.mouse.up()
    size, place = (
        float(window.locator(f"#quantize-outlier-{name} input[type=range]").input_value()) for name in ("size", "place")
    )
    assert size > 4.5
    assert place > 250
    assert f"An outlier {size:.1f} times" in window.inner_text("body")
    assert f"weight {place:.0f}." in window.locator("svg desc").text_content()
    window.mouse.move(x, y)
    assert f"An outlier {size:.1f} times" in window.inner_text("body"), "the drag has ended"


@pytest.mark.end_to_end
def test_the_keyboard_walks_along_the_journey(window):
    page = draw(tab.draw_journey)[0]
    window.evaluate("html => { document.body.innerHTML = html }", page)
    window.add_style_tag(content=".journey-run { display: grid; grid-template-columns: repeat(16, 1fr) }")
    records = window.evaluate("JSON.parse(document.querySelector('[data-journey]').dataset.journey)")
    window.locator('[data-weight="3"]').click()
    window.keyboard.press("ArrowRight")
    window.keyboard.press("ArrowDown")
    chosen_cell = window.locator('[data-weight][aria-checked="true"]')
    assert chosen_cell.get_attribute("data-weight") == "20"
    assert window.evaluate("document.activeElement.dataset.weight") == "20"
    assert window.locator('[data-weight][tabindex="0"]').count() == 1
    for field in ("value", "absmax", "scaled", "nibble", "byte", "decoded", "conclusion"):
        assert window.locator(f'[data-field="{field}"]').inner_text() == records[20][field]
    pixels = float(window.locator("[data-pixels]").get_attribute("data-pixels"))
    scale = window.locator("svg").bounding_box()["width"] / WIDE_PX
    marks = {name: window.locator(f'[data-part="{name}"]').bounding_box() for name in ("value", "level")}
    middles = {name: box["x"] + box["width"] / 2 for name, box in marks.items()}
    expected = (float(records[20]["at"]) - float(records[20]["at_level"])) * pixels * scale
    assert middles["value"] - middles["level"] == pytest.approx(expected, abs=0.2)


@pytest.mark.end_to_end
def test_a_file_that_is_too_large_is_not_sent(window):
    limit = re.sub(r'data-bytes="\d+"', 'data-bytes="1000"', sources.upload_limit())
    window.evaluate(
        "html => { document.body.innerHTML = html }", f'<div id="quantize-upload"><input type="file"></div>{limit}'
    )
    window.evaluate("document.querySelector('input').addEventListener('change', () => { window.sent = true })")
    sentence, field = window.locator("#quantize-upload-limit"), window.locator("input")
    field.set_input_files({"name": "a.safetensors", "mimeType": "", "buffer": bytes(3 * 2**20)})
    assert "This file has 3 MiB" in sentence.inner_text()
    assert window.evaluate("window.sent") is None
    field.set_input_files({"name": "a.safetensors", "mimeType": "", "buffer": bytes(10)})
    assert not sentence.is_visible()
    assert window.evaluate("window.sent") is True
