"""What an answer is: its text, its citations, and what is known about how far it can be trusted."""

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from app.assistant.chunking import Box
from app.assistant.disagreements import Disagreement
from app.assistant.grounding import Verdict

if TYPE_CHECKING:
    from app.assistant.backends import ToolStep
    from app.assistant.checking import CheckedSentence

EXTRACTIVE = "extractive"


@dataclass(frozen=True)
class Citation:
    """Where a quote stands: ``number`` as in the answer, ``source`` ``"paper"`` or ``"notes"``; ``boxes`` cover the
    quote on the page (points from the upper left corner; none for notes). ``passage`` is the text around it."""

    number: int
    paper: str
    source: str
    pdf_page: int
    last_page: int
    section: str
    quote: str
    score: float
    boxes: tuple[Box, ...] = ()
    passage: str = ""
    label: str = ""

    def record(self) -> dict:
        """The fields of the command line's JSON."""
        keys = ("paper", "pdf_page", "section", "quote", "score", "source")
        return {key: getattr(self, key) for key in keys}


@dataclass(frozen=True)
class Statement:
    """A part of the answer and the number of the citation that it is quoted from. ``core`` is the sentence that
    answers, the others are around it. For a table's rows, ``title`` is the table's caption, ``rows`` their cells and
    ``columns`` what stands above the cells, if the reader could tell."""

    text: str
    citation: int
    title: str = ""
    rows: tuple[tuple[str, ...], ...] = ()
    columns: tuple[str, ...] = ()
    core: str = ""


@dataclass(frozen=True)
class AskedPaper:
    """One of the papers that a question was put to. ``name`` is its title, cut short where that still tells it from the
    others. In a comparison, ``nothing`` says why this paper does not answer it and is empty where it does; ``nearest``
    is the number of the passage that then comes nearest, 0 where none is about it."""

    id: str
    name: str
    nothing: str = ""
    nearest: int = 0

    @property
    def silence(self) -> str:
        """A sentence about a paper that does not answer."""
        if not self.nothing:
            return ""
        if self.nearest:
            return f"“{self.name}” does not say. {self.nothing} The nearest passage is [{self.nearest}]."
        return f"“{self.name}” has nothing on this. {self.nothing}"


@dataclass(frozen=True)
class ShownDisagreement:
    """Statements of the paper that contradict each other, and the number of each one's citation (0 for none). ``paper``
    names it where several were asked."""

    disagreement: Disagreement
    citations: tuple[int, ...]
    paper: str = ""

    @property
    def text(self) -> str:
        said = []
        for statement, number in zip(self.disagreement.statements, self.citations, strict=True):
            mark = f" [{number}]" if number else ""
            said.append(f"{statement.says} ({statement.place}, p. {statement.page}){mark}")
        who = f"“{self.paper}”" if self.paper else "The paper"
        return f"{who} disagrees with itself about {self.disagreement.about}: {'; '.join(said)}."


@dataclass(frozen=True)
class Answer:
    """What comes of a question.

    ``question`` is what was typed, ``understood`` what it stands for in the conversation when that differs.
    ``citations`` first hold what the answer quotes, then other passages about it; of a declined question, the nearest
    passages. ``reason`` says why it was declined.

    ``backend`` wrote the answer. From ``extractive`` come ``statements``; from a language model ``written``, whose
    ``sentences`` are checked, ``steps`` (what it looked up) and the ``model``'s name. ``notice`` is a sentence for the
    visitor: why the extractive answer came instead, or that little of what was written is supported.

    ``papers`` are those that were asked where they are several; ``compared`` tells that each of them had to be heard.
    """

    question: str
    statements: tuple[Statement, ...]
    citations: tuple[Citation, ...]
    declined: bool
    reason: str = ""
    seconds: float = 0.0
    verdict: Verdict | None = field(default=None, repr=False)
    understood: str = ""
    backend: str = EXTRACTIVE
    model: str = ""
    written: str = ""
    sentences: tuple["CheckedSentence", ...] = ()
    unsupported_share: float = 0.0
    steps: tuple["ToolStep", ...] = ()
    notice: str = ""
    disagreements: tuple[ShownDisagreement, ...] = ()
    papers: tuple[AskedPaper, ...] = ()
    compared: bool = False

    @property
    def names(self) -> dict[str, str]:
        """Of every paper that was asked, by its identifier; empty where it was one."""
        return {paper.id: paper.name for paper in self.papers}

    @property
    def silences(self) -> list[str]:
        """A sentence for each compared paper that has nothing."""
        return [paper.silence for paper in self.papers if paper.nothing]

    @property
    def body(self) -> str:
        """The answer itself; the places of ``sentences`` are places in it."""
        return self.written or " ".join(f"{statement.text} [{statement.citation}]" for statement in self.statements)

    @property
    def text(self) -> str:
        if self.declined:
            return f"{'The papers do' if self.papers else 'The paper does'} not say. {self.reason}".strip()
        return " ".join([self.body, *self.silences, *(shown.text for shown in self.disagreements)])

    def record(self) -> dict:
        """One line of the command line's JSON."""
        return {
            "question": self.question,
            "answer": self.text,
            "declined": self.declined,
            "citations": [citation.record() for citation in self.citations],
            "seconds": round(self.seconds, 4),
            "understood": self.understood,
            "backend": self.backend,
            "model": self.model,
            "sentences": [asdict(sentence) for sentence in self.sentences],
            "unsupported_share": round(self.unsupported_share, 3),
            "steps": [asdict(step) for step in self.steps],
            "notice": self.notice,
            "disagreements": [shown.text for shown in self.disagreements],
            "papers": [asdict(paper) for paper in self.papers],
            "compared": self.compared,
        }
