"""Questions to begin with: made from a paper's terms, tables, figures, sections and topics, and kept only when the
assistant answers them with a citation that holds what they ask about."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice

from app.assistant.answer import Answer
from app.assistant.gallery import Exhibit
from app.assistant.index import Index
from app.assistant.key_points import spoken_passages
from app.assistant.key_terms import KeyTerm, key_terms
from app.assistant.terms import STOP_WORDS, stem, tokens, words

MOST_QUESTIONS = 8
_OF_TERMS, _OF_TABLES, _OF_FIGURES, _OF_SECTIONS = 4, 1, 1, 2
"""How many of each kind are looked for first; what one lacks, the others fill."""
_TRIED = 10
"""Questions of a kind that are put to the assistant at most."""

_SECTION_QUESTIONS = (
    (re.compile(r"\blimitations?\b", re.IGNORECASE), "limitation", "What limitations does the paper name?"),
    (re.compile(r"\blimitations?\b", re.IGNORECASE), "", "What are the limitations of this study?"),
    (re.compile(r"\bconclusions?\b", re.IGNORECASE), "", "What do the authors conclude?"),
    (re.compile(r"\bbroader impacts?\b", re.IGNORECASE), "impact", "What impact could this work have?"),
    (re.compile(r"\brelated work\b", re.IGNORECASE), "", "Which earlier work is this paper related to?"),
)
_VERB_TEXT = """
find finds found show shows showed observe observes demonstrate present presents introduce introduces propose proposes
measured measure compare compared recorded tracked tested used using based like lower higher larger smaller many much
number work works paper results result figure figures table tables section appendix equation
"""
_NO_TOPIC = STOP_WORDS | frozenset(_VERB_TEXT.split())
_OWN_QUESTION = re.compile(
    r"^(?:[A-Z]|\d+)?(?:\.\d+)*\s*((?:what|which|how|why|when|who|is|are|does|do|can)\b.*\?)$", re.I
)
_VALUE = re.compile(r"[-−]?\d[\d,.]*(?: ?%| ?± ?[\d.]+)?")
_NAME = re.compile(r"[A-Za-z][\w .()/+-]{1,40}")


@dataclass(frozen=True)
class Suggestion:
    """A question and what the quote that answers it must hold: ``words`` in the quote, or a passage of ``label`` or of
    ``section``."""

    question: str
    words: tuple[str, ...] = ()
    label: str = ""
    section: str = ""


def suggested_questions(
    index: Index, ask: Callable[[str], Answer], exhibits: tuple[Exhibit, ...], said: str, most: int = MOST_QUESTIONS
) -> tuple[str, ...]:
    """Up to ``most`` questions that ``ask`` answers, terms first.

    Args:
        index: of the paper.
        ask: answers a question from this paper.
        exhibits: the paper's tables and figures.
        said: the text of the key points; what they name is asked about first.
    """
    kinds = (
        (_OF_TERMS, _of_terms(index, said)),
        (_OF_TABLES, _of_tables(exhibits, said)),
        (_OF_FIGURES, _of_figures(exhibits)),
        (_OF_SECTIONS, _of_sections(index)),
        (most, _of_topics(index, said)),
    )
    taken: list[str] = []
    left: list[Iterator[str]] = []
    for wanted, items in kinds:
        tried = islice((item for item in items if item.question not in taken), _TRIED)
        good = (item.question for item in tried if _is_answered(item, ask(item.question)))
        taken += islice(good, min(wanted, most - len(taken)))
        left.append(good)
    for good in left:
        taken += islice(good, most - len(taken))
    return tuple(taken)


def _is_answered(item: Suggestion, answer: Answer) -> bool:
    if answer.declined or not answer.citations:
        return False
    first = answer.citations[0]
    if item.label and first.label != item.label:
        return False
    if item.section and first.section != item.section:
        return False
    held = " ".join(citation.quote for citation in answer.citations[: len(answer.statements) or 1])
    return set(item.words) <= set(tokens(f"{held} {first.label}"))


def _of_terms(index: Index, said: str) -> Iterator[Suggestion]:
    """Terms that the paper defines, in the order in which the key points name them."""
    terms = [term for term in key_terms(index, spoken_passages(index)) if term.defined]
    asked: list[KeyTerm] = []
    for term in sorted(terms, key=lambda term: _first_named(term, said)):
        if any(term.stems <= other.stems or other.stems <= term.stems for other in asked):
            continue
        asked.append(term)
        plural = term.name.endswith("s") and not term.name.endswith("ss")
        name = f"{term.name} ({term.short})" if term.short else term.name
        held = (term.short.lower(),) if term.short else tuple(sorted(term.stems))
        yield Suggestion(f"What {'are' if plural else 'is'} {name}?", held)


def _first_named(term: KeyTerm, said: str) -> int:
    places = [said.lower().find(form.lower()) for form in (term.name, term.short) if form]
    return min((place for place in places if place >= 0), default=len(said))


def _of_tables(exhibits: tuple[Exhibit, ...], said: str) -> Iterator[Suggestion]:
    """A value in each table, of the first row that the key points name and the last column that has a name; then what
    the tables show that have no such names."""
    tables = [item for item in exhibits if item.kind == "table" and item.rows_source == item.source]
    cells = {item.label: _cell(item, said) for item in tables}
    for exhibit in sorted(tables, key=lambda item: not cells[item.label]):
        if cell := cells[exhibit.label]:
            row, column = cell
            yield Suggestion(f"What is the {column} of {row} in {exhibit.label}?", _stems(row), exhibit.label)
        else:
            yield Suggestion(f"What does {exhibit.label} show?", (), exhibit.label)


def _cell(exhibit: Exhibit, said: str) -> tuple[str, str] | None:
    if exhibit.header != 1 or len(exhibit.rows) < 2:
        return None
    columns = exhibit.rows[0]
    named = [number for number, name in enumerate(columns) if number and _NAME.fullmatch(name)]
    rows = [row for row in exhibit.rows[1:] if len(row) == len(columns) and _NAME.fullmatch(row[0])]
    rows = [row for row in rows if sum(other[0] == row[0] for other in rows) == 1]
    for row in sorted(rows, key=lambda row: row[0] not in said):
        for number in reversed(named):
            if _VALUE.fullmatch(row[number]):
                return row[0], columns[number]
    return None


def _of_figures(exhibits: tuple[Exhibit, ...]) -> Iterator[Suggestion]:
    for exhibit in exhibits:
        if exhibit.kind == "figure":
            yield Suggestion(f"What does {exhibit.label} show?", (), exhibit.label)


def _of_sections(index: Index) -> Iterator[Suggestion]:
    sections = dict.fromkeys(index.chunks[number].section for number in spoken_passages(index))
    for section in sections:
        if match := _OWN_QUESTION.match(section.rpartition(": ")[2] if section.startswith("Section") else section):
            yield Suggestion(match[1][0].upper() + match[1][1:], section=section)
    for pattern, held, question in _SECTION_QUESTIONS:
        if found := [section for section in sections if pattern.search(section)]:
            yield Suggestion(question, _stems(held), section="" if held else found[0])


def _of_topics(index: Index, said: str) -> Iterator[Suggestion]:
    """What the title names and what the text keeps saying, phrases before words; what the key points name first."""
    asked = {term.stems for term in key_terms(index, spoken_passages(index)) if term.defined}
    counts: Counter[str] = Counter()
    for number in spoken_passages(index):
        for sentence in index.chunks[number].sentences:
            counts.update(set(_phrases(sentence.text)))
    often = [phrase for phrase, count in counts.most_common() if count >= (2 if " " in phrase else 3)]
    topics = dict.fromkeys([*_phrases(index.paper.title, is_title=True), *often])
    for topic in sorted(topics, key=lambda topic: (topic.lower() not in said.lower(), " " not in topic)):
        stems = frozenset(_stems(topic))
        if not any(stems & other for other in asked):
            asked.add(stems)
            yield Suggestion(f"What does the paper say about “{topic}”?", tuple(stems))


def _phrases(text: str, is_title: bool = False) -> Iterator[str]:
    """Runs of at most three words between stop words and punctuation; of single words those of five letters or more,
    which are rarely verbs. A title's capitals, and a sentence's first, say nothing."""
    for part in re.split(r"[^\w\s'’-]+", text):
        run: list[str] = []
        for word in [*part.split(), ""]:
            if word and word.lower() not in _NO_TOPIC and re.fullmatch(r"[^\W\d][\w-]*", word):
                opens = is_title or (part.lstrip().startswith(word) and not run)
                run.append(word.lower() if opens and not any(map(str.isupper, word[1:])) else word)
                continue
            if 2 <= len(run) <= 3 or (len(run) == 1 and len(run[0]) >= 5):
                yield " ".join(run)
            run = []


def _stems(text: str) -> tuple[str, ...]:
    return tuple(stem(word) for word in words(text) if word not in STOP_WORDS)
