"""Questions over several papers: their passages in one ranking, and each paper heard when papers are compared."""

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import replace

from app.assistant.evidence import Evidence
from app.assistant.grounding import LOOKED_AT, Grounding, Verdict, not_mentioned
from app.assistant.question import Question, parse
from app.assistant.retrieval import Hit, PaperRetriever
from app.assistant.spelling import Spelling
from app.assistant.terms import plain, words

_COMPARING = re.compile(
    r"\b(compar\w+|contrast\w*|versus|vs|differ(?:s|ed|ence|ences|ent)?|distinguish\w*|in common|both papers"
    r"|(?:each|either|all)(?: of the| of these)? papers?)\b",
    re.IGNORECASE,
)
_FIRST = 5
"""Among so many passages every compared paper is heard."""


class SeveralPapers:
    """Search over a selection of papers, in the manner of one paper's :class:`Grounding`.

    Every paper ranks its own passages (dense and BM25 scores of different papers cannot be compared, their ranks can).
    What then orders all of them is merit: ranks, cosines and shares of the question's words, which mean the same in
    every paper. In a comparison every paper concerned has at least one passage among those that are returned.

    Args:
        groundings: one a paper, opened.
    """

    def __init__(self, groundings: Sequence[Grounding]):
        self.groundings = {grounding.search.index.paper.id: grounding for grounding in groundings}
        known = sum((grounding.search.spelling.known for grounding in groundings), Counter())
        dictionary = groundings[0].search.embedder.dictionary if groundings else {}
        self.spelling = Spelling(known, dictionary)

    def only(self, papers: Collection[str]) -> "SeveralPapers":
        """Search over those of the papers whose identifiers are given."""
        return SeveralPapers([grounding for paper, grounding in self.groundings.items() if paper in papers])

    def read(self, question: Question) -> Question:
        """The question with slips put right; a word that any of the papers has is right."""
        text = self.spelling.correct(question.text)
        return question if text == question.text else parse(text)

    def compared(self, question: Question) -> list[str]:
        """The papers that the question sets against one another: those that it names, all when it compares without
        naming two, none when it does not compare."""
        named = [paper for paper, grounding in self.groundings.items() if _is_named(question.text, grounding)]
        if len(named) > 1:
            return named
        return list(self.groundings) if _COMPARING.search(question.text) else []

    def rank(self, question: Question, looked_at: int = LOOKED_AT) -> list[Evidence]:
        """The best places in all papers, in order of merit; in a comparison each paper's best is among the first."""
        question = self.read(question)
        found: list[Evidence] = []
        for paper, grounding in self.groundings.items():
            reading = grounding.search.read(question.text, question.text)
            found += grounding.look(self._of(question, paper), reading, looked_at)
        found.sort(key=lambda item: -item.merit)
        return _each_heard(found, self.compared(question))

    def find(self, text: str, k: int) -> list[Hit]:
        """The ``k`` best passages of all papers."""
        return [item.hit for item in self.rank(parse(text), max(k, LOOKED_AT))[:k]]

    def retriever(self, k: int = 5) -> PaperRetriever:
        """The passages as a LangChain retriever; the documents' metadata say which paper they are from."""
        return PaperRetriever(find=self.find, k=k)

    def judge(self, question: Question, ranked: list[Evidence]) -> tuple[Verdict, list[Evidence]]:
        """Whether any of the papers answers, and the places that answer, in the order of ``ranked``. What one paper
        does not name and another does is not held against either."""
        question = self.read(question)
        unknown = [set(grounding.unknown_names(question)) for grounding in self.groundings.values()]
        if unknown and (nowhere := set.intersection(*unknown)):
            return not_mentioned([name for name in _in_order(question, nowhere)]), []
        verdicts: list[Verdict] = []
        answering: list[Evidence] = []
        for paper, grounding in self.groundings.items():
            own = [item for item in ranked if item.hit.chunk.paper == paper]
            verdict, places = grounding.verdict(self._of(question, paper), sorted(own, key=lambda item: -item.merit))
            verdicts.append(verdict)
            answering += places
        best = max(verdicts, key=lambda verdict: (verdict.answers, verdict.support), default=Verdict(False, 0.0))
        return best, [item for item in ranked if any(item is place for place in answering)]

    def _of(self, question: Question, paper: str) -> Question:
        """The question as put to one paper: without the names that only the others know."""
        grounding = self.groundings[paper]
        others = [other for name, other in self.groundings.items() if name != paper]
        kept = tuple(
            term
            for term in question.words
            if not term.entity or grounding.knows(term) or not any(other.knows(term) for other in others)
        )
        unknown = set(grounding.unknown_names(question))
        elsewhere = {name for name in unknown if not all(name in other.unknown_names(question) for other in others)}
        return replace(
            question,
            words=kept,
            versions=tuple(version for version in question.versions if version not in elsewhere),
            sized=tuple(pair for pair in question.sized if f"{pair[0]} {pair[1]}" not in elsewhere),
        )


def _each_heard(found: list[Evidence], papers: list[str]) -> list[Evidence]:
    """The ranking with each paper's best place moved up to the end of the first :data:`_FIRST`, where it is not there
    already; places of papers that have another one there make room, the last ones first."""
    first, rest = found[:_FIRST], found[_FIRST:]
    for paper in papers[:_FIRST]:
        heard = Counter(item.hit.chunk.paper for item in first)
        best = next((item for item in rest if item.hit.chunk.paper == paper), None)
        if heard[paper] or best is None:
            continue
        spare = next((item for item in reversed(first) if heard[item.hit.chunk.paper] > 1), None)
        if spare is None:
            spare = next(item for item in reversed(first) if item.hit.chunk.paper not in papers)
        first = [*(item for item in first if item is not spare), best]
        rest = [spare, *(item for item in rest if item is not best)]
    return first + rest


def _in_order(question: Question, names: set[str]) -> list[str]:
    return sorted(names, key=lambda name: question.text.lower().find(name.lower()))


def _is_named(text: str, grounding: Grounding) -> bool:
    """Whether the text has the paper's identifier, its short title (what stands before the colon) or an author's
    surname."""
    paper = grounding.search.index.paper
    said = f" {' '.join(words(text))} "
    names = [paper.id, paper.title.split(":")[0], *(author.split()[-1] for author in paper.authors if author.strip())]
    return any(f" {' '.join(words(name))} " in said for name in names if plain(name).strip())
