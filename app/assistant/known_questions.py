"""Questions that readers ask about a paper, each with the places that answer it, or none.

A visitor's question is often another wording of one of these, and two questions that mean the same are more alike than
a question and its answer. So a passage is also found by the known questions that it answers (document expansion:
Nogueira et al. 2019, doc2query), and what readers often ask and the paper does not say is recognized. The answer itself
still comes from the passage, word for word.
"""

import json
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from zipfile import BadZipFile

import numpy as np

from app.assistant.alignment import Pieces, Reading
from app.assistant.chunking import Chunk
from app.assistant.embedding import MiniLM
from app.assistant.files import sha256_of
from app.assistant.index import Index
from app.assistant.index_folders import index_folder, locked
from app.assistant.paper import Paper
from app.assistant.question import Question, Term
from app.assistant.readers.page import bare
from app.assistant.terms import tokens
from qlora.errors import InputError
from qlora.folders import written_whole

FILE_NAME = "questions.jsonl"
_SHARPNESS = 20.0
"""Questions that mean the same are 0.1 to 0.3 more alike than others: e^(20 · 0.2) = 55 times the weight."""
_COMPARED = 20
"""Known questions of either kind, the nearest ones, that are compared word by word."""
_COVERED, _COVERS = 1.0, 0.5
"""What counts beside the cosine of two questions: how well the visitor's words are matched in the known one, and how
well the known one's pieces are in the visitor's."""
_SAME_WORD = 0.8
"""What the very word counts at least."""


@dataclass(frozen=True)
class Recalled:
    """What the known questions say of a visitor's one.

    ``alike`` has for passages that answer a known question how alike the most alike of those is (0 to 1), ``shares``
    the share of what all are, sharpened. ``features`` compares those that are answered with those that are not.
    """

    alike: dict[int, float]
    shares: dict[int, float]
    features: dict[str, float]


class KnownQuestions:
    """Known questions over the passages of one index.

    Args:
        records: see :func:`read_questions`.
        vectors: (questions, 384) fp32, each of length 1.
        pieces: the vectors of their word pieces.
        index: whose passages they point at.
    """

    def __init__(self, records: Sequence[dict], vectors: np.ndarray, pieces: Pieces, index: Index):
        assert len(records) == len(vectors) == len(pieces.ends), "vectors for each question"
        self.records, self.vectors, self.pieces, self.index = list(records), vectors, pieces, index
        self.answered = np.array([record.get("answerable", True) for record in records], bool)

    def without(self, left_out: Sequence[bool]) -> "KnownQuestions":
        """All but those: questions are fitted on as if they were not known."""
        kept = ~np.asarray(left_out, bool)
        records = [record for record, keep in zip(self.records, kept, strict=True) if keep]
        return KnownQuestions(records, self.vectors[kept], self.pieces.only(np.flatnonzero(kept).tolist()), self.index)

    @cached_property
    def _places(self) -> list[list[int]]:
        """For every question the numbers of the passages that answer it, and of the notes on the same figure or table,
        which have what is only drawn there."""
        by_page, chunks = not self.index.has_paper, self.index.chunks
        said = [bare(chunk.text).lower() for chunk in chunks]
        on_page: dict[int, list[int]] = {}
        for number, chunk in enumerate(chunks):
            for page in range(chunk.pdf_page, chunk.last_page + 1):
                on_page.setdefault(page, []).append(number)
        places = []
        for record, answered in zip(self.records, self.answered, strict=True):
            near = {number for page in pages_of(record) for number in on_page.get(page, ())} if answered else ()
            found = [n for n in sorted(near) if answers(chunks[n], said[n], record, by_page)]
            labels = {chunks[n].label for n in found} - {""}
            places.append([*found, *(n for n in near if n not in found and chunks[n].label in labels)])
        return places

    def warm(self) -> None:
        """Do now what the first question would wait for."""
        _ = self._places, self._stems

    @cached_property
    def _stems(self) -> list[frozenset[str]]:
        return [frozenset(tokens(record["question"])) for record in self.records]

    def recall(self, reading: Reading, question: Question, weight: Callable[[Term], float]) -> Recalled:
        """The known questions beside this one; ``weight`` is how much each of its words tells."""
        cosines = self.vectors @ reading.vector
        kinds = [np.flatnonzero(self.answered), np.flatnonzero(~self.answered)]
        nearest = [kind[np.argsort(-cosines[kind])[:_COMPARED]] for kind in kinds]
        compared = np.concatenate(nearest)
        alike = self._alike(reading, question, weight, cosines, compared.tolist())
        sharp = np.exp(_SHARPNESS * (alike - 1.0))
        answered = self.answered[compared]
        best: dict[int, float] = {}
        shares: dict[int, float] = {}
        total = float(sharp[answered].sum()) or 1.0
        for number, likeness, share in zip(compared.tolist(), alike.tolist(), (sharp / total).tolist(), strict=True):
            for place in self._places[number]:
                best[place] = max(best.get(place, 0.0), likeness)
                shares[place] = shares.get(place, 0.0) + share
        features = {
            "known_near": float(cosines[kinds[0]].max(initial=0.0)),
            "unknown_near": float(cosines[kinds[1]].max(initial=0.0)),
            "known_alike": float(alike[answered].max(initial=0.0)),
            "unknown_alike": float(alike[~answered].max(initial=0.0)),
            "known_share": float(sharp[answered].sum() / (sharp.sum() or 1.0)),
        }
        return Recalled(best, shares, features)

    def _alike(
        self,
        reading: Reading,
        question: Question,
        weight: Callable[[Term], float],
        cosines: np.ndarray,
        compared: Sequence[int],
    ) -> np.ndarray:
        """How alike the question is to each of these known ones, 0 to 1: (compared,)."""
        if not compared:
            return np.zeros(0)
        matched = reading.matches([term.stem for term in question.words], self.pieces, compared)  # (words, compared)
        for row, term in enumerate(question.words):
            there = np.array([term.stem in self._stems[number] for number in compared], bool)
            matched[row] = there if term.exact else np.maximum(matched[row], _SAME_WORD * there)
        weights = np.array([weight(term) for term in question.words])
        covered = weights @ matched / (weights.sum() or 1.0)
        covers = self.pieces.covered(reading.pieces, compared)
        return (cosines[compared] + _COVERED * covered + _COVERS * covers) / (1.0 + _COVERED + _COVERS)


def open_known(paper: Paper, embedder: MiniLM, index: Index) -> KnownQuestions | None:
    """The paper's known questions; None where its notes have none. Their vectors are computed once and kept in the
    user's cache.

    Raises:
        InputError: the questions cannot be read.
    """
    file = paper.notes / FILE_NAME if paper.notes else None
    if file is None or not file.is_file():
        return None
    records = with_answers(read_questions(file))
    kept = index_folder() / f"{paper.id}.questions.{sha256_of(file)[:16]}-{embedder.sha256[:8]}"
    with locked(paper):
        found = _load(kept, len(records))
        if found is None:
            vectors, pieces = embedder.encode_pieces([record["question"] for record in records])
            found = vectors, Pieces.pack(pieces)
            # Those of earlier questions, and what a process that was killed while writing has left.
            for hidden in ("", "."):
                for earlier in kept.parent.glob(f"{hidden}{paper.id}.questions.*"):
                    shutil.rmtree(earlier, ignore_errors=True)
            with written_whole(kept) as folder:
                np.save(folder / "vectors.npy", found[0])
                found[1].save(folder)
    return KnownQuestions(records, *found, index)


def _load(folder: Path, count: int) -> tuple[np.ndarray, Pieces] | None:
    """What is kept in the folder, or None where it is missing or damaged; it can always be made again."""
    try:
        vectors, pieces = np.load(folder / "vectors.npy"), Pieces.load(folder)
    except (OSError, ValueError, EOFError, KeyError, BadZipFile):
        return None
    whole = len(pieces.codes) == len(pieces.scales) == (pieces.ends[-1] if len(pieces.ends) else 0)
    return (vectors, pieces) if whole and len(vectors) == len(pieces.ends) == count else None


def read_questions(path: Path) -> list[dict]:
    """Questions from a file with one JSON object a line: ``question``; ``answerable`` (true if left out); for what is
    answered ``pdf_page`` (a page or several) and ``keywords``, of which each passage that answers has one.

    Raises:
        InputError: the file is missing or empty, or a line is not an object with a ``question``; the line is named.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"Cannot read the questions in {path}: {error}.") from error
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise InputError(f"{path.name}, line {number}: not JSON ({error.msg}). Write one object a line.") from error
        if not isinstance(record, dict) or not isinstance(record.get("question"), str):
            raise InputError(f'{path.name}, line {number}: expected an object with the text field "question".')
        records.append(record)
    if not records:
        raise InputError(f"{path.name} has no questions in it. Write one JSON object a line.")
    return records


def with_answers(records: list[dict]) -> list[dict]:
    """The same questions, of which every answerable one says where its answer is.

    Raises:
        InputError: one does not.
    """
    for number, record in enumerate(records, start=1):
        if record.get("answerable", True) and not (record.get("pdf_page") and record.get("keywords")):
            raise InputError(f'Question {number}: an answerable question needs "pdf_page" and "keywords".')
    return records


def holds_answer(chunk: Chunk, gold: dict, by_page: bool = False) -> bool:
    """Whether this is a passage that answers the question: it is on a right page and has one of the key words.

    Key words are the paper's; while the notes are all there is, a note about a right page is right (``by_page``).
    """
    return answers(chunk, bare(chunk.text).lower(), gold, by_page)


def answers(chunk: Chunk, said: str, gold: dict, by_page: bool) -> bool:
    """:func:`holds_answer` for a passage whose bare text is known."""
    return is_right(chunk.pdf_page, chunk.last_page, said, gold, by_page and chunk.source == "notes")


def is_right(first: int, last: int, said: str, gold: dict, by_page: bool) -> bool:
    """Whether text on these pages, bare and in lower case, answers the question."""
    if not any(first <= page <= last for page in pages_of(gold)):
        return False
    return by_page or any(bare(word).lower() in said for word in gold["keywords"])


def pages_of(gold: dict) -> list[int]:
    """The pages where a question is answered."""
    return gold["pdf_page"] if isinstance(gold["pdf_page"], list) else [gold["pdf_page"]]
