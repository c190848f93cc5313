"""The terms that a paper defines or keeps coming back to, as it writes them: "Double Quantization" with its short form
"DQ", run-in titles that the text takes up again, names of several capitalised words."""

import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from app.assistant.chunking import Chunk
from app.assistant.index import Index
from app.assistant.terms import STOP_WORDS, stem, words

_LEAST_PASSAGES = 3
_PHRASE = re.compile(r"(?<=[a-z,;(] )((?:\d+-bit )?[A-Z][\w-]*(?: [A-Z][\w-]*){1,3})(?![\w-])")
_LEAD_WORDS = 4
_DEFINING = (
    r"(?:introduc|propos|present|defin|term|call|named?|novel|new )[^.]*{term}",
    r"{term}[^.,;:]{{0,40}}(?:(?:,| is| are) (?:an?|the|one)|, (?:which|using)) ",
    r"{term}[^.,;:]{{0,20}} (?:uses?|works?|helps?|means?|refers?|describes?) ",
)
_OF_PAPERS = re.compile(r"\b(?:section|appendix|table|figure|equation|university|user|et al)\b", re.IGNORECASE)


@dataclass(frozen=True)
class KeyTerm:
    """A term of the paper. ``name`` is its long form as written there, ``short`` its short form or empty, ``passages``
    the number of passages that have it, ``defined`` whether one of them says what it is."""

    name: str
    short: str
    passages: int
    defined: bool

    @property
    def stems(self) -> frozenset[str]:
        """Of the long form's words."""
        return frozenset(stem(word) for word in words(self.name) if word not in STOP_WORDS)


def key_terms(index: Index, passages: Iterable[int]) -> list[KeyTerm]:
    """Terms in the given passages, those that are defined and stand in many of them first."""
    chunks = [index.chunks[number] for number in passages]
    found: dict[frozenset[str], KeyTerm] = {}
    for name, short in [*_abbreviated(index, chunks), *_run_in(chunks), *_capitalised(chunks)]:
        term = _counted(name, short, chunks)
        if term.stems and term.stems not in found and (short or term.passages >= _LEAST_PASSAGES):
            found[term.stems] = term
    terms = [term for term in found.values() if not any(_is_part(term, other) for other in found.values())]
    return sorted(terms, key=lambda term: (not term.defined, -term.passages, term.name))


def _is_part(term: KeyTerm, other: KeyTerm) -> bool:
    """Whether a term is only a piece of a longer one's name ("Human Feedback")."""
    return not term.short and term.stems < other.stems and term.passages <= 2 * other.passages


def _abbreviated(index: Index, chunks: list[Chunk]) -> list[tuple[str, str]]:
    text = " ".join(chunk.text for chunk in chunks)
    named = []
    for short, long in index.abbreviations.items():
        written = re.search(rf"({re.escape(long)}s?) ?\(({re.escape(short)})s?\)", text, re.IGNORECASE)
        if written:
            named.append((written[1], written[2]))
    return named


def _run_in(chunks: list[Chunk]) -> list[tuple[str, str]]:
    leads = dict.fromkeys(chunk.lead for chunk in chunks if 2 <= len(chunk.lead.split()) <= _LEAD_WORDS)
    return [(lead, "") for lead in leads if not _OF_PAPERS.search(lead) and lead[-1].isalnum()]


def _capitalised(chunks: list[Chunk]) -> list[tuple[str, str]]:
    counts: Counter[str] = Counter()
    for chunk in chunks:
        counts.update(set(_PHRASE.findall(chunk.text)))
    return [(name, "") for name, _ in counts.most_common() if not _OF_PAPERS.search(name)]


def _counted(name: str, short: str, chunks: list[Chunk]) -> KeyTerm:
    forms = [re.escape(form).replace(r"\ ", r"[\s-]+") for form in (name.removesuffix("s"), short) if form]
    either = rf"\b(?:{'|'.join(forms)})s?\b"
    with_it = [chunk for chunk in chunks if re.search(either, chunk.text, re.IGNORECASE)]
    patterns = [re.compile(pattern.format(term=either), re.IGNORECASE) for pattern in _DEFINING]
    sentences = [sentence.text for chunk in with_it for sentence in chunk.sentences]
    defined = any(pattern.search(text) for text in sentences for pattern in patterns)
    return KeyTerm(name, short, len(with_it), defined)
