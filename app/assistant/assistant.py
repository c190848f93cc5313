"""The assistant itself: one paper, its index, and a question at a time."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from app.assistant import library
from app.assistant.answering import Answer, beside_disagreements, compose, with_disagreements
from app.assistant.asking import GIVEN, Asking, Finished, Found
from app.assistant.disagreements import about
from app.assistant.embedding import MiniLM
from app.assistant.grounding import Grounding
from app.assistant.index import Index, open_index
from app.assistant.known_questions import open_known
from app.assistant.library import FoundPdf, Paper
from app.assistant.question import Question
from app.assistant.readers.pdf import page_size
from app.assistant.retrieval import Search
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.checking import Checker

__all__ = ["Assistant", "Finished"]


class Assistant(Asking):
    """Answers from one paper, or from the notes about it while its PDF is not there.

    Opening is lazy: the first question, or :meth:`open`, reads the PDF and opens the index (or builds it). A PDF that
    appears later is taken up by the next call of :meth:`open`.

    Args:
        paper: the manifest's first paper if left out.
        folder: where the manifest, the notes and perhaps a PDF are.
        embedder: shared between assistants to load the model once.
        with_pdf: False to answer from the notes even if there is a PDF.
    """

    def __init__(
        self,
        paper: Paper | None = None,
        folder: Path = library.PAPERS_FOLDER,
        embedder: MiniLM | None = None,
        with_pdf: bool = True,
    ):
        self.folder = folder
        self.paper = paper or library.papers(folder)[0]
        self.embedder = embedder or MiniLM()
        self.with_pdf = with_pdf
        self._lock = threading.Lock()
        self._opened: tuple[Path | None, Grounding] | None = None
        self._checker: Checker | None = None

    @property
    def papers(self) -> list[Paper]:
        return [self.paper]

    def find_pdf(self) -> FoundPdf:
        return library.find_pdf(self.paper, self.folder) if self.with_pdf else FoundPdf(None)

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def index(self, progress: Callable[[float], None] = lambda fraction: None) -> Index:
        """The paper's index, made where it is missing or something that it is made from has changed; no model is loaded
        where nothing has.

        Raises:
            InputError: see :meth:`open`.
        """
        index = open_index(self.paper, self.find_pdf().path, self.embedder, progress, ask=False)
        open_known(self.paper, self.embedder, index)
        return index

    def open(self, progress: Callable[[float], None] = lambda fraction: None) -> Grounding:
        """Everything that a question needs, made ready; at once when it is and the PDF is still the same one.

        Raises:
            InputError: the embedding model, the notes or the PDF cannot be used, or there is no room for the index.
        """
        with self._lock:
            pdf = self.find_pdf().path
            if self._opened is None or self._opened[0] != pdf:
                index = open_index(self.paper, pdf, self.embedder, progress)
                grounding = Grounding(Search(index, self.embedder), open_known(self.paper, self.embedder, index))
                grounding.warm()
                self._opened = (pdf, grounding)
            return self._opened[1]

    @property
    def pdf(self) -> Path | None:
        """The PDF that answers come from; None before :meth:`open` and when there is none."""
        return self._opened[0] if self._opened else None

    def page_size(self, pdf_page: int) -> tuple[float, float]:
        """Width and height in points of a page of the PDF."""
        pdf = self.pdf or self.find_pdf().path
        if pdf is None:
            raise InputError("There is no PDF of the paper here.")
        return page_size(pdf, pdf_page)

    def _find(self, question: Question) -> Found:
        grounding = self._ready()
        evidence = grounding.rank(question)
        verdict, answering = grounding.judge(question, evidence)
        answering = beside_disagreements(answering, about(question.text, self.paper.notes))
        given = list({item.hit.number: item for item in (*answering, *evidence)}.values())[:GIVEN]
        return Found(compose(question, verdict, answering, evidence), given)

    def _completed(self, question: Question, answer: Answer, found: Found) -> Answer:
        disagreements = about(question.text, self.paper.notes)
        chunks = self._ready().search.index.chunks
        return with_disagreements(answer, disagreements, chunks) if disagreements else answer

    def _groundings(self) -> list[Grounding]:
        return [self._ready()]

    @property
    def checker(self) -> "Checker":
        """Holds texts against this paper's passages."""
        from app.assistant.checking import Checker

        search = self._ready().search
        if self._checker is None or self._checker.search is not search:
            self._checker = Checker(search)
        return self._checker

    def _ready(self) -> Grounding:
        return self._opened[1] if self._opened else self.open()
