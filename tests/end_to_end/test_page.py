"""A visitor's way through the tabs."""

import re
import subprocess
import sys
import time

import pytest
from playwright.sync_api import TimeoutError as PlaywrightTimeout
from playwright.sync_api import expect

from app.interface import TABS
from app.text import ask as ask_text
from app.text import finetune as finetune_text
from tests.end_to_end.serving import REPOSITORY, free_port

pytestmark = [pytest.mark.end_to_end, pytest.mark.timeout(600)]


NAMES = [tab.TITLE for tab in TABS]


def open_tab(page, name: str) -> None:
    """Open a tab; in a narrow window it may be in the menu beside those that fit, and move there while it is looked
    for."""
    tab = page.get_by_role("tab", name=name, exact=True)
    menu = page.locator(".overflow-dropdown button", has_text=name)
    tab.or_(menu).first.wait_for(state="attached")
    deadline = time.monotonic() + 90
    while True:
        try:
            if tab.count():
                tab.click(timeout=5000)
            else:
                page.get_by_role("button", name="More tabs").filter(visible=True).first.click(timeout=5000)
                menu.first.click(timeout=5000)
            return
        except PlaywrightTimeout:
            if time.monotonic() > deadline:
                raise


def test_bins_change_with_the_block_size(page):
    open_tab(page, "Quantize")
    levels = page.locator("#quantize-levels svg").first
    levels.wait_for()
    before, errors = levels.inner_html(), page.locator("#quantize-errors")
    errors.locator("svg").first.wait_for()
    told = errors.inner_text()
    page.locator("#quantize-block-size").get_by_text("4,096").click()
    expect(errors).not_to_have_text(told)
    page.wait_for_function("old => document.querySelector('#quantize-levels svg').innerHTML !== old", arg=before)


def test_bins_change_with_the_slider(page):
    open_tab(page, "Quantize")
    levels = page.locator("#quantize-levels svg").first
    levels.wait_for()
    before = levels.inner_html()
    page.locator("#quantize-layer input[type=range]").fill("12")
    page.wait_for_function("old => document.querySelector('#quantize-levels svg').innerHTML !== old", arg=before)


def test_memory_shows_the_four_sizes_and_answers_to_the_rank(page):
    open_tab(page, "Memory")
    figure = page.locator("#memory-figure6 svg").first
    figure.wait_for()
    for size in ("7B", "13B", "33B", "65B"):
        assert figure.get_by_text(size, exact=True).count() == 1
    own = page.locator("#memory-own")
    own.locator("svg").first.wait_for()
    before = own.inner_text()
    page.locator("#memory-rank input[type=range]").fill("256")
    expect(own).not_to_have_text(before)


def number_of_steps(page) -> int:
    card = page.locator("#finetune-cards .card", has=page.get_by_text(finetune_text.CARD_STEP, exact=True))
    words = card.locator("strong").inner_text()
    return int(words.replace(",", ""))


def wait_for_steps(page, count: int, seconds: float = 300) -> None:
    deadline = time.monotonic() + seconds
    while True:
        if page.locator("#finetune-cards .card").count() and number_of_steps(page) >= count:
            return
        assert time.monotonic() < deadline, page.locator("#finetune-status").inner_text()
        page.wait_for_timeout(500)


def test_a_run_learns_survives_a_reload_and_stops(page, server):
    from qlora import events

    open_tab(page, "Finetune")
    page.locator("#finetune-start").click()
    wait_for_steps(page, 2)
    page.reload()
    open_tab(page, "Finetune")
    wait_for_steps(page, 4)
    page.locator("#finetune-charts svg").first.wait_for()
    expect(page.locator("#finetune-stop")).to_be_enabled()
    page.locator("#finetune-stop").click()
    expect(page.locator("#finetune-status")).to_contain_text(finetune_text.STATES["stopped"], timeout=120_000)
    (run,) = (log.parent for log in server.runs.glob("*/events.jsonl"))
    happened = list(events.EventReader(run / events.LOG_NAME).read())
    losses = [e.loss for e in happened if e.kind == "step"]
    assert len(losses) >= 4, "else the first two steps and the last two are not four"
    assert happened[-1].kind == "run_ended" and happened[-1].outcome == "stopped"
    assert sum(losses[-2:]) < sum(losses[:2]), losses
    assert (run / "adapter" / "adapter_model.safetensors").exists()
    page.locator("#finetune-ask").click()
    answers = page.locator("#finetune-answers .answer-text")
    expect(answers).to_have_count(2, timeout=120_000)
    words = re.compile(r"\w{3}")
    expect(answers.nth(0)).to_have_text(words, timeout=120_000)
    expect(answers.nth(1)).to_have_text(words, timeout=120_000)


def ask(page, question: str):
    open_tab(page, "Ask")
    page.locator("#ask-question textarea").fill(question)
    page.locator("#ask-button").click()
    entry = page.locator("#ask-answers article[data-declined]").first
    entry.wait_for(timeout=180_000)
    return entry


def test_a_question_is_answered_with_a_cited_and_marked_passage(page):
    entry = ask(page, "How many bits per parameter does double quantization save?")
    assert entry.get_attribute("data-declined") == "false"
    assert "0.37" in entry.inner_text()
    assert entry.locator(".ask-chip").count() >= 1
    entry.locator(".ask-chip").first.click()
    shown = page.locator("#ask-page")
    shown.locator(".ask-quote, .ask-note").first.wait_for()
    assert shown.locator(".ask-mark, mark").count() >= 1


def test_nonsense_is_declined(page):
    entry = ask(page, "Which cheese did the llamas eat on Mars in 1742?")
    assert entry.get_attribute("data-declined") == "true"
    assert ask_text.DECLINED in entry.inner_text()


def test_an_empty_question_gets_a_sentence(page):
    open_tab(page, "Ask")
    page.locator("#ask-button").click()
    expect(page.get_by_role("alert").filter(visible=True)).to_contain_text("question")


def test_an_unusable_setting_is_said_in_place(page):
    open_tab(page, "Finetune")
    page.locator("#finetune-settings button").first.click()
    page.locator("#finetune-steps input").fill("0")
    expect(page.locator("#finetune-plan")).to_contain_text("training.steps must be from 1", timeout=30_000)
    expect(page.locator("#finetune-start")).to_be_disabled()


def test_no_sideways_scrolling_on_a_telephone(page):
    page.set_viewport_size({"width": 390, "height": 844})
    for name in NAMES:
        open_tab(page, name)
        page.wait_for_timeout(1500)
        assert page.evaluate("document.documentElement.scrollWidth") <= 390, name


def test_nothing_leaves_this_machine(page, server):
    """Runs last in this file: by now every tab has been used, a model trained and questions answered."""
    for name in NAMES:
        open_tab(page, name)
        page.wait_for_timeout(500)
    assert server.foreign_requests == []
    assert server.refused == []


def test_the_guard_that_the_last_test_relies_on_works(server, tmp_path):
    guard = server.refused_log.parent / "guard"
    code = "import socket\ntry: socket.create_connection(('192.0.2.1', 9), 1)\nexcept OSError as e: print(e)"
    environment = {"PYTHONPATH": str(guard), "REFUSED_CONNECTIONS": str(tmp_path / "log"), "PATH": "/usr/bin"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True)
    assert "refused" in done.stdout and "192.0.2.1" in (tmp_path / "log").read_text()


def test_a_port_in_use_is_said_in_a_sentence(server):
    port = server.url.rpartition(":")[2]
    command = [sys.executable, "-m", "app", "--port", port]
    done = subprocess.run(command, capture_output=True, text=True, cwd=REPOSITORY)
    assert done.returncode == 2
    assert f"Port {port} is in use" in done.stderr and "Traceback" not in done.stderr


def test_the_page_answers_before_anything_heavy_is_loaded():
    """Start-up imports neither torch nor transformers nor chromadb (the first paint does not wait for them)."""
    code = (
        "import sys, threading, urllib.request, app.__main__ as m\n"
        f"port = {free_port()}\n"
        "threading.Thread(target=m.main, args=(['--port', str(port)],), daemon=True).start()\n"
        "import time\n"
        "while True:\n"
        "    try: urllib.request.urlopen(f'http://127.0.0.1:{port}').read(); break\n"
        "    except OSError: time.sleep(0.1)\n"
        "heavy = {'torch', 'transformers', 'chromadb', 'matplotlib'}\n"
        "print(sorted({n.partition('.')[0] for n in sys.modules} & heavy))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=REPOSITORY, timeout=120)
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr
