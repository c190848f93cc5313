"""A visitor's way through the overview and the papers in the Ask tab."""

import pytest
from playwright.sync_api import expect

from app.text import ask_library as text
from tests.end_to_end.test_page import open_tab

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(300)]

TEA = """# Green tea and water

## Steeping
Green tea is steeped for 2 minutes at 75 degrees. We find that hotter water makes it bitter, because tannins dissolve.

## Water
Soft water gives a brighter cup than hard water. Calcium binds the aromatic compounds of the leaves and dulls them.
"""


def open_part(page, name: str) -> None:
    open_tab(page, "Ask")
    open_tab(page, name)


def choose_file(page, path) -> None:
    with page.expect_file_chooser() as chooser:
        page.locator("#library-upload").click()
    chooser.value.set_files(path)


def test_the_overview_cites_the_paper_and_votes_survive_a_reload(page):
    open_part(page, "Overview")
    points = page.locator(".overview-points li")
    points.first.wait_for(timeout=180_000)
    assert points.count() >= 5
    points.nth(1).locator(".ask-chip").click()
    shown = page.locator("#overview-page")
    shown.locator(".ask-quote, .ask-note").first.wait_for()
    assert shown.locator(".ask-mark, mark").count() >= 1
    page.locator("#overview-gallery figure").first.wait_for()
    points.first.locator('.ask-vote[data-value="-1"]').click()
    expect(points.first.locator('.ask-vote[data-value="-1"]')).to_have_attribute("aria-pressed", "true")
    page.reload()
    open_part(page, "Overview")
    expect(points.first.locator('.ask-vote[data-value="-1"]')).to_have_attribute("aria-pressed", "true")
    expect(points.first.locator(".overview-score")).to_have_text("−1")


def test_a_suggested_question_is_asked(page):
    open_part(page, "Overview")
    suggestion = page.locator(".overview-question").first
    suggestion.wait_for(timeout=180_000)
    asked = suggestion.inner_text()
    suggestion.click()
    entry = page.locator("#ask-answers article[data-declined]").first
    entry.wait_for(timeout=180_000)
    assert entry.get_attribute("data-declined") == "false" and asked in entry.inner_text()


def test_a_paper_is_added_and_removed_and_a_bad_file_is_refused(page, tmp_path):
    (tmp_path / "tea.md").write_text(TEA, encoding="utf-8")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 broken")
    open_part(page, "Papers")
    papers = page.locator(".library-paper")
    expect(papers).to_have_count(1, timeout=90_000)
    choose_file(page, tmp_path / "broken.pdf")
    expect(page.locator("#library-added").get_by_role("alert")).to_contain_text("broken.pdf")
    choose_file(page, tmp_path / "tea.md")
    added = text.ADDED.format(title="Green tea and water")
    expect(page.locator("#library-added")).to_contain_text(added, timeout=90_000)  # loads the model, if it is the first
    expect(papers).to_have_count(2)
    # Both are ticked now. The keyboard reaches the boxes, and a comparison says who has nothing.
    boxes = page.locator("[data-tick]")
    expect(boxes.first).to_be_checked()
    expect(boxes.nth(1)).to_be_checked()
    boxes.first.focus()
    page.keyboard.press("Space")
    expect(page.locator("#library-done")).to_contain_text("Green tea and water")
    page.keyboard.press("Space")
    expect(page.locator("#library-done")).to_contain_text(text.ASKED_SEVERAL.format(count=2))
    open_tab(page, "Questions")
    expect(page.locator("#ask-asked-of")).to_contain_text("Green tea and water")
    page.locator("#ask-compare input").check()
    page.locator("#ask-question textarea").fill("Why do tannins dissolve?")
    page.locator("#ask-button").click()
    answer = page.locator("#ask-answers article").first
    expect(answer).to_contain_text("tannins", timeout=180_000)
    expect(answer).to_contain_text("“QLoRA” has nothing on this.")
    answer.locator(".ask-chip").first.click()
    expect(page.locator("#ask-page")).to_contain_text("“Green tea and water”, p. 1")
    open_tab(page, "Overview")
    page.locator("#overview-paper input").click()
    page.get_by_role("option", name="Green tea and water").click()
    expect(page.locator(".overview-points")).to_contain_text("tannins")
    open_tab(page, "Papers")
    page.locator("[data-action=remove]").click()
    expect(page.locator("[data-action=keep]")).to_be_focused()
    page.locator("[data-action=confirm]").click()
    expect(papers).to_have_count(1)
    page.locator("#library-arxiv textarea, #library-arxiv input").fill("no number")
    page.locator("#library-get").click()
    expect(page.locator("#library-added").get_by_role("alert")).to_contain_text("is not an arXiv number")


def test_no_sideways_scrolling_on_a_telephone(page):
    for name in ("Overview", "Papers", "4-bit search"):
        # Opened wide: a telephone has the last tabs in a menu.
        page.set_viewport_size({"width": 1280, "height": 900})
        page.reload()
        open_part(page, name)
        page.set_viewport_size({"width": 390, "height": 844})
        page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name
