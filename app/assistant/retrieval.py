"""Finding passages: by meaning (Chroma) and by words (BM25), the rankings fused by rank; offered as a LangChain
retriever."""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from langchain_core.callbacks import CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever
from pydantic import ConfigDict

from app.assistant.alignment import Reading
from app.assistant.chunking import Chunk
from app.assistant.embedding import MiniLM
from app.assistant.index import Index
from app.assistant.spelling import Spelling
from app.assistant.terms import plain, tokens, words

_RANK_OFFSET = 10
"""Added to every rank before it is inverted; the usual 60 hardly tells first from fifth among a few hundred
passages."""
_PLACE_OFFSET = 5
_NAMED = 2.0 / _RANK_OFFSET
"""What being the very table that the question names adds: it outweighs one first place."""
_DEEP = 60
_ABOUT_REFERENCES = re.compile(r"\b(references?|bibliography|cit(e|es|ed|ation|ations)|prior work by)\b", re.IGNORECASE)
_LABEL = re.compile(r"\b(table|figure|fig\.?)\s*(\d+)", re.IGNORECASE)
_PLACE = re.compile(r"(?:\b(?:section|sec\.?|appendix|app\.?)\s*|§\s*)([A-Z]|\d+)((?:\.\d+)*)\b", re.IGNORECASE)


@dataclass
class Hit:
    """A passage with its cosine with the question (``score``).

    ``by_sentence`` and ``by_words`` tell its places in the rankings of which the fused one is made, as 1 / (5 + place),
    0 for none; ``words_share`` is its BM25 score as a share of the best one's; ``named`` is what being the table,
    figure or section that the question names counts for, 0 to 1.
    """

    chunk: Chunk
    number: int
    score: float
    sentence_scores: dict[int, float] = field(default_factory=dict)
    by_sentence: float = 0.0
    by_words: float = 0.0
    words_share: float = 0.0
    named: float = 0.0


class Search:
    """Both kinds of search over one index.

    A passage of the paper is also found by the notes that say the same in other words (``Index.rewordings``); the notes
    then do not compete with it.
    """

    def __init__(self, index: Index, embedder: MiniLM):
        self.index, self.embedder = index, embedder
        self._reworded = {note: chunk for chunk, notes in index.rewordings.items() for note in notes}
        self.candidates = [n for n, chunk in enumerate(index.chunks) if n not in self._reworded]

    @cached_property
    def spelling(self) -> Spelling:
        return Spelling(
            Counter(word for chunk in self.index.chunks for word in words(f"{chunk.heading} {chunk.text}")),
            self.embedder.dictionary,
        )

    @cached_property
    def documents(self) -> list[Counter[str]]:
        """Stems of every passage with its headings and, for the paper's, of the notes that reword it."""
        counts = [Counter(tokens(f"{chunk.label} {chunk.heading} {chunk.text}")) for chunk in self.index.chunks]
        return [
            counts[n] + sum((counts[note] for note in self.index.rewordings.get(n, ())), Counter())
            for n in range(len(counts))
        ]

    @cached_property
    def idf(self) -> dict[str, float]:
        """How rare a stem is among the passages: ln((N + 1) / (passages with it + 1)) + 1e-3."""
        seen = Counter(token for number in self.candidates for token in set(self.documents[number]))
        total = len(self.candidates) + 1
        return {token: math.log(total / (count + 1)) + 1e-3 for token, count in seen.items()}

    def rarity(self, token: str) -> float:
        return self.idf.get(token, math.log(len(self.candidates) + 1))

    @cached_property
    def _bm25(self):
        import bm25s

        engine = bm25s.BM25(k1=1.2, b=0.6)
        corpus = [list(self.documents[number].elements()) or ["-"] for number in self.candidates]
        engine.index(corpus, show_progress=False)
        return engine

    def expand(self, question: str) -> str:
        """The question with the long form behind every abbreviation, and the short form behind every long one."""
        simple = f" {plain(question)} "
        added = []
        for short, long in self.index.abbreviations.items():
            has_short = re.search(rf"\b{re.escape(short)}s?\b", simple)
            has_long = plain(long) in simple
            if has_short and not has_long:
                added.append(long)
            elif has_long and not has_short:
                added.append(short)
        return f"{question} ({', '.join(added)})" if added else question

    def read(self, question: str, corrected: str = "") -> Reading:
        """The question with its slips of the hand put right (or as ``corrected`` says), its abbreviations written out,
        and its vectors."""
        text = corrected or self.spelling.correct(question)
        expanded = self.expand(text)
        vectors, pieces = self.embedder.encode_pieces([expanded])
        return Reading(question, text, expanded, vectors[0], pieces[0], self.embedder.spans(expanded))

    def search(self, question: str, k: int = 5) -> list[Hit]:
        """The ``k`` best passages for the question, best first."""
        return self.find(self.read(question), k)

    def find(self, reading: Reading, k: int, known: Mapping[int, float] | None = None) -> list[Hit]:
        """The same for a question that is read already; ``known`` has for passages how alike the question is to one
        that they are known to answer, a further ranking."""
        passage_score: dict[int, float] = {}
        for number, cosine in self.index.nearest("passages", reading.vector, min(_DEEP * 2, len(self.index.chunks))):
            target = self._reworded.get(number, number)
            passage_score[target] = max(passage_score.get(target, -1.0), cosine)
        sentence_score: dict[int, float] = {}
        per_sentence: dict[int, dict[int, float]] = {}
        count = min(_DEEP * 2, len(self.index.sentence_of))
        for entry, cosine in self.index.nearest("sentences", reading.vector, count):
            number, order = self.index.sentence_of[entry]
            target = self.index.sentence_chunk[entry]
            sentence_score[target] = max(sentence_score.get(target, -1.0), cosine)
            per_sentence.setdefault(number, {})[order] = cosine
        stems = tokens(reading.expanded)
        lexical = dict(
            zip(self.candidates, self._bm25.get_scores(stems) if stems else np.zeros(len(self.candidates)), strict=True)
        )
        allowed = self._allowed(reading.text)
        fused: Counter[int] = Counter()
        places: list[dict[int, int]] = []
        for weight, scores in ((1.0, passage_score), (1.0, sentence_score), (1.2, lexical), (1.0, known or {})):
            best = sorted((n for n in scores if n in allowed and scores[n] > 0), key=lambda n: -scores[n])[:_DEEP]
            places.append({number: place for place, number in enumerate(best)})
            for place, number in enumerate(best):
                fused[number] += weight / (_RANK_OFFSET + place)
        named = {number: self._named(reading.text, self.index.chunks[number]) for number in fused}
        for number, share in named.items():
            fused[number] += _NAMED * share
        most = max(lexical.values(), default=0.0) or 1.0
        _, by_sentence, by_words, _ = places
        return [
            Hit(
                self.index.chunks[n],
                n,
                round(max(passage_score.get(n, 0.0), sentence_score.get(n, 0.0)), 4),
                per_sentence.get(n, {}),
                1 / (_PLACE_OFFSET + by_sentence[n]) if n in by_sentence else 0.0,
                1 / (_PLACE_OFFSET + by_words[n]) if n in by_words else 0.0,
                float(lexical[n]) / most,
                named[n],
            )
            for n, _ in fused.most_common(k)
        ]

    def _allowed(self, question: str) -> set[int]:
        """The list of references is searched only by questions about references: its titles would crowd out the
        text."""
        if _ABOUT_REFERENCES.search(question):
            return set(self.candidates)
        return {
            n for n in self.candidates if self.index.chunks[n].kind != "reference" and not self._lists_references(n)
        }

    def _lists_references(self, number: int) -> bool:
        return self.index.chunks[number].section.lower().startswith("references")

    @staticmethod
    def _named(question: str, chunk: Chunk) -> float:
        """1 for the table or figure that the question names, 0.3 for a passage of the section that it does."""
        for kind, number in _LABEL.findall(question):
            if chunk.label == f"{'Table' if kind.lower() == 'table' else 'Figure'} {number}":
                return 1.0
        for letter, rest in _PLACE.findall(question):
            name = f"{letter.upper()}{rest}"
            if re.match(rf"(?:(?:Section|Appendix) )?{re.escape(name)}(?![\w])", chunk.section):
                return 0.3
        return 0.0


class PaperRetriever(BaseRetriever):
    """LangChain retriever over one paper: documents with ``paper``, ``source``, ``pdf_page``, ``section``, ``boxes``
    and ``score`` (cosine with the question) in their metadata, best first."""

    model_config = ConfigDict(arbitrary_types_allowed=True)
    find: Callable[[str, int], list[Hit]]
    k: int = 5

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun) -> list[Document]:
        return [document(hit) for hit in self.find(query, self.k)]


def document(hit: Hit) -> Document:
    chunk = hit.chunk
    return Document(
        page_content=chunk.text,
        id=chunk.id,
        metadata={
            "paper": chunk.paper,
            "source": chunk.source,
            "pdf_page": chunk.pdf_page,
            "section": chunk.section,
            "kind": chunk.kind,
            "label": chunk.label,
            "boxes": [list(box) for sentence in chunk.sentences for box in sentence.boxes],
            "score": hit.score,
        },
    )
