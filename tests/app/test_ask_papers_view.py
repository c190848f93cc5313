"""The overview and the papers in the Ask tab as HTML: nothing from outside becomes a part of it."""

import pytest

from app.assistant.answering import Citation
from app.assistant.feedback import Score
from app.assistant.gallery import Exhibit
from app.assistant.library import Entry, Paper
from app.assistant.overview import KeyPoint, Overview
from app.assistant.similar import Merge, SimilarPaper, Tree
from app.tabs import ask_library_view, ask_overview_view, ask_similar, ask_view

HOSTILE = "<img src=x onerror=alert(1)> \"quoted\" & 'more'"


def overview(**changes) -> Overview:
    citation = Citation(1, "tea", "paper", 1, 1, HOSTILE, HOSTILE, 1.0, ((1.0, 2.0, 3.0, 4.0),), HOSTILE)
    exhibit = Exhibit("Table 1", "table", HOSTILE, 2, HOSTILE, "paper", (1.0, 2.0, 30.0, 40.0), ((HOSTILE, "1"),), 1)
    fields = {
        "paper": "tea",
        "title": HOSTILE,
        "source": "paper",
        "points": (KeyPoint("point", HOSTILE, citation),),
        "exhibits": (exhibit,),
        "questions": (HOSTILE,),
    }
    return Overview(**{**fields, **changes})


def entry(**changes) -> Entry:
    fields = {"paper": Paper("tea", HOSTILE), "made_from": "pdf", "pages": 2, "size_bytes": 2048}
    return Entry(**{**fields, "added": "2026-01-02T03:04:05", "indexed": False, "removable": True, **changes})


def likeness() -> ask_similar.Likeness:
    tree = Tree("sections", (), (HOSTILE, "B"), (Merge(0, 1, 0.5),))
    return ask_similar.Likeness(HOSTILE, (SimilarPaper("b", HOSTILE, 0.5),), tree, tree, (HOSTILE,))


@pytest.mark.parametrize(
    "html",
    [
        ask_overview_view.points(overview(problem=HOSTILE), {}, -10, HOSTILE),
        ask_overview_view.questions((HOSTILE,)),
        ask_overview_view.gallery(overview().exhibits, [b"webp"]),
        ask_overview_view.gallery(overview().exhibits, [None]),
        ask_library_view.papers([entry()]),
        ask_library_view.papers([entry()], ["tea"], removing="tea"),
        ask_view.asked_of([HOSTILE]),
        ask_library_view.progress(HOSTILE, 0.5),
        ask_library_view.said(HOSTILE),
        ask_similar.panel(likeness(), narrow=True),
    ],
)
def test_nothing_from_outside_becomes_html(html):
    assert "<img src=x" not in html and "onerror=alert(1)>" not in html
    assert "&lt;img src=x" in html


def test_a_point_shows_its_score_and_the_own_vote():
    html = ask_overview_view.points(overview(), {"point": Score(ups=1, downs=3, own=-1)}, -10)
    assert "−2" in html and html.count('aria-pressed="true"') == 1
    assert 'data-value="-1" aria-pressed="true"' in html


def test_a_table_without_a_picture_is_open_and_has_its_header():
    html = ask_overview_view.gallery(overview().exhibits, [None])
    assert '<details class="table-twin" open>' in html and "<thead>" in html
    assert '<details class="table-twin">' in ask_overview_view.gallery(overview().exhibits, [b"webp"])


@pytest.mark.parametrize("words, shown", [(900, "1 KiB"), (5 * 2**20, "5.0 MiB")])
def test_sizes_are_said_in_a_unit_that_suits_them(words, shown):
    assert ask_library_view.size(words) == shown


def test_what_comes_with_the_project_has_no_button_to_remove_it():
    assert 'data-action="remove"' not in ask_library_view.papers([entry(removable=False)])
    assert 'data-action="remove"' in ask_library_view.papers([entry()])
