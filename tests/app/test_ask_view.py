"""Questions and answers as HTML: what they show, and that nothing from outside becomes HTML."""

import pytest

from app.assistant.answer import AskedPaper
from app.assistant.answering import Answer, Citation, ShownDisagreement, Statement
from app.assistant.backends import ToolStep
from app.assistant.checking import CheckedSentence
from app.assistant.disagreements import Disagreement
from app.assistant.disagreements import Statement as Says
from app.assistant.library import papers
from app.tabs import ask_view as view
from app.tabs.ask_page_view import page as page_view
from app.tabs.ask_sources_view import origin
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


def written(said: str, *verdicts: str, **changes) -> Answer:
    """A model's answer of as many sentences as there are verdicts; each cites its own number."""
    text, sentences = "", []
    for number, verdict in enumerate(verdicts, start=1):
        start, text = len(text), f"{text}{said} [{number}]. "
        sentences.append(
            CheckedSentence(said, start, len(text) - 1, verdict, (HOSTILE,), (number,), "p", 5, HOSTILE, number)
        )
    fields = {"statements": (), "written": text, "sentences": tuple(sentences), "backend": "local", "model": "m"}
    return answered(**{**fields, **changes})


def compared(**changes) -> Answer:
    """A comparison in which one paper speaks, one has a word of it, and one has nothing."""
    papers = (AskedPaper("qlora", HOSTILE), AskedPaper("b", HOSTILE, HOSTILE, 2), AskedPaper("c", HOSTILE, HOSTILE))
    fields = {
        "statements": (Statement(HOSTILE, 1, core=HOSTILE),),
        "citations": (citation(), citation(2, paper="b")),
        "papers": papers,
        "compared": True,
    }
    return answered(**{**fields, **changes})


def disagreement(says: str) -> ShownDisagreement:
    statements = (Says(5, says, says), Says(6, "Table 1", "another"))
    return ShownDisagreement(Disagreement("h", says, statements, ()), (2, 0))


@pytest.mark.parametrize(
    "html",
    [
        view.conversation([compared()]),
        view.conversation([compared(declined=True, reason=HOSTILE)]),
        view.conversation([answered()], "0.1"),
        view.conversation([answered(declined=True, reason=HOSTILE, statements=())]),
        view.conversation([written(HOSTILE, "unsupported")]),
        view.conversation([answered(notice=HOSTILE, understood=HOSTILE, model=HOSTILE)]),
        view.conversation([answered(disagreements=(disagreement(HOSTILE),))]),
        view.pending(HOSTILE, HOSTILE, HOSTILE, [ToolStep(HOSTILE, HOSTILE, (1, 2), done=True)]),
        view.earlier([HOSTILE]),
        page_view(citation(), papers()[0], b"png", (612, 792)),
        page_view(citation(source="notes", boxes=()), papers()[0], None, (0, 0)),
        view.status(HOSTILE, HOSTILE, 0.5),
    ],
)
def test_nothing_from_outside_becomes_html(html):
    assert "<img src=x" not in html and "onerror=alert(1)>" not in html
    assert "&lt;img src=x" in html


def test_the_marks_cover_the_boxes_in_percent_of_the_page():
    html = page_view(citation(boxes=((61.2, 79.2, 306.0, 91.2),)), papers()[0], b"png", (612, 792))
    assert "left:9.84%;top:10.00%;width:40.33%;height:1.52%" in html


def test_labels_say_paper_or_notes_and_the_pages():
    assert origin(citation()) == "from the paper, p. 5"
    assert origin(citation(source="notes", last_page=6)) == "from our notes on p. 5–6"


def test_a_refusal_looks_different():
    html = view.conversation([answered(declined=True, reason="why", statements=())])
    assert text.DECLINED in html and 'data-declined="true"' in html and text.NEAREST in html


def test_every_sentence_of_a_model_has_a_mark_words_and_reasons():
    html = view.conversation([written("Said", "supported", "weak", "unsupported", "")], "0.1")
    for verdict in ("supported", "weak", "unsupported"):
        sentence = html.partition(f'class="ask-sentence" data-verdict="{verdict}"')[2].partition("</article>")[0]
        assert f'aria-label="{text.VERDICTS[verdict]}. &lt;img' in sentence
        assert f">{text.VERDICT_MARKS[verdict]}</button>" in sentence
    assert html.count('class="ask-sentence"') == 3, "a heading or a question claims nothing"
    assert text.SUMMARY[0].format(unsupported=1, count=3) in html
    assert len(set(text.VERDICT_MARKS.values())) == 3


def test_numbers_in_a_models_text_become_sources_where_they_are():
    html = view.conversation([written("Said", "supported", citations=(citation(1), citation(7)))])
    assert "Said.&nbsp;<button" in html and 'data-citation="0.1"' in html
    unknown = view.conversation([written("Said", "weak", citations=(citation(7),))])
    assert "Said [1]." in unknown, "a number that stands for nothing stays as it was written"


@pytest.mark.parametrize(
    ("verdicts", "said"),
    [
        (("supported",), text.SUMMARY_ONE),
        (("supported", "supported"), text.SUMMARY_ALL.format(count=2)),
        (("unsupported", "unsupported"), text.SUMMARY_NONE),
        (("weak", "weak", "supported"), text.SUMMARY_WEAK[1].format(weak=2, count=3)),
    ],
)
def test_how_much_is_in_the_passages_is_said_in_a_sentence(verdicts, said):
    assert said in view.conversation([written("Said", *verdicts)])


def test_where_the_paper_disagrees_both_statements_stand_with_their_pages():
    html = view.conversation([answered(disagreements=(disagreement("17 percent"),))])
    table = html.partition('<table class="ask-disagreement">')[2].partition("</table>")[0]
    assert "17 percent" in table and "another" in table and "Table 1, p. 6" in table
    assert 'data-citation="0.2"' in table and table.count("data-citation") == 1


def test_searches_are_shown_while_and_after_they_are_made():
    html = view.pending("q", "w", "", [ToolStep("retrieve", "NF4", (1, 2, 3), done=True), ToolStep("retrieve", "DQ")])
    assert "Looked for “NF4”: 3 passages" in html and "Looking for “DQ”…" in html


def test_a_source_can_be_copied_as_text_and_as_bibtex():
    html = page_view(citation(section="4", quote="a “b”"), papers()[0], b"png", (612, 792))
    assert html.count("data-copy=") == 2 and "@misc{dettmers2023" in html and "“a “b”” (" in html


def test_a_comparison_names_every_paper_and_what_is_nearest():
    html = view.conversation([compared()])
    assert html.count('<h4 class="ask-of">') == 3 and html.count('class="ask-silence"') == 2
    first, second = html.split('class="ask-silence"')[1:]
    assert 'data-citation="0.2"' in first.partition("</p>")[0] and "data-citation" not in second.partition("</p>")[0]
    assert "has nothing on this" in second and "does not say" in first


def test_what_a_model_wrote_of_several_papers_says_whose_passage_it_is():
    several = written("Said", "supported", citations=(citation(),), papers=(AskedPaper("qlora", "QLoRA"),) * 2)
    assert "“QLoRA”, page 5, says:" in view.conversation([several])
    assert "“QLoRA”, page 5, says:" not in view.conversation([written("Said", "supported", citations=(citation(),))])
