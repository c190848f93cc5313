"""What holds the page together: the picture that opens its parts, the tour, shared views, saved charts, and access for
everybody."""

import csv
import io

import pytest
from playwright.sync_api import expect

from app.interface import TABS
from app.text import memory as memory_text
from app.text import quantize_story as story_text
from app.text import start as start_text
from app.text import tour
from qlora.memory.estimate import EstimateOptions, estimate
from qlora.memory.shapes import LLAMA
from tests.end_to_end.test_page import open_tab

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]


def test_a_box_opens_what_explains_it_with_the_keyboard_too(page):
    box = page.locator('.story-wide [data-open-tab="memory"]').first
    box.focus()
    page.keyboard.press("Enter")
    expect(page.locator("#memory-own")).to_be_in_viewport(timeout=30_000)
    open_tab(page, "Start")
    page.get_by_role("button", name=start_text.FIRST[-1][0]).click()
    expect(page.locator("#ask-question textarea")).to_be_focused()


def test_the_picture_runs_through_a_recorded_run(page):
    story = page.locator("[data-run]")
    play = story.locator("[data-story-play]")
    expect(play).to_have_text(start_text.PAUSE)
    play.click()
    slider = story.locator("input[type=range]")
    slider.focus()
    page.keyboard.press("Home")
    first = story.locator(".story-wide").text_content()
    page.keyboard.press("End")
    expect(story.locator(".story-wide")).not_to_have_text(first)
    assert slider.get_attribute("max") == slider.input_value()
    expect(story.locator(".story-step")).to_have_text(slider.get_attribute("aria-valuetext"))


def test_the_tour_is_left_and_resumed(page):
    page.locator("#page-tour").click()
    card = page.locator(".tour-card")
    expect(card).to_contain_text(tour.STOPS[0][0])
    card.get_by_role("button", name=tour.NEXT).click()
    expect(card).to_contain_text(tour.STOPS[1][0])
    expect(page.locator(f"#{tour.STOPS[1][3]}")).to_be_in_viewport()
    page.keyboard.press("Escape")
    expect(card).to_have_count(0)
    page.reload()
    resume = page.locator("#page-tour")
    expect(resume).to_have_text(tour.RESUME.format(at=2, all=len(tour.STOPS)))
    resume.click()
    for _ in tour.STOPS[2:]:
        card.get_by_role("button", name=tour.NEXT).click()
    expect(card).to_contain_text(tour.STOPS[-1][0])
    card.get_by_role("button", name=tour.END).click()
    expect(resume).to_have_text(tour.START)


def test_a_view_is_shared_by_its_address(page, server):
    open_tab(page, "Memory")
    rank = page.locator("#memory-rank input[type=number]")
    rank.fill("16")
    rank.press("Enter")
    page.wait_for_url("**tab=memory**rank=16**")
    told = page.locator("#memory-own .conclusion")
    expect(told).not_to_contain_text("5.7 GiB")
    words = told.inner_text()
    page.goto(page.url)
    expect(told).to_have_text(words)
    assert rank.input_value() == "16"
    page.goto(f"{server.url}/?tab=memory&model=LLaMA+65B")
    expected = estimate(LLAMA["65B"], EstimateOptions()).peak_bytes / 2**30
    expect(told).to_contain_text(f"LLaMA 65B needs {expected:,.1f} GiB")
    page.goto(f"{server.url}/?tab=memory&rank=9999&method=%3Cb%3E&tokens=x")
    expect(told).to_contain_text("5.7 GiB")
    assert rank.input_value() == "64", "a value that the control cannot take is passed over"


@pytest.mark.parametrize(
    "tab, name, control, sent, panel",
    [
        ("memory", "rank", "#memory-rank", '"paged-adamw-32bit"', "#memory-own"),
        ("quantize", "bits", "#quantize-bits", story_text.STEPS[0], "#quantize-construction"),
    ],
)
def test_what_a_visitor_changes_while_the_first_view_is_drawn_stays(page, server, tab, name, control, sent, panel):
    """The answer to the first question comes late: when the control has been moved already."""
    told = page.locator(panel).locator(".conclusion")
    page.goto(f"{server.url}/?tab={tab}&{name}=6")
    asked_for = told.inner_text()
    held = []

    def hold_the_first(route):
        held.append(route) if not held and sent in (route.request.post_data or "") else route.continue_()

    page.route("**/gradio_api/**/predict*", hold_the_first)
    page.goto(f"{server.url}/?tab={tab}")
    number = page.locator(f"{control} input[type=number]")
    number.wait_for()
    while not held:
        page.wait_for_timeout(100)
    number.fill("6")
    number.press("Enter")
    page.wait_for_url(f"**{name}=6**")
    page.wait_for_timeout(1000)  # for an answer that would not wait for the first
    with page.expect_response(lambda response: response.request == held[0].request):
        held[0].continue_()
    page.wait_for_timeout(1000)
    expect(told).to_have_text(asked_for)


def test_a_panel_asks_the_paper(page):
    open_tab(page, "Memory")
    page.locator("#memory-comparison .ask-link").click()
    expect(page.locator("#ask-question textarea")).to_have_value(memory_text.COMPARISON_QUESTION)


def test_charts_are_saved_and_their_tables_stay_open(page):
    open_tab(page, "Memory")
    # What is drawn above a button while it is clicked pushes it away.
    for place in ("figure6", "own", "measured"):
        page.locator(f"#memory-{place} svg").first.wait_for()
    figure = page.locator("#memory-own figure")
    saved = {}
    for kind in ("csv", "svg", "png"):
        with page.expect_download() as download:
            figure.locator(f"[data-save={kind}]").click()
        saved[kind] = open(download.value.path(), "rb").read()  # noqa: SIM115
        assert download.value.suggested_filename.endswith(f".{kind}")
    rows = list(csv.reader(io.StringIO(saved["csv"].decode())))
    assert rows[0] == list(memory_text.TABLE_OWN) and len(rows) == 1 + len(memory_text.COMPONENTS)
    assert b"var(--" not in saved["svg"] and b"<svg" in saved["svg"], "outside of the page there are no variables"
    assert saved["png"].startswith(b"\x89PNG")
    figure.locator("summary").click()
    expect(figure.locator("details")).to_have_attribute("open", "")
    before = figure.locator("table").inner_text()
    page.locator("#memory-rank input[type=number]").fill("8")
    page.keyboard.press("Enter")
    expect(figure.locator("table")).not_to_have_text(before)
    expect(figure.locator("details")).to_have_attribute("open", "")


def test_in_a_narrow_window_boxes_open_tabs_that_are_in_the_menu(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.wait_for_timeout(500)
    page.get_by_role("button", name=start_text.FIRST[-1][0]).click()
    expect(page.locator("#ask-question textarea")).to_be_focused()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_fault_of_accessibility(page, server, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright")
    page.goto(f"{server.url}/?__theme={scheme}")
    for tab in TABS:
        page.get_by_role("tab", name=tab.TITLE, exact=True).click()
        page.wait_for_timeout(1000)
        result = axe.Axe().run(page)
        assert result.response["passes"], "else nothing was looked at"
        serious = [
            (fault["id"], fault["nodes"][0]["html"][:200])
            for fault in result.response["violations"]
            if fault["impact"] in ("serious", "critical")
        ]
        assert not serious, tab.TITLE
