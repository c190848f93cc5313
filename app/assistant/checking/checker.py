"""Is a generated sentence in the passages? Every sentence is held against them and says what is missing.

A similarity alone cannot tell: an invented sentence is made of the same words as a true one. So a sentence is supported
only when one place of a passage, a sentence with its neighbours or a table's row, has its numbers with their units, its
names and nearly all of its other words (:mod:`places`), and has them in the same relation (:mod:`relations`).
"""

import re
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property, lru_cache

from app.assistant.checking.claims import Piece, labels_in, names_in, pieces, words_of
from app.assistant.checking.places import Match, Place, match, places_of
from app.assistant.checking.relations import makes_comparison
from app.assistant.checking.values import contradiction
from app.assistant.checking.wording import CAUSES
from app.assistant.chunking import Chunk
from app.assistant.readers.page import bare
from app.assistant.retrieval import Hit, Search
from app.assistant.terms import listed, tokens, words

SUPPORTED, WEAK, UNSUPPORTED = "supported", "weak", "unsupported"
VERDICTS = (SUPPORTED, WEAK, UNSUPPORTED)

# Set on the development half of tests/app/assistant/labelled_statements.jsonl.
_FEW_MISSING, _MANY_MISSING = 0.13, 0.3
"""Share of a sentence's words, by weight, that the place may lack in a supported and in a weakly supported one."""
_PAIRED = 0.35
"""Least share of neighbouring words that must stand near each other in the passage too."""
_SIMILAR = 0.35
"""Least cosine with the passage; supported sentences have 0.41 and more."""
_CONTRADICTED, _NAMED_TABLE = 0.4, 0.2
"""What a disagreement takes from a place's merit, and what being the table that the sentence names adds."""
_LOOKED_AT = 8
_LONGEST = 1200
"""Characters of a sentence that are looked at."""
_REFERENCE = re.compile(r"\[[\d,;\s–-]+\]")
_COMPARED = 12


@dataclass(frozen=True)
class CheckedSentence:
    """A sentence of a text, ``start`` to ``end`` there, with its verdict.

    ``verdict`` is ``"supported"``, ``"weak"``, ``"unsupported"``, or ``""`` for what claims nothing (a heading, a
    question). ``reasons`` are sentences for the reader. ``citations`` are the numbers that it cites; ``passage`` is the
    identifier of the passage that comes nearest to it, ``pdf_page`` its page and ``quote`` the sentence there;
    ``number`` is that passage's in an answer's citations (0 when it is none of them).
    """

    text: str
    start: int
    end: int
    verdict: str
    reasons: tuple[str, ...] = ()
    citations: tuple[int, ...] = ()
    passage: str = ""
    pdf_page: int = 0
    quote: str = ""
    number: int = 0


@dataclass(frozen=True)
class CheckReport:
    sentences: tuple[CheckedSentence, ...]

    @property
    def unsupported_share(self) -> float:
        """The share of sentences with a verdict that are not supported; weak ones count half."""
        verdicts = [sentence.verdict for sentence in self.sentences if sentence.verdict]
        return sum(VERDICTS.index(verdict) / 2 for verdict in verdicts) / len(verdicts) if verdicts else 0.0

    def record(self) -> dict:
        """For JSON."""
        sentences = [asdict(sentence) for sentence in self.sentences]
        return {"unsupported_share": round(self.unsupported_share, 3), "sentences": sentences}


Judged = tuple[str, list[str], Match]
"""A verdict, its reasons, and the place that supports the sentence best."""


class Checking(ABC):
    """Checks texts against passages, wherever these come from."""

    def check(self, text: str, passages: Sequence[Hit] = ()) -> CheckReport:
        """The verdict on every sentence of ``text``.

        Args:
            text: plain text or Markdown; ``[n]`` behind a sentence cites ``passages[n - 1]``.
            passages: what the text was written from; without them everything is searched for each sentence.
        """
        return CheckReport(tuple(self._checked(piece, passages) for piece in pieces(text)))

    def _checked(self, piece: Piece, passages: Sequence[Hit]) -> CheckedSentence:
        place = (piece.text, piece.start, piece.end)
        if not piece.claims:
            return CheckedSentence(*place, "", citations=piece.citations)
        said = piece.text[:_LONGEST]
        cited = [passages[number - 1] for number in piece.citations if number <= len(passages)]
        missing = [f"There is no passage [{n}]." for n in piece.citations if passages and n > len(passages)]
        found = self.judged(said, cited) if cited else None
        if found is None or found[0] != SUPPORTED:
            elsewhere = self.judged(said, [*passages, *self.found(said)])
            if cited and elsewhere and elsewhere[0] == SUPPORTED:
                page = self.page(elsewhere[2].place.chunk)
                missing.append(f"The cited passage does not say this; {page} does.")
            found = elsewhere
        if found is None:
            return CheckedSentence(*place, UNSUPPORTED, ("No passage is about this.",), piece.citations)
        verdict, reasons, best = found
        verdict = max(verdict, WEAK, key=VERDICTS.index) if missing else verdict
        chunk = best.place.chunk
        reasons = (*missing, *reasons)
        return CheckedSentence(*place, verdict, reasons, piece.citations, chunk.id, chunk.pdf_page, best.place.text)

    @abstractmethod
    def found(self, text: str) -> list[Hit]:
        """The passages nearest to a sentence."""

    @abstractmethod
    def judged(self, text: str, hits: Sequence[Hit]) -> Judged | None:
        """The verdict on a sentence by these passages; None when there is none that could be compared."""

    @abstractmethod
    def page(self, chunk: Chunk) -> str:
        """Where a passage stands, in words."""


class Checker(Checking):
    """Checks texts against one index.

    Args:
        search: finds passages for sentences that cite none.
    """

    def __init__(self, search: Search):
        self.search = search
        self._places: dict[int, list[Place]] = {}
        self._long = {short: frozenset(tokens(long)) for short, long in search.index.abbreviations.items()}

    def found(self, text: str) -> list[Hit]:
        return self.search.search(text, _LOOKED_AT)

    def page(self, chunk: Chunk) -> str:
        return f"page {chunk.pdf_page}"

    def judged(self, text: str, hits: Sequence[Hit]) -> Judged | None:
        best = self._best(text, hits)
        if best is None:
            return None
        if _is_quoted(text, best.place.chunk):
            return SUPPORTED, [], best
        names, reasons, level = names_in(text, self._names), [], 0
        hard = [word.text for word in best.missing if word.is_number or word.text in names]
        soft = [word.text for word in best.missing if word.text not in hard and not word.is_light]
        if hard:
            reasons.append(f"The passage lacks {listed(hard)}.")
            level = 2
        if best.contradicts:
            reasons.append(f"{best.contradicts[0].upper()}{best.contradicts[1:]}.")
            level = 2
        if best.share > _FEW_MISSING and (soft or hard):
            if soft:
                reasons.append(f"Nothing near the rest speaks of {listed(soft)}.")
            level = max(level, 2 if best.share > _MANY_MISSING else 1)
        if not level and not best.place.makes_comparison and makes_comparison(words_of(text)):
            reasons.append("The passage does not compare them.")
            level = 1
        if not level and CAUSES.search(text) and not best.place.gives_reason:
            reasons.append("The passage does not give this as a reason.")
            level = 1
        if best.paired < _PAIRED or best.similar < _SIMILAR:
            reasons.append("The passage has the words, but not together.")
            level = max(level, 1)
        return VERDICTS[level], reasons, best

    def _best(self, text: str, hits: Sequence[Hit]) -> Match | None:
        """The place that supports the sentence best; one that has it word for word at once."""
        said = _own_words(text)
        claim, names = words_of(text), frozenset(names_in(text, self._names)) - self._subject
        labels, similar = labels_in(text), {hit.chunk.id: hit.score for hit in hits}
        matches = []
        for hit in dict.fromkeys(hit.number for hit in hits):
            for number in (hit, *self.search.index.rewordings.get(hit, ())):
                for place in self._places_of(number):
                    if said and said in _own_words(place.chunk.text):
                        return Match(place, [], 0.0, 1.0, 0.0)
                    matches.append(match(claim, self._subject, names, place))
        matches = sorted(matches, key=lambda item: -item.merit)[:_COMPARED]
        for item in matches:
            chunk = item.place.chunk
            item.contradicts = contradiction(claim, item.place.sentences, names)
            item.similar = similar.get(chunk.id, 1.0)
            item.merit += _NAMED_TABLE * (chunk.label in labels) - _CONTRADICTED * bool(item.contradicts)
        return max(matches, key=lambda item: item.merit, default=None)

    def _places_of(self, number: int) -> list[Place]:
        if number not in self._places:
            self._places[number] = list(places_of(self.search.index.chunks[number], self._expanded, self._names))
        return self._places[number]

    def _expanded(self, stems: Iterable[str]) -> frozenset[str]:
        found = set(stems)
        for short, long in self._long.items():
            if short in found:
                found |= long
            elif long and long <= found:
                found.add(short)
        return frozenset(found)

    @cached_property
    def _subject(self) -> frozenset[str]:
        """The paper's own subject, which its passages need not name."""
        return frozenset(words(self.search.index.paper.title))

    @cached_property
    def _names(self) -> frozenset[str]:
        """Words that the papers write with a capital inside sentences."""
        small, capital = Counter(), Counter()
        for chunk in self.search.index.chunks:
            for sentence in chunk.sentences:
                for word in sentence.text.split()[1:]:
                    (capital if any(map(str.isupper, word)) else small).update(words(word))
        return frozenset(word for word, n in capital.items() if n >= 2 and n > 3 * small[word] and len(word) > 1)


def _is_quoted(text: str, chunk: Chunk) -> bool:
    """Whether the text is the passage's own, from the start of a sentence on."""
    said = _own_words(text)
    rest = [_own_words(" ".join(s.text for s in chunk.sentences[n:])) for n in range(len(chunk.sentences))]
    return bool(said) and any(part.startswith(said) for part in rest)


@lru_cache(maxsize=4096)
def _own_words(text: str) -> str:
    """The text as it is compared word for word: without the numbers of references, spaces and hyphens."""
    return bare(_REFERENCE.sub("", text)).lower().rstrip(".")
