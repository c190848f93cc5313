"""The player in Chromium: the same states as the Python function, the keyboard, playing, and a run that grows."""

import json
import time

import pytest

from app import theme
from app.tabs import paging_player, paging_replay, paging_sources, paging_view
from app.text import paging as text

pytestmark = pytest.mark.end_to_end
SOURCE = "recording:smollm2-cpu-budget"


@pytest.fixture(scope="module")
def source():
    loaded = paging_sources.load(SOURCE)
    assert loaded.run.moves > 100, "else this proves nothing"
    return loaded


@pytest.fixture
def page(browser, source):
    context = browser.new_context(viewport={"width": 1100, "height": 900})
    page = context.new_page()
    page.route("**/*", lambda route: route.fulfill(body="<html><body></body></html>", content_type="text/html"))
    page.goto("http://paging.test/")
    page.add_style_tag(content=theme.css())
    for name in ("navigate.js", "paging.js"):
        page.add_script_tag(content=(theme.SCRIPTS / name).read_text(encoding="utf-8"))
    show(page, source)
    page.locator("[data-pager-grid] g").first.wait_for()
    yield page
    context.close()


def show(page, source) -> None:
    body = (
        paging_player.player_html(source) + paging_player.data_html(source) + paging_view.run_chart_html(source, False)
    )
    page.evaluate("html => document.body.innerHTML = `<div class='gradio-container'>${html}</div>`", body)


def moment(page) -> int:
    return int(page.locator("[data-pager-at]").input_value())


def test_browser_and_python_agree_on_every_state(page, source):
    run = source.run
    rows = range(0, len(run.rows) + 1, 3)
    sent = json.loads(paging_replay.compact_json(run))
    told = page.evaluate(
        "([run, rows]) => rows.map((row) => [qloraPaging.stateAt(run, row), qloraPaging.movingAt(run, row), "
        "qloraPaging.residentBytes(run, qloraPaging.stateAt(run, row))])",
        [sent, list(rows)],
    )
    assert len({tuple(state) for state, _, _ in told}) > 40, "else this proves nothing"
    for row, (state, moving, held) in zip(rows, told, strict=True):
        expected = paging_replay.state_at(run, row)
        assert state == expected, row
        assert moving == paging_replay.moving_at(run, row)
        assert held == paging_replay.resident_bytes(run, expected)


def test_browser_and_python_agree_on_a_resumed_run(page):
    from qlora import events
    from tests.app.test_paging_replay import move, paged, step

    log = [*paged(), events.RunResumed(time=103.0, step=2, steps=9, path="x"), move(1, "in", 104.0, step=3)]
    run = paging_replay.replay([*log, step(3, 105.0)])
    sent = json.loads(paging_replay.compact_json(run))
    for row in range(len(run.rows) + 1):
        state = page.evaluate("([run, row]) => qloraPaging.stateAt(run, row)", [sent, row])
        assert state == paging_replay.state_at(run, row)


def test_first_view_is_the_fullest_moment_in_cells_words_and_numbers(page, source):
    row, away = paging_replay.most_away(source.run)
    assert moment(page) == row
    assert page.locator("[data-pager-grid] .page-away").count() == away
    assert page.locator("[data-pager-grid] .page-resident").count() == source.run.pages - away
    assert page.locator("[data-pager-count=away]").inner_text() == str(away)
    assert page.locator("[data-pager-grid] .page-moving-out").count() == 1
    assert f"{away} away" in page.locator("[data-pager-grid]").get_attribute("aria-label")
    assert "left the device: room for activations" in page.locator("[data-pager-log]").inner_text()
    assert "limit 266.0 MiB" in page.locator("[data-pager-bar=now]").inner_text()
    assert page.locator("[data-pager-chart] .pager-cursor").count() == 1
    mark = page.locator("[data-pager-grid] .page-away .page-mark").last
    assert mark.evaluate("mark => getComputedStyle(mark).display") == "inline", "a cue besides the colour"


def test_keyboard_alone_moves_through_the_run(page, source):
    slider, last = page.locator("[data-pager-at]"), len(source.run.rows)
    slider.focus()
    start = moment(page)
    page.keyboard.press("ArrowRight")
    assert moment(page) == start + 1
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("ArrowLeft")
    assert moment(page) == start - 1
    page.keyboard.press("End")
    assert moment(page) == last
    page.keyboard.press("ArrowRight")
    assert moment(page) == last
    page.keyboard.press("Home")
    assert moment(page) == 0
    assert page.locator("[data-pager-grid] .page-unused").count() == source.run.pages
    assert text.WHEN_BEFORE in slider.get_attribute("aria-valuetext")
    page.locator("[data-pager-grid]").focus()
    page.keyboard.press("End")
    assert moment(page) == last


def test_space_plays_and_pauses_and_all_at_once_goes_to_the_end(page, source):
    slider, button = page.locator("[data-pager-at]"), page.locator("[data-pager-play]")
    page.locator("[data-pager-speed]").select_option("16")
    slider.focus()
    page.keyboard.press("Home")
    page.keyboard.press(" ")
    assert button.inner_text() == text.PAUSE
    page.wait_for_function("() => Number(document.querySelector('[data-pager-at]').value) > 3")
    page.keyboard.press(" ")
    assert button.inner_text() == text.PLAY
    stopped = moment(page)
    time.sleep(0.3)
    assert moment(page) == stopped < len(source.run.rows)
    page.locator("[data-pager-speed]").select_option("all")
    button.click()
    page.wait_for_function(
        "last => Number(document.querySelector('[data-pager-at]').value) === last", arg=slider_end(page)
    )
    assert button.inner_text() == text.PLAY


def slider_end(page) -> int:
    return int(page.locator("[data-pager-at]").get_attribute("max"))


def test_click_on_the_chart_goes_to_that_time(page, source):
    drawing = page.locator("[data-pager-chart] svg")
    box = drawing.bounding_box()
    page.mouse.click(box["x"] + 0.98 * box["width"], box["y"] + 60)
    assert moment(page) >= len(source.run.rows) - 3
    page.mouse.click(box["x"] + 0.02 * box["width"], box["y"] + 60)
    assert moment(page) == 0


def test_a_moment_and_a_choice_stand_in_the_address(page, source):
    assert "paging=" not in page.url, "the first view needs no address"
    page.locator("[data-pager-at]").focus()
    page.keyboard.press("Home")
    page.keyboard.press("ArrowRight")
    assert "paging=recording%3Asmollm2-cpu-budget" in page.url
    assert page.url.endswith("moment=1")
    show(page, source)
    page.locator("[data-pager-grid] g").first.wait_for()
    assert moment(page) == 1, "who opens the address sees that moment"
    show(page, paging_sources.load("recording:smollm2-cpu-free"))
    page.wait_for_function("() => document.querySelectorAll('[data-pager-grid] g').length > 0")
    assert "paging=recording%3Asmollm2-cpu-free" in page.url


def test_sentence_of_a_burst_under_way_says_so(page, source):
    first, last, words = source.run.sentences[0]
    assert last > first, "else this proves nothing"
    page.locator("[data-pager-at]").fill(str(first + 1))
    assert page.locator("[data-pager-log]").inner_text() == text.UNDER_WAY.format(words=words.rstrip("."))
    page.locator("[data-pager-at]").fill(str(last + 1))
    assert page.locator("[data-pager-log]").inner_text() == words


def test_live_run_is_followed_at_its_end_and_left_alone_elsewhere(page, source):
    import dataclasses

    from app import runs

    def live(count: int):
        log = source.log[:count]
        run = paging_replay.replay(log)
        status = runs.Status("running")
        return dataclasses.replace(source, id="run:x", log=log, run=run, header=None, status=status)

    growing = [live(count) for count in (60, 90, 120)]
    rows = [len(one.run.rows) for one in growing]
    assert rows[0] < rows[1] < rows[2]
    show(page, growing[0])
    page.wait_for_function("last => Number(document.querySelector('[data-pager-at]').value) === last", arg=rows[0])

    def arrive(one) -> None:
        page.evaluate(
            "html => document.querySelector('[data-pager-data]').outerHTML = html", paging_player.data_html(one)
        )
        page.wait_for_function(
            "last => Number(document.querySelector('[data-pager-at]').max) === last", arg=len(one.run.rows)
        )

    arrive(growing[1])
    assert moment(page) == rows[1], "who watches the end sees what comes"
    page.locator("[data-pager-at]").fill("5")
    arrive(growing[2])
    assert moment(page) == 5, "who looks back is left there"
