"""What of the passages gets a vector, and which notes say a passage of the paper in other words."""

import re
from collections.abc import Callable, Mapping

import numpy as np

from app.assistant.alignment import Pieces
from app.assistant.chunking import Chunk
from app.assistant.embedding import MiniLM

Known = Mapping[str, tuple[np.ndarray, np.ndarray]]
"""Text -> its vector (384,) and those of its word pieces (pieces, 384), both fp32."""


def vectors_of(
    chunks: list[Chunk],
    sentence_of: list[tuple[int, int]],
    embedder: MiniLM,
    progress: Callable[[float], None],
    known: Known,
) -> tuple[np.ndarray, np.ndarray, Pieces]:
    """Vectors of the passages, of the sentences, and of the sentences' word pieces. A passage has the mean of its
    sentences, weighted by length: mean pooling over all of its words would give nearly the same, for twice the work.
    Texts in ``known`` are not computed again."""
    split: dict[int, list[int]] = {}
    for position, (number, _) in enumerate(sentence_of):
        split.setdefault(number, []).append(position)
    whole = [number for number in range(len(chunks)) if number not in split]
    texts = [_in_context(chunks[number], order) for number, order in sentence_of]
    every = texts + [chunks[number].context for number in whole]
    unknown = [text for text in dict.fromkeys(every) if text not in known]
    made = {**known, **dict(zip(unknown, zip(*embedder.encode_pieces(unknown, progress), strict=True), strict=True))}
    progress(1.0)  # also where nothing was left to compute
    vectors = np.array([made[text][0] for text in every], dtype=np.float32).reshape(-1, MiniLM.dimension)
    sentences = vectors[: len(texts)]
    passages = np.zeros((len(chunks), MiniLM.dimension), dtype=np.float32)
    passages[whole] = vectors[len(texts) :]
    for number, positions in split.items():
        mean = np.average(sentences[positions], axis=0, weights=[len(texts[position]) for position in positions])
        passages[number] = mean / np.linalg.norm(mean)
    return passages, sentences, Pieces.pack([made[text][1] for text in texts])


def known_vectors(
    chunks: list[Chunk], sentence_of: list[tuple[int, int]], vectors: np.ndarray, pieces: Pieces
) -> Known:
    """What an index holds of its sentences: (sentences, 384) fp32 and their word pieces."""
    texts = [_in_context(chunks[number], order) for number, order in sentence_of]
    return {text: (vectors[i], pieces.of(i)) for i, text in enumerate(texts)}


def sentences_to_embed(chunks: list[Chunk]) -> list[tuple[int, int]]:
    """(passage, sentence) pairs that get a vector of their own; references are found by their words."""
    return [
        (number, order)
        for number, chunk in enumerate(chunks)
        if chunk.kind != "reference"
        for order in range(len(chunk.sentences))
    ]


def _in_context(chunk: Chunk, order: int) -> str:
    """A table's row means nothing without the table's title; other sentences stand for themselves."""
    sentence = chunk.sentences[order]
    if not sentence.row:
        return sentence.text
    header = " ".join(row.text for row in [item for item in chunk.sentences if item.row][: chunk.header])
    return f"{chunk.label} {chunk.section} {header}: {sentence.text}"


def rewordings(chunks: list[Chunk], vectors: np.ndarray, page_texts: dict[int, str]) -> dict[int, list[int]]:
    """For passages of the paper, the notes that say the same in other words.

    Such a note helps to find its passage by other words than the paper's; it is not a passage of its own. A note that
    states a number which the page's text layer lacks (the labels of a drawn figure) adds something and stays one.
    """
    found: dict[int, list[int]] = {}
    for number, chunk in enumerate(chunks):
        if chunk.source != "notes" or _adds_numbers(chunk, page_texts):
            continue
        pages = range(chunk.pdf_page, chunk.last_page + 1)
        candidates = [
            i for i, c in enumerate(chunks) if c.source == "paper" and c.pdf_page in pages and c.kind != "reference"
        ]
        labelled = [i for i in candidates if chunks[i].label and chunks[i].label == chunk.label]
        best = max(labelled or candidates, key=lambda i: float(vectors[i] @ vectors[number]), default=None)
        if best is not None and (labelled or float(vectors[best] @ vectors[number]) > 0.5):
            found.setdefault(best, []).append(number)
    return found


def _adds_numbers(chunk: Chunk, page_texts: dict[int, str]) -> bool:
    page = " ".join(page_texts.get(n, "") for n in range(chunk.pdf_page, chunk.last_page + 1)).replace(",", "")
    if not page:
        return True
    numbers = re.findall(r"\d+(?:\.\d+)?", " ".join(sentence.text for sentence in chunk.sentences).replace(",", ""))
    missing = [number for number in numbers if number not in page]
    return len(missing) > 0.2 * max(1, len(numbers))
