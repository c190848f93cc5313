"""The Ask tab: what its handlers yield, and that nothing from outside becomes HTML."""

from types import SimpleNamespace

import pytest

from app.assistant.answering import Answer, Citation, Statement
from app.assistant.library import papers
from app.tabs import ask_questions as ask
from app.tabs import ask_session
from app.tabs import ask_view as view
from app.text import ask as text

HOSTILE = "<img src=x onerror=alert(1)> \"quoted\" & 'more'"


def citation(number: int = 1, **changes) -> Citation:
    fields = {
        "number": number,
        "paper": "qlora",
        "source": "paper",
        "pdf_page": 5,
        "last_page": 5,
        "section": HOSTILE,
        "quote": HOSTILE,
        "score": 0.7,
        "boxes": ((100.0, 200.0, 300.0, 212.0),),
        "passage": f"before {HOSTILE} after",
    }
    return Citation(**{**fields, **changes})


def answered(**changes) -> Answer:
    statements = (Statement(HOSTILE, 1, core=HOSTILE), Statement("a 1", 2, HOSTILE, ((HOSTILE, "1"),), (HOSTILE, "x")))
    fields = {"question": HOSTILE, "statements": statements, "citations": (citation(), citation(2)), "declined": False}
    return Answer(**{**fields, **changes})


@pytest.mark.parametrize(
    "html",
    [
        view.conversation([answered()], "0.1"),
        view.conversation([answered(declined=True, reason=HOSTILE, statements=())]),
        view.conversation([], pending=HOSTILE, waiting=HOSTILE, problem=HOSTILE),
        view.page(citation(), papers()[0], b"png", (612, 792)),
        view.page(citation(source="notes", boxes=()), papers()[0], None, (0, 0)),
        view.status(HOSTILE, HOSTILE, 0.5),
    ],
)
def test_nothing_from_outside_becomes_html(html):
    assert "<img src=x" not in html and "onerror=alert(1)>" not in html
    assert "&lt;img src=x" in html


def test_the_marks_cover_the_boxes_in_percent_of_the_page():
    html = view.page(citation(boxes=((61.2, 79.2, 306.0, 91.2),)), papers()[0], b"png", (612, 792))
    assert "left:9.84%;top:10.00%;width:40.33%;height:1.52%" in html


def test_labels_say_paper_or_notes_and_the_pages():
    assert view.origin(citation()) == "from the paper, p. 5"
    assert view.origin(citation(source="notes", last_page=6)) == "from our notes on p. 5–6"


def test_a_refusal_looks_different():
    html = view.conversation([answered(declined=True, reason="why", statements=())])
    assert text.DECLINED in html and 'data-declined="true"' in html and text.NEAREST in html


@pytest.mark.parametrize("question", ["", "   ", "??", "why " * 25_000])
def test_a_question_that_cannot_be_read_is_one_sentence_and_asks_nothing(question, monkeypatch):
    monkeypatch.setattr(ask_session, "session", lambda: pytest.fail("nothing is to be opened"))
    (update,) = list(ask.answer(question, []))
    assert update[2].count("<p") == 1 and 'role="alert"' in update[2]


class FakeSession:
    """The real assistant on the small paper, without a thread."""

    def __init__(self, assistant):
        self.assistant = assistant
        self.state = None

    def opening(self):
        self.state = SimpleNamespace(done=True, problem="", share=1.0)
        return self.state


@pytest.fixture
def small(tmp_path, monkeypatch):
    """A session with notes only, of a paper of two lines."""
    from app.assistant.assistant import Assistant

    folder = tmp_path / "papers"
    (folder / "tea").mkdir(parents=True)
    (folder / "tea" / "1.md").write_text(
        "## How tea is made\n> Section 1 · page 3\n\nGreen tea is steeped for 2 minutes at 75 degrees.\n",
        encoding="utf-8",
    )
    (folder / "manifest.toml").write_text(
        '[[paper]]\nid = "tea"\ntitle = "Tea"\nauthors = ["A"]\narxiv = "0000.00002"\nversion = 1\nyear = 2020\n'
        'licence = "CC0"\nsha256 = "0"\npages = 4\nnotes = "tea"\n'
    )
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QLORA_PAPERS", raising=False)
    session = FakeSession(Assistant(folder=folder))
    monkeypatch.setattr(ask_session, "session", lambda: session)
    return session


def test_a_question_is_answered_with_a_source_that_can_be_shown(small):
    *_, last = ask.answer("How long is green tea steeped?", [])
    answers, html, page = last[1], last[2], last[3]
    assert "2 minutes" in html and 'data-citation="0.1"' in html
    assert "from our notes on p. 3" in page and "<mark>" in page
    again, shown = ask.show_source(answers, SimpleNamespace(citation="0.1"))
    assert 'aria-pressed="true"' in again and shown == page


@pytest.mark.parametrize("chosen", ["", "0.9", "7.1", "x.y", "0.1; drop", "-1.1"])
def test_a_source_that_does_not_exist_is_said(small, chosen):
    *_, last = ask.answer("How long is green tea steeped?", [])
    _, shown = ask.show_source(last[1], SimpleNamespace(citation=chosen))
    assert 'role="alert"' in shown


def test_an_unanswerable_question_is_declined_on_the_page(small):
    *_, last = ask.answer("What does Mistral 7B cost?", [])
    assert text.DECLINED in last[2] and text.EMPTY_PAGE in last[3]


def test_a_problem_of_the_index_stands_in_the_page_and_the_question_is_kept(small, monkeypatch):
    monkeypatch.setattr(small, "opening", lambda: SimpleNamespace(done=True, problem="no space <left>", share=0.0))
    *_, last = ask.answer("How long is green tea steeped?", [])
    assert last[0] == "How long is green tea steeped?" and "no space &lt;left&gt;" in last[2]


def test_the_first_paint_reads_neither_model_nor_index():
    import subprocess
    import sys

    script = (
        "import sys, gradio as gr; from app.tabs import ask, ask_questions\n"
        "with gr.Blocks() as page:\n    ask.build(page)\n"
        "ask_questions.show_status()\n"
        "print([m for m in ('torch', 'transformers', 'chromadb', 'matplotlib', 'bm25s') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
