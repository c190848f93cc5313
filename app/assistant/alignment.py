"""How well the words of a question are matched, in meaning and in context, by the words of a sentence.

Late interaction: every word of the question looks for its nearest word in the sentence (Khattab and Zaharia 2020,
ColBERT, equation 3). The vectors are those of the embedding model's word pieces, which it computes anyway and then
averages. The average tells what a text is about; the pieces tell which word of the question nothing in it answers to.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from app.assistant.terms import stem, words

_WORD = re.compile(r"[^\W_][\w.%+]*")


@dataclass(frozen=True)
class Pieces:
    """Vectors of the word pieces of many sentences, one after the other, at 8 bits.

    ``codes`` (pieces, 384) int8 times ``scales`` (pieces,) fp32 are the vectors; sentence ``i`` has the pieces from
    ``ends[i - 1]`` to ``ends[i]``.
    """

    codes: np.ndarray
    scales: np.ndarray
    ends: np.ndarray

    @classmethod
    def pack(cls, vectors: Sequence[np.ndarray]) -> "Pieces":
        """From one (pieces, 384) fp32 array a sentence. The error of a cosine is below 0.004."""
        rows = np.concatenate([*vectors, np.zeros((0, 384), np.float32)])
        scales = np.maximum(np.abs(rows).max(axis=1, initial=0.0), 1e-9).astype(np.float32) / 127
        codes = np.round(rows / scales[:, None]).astype(np.int8)
        return cls(codes, scales, np.cumsum([len(rows) for rows in vectors], dtype=np.int64))

    def of(self, sentence: int) -> np.ndarray:
        """The vectors of one sentence's pieces: (pieces, 384) fp32."""
        rows, _ = self._rows([sentence])
        return self.codes[rows] * self.scales[rows, None]

    def only(self, sentences: Sequence[int]) -> "Pieces":
        """The pieces of these sentences alone."""
        rows, lengths = self._rows(sentences)
        return Pieces(self.codes[rows], self.scales[rows], np.cumsum(lengths))

    def save(self, folder: Path) -> None:
        np.save(folder / "pieces.npy", self.codes)
        np.savez(folder / "pieces.npz", scales=self.scales, ends=self.ends)

    @classmethod
    def load(cls, folder: Path) -> "Pieces":
        rest = np.load(folder / "pieces.npz")
        return cls(np.load(folder / "pieces.npy", mmap_mode="r"), rest["scales"], rest["ends"])

    def nearest(self, query: np.ndarray, sentences: Sequence[int]) -> np.ndarray:
        """Cosine of each vector of ``query`` (n, 384) with the nearest piece of each sentence: (n, sentences)."""
        cosines, starts, _ = self._cosines(query, sentences)
        return np.maximum.reduceat(cosines, starts, axis=1)

    def covered(self, query: np.ndarray, sentences: Sequence[int]) -> np.ndarray:
        """The other way round: the mean over each sentence's pieces of the cosine with the nearest vector of ``query``
        (n, 384): (sentences,)."""
        cosines, starts, lengths = self._cosines(query, sentences)
        return np.add.reduceat(cosines.max(axis=0), starts) / lengths

    def _rows(self, sentences: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """Where the pieces of all these sentences lie, one after the other, and how many each sentence has."""
        bounds = [(int(self.ends[i - 1]) if i else 0, int(self.ends[i])) for i in sentences]
        rows = np.concatenate([np.arange(first, last) for first, last in bounds] or [np.zeros(0, int)])
        return rows, np.array([last - first for first, last in bounds], int)

    def _cosines(self, query: np.ndarray, sentences: Sequence[int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(n, pieces) over the pieces of all these sentences, where each sentence begins there, and its pieces."""
        rows, lengths = self._rows(sentences)
        vectors = self.codes[rows].astype(np.float32)
        return (query @ vectors.T) * self.scales[rows], np.cumsum([0, *lengths[:-1]]), lengths


@dataclass(frozen=True)
class Reading:
    """A question as search reads it: ``asked`` in the visitor's words, ``text`` with its spelling corrected,
    ``expanded`` with the long forms of abbreviations. ``vector`` (384,) is that of ``expanded``, ``pieces`` (n, 384)
    are its word pieces and ``spans`` where they stand in it."""

    asked: str
    text: str
    expanded: str
    vector: np.ndarray
    pieces: np.ndarray
    spans: list[tuple[int, int]]

    @cached_property
    def _pieces_of(self) -> dict[str, list[int]]:
        found: dict[str, list[int]] = {}
        for match in _WORD.finditer(self.text):
            inside = [
                i for i, (first, last) in enumerate(self.spans) if first < match.end() and match.start() < last
            ]  # fmt: skip
            for word in words(match.group()):
                found.setdefault(stem(word), []).extend(inside)
        return found

    def matches(self, stems: Sequence[str], pieces: Pieces, sentences: Sequence[int]) -> np.ndarray:
        """How well each of the question's words (given by its stem) is matched in each sentence:
        (stems, sentences), the mean over the word's pieces of :meth:`Pieces.nearest`; 0 for a word that is not there.
        """
        rows = [self._pieces_of.get(stem_, []) for stem_ in stems]
        matched = np.zeros((len(stems), len(sentences)), dtype=np.float32)
        needed = sorted({row for chosen in rows for row in chosen})
        if needed and len(sentences):
            nearest = pieces.nearest(self.pieces[needed], sentences)
            place = {row: position for position, row in enumerate(needed)}
            for number, chosen in enumerate(rows):
                if chosen:
                    matched[number] = nearest[[place[row] for row in chosen]].mean(axis=0)
        return matched
