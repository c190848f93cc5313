"""The gold questions: complete, without duplicates, and answered where they say."""

import json
from collections import Counter

from app.assistant.evaluation import GOLD_QUESTIONS
from tests.papers.paper_text import PAGES, paper_pages

GOLD = [json.loads(line) for line in GOLD_QUESTIONS.read_text(encoding="utf-8").splitlines()]
ANSWERABLE = [entry for entry in GOLD if entry["answerable"]]


def pages_of(entry: dict) -> list[int]:
    return [entry["pdf_page"]] if isinstance(entry["pdf_page"], int) else entry["pdf_page"]


def missing(entry: dict, pages: tuple[str, ...]) -> list[str]:
    """Keywords on none of the pages named, and pages without any of the keywords."""
    texts = {page: pages[page - 1] for page in pages_of(entry)}
    lost = [word for word in entry["keywords"] if not any(word in text for text in texts.values())]
    return lost + [
        f"page {page}" for page, text in texts.items() if not any(word in text for word in entry["keywords"])
    ]


def test_there_are_enough_of_each_kind():
    kinds = Counter(entry["kind"] for entry in GOLD)
    assert len(ANSWERABLE) >= 65
    assert kinds["table"] + kinds["figure"] >= 12
    assert kinds["multi"] >= 10
    assert kinds["unanswerable"] >= 22
    assert set(kinds) == {"text", "table", "figure", "multi", "unanswerable"}


def test_entries_are_well_formed():
    assert len({entry["id"] for entry in GOLD}) == len({entry["question"].lower() for entry in GOLD}) == len(GOLD)
    for entry in GOLD:
        assert entry["answerable"] == (entry["kind"] != "unanswerable")
        assert set(entry) == {"id", "question", "answerable", "kind"} | (
            {"pdf_page", "keywords"} if entry["answerable"] else set()
        )
    for entry in ANSWERABLE:
        assert entry["keywords"] and all(1 <= page <= PAGES for page in pages_of(entry))
        assert entry["kind"] != "multi" or len(pages_of(entry)) >= 2


def test_keywords_stand_on_the_pages_named():
    lost = {entry["id"]: missing(entry, paper_pages()) for entry in ANSWERABLE}
    assert not {entry_id: what for entry_id, what in lost.items() if what}


def test_the_keyword_check_notices_a_wrong_page_and_a_wrong_word():
    pages = paper_pages()
    right = {"pdf_page": 4, "keywords": ["567 MB"]}
    assert not missing(right, pages)
    assert missing({**right, "pdf_page": 5}, pages)
    assert missing({**right, "keywords": ["568 MB"]}, pages)
