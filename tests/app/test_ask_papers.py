"""The overview and the papers in the Ask tab: what their handlers yield."""

import time
from types import SimpleNamespace

import pytest

from app.assistant.feedback import Feedback
from app.assistant.overview import Overview
from app.tabs import ask_library, ask_overview, ask_questions, ask_session, ask_shelf, ask_similar
from app.text import ask_library as library_text
from app.text import ask_overview as overview_text
from qlora.errors import InputError

TEA = """# Green tea and water

## Steeping
Green tea is steeped for 2 minutes at 75 degrees. We find that hotter water makes it bitter, because tannins dissolve.

## Water
Soft water gives a brighter cup than hard water. Calcium binds the aromatic compounds of the leaves and dulls them.
"""


@pytest.fixture
def bench(tmp_path, monkeypatch, embedder_once):
    """An empty shelf and no votes, with jobs of their own."""
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QLORA_PAPERS", raising=False)
    from app.assistant.assistant import Assistant

    session = SimpleNamespace(assistant=Assistant(embedder=embedder_once))
    monkeypatch.setattr(ask_session, "session", lambda: session)
    monkeypatch.setattr(ask_shelf, "session", lambda: session)
    shelf = ask_shelf.Shelf()
    monkeypatch.setattr(ask_shelf, "shelf", lambda: shelf)
    votes = Feedback()
    monkeypatch.setattr(ask_overview, "feedback", lambda: votes)
    return shelf


@pytest.fixture(scope="module")
def embedder_once():
    from app.assistant.embedding import MiniLM

    return MiniLM()


def last(updates):
    *_, final = updates
    return final


def add_tea(tmp_path) -> str:
    (tmp_path / "tea.md").write_text(TEA, encoding="utf-8")
    *_, selected, _ = last(ask_library.add_files([str(tmp_path / "tea.md")], ["qlora"]))
    return selected[-1]


def act(action: str, paper_id: str, selected: list[str]):
    return last(ask_library.act(selected, SimpleNamespace(action=action, paper=paper_id)))


def test_a_paper_is_added_chosen_indexed_anew_and_removed(bench, tmp_path):
    paper_id = add_tea(tmp_path)
    _, listing, selected, _ = last(ask_library.show(["qlora", paper_id]))
    assert "Green tea and water" in listing and selected == ["qlora", paper_id]
    said, *_ = act("reindex", paper_id, selected)
    assert library_text.INDEXED_ANEW.format(title="Green tea and water") in said
    said, listing, *_ = act("remove", paper_id, selected)
    assert not said and 'data-action="confirm"' in listing
    said, listing, selected, _ = act("confirm", paper_id, selected)
    assert "removed" in said and "Green tea" not in listing and selected == ["qlora"]
    assert 'role="alert"' in act("confirm", paper_id, selected)[0]


def test_the_papers_of_the_project_stay(bench):
    said, listing, *_ = act("confirm", "qlora", ["qlora"])
    assert 'role="alert"' in said and "QLoRA" in listing


@pytest.mark.parametrize("data", [b"", b"%PDF-1.4 broken", b"\x00\x01\x02", b'{"type": '])
def test_a_file_that_cannot_be_read_is_one_sentence_and_changes_nothing(bench, tmp_path, data):
    (tmp_path / "file").write_bytes(data)
    said, listing, selected, _ = last(ask_library.add_files([str(tmp_path / "file")], ["qlora"]))
    assert said.count("<p") == 1 and 'role="alert"' in said
    assert listing.count("library-paper") == 1 and selected == ["qlora"]


@pytest.mark.parametrize("number", ["", "not one", "2305.1", "https://example.org/2305.14314"])
def test_what_is_no_arxiv_number_is_said_and_nothing_is_asked(bench, number):
    said, *_ = last(ask_library.add_arxiv(number, ["qlora"]))
    assert 'role="alert"' in said


def test_without_a_network_one_sentence_says_so(bench):
    said, *_ = last(ask_library.add_arxiv("1706.03762", ["qlora"]))
    assert 'role="alert"' in said and "arXiv cannot be reached" in said


def test_key_points_are_shown_voted_on_and_offered_for_another_try(bench, tmp_path):
    paper_id = add_tea(tmp_path)
    # The second-to-last update of outputs has everything but the pictures; the last one fills the gallery alone.
    updates = list(ask_overview.show(paper_id, "me"))
    shown = next(update[1] for update in updates if isinstance(update[1], Overview))
    assert shown.points and shown.points[0].text in TEA
    page = ask_overview.show_source(shown, SimpleNamespace(citation="0.1"))
    assert "<mark>" in page and shown.points[0].citation.quote.split()[0] in page
    event = SimpleNamespace(entry=shown.points[0].id, value="-1")
    html, offer, _ = ask_overview.vote(shown, "me", event)
    assert "−1" in html and not offer["visible"]
    for number in range(9):
        html, offer, _ = ask_overview.vote(shown, f"visitor {number}", event)
    assert "−10" in html and offer["visible"]
    html, offer, _ = ask_overview.vote(shown, "me", event)
    assert "−9" in html and not offer["visible"], "the same vote again takes it back"


def test_another_writers_words_are_kept_only_where_the_paper_says_them(bench, tmp_path, monkeypatch):
    from app.assistant.backends import Token

    class Parrot:
        """Says the first key point in other words, and an untruth instead of every other."""

        name, model, first_token_seconds, in_process = "local", "parrot", 5.0, False

        def stream(self, request, stop):
            fits = "bitter" in request.question
            yield Token("Hotter water makes green tea bitter [1]." if fits else "Tea costs 900 dollars [1].")

    paper_id = add_tea(tmp_path)
    shown = next(u[1] for u in ask_overview.show(paper_id, "me") if isinstance(u[1], Overview))
    monkeypatch.setattr(ask_overview.writers, "backend", lambda *_: Parrot())
    updates = list(ask_overview.try_again(shown, "local", "me"))
    again = next(u[0] for u in updates if isinstance(u[0], Overview))
    assert again.attempt == 2 and "900" not in " ".join(point.text for point in again.points)
    assert [p.text for p in again.points if p.origin == "rewritten"] == ["Hotter water makes green tea bitter."]
    current = next(u[1] for u in ask_overview.show(paper_id, "me") if isinstance(u[1], Overview))
    assert current.attempt == 2


def test_a_writer_that_fails_leaves_the_key_points_and_says_why(bench, tmp_path, monkeypatch):
    paper_id = add_tea(tmp_path)
    shown = next(u[1] for u in ask_overview.show(paper_id, "me") if isinstance(u[1], Overview))

    def no_writer(*_):
        raise InputError("It is <not> there.")

    monkeypatch.setattr(ask_overview.writers, "backend", no_writer)
    final = last(ask_overview.try_again(shown, "local", "me"))
    assert "It is &lt;not&gt; there." in final[4]


@pytest.mark.parametrize("chosen", ["", "0.9", "2.1", "x.y", "1.1", "-1.1"])
def test_a_source_that_does_not_exist_is_said(bench, tmp_path, chosen):
    paper_id = add_tea(tmp_path)
    shown = next(u[1] for u in ask_overview.show(paper_id, "me") if isinstance(u[1], Overview))
    assert overview_text.GONE in ask_overview.show_source(shown, SimpleNamespace(citation=chosen))


def test_an_overview_of_a_removed_paper_falls_back_to_the_first(bench):
    first = next(ask_overview.show("removed", "me"))
    assert first[0]["value"] == "qlora"


def test_papers_are_compared(bench, tmp_path, monkeypatch):
    from app.assistant import library, shelf

    (tmp_path / "coffee.md").write_text(TEA.replace("Green tea", "Coffee").replace("tea", "coffee"), encoding="utf-8")
    last(ask_library.add_files([str(tmp_path / "coffee.md")], ["qlora"]))
    paper_id = add_tea(tmp_path)
    monkeypatch.setattr(library, "papers", lambda *_: shelf.added_papers())
    html, drawn = last(ask_similar.show(paper_id, False))
    assert drawn == paper_id and html.count("<svg") == 2 and "Coffee and water" in html
    assert ask_similar.redraw(paper_id, True).count("<svg") == 2


def test_work_is_done_once_for_all_who_wait_and_again_after_a_problem():
    shelf, begun = ask_shelf.Shelf(), []

    def task(job):
        begun.append(job)
        time.sleep(0.1)
        if len(begun) == 1:
            raise InputError("not yet")
        return len(begun)

    first = shelf.start("a", "label", task)
    assert shelf.start("a", "label", task) is first and shelf.under_way("a") == [first]
    while not first.done:
        time.sleep(0.01)
    assert first.problem == "not yet"
    second = shelf.start("a", "label", task)
    while not second.done:
        time.sleep(0.01)
    assert second.result == 2 and shelf.start("a", "label", task) is second


def test_questions_go_to_the_chosen_paper_and_its_passage_is_shown(bench, tmp_path):
    bench.assistant("qlora").open()  # what the page does at the first question
    opened = SimpleNamespace(done=True, problem="", share=1.0)
    ask_session.session().opening = lambda: opened
    ask_session.session().state = opened
    paper_id = add_tea(tmp_path)
    assert "Green tea and water" in ask_questions.tell_papers([paper_id])[0]
    page = SimpleNamespace(session_hash="a page")
    question = "How long is green tea steeped?"
    final = last(ask_questions.answer(question, [], "", [paper_id], False, "extractive", "", "", page))
    (answered,) = final.answers
    assert not answered.declined and answered.citations[0].paper == paper_id
    assert "2 minutes" in final.conversation and "2 minutes" in final.page
    elsewhere = last(ask_questions.answer(question, [], "", [], False, "extractive", "", "", page))
    assert elsewhere.answers[0].declined, "QLoRA's paper says nothing about tea"

    both = ["qlora", paper_id]
    told, comparing = ask_questions.tell_papers(both)
    assert "QLoRA" in told and "Green tea and water" in told and comparing["visible"]
    of_both = last(ask_questions.answer(question, [], "", both, False, "extractive", "", "", page))
    assert "“Green tea and water”, p. 1" in of_both.conversation and "“Green tea and water”, p. 1" in of_both.page
    assert of_both.answers[0].names.keys() == set(both)
    compared = last(ask_questions.answer("Why do tannins dissolve?", [], "", both, True, "extractive", "", "", page))
    assert "“QLoRA” has nothing on this." in compared.conversation and "tannins" in compared.conversation
    shown, _ = ask_questions.show_source(compared.answers, SimpleNamespace(citation="0.1"))
    assert "“Green tea and water”, p. 1" in shown and "tannins" in shown
    follow_up = last(
        ask_questions.answer("And in hard water?", compared.answers, "", both, False, "extractive", "", "", page)
    )
    assert len(follow_up.answers) == 2 and follow_up.answers[1].understood
    act("confirm", paper_id, both)
    (gone,) = ask_questions.answer(question, [], "", both, False, "extractive", "", "", page)
    assert 'role="alert"' in gone.problem and "There is no paper" in gone.problem


def ticked(*papers: str, then: str = ""):
    return SimpleNamespace(papers=list(papers), last=then or papers[-1])


def test_papers_are_ticked_and_one_stays_ticked(bench, tmp_path):
    paper_id = add_tea(tmp_path)
    said, listing, selected, _ = ask_library.tick(["qlora"], ticked(paper_id, "qlora", "<b>"))
    assert selected == ["qlora", paper_id] and "2 papers" in said and not isinstance(listing, str)
    said, _, selected, _ = ask_library.tick(selected, ticked(paper_id))
    assert selected == [paper_id] and "Green tea and water" in said
    said, listing, selected, _ = ask_library.tick(selected, ticked(then=paper_id))
    assert selected == [paper_id] and library_text.ONE_STAYS in said
    box = listing.partition(f'data-tick="{paper_id}"')[2].partition(">")[0]
    assert box == " checked data-focus" and listing.count(" checked") == 1


def test_a_paper_is_not_named_while_there_is_no_choice(bench):
    assert ask_questions.tell_papers([]) == ("", {"visible": False, "__type__": "update"})
