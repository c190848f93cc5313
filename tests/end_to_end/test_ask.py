"""A visitor's way through the questions of the Ask tab: models that write, what they cannot do, and what is kept."""

import re

import pytest
from playwright.sync_api import expect

from app.text import ask as text
from tests.end_to_end.test_page import open_tab

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]

PAGED = "What are paged optimizers?"
SLOWLY = "How many bits does double quantization save?"
# Accordion, radio button and model are reached by what a visitor reads.
SERVER, OLLAMA, LOCAL = (text.WRITERS[name] for name in ("openai", "ollama", "local"))


def open_questions(page, writer: str = "") -> None:
    open_tab(page, "Ask")
    page.locator("#ask-question textarea").wait_for()
    if writer:
        page.get_by_role("button", name=re.compile("Who answers")).click()
        page.get_by_label(writer, exact=True).check()
        expect(page.get_by_role("button", name=re.compile("Who answers"))).to_contain_text(writer, timeout=30_000)


def start(page, question: str) -> None:
    page.locator("#ask-question textarea").fill(question)
    page.locator("#ask-button").click()


def ask(page, question: str):
    """The new answer, when it is there."""
    answers = page.locator("#ask-answers article")
    before = answers.count()
    start(page, question)
    expect(answers).to_have_count(before + 1, timeout=180_000)
    return answers.first


def test_a_follow_up_is_understood_and_a_new_conversation_forgets(page):
    open_questions(page)
    ask(page, PAGED)
    assert "paged optimizers" in ask(page, "Why?").locator(".ask-understood").inner_text()
    page.locator("#ask-new").click()
    expect(page.locator("#ask-answers article")).to_have_count(0)
    assert ask(page, "How many bits does double quantization save?").locator(".ask-understood").count() == 0


def test_a_models_sentences_are_marked_and_the_reasons_can_be_read_without_a_mouse(page):
    open_questions(page, SERVER)
    answer = ask(page, PAGED)
    invented = answer.locator(".ask-sentence", has_text="17 memory pages")
    assert invented.get_attribute("data-verdict") == "unsupported"
    mark = invented.locator(".ask-verdict")
    assert text.VERDICTS["unsupported"] in mark.get_attribute("aria-label")
    page.mouse.move(0, 0)
    expect(invented.locator(".ask-why")).to_be_hidden()
    mark.focus()
    expect(invented.locator(".ask-why")).to_be_visible()
    page.keyboard.press("Escape")
    expect(invented.locator(".ask-why")).to_be_hidden()
    expect(answer.locator(".ask-judgement")).to_contain_text("not in the passages")
    expect(answer.locator(".ask-legend li")).to_have_count(3)


def test_a_hostile_question_and_a_hostile_answer_stay_text(page):
    open_questions(page, SERVER)
    hostile = "<img src=x onerror='window.hostile=1'> **What** are paged optimizers?"
    declined = ask(page, hostile)
    expect(declined.locator(".ask-asked")).to_have_text(hostile)
    page.locator("#ask-earlier summary").click()
    expect(page.locator("#ask-earlier")).to_contain_text(hostile)
    assert page.locator("#ask-answers, #ask-earlier").locator("img, strong").count() == 0
    answer = ask(page, PAGED)
    expect(answer).to_contain_text(
        "<img src=x onerror='window.hostile=1'> **This is bold**, [a link](http://192.0.2.1/)"
    )
    page.wait_for_timeout(300)
    assert page.evaluate("window.hostile") is None
    assert answer.locator("img, strong, a").count() == 0


def test_stop_keeps_what_is_written_and_a_second_question_waits(page):
    open_questions(page, SERVER)
    start(page, SLOWLY)
    expect(page.locator("#ask-pending .ask-written")).to_contain_text("unified memory")
    page.locator("#ask-question textarea").fill("What is NF4?")
    page.keyboard.press("Enter")
    expect(page.locator("#ask-problem")).to_contain_text(text.BUSY)
    page.locator("#ask-stop").click()
    answer = page.locator("#ask-answers article").first
    expect(answer.locator(".ask-notice")).to_contain_text("Stopped", timeout=20_000)
    expect(answer).to_contain_text("unified memory")
    expect(answer).not_to_contain_text("This is bold")
    expect(page.locator("#ask-button")).to_be_visible()
    expect(page.locator("#ask-stop")).to_be_hidden()


def test_what_a_model_looked_for_is_shown(page):
    pytest.importorskip("langchain_ollama")
    open_questions(page, OLLAMA)
    answer = ask(page, PAGED)
    expect(answer.locator(".ask-steps")).to_contain_text("Looked for “unified memory”")
    assert answer.locator(".ask-sentence").count() >= 2


def test_the_local_model_writes_and_is_stopped(page):
    open_questions(page, LOCAL)
    expect(page.get_by_label(text.ADAPTER)).to_be_visible()
    start(page, PAGED)
    # Enough for a claim: a stop before that leaves nothing of the model's to show.
    expect(page.locator("#ask-pending .ask-written")).to_have_text(re.compile(r"(\w+\W+){8}"), timeout=240_000)
    page.locator("#ask-stop").click()
    answer = page.locator("#ask-answers article").first
    expect(answer.locator(".ask-foot")).to_contain_text("smollm2", timeout=60_000)
    expect(answer.locator(".ask-written")).to_have_text(re.compile(r"\w{3}"))


def test_a_writer_that_cannot_answer_says_so_in_place(page):
    open_questions(page, LOCAL)
    page.locator("#ask-model input, #ask-model textarea").fill("/no/such/folder")
    page.locator("#ask-model input, #ask-model textarea").blur()
    expect(page.locator("#ask-writer-problem")).to_contain_text(text.NO_SUCH_FOLDER)
    start(page, PAGED)
    expect(page.locator("#ask-problem")).to_contain_text(text.NO_SUCH_FOLDER)
    assert page.locator("#ask-question textarea").input_value() == PAGED


def test_votes_and_questions_survive_a_reload(page):
    open_questions(page)
    vote = ask(page, PAGED).get_by_role("button", name=text.HELPFUL, exact=True)
    vote.focus()
    page.keyboard.press("Enter")
    expect(vote).to_have_attribute("aria-pressed", "true")
    expect(vote).to_be_focused()
    page.reload()
    open_questions(page)
    page.locator("#ask-earlier summary").click()
    page.locator("#ask-earlier").get_by_role("button", name=PAGED).click()
    answer = page.locator("#ask-answers article").first
    expect(answer.get_by_role("button", name=text.HELPFUL, exact=True)).to_have_attribute("aria-pressed", "true")
    answer.get_by_role("button", name=text.HELPFUL, exact=True).click()
    expect(answer.get_by_role("button", name=text.HELPFUL, exact=True)).to_have_attribute("aria-pressed", "false")


def test_a_source_is_copied_with_the_keyboard(page):
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    open_questions(page)
    ask(page, PAGED)
    for label, copied in ((text.COPY_TEXT, "Dettmers et al., “QLoRA"), (text.COPY_BIBTEX, "@misc{dettmers2023")):
        page.get_by_role("button", name=label).focus()
        page.keyboard.press("Enter")
        expect(page.locator(".ask-copied")).to_have_text(text.COPIED)
        assert copied in page.evaluate("navigator.clipboard.readText()")


def test_nothing_hangs_over_the_edge_of_a_telephone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    open_questions(page, SERVER)
    answer = ask(page, PAGED)
    answer.locator(".ask-verdict").first.focus()
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    box = answer.locator(".ask-why").first.bounding_box()
    assert box["x"] >= 0 and box["x"] + box["width"] <= 390
