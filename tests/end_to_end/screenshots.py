"""``python -m tests.end_to_end.screenshots``: the pictures of README, taken from the real page in Chromium.

Every picture shows what the page really does here: the run under *Finetune* is trained for the picture, and the
question under *Ask* is asked.
"""

import os
import shutil
import sys

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from app.tabs.finetune_settings import SMALL_DEVICE_MIB
from app.text import finetune as finetune_text
from app.text import start as start_text
from tests.end_to_end.serving import REPOSITORY, served

FOLDER = REPOSITORY / "app" / "screenshots"
QUESTION = "How many bits per parameter does double quantization save?"
WIDTH, HEIGHT = 1280, 860
_COLOURS = 128
_STEPS = 12


def main(names: list[str]) -> int:
    """Serve the page with an empty folder for runs, and take the pictures of these tabs, of all without a name."""
    # Answers from our notes: README shows no page of anybody's paper.
    environment = {name: value for name, value in os.environ.items() if name != "QLORA_PAPERS"}
    with served(environment) as (url, _, _), sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"))
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        page.set_default_timeout(180_000)
        for name in names or PICTURES:
            page.goto(f"{url}/?tab={name}&__theme=light")
            PICTURES[name](page)
            _save(page, name)
        browser.close()
    return 0


def _save(page: Page, name: str) -> None:
    FOLDER.mkdir(exist_ok=True)
    file = FOLDER / f"{name}.png"
    page.wait_for_timeout(1500)
    page.screenshot(path=file)
    # A page of flat colours needs few of them: a third of the bytes.
    with Image.open(file) as picture:
        picture.convert("RGB").quantize(_COLOURS).save(file, optimize=True)
    print(f"{file.relative_to(REPOSITORY)}: {file.stat().st_size / 1024:.0f} KiB")


def _start(page: Page) -> None:
    page.locator("[data-story-play]").get_by_text(start_text.PAUSE).click()
    slider = page.locator(".story-controls input")
    frames = int(slider.get_attribute("max"))
    # The step with the most pages away: the one with the longest text.
    away = page.evaluate("JSON.parse(document.querySelector('[data-run]').dataset.run).frames.map(f => f.away.length)")
    slider.fill(str(min(frames, away.index(max(away)))))


def _quantize(page: Page) -> None:
    page.locator("#quantize-levels svg").first.wait_for()
    page.locator("#quantize-controls").evaluate("place => place.scrollIntoView({block: 'start'})")
    page.wait_for_timeout(3000)


def _memory(page: Page) -> None:
    page.locator("#memory-own svg").first.wait_for()
    page.locator("#memory-own").evaluate("place => place.scrollIntoView({block: 'start'})")


def _finetune(page: Page) -> None:
    page.locator("#finetune-preset").get_by_text(finetune_text.PRESETS["small_device"]).click()
    page.locator("#finetune-plan").get_by_text(f"{SMALL_DEVICE_MIB:g} MiB").wait_for()
    page.locator("#finetune-settings button").first.click()
    page.locator("#finetune-steps input").fill(str(_STEPS))
    page.locator("#finetune-plan").get_by_text(f"{_STEPS} steps").wait_for()
    page.locator("#finetune-start").click()
    page.locator("#finetune-status").get_by_text(finetune_text.STATES["finished"]).wait_for(timeout=900_000)
    page.locator("#finetune-charts svg").first.wait_for()
    page.locator("#finetune-cards").evaluate("place => place.scrollIntoView({block: 'start'})")


def _paging(page: Page) -> None:
    page.locator("#paging-player").wait_for()
    page.wait_for_timeout(4000)


def _ask(page: Page) -> None:
    page.locator("#ask-question textarea").fill(QUESTION)
    page.locator("#ask-button").click()
    entry = page.locator("#ask-answers article[data-declined]").first
    entry.wait_for()
    entry.locator(".ask-chip").first.click()
    page.locator("#ask-page").locator(".ask-quote, .ask-note").first.wait_for()
    page.locator("#ask-form").evaluate("place => place.scrollIntoView({block: 'start'})")


PICTURES = {
    "start": _start,
    "quantize": _quantize,
    "memory": _memory,
    "finetune": _finetune,
    "paging": _paging,
    "ask": _ask,
}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
