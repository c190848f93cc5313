"""A paper at a glance, before anything is asked: key points with citations, its tables and figures, questions to begin
with. All of it comes from the paper's own passages.

Another back-end may put the key points in its own words; a sentence that a checker does not find in the passage gives
way to the paper's. An overview is made once and kept in the index's folder, so that it goes when the index does.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from app.assistant.answer import EXTRACTIVE, Answer, Citation
from app.assistant.gallery import Exhibit, exhibits_of
from app.assistant.index import Index
from app.assistant.key_points import MAX_WORDS, Candidate, choose
from app.assistant.suggestions import suggested_questions
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.checking import Checker

OVERVIEW_VERSION = 2
"""Raised whenever the same index gives another overview, so that those kept before are made again."""
VERBATIM, REWRITTEN = "verbatim", "rewritten"

Rewrite = Callable[[str, str], str]
"""(key point, passage that it is from) -> the point in other words."""
Check = Callable[[str, int], bool]
"""(text, number of a passage) -> whether the passage supports every sentence of the text."""


@dataclass(frozen=True)
class KeyPoint:
    """One thing that the paper says: ``text`` as shown, ``origin`` is ``"verbatim"`` or ``"rewritten"``.

    ``id`` names it for votes; another wording has another. ``citation.quote`` is the paper's own sentence either way.
    """

    id: str
    text: str
    citation: Citation
    origin: str = VERBATIM


@dataclass(frozen=True)
class Overview:
    """A paper at a glance. ``source`` is ``"paper"`` or ``"notes"``; ``backend`` made the words of the key points in
    try number ``attempt``; ``problem`` is a sentence when it could not, and the words are the paper's own."""

    paper: str
    title: str
    source: str
    points: tuple[KeyPoint, ...]
    exhibits: tuple[Exhibit, ...]
    questions: tuple[str, ...]
    backend: str = EXTRACTIVE
    attempt: int = 1
    problem: str = ""

    def record(self) -> dict:
        """For JSON."""
        return asdict(self)

    @classmethod
    def from_record(cls, record: dict) -> "Overview":
        """The overview that :meth:`record` wrote."""
        points = [KeyPoint(**{**point, "citation": _citation_from(point["citation"])}) for point in record["points"]]
        exhibits = [Exhibit.from_record(item) for item in record["exhibits"]]
        parts = {"points": tuple(points), "exhibits": tuple(exhibits), "questions": tuple(record["questions"])}
        return cls(**{**record, **parts})


def overview_of(
    index: Index,
    ask: Callable[[str], Answer],
    *,
    backend: str = EXTRACTIVE,
    attempt: int = 1,
    rewrite: Rewrite | None = None,
    check: Check | None = None,
) -> Overview:
    """The paper's overview, made the first time and kept.

    Args:
        index: of the paper, or of the notes on it.
        ask: answers a question from this index alone; suggested questions are tried with it.
        backend: the name of what rewrites.
        attempt: the number of the try, 1 for the first overview.
        rewrite: puts a key point in other words; without it they are the paper's own.
        check: decides whether a rewritten point is supported, see :func:`check_with`.
    """
    if (rewrite is None) != (check is None):
        raise ValueError("rewritten points are never shown unchecked: give rewrite and check, or neither")
    file = _file(index, attempt, backend)
    if kept := _kept(file, index):
        return kept
    chosen = choose(index)
    points = [_point(index, item) for item in chosen]
    problem = ""
    if rewrite and check:
        points, problem = _rewritten(index, chosen, points, rewrite, check, backend)
    exhibits = exhibits_of(index)
    said = " ".join(point.citation.quote for point in points)
    overview = Overview(
        paper=index.paper.id,
        title=index.paper.title,
        source="paper" if index.has_paper else "notes",
        points=tuple(replace(point, citation=_numbered(point, n)) for n, point in enumerate(points, start=1)),
        exhibits=exhibits,
        questions=suggested_questions(index, ask, exhibits, said),
        backend=backend,
        attempt=attempt,
        problem=problem,
    )
    if not problem:
        _keep(file, index, overview)
    return overview


def kept_overview(index: Index, *, backend: str = EXTRACTIVE, attempt: int = 1) -> Overview | None:
    """The overview if it has been made; nothing is made here. An empty ``backend`` is the extractive one, as in
    :class:`app.assistant.feedback.Try`."""
    return _kept(_file(index, attempt, backend), index)


def check_with(checker: "Checker") -> Check:
    """A check by the assistant's checker: every sentence claims something, and the passage itself supports it, not only
    another place of the paper."""
    from app.assistant.checking import SUPPORTED
    from app.assistant.retrieval import Hit

    search = checker.search
    vectors = search.index.vectors("passages")

    def check(text: str, number: int) -> bool:
        cosine = float(search.embedder.encode([text])[0] @ vectors[number])
        hits = [Hit(search.index.chunks[number], number, cosine)]
        sentences = checker.check(text, hits).sentences
        cited = [item for sentence in sentences for item in checker.check(f"{sentence.text} [1]", hits).sentences]
        return bool(cited) and all(item.verdict == SUPPORTED for item in cited)

    return check


def _point(index: Index, item: Candidate) -> KeyPoint:
    chunk = index.chunks[item.chunk]
    citation = Citation(
        number=0,
        paper=chunk.paper,
        source=chunk.source,
        pdf_page=chunk.pdf_page,
        last_page=chunk.last_page,
        section=chunk.section,
        quote=item.text,
        score=round(item.merit, 3),
        boxes=tuple(box for order in item.orders for box in chunk.sentences[order].boxes),
        passage=chunk.text,
        label=chunk.label,
    )
    return KeyPoint(_id(chunk.paper, item.text), item.text, citation)


def _numbered(point: KeyPoint, number: int) -> Citation:
    return replace(point.citation, number=number)


def _rewritten(
    index: Index, chosen: Sequence[Candidate], points: list[KeyPoint], rewrite: Rewrite, check: Check, backend: str
) -> tuple[list[KeyPoint], str]:
    """The points in the back-end's words where the passage supports them. A back-end that fails is not asked again."""
    found = []
    for item, point in zip(chosen, points, strict=True):
        try:
            text = " ".join(rewrite(point.text, point.citation.passage).split())
        except InputError as error:
            return points, f"{error} The key points are the paper's own sentences."
        if text and len(text.split()) <= MAX_WORDS and check(text, item.chunk):
            point = replace(point, id=_id(point.citation.paper, f"{backend}\0{text}"), text=text, origin=REWRITTEN)
        found.append(point)
    return found, ""


def _id(paper: str, text: str) -> str:
    return hashlib.sha256(f"{paper}\0{text}".encode()).hexdigest()[:16]


def _citation_from(record: dict) -> Citation:
    return Citation(**{**record, "boxes": tuple(map(tuple, record["boxes"]))})


def _file(index: Index, attempt: int, backend: str) -> Path:
    name = hashlib.sha256((backend or EXTRACTIVE).encode()).hexdigest()[:8]
    return index.folder / f"overview-{attempt}-{name}.json"


def _made_from(index: Index) -> str:
    return hashlib.sha256((index.folder / "manifest.json").read_bytes()).hexdigest()


def _kept(file: Path, index: Index) -> Overview | None:
    """The overview in the file; None when it is not there, not whole, or was made from another index."""
    try:
        stored = json.loads(file.read_text(encoding="utf-8"))
        if stored["version"] != OVERVIEW_VERSION or stored["made_from"] != _made_from(index):
            return None
        return Overview.from_record(stored["overview"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _keep(file: Path, index: Index, overview: Overview) -> None:
    """Write it whole or not at all. Without room it is made again the next time, so a full disk is no error here."""
    temporary = None
    try:
        record = {"version": OVERVIEW_VERSION, "made_from": _made_from(index), "overview": overview.record()}
        handle, name = tempfile.mkstemp(dir=file.parent, suffix=".part")
        temporary = Path(name)
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            json.dump(record, stream, ensure_ascii=False)
        os.replace(temporary, file)
    except OSError:
        if temporary:
            temporary.unlink(missing_ok=True)
