"""Questions over several papers: their passages in one ranking, and each paper heard when papers are compared."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace

from app.assistant import comparing
from app.assistant.evidence import Evidence
from app.assistant.grounding import LOOKED_AT, Grounding, Verdict, not_mentioned
from app.assistant.key_points import choose
from app.assistant.question import MAX_CHARACTERS, Question, parse
from app.assistant.retrieval import Hit
from app.assistant.spelling import Spelling
from app.assistant.terms import stem, words

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
        named = [
            paper
            for paper, grounding in self.groundings.items()
            if comparing.is_named(question.text, grounding.search.index.paper)
        ]
        if len(named) > 1:
            return named
        return list(self.groundings) if comparing.compares(question.text) else []

    def asked_of(self, question: Question, paper: str, compared: Collection[str]) -> Question | None:
        """What a comparison asks of one of the ``compared`` papers; None when it names nothing beside the papers."""
        grounding = self.groundings[paper]
        papers = [self.groundings[other].search.index.paper for other in compared]
        text = comparing.subject(self.read(question).text, papers, grounding.search.idf)
        if not any(character.isalpha() for character in text):
            return None
        asked = parse(f"{text}?")
        return asked if asked.terms else None

    def main_point(self, paper: str) -> Evidence | None:
        """The place that tells most of what the paper is about."""
        grounding = self.groundings[paper]
        points = choose(grounding.search.index)
        if not points:
            return None
        point = max(points, key=lambda item: item.merit)
        hit = Hit(grounding.search.index.chunks[point.chunk], point.chunk, 0.0)
        return replace(grounding.evidence(parse(point.text[:MAX_CHARACTERS]), hit), order=point.orders[0], rows=())

    def rank(self, question: Question, looked_at: int = LOOKED_AT) -> list[Evidence]:
        """The best places in all papers, in order of merit; in a comparison each paper's best is among the first."""
        question = self.read(question)
        found: list[Evidence] = []
        for paper, grounding in self.groundings.items():
            reading = grounding.search.read(question.text, question.text)
            found += grounding.look(self._of(question, paper), reading, looked_at)
        found.sort(key=lambda item: -item.comparable)
        return _each_heard(found, self.compared(question))

    def find(self, text: str, k: int) -> list[Hit]:
        """The ``k`` best passages of all papers."""
        return [item.hit for item in self.rank(parse(text), max(k, LOOKED_AT))[:k]]

    def evidence(self, question: Question, hit: Hit) -> Evidence:
        """The best place for the question in this passage."""
        return self.groundings[hit.chunk.paper].evidence(question, hit)

    def judge(self, question: Question, ranked: list[Evidence]) -> tuple[Verdict, list[Evidence]]:
        """Whether any of the papers answers, and the places that answer, in the order of ``ranked``. A paper that never
        mentions what the question names does not answer; that the question calls another paper by its name is not held
        against it."""
        question = self.read(question)
        unknown = [set(grounding.unknown_names(question)) for grounding in self.groundings.values()]
        if unknown and (nowhere := set.intersection(*unknown)):
            return self._of_all(not_mentioned(_in_order(question, nowhere))), []
        verdicts: dict[str, Verdict] = {}
        answering: list[Evidence] = []
        for paper, grounding in self.groundings.items():
            own = [item for item in ranked if item.hit.chunk.paper == paper]
            asked = self._of(question, paper)
            verdicts[paper], places = grounding.verdict(asked, sorted(own, key=lambda item: -item.merit))
            answering += places
        best = max(verdicts.values(), key=lambda verdict: (verdict.answers, verdict.support))
        if not best.answers:
            return self.refusal(verdicts), []
        return best, [item for item in ranked if any(item is place for place in answering)]

    def refusal(self, verdicts: Mapping[str, Verdict]) -> Verdict:
        """None of the papers answers: the reasons of all, each once.

        Args:
            verdicts: one a paper, by identifier; none of them answers.
        """
        best = max(verdicts.values(), key=lambda verdict: verdict.support)
        if len({verdict.reason for verdict in verdicts.values()}) == 1:
            return self._of_all(best)
        names = self.names()
        reasons = [f"“{names[paper]}”: {v.reason[:1].lower()}{v.reason[1:]}" for paper, v in verdicts.items()]
        return replace(best, reason=" ".join(reasons))

    @staticmethod
    def _of_all(verdict: Verdict) -> Verdict:
        reason = verdict.reason
        for one, all_of_them in (
            ("The paper never mentions", "No paper mentions"),
            ("The paper says nothing", "No paper says anything"),
        ):
            if reason.startswith(one):
                reason = f"{all_of_them}{reason.removeprefix(one)}"
        return replace(verdict, reason=reason)

    def names(self) -> dict[str, str]:
        """What each paper is called in answers: its short title where that tells it from the others, else its whole
        title."""
        papers = {paper: grounding.search.index.paper for paper, grounding in self.groundings.items()}
        short = Counter(paper.short_title for paper in papers.values())
        return {key: p.short_title if short[p.short_title] == 1 else p.title for key, p in papers.items()}

    def _of(self, question: Question, paper: str) -> Question:
        """The question as put to one paper: without the words by which it calls the others."""
        grounding = self.groundings[paper]
        others = [other.search.index.paper for name, other in self.groundings.items() if name != paper]
        called = {stem(word) for other in others for name in comparing.names_of(other) for word in words(name)}
        kept = tuple(term for term in question.words if grounding.knows(term) or term.stem not in called)
        return replace(question, words=kept)


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
