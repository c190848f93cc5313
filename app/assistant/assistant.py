"""The assistant itself: one paper, its index, and a question at a time."""

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from app.assistant import library
from app.assistant.answering import Answer, compose
from app.assistant.embedding import MiniLM
from app.assistant.grounding import Grounding
from app.assistant.index import open_index
from app.assistant.library import FoundPdf, Paper
from app.assistant.question import parse
from app.assistant.readers.pdf import page_size
from app.assistant.retrieval import Hit, PaperRetriever, Search
from qlora.errors import InputError


class Assistant:
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

    def find_pdf(self) -> FoundPdf:
        return library.find_pdf(self.paper, self.folder) if self.with_pdf else FoundPdf(None)

    @property
    def is_open(self) -> bool:
        return self._opened is not None

    def open(self, progress: Callable[[float], None] = lambda fraction: None) -> Grounding:
        """Everything that a question needs, made ready; at once when it is and the PDF is still the same one.

        Raises:
            InputError: the embedding model, the notes or the PDF cannot be used, or there is no room for the index.
        """
        with self._lock:
            pdf = self.find_pdf().path
            if self._opened is None or self._opened[0] != pdf:
                index = open_index(self.paper, pdf, self.embedder, progress)
                grounding = Grounding(Search(index, self.embedder))
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

    def retriever(self, k: int = 5) -> PaperRetriever:
        """The passages as a LangChain retriever."""
        return PaperRetriever(find=self._ready().find, k=k)

    def retrieve(self, question: str, k: int = 5) -> list[Hit]:
        """The ``k`` passages nearest to the question, whether they answer it or not.

        Raises:
            InputError: the question is empty or too long, or see :meth:`open`.
        """
        return self._ready().find(question, k)

    def ask(self, question: str) -> Answer:
        """An answer with citations, or a refusal with the nearest passages.

        Raises:
            InputError: the question is empty or too long, or see :meth:`open`.
        """
        parsed = parse(question)
        grounding = self._ready()
        start = time.perf_counter()
        evidence = grounding.rank(parsed)
        verdict, answering = grounding.judge(parsed, evidence)
        answer = compose(parsed, verdict, answering, evidence)
        return replace(answer, seconds=time.perf_counter() - start)

    def _ready(self) -> Grounding:
        return self._opened[1] if self._opened else self.open()
