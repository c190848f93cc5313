"""Which papers are alike, as a list and as a tree, and the same tree for the sections of one paper.

A paper's vector is the mean of the vectors of its running text's passages. Compared with means over sentences or
abstracts and with the mean best match between passages, on twelve small papers of four fields and the QLoRA paper and
notes: the mean over passages finds a paper of the same field first in 14 of 14, as each of those does (titles alone: 11
of 14), and is the cheapest.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from app.assistant.index import Index
from app.assistant.key_points import spoken_passages, top_section
from app.assistant.readers.page import FRONT_MATTER

MOST_LEAVES = 24
"""A tree of more is no longer read at a glance."""
_NO_SECTIONS = ("acknowledg", "references", "bibliography")


@dataclass(frozen=True)
class SimilarPaper:
    """``score`` is the cosine between the two papers' vectors: 1 for the same text, about 0 for nothing in common."""

    paper: str
    title: str
    score: float


@dataclass(frozen=True)
class Merge:
    """Two branches that meet. ``left`` and ``right`` are numbers of leaves, or of earlier merges counted on from the
    last leaf; ``likeness`` is the mean cosine between their leaves."""

    left: int
    right: int
    likeness: float


@dataclass(frozen=True)
class Tree:
    """A hierarchy of papers or sections. ``kind`` is ``"papers"`` or ``"sections"``; ``ids`` are the papers' (empty for
    sections), ``names`` what a reader sees; ``merges`` run from the most alike to the least, one fewer than leaves."""

    kind: str
    ids: tuple[str, ...]
    names: tuple[str, ...]
    merges: tuple[Merge, ...]


def paper_vector(index: Index) -> np.ndarray:
    """The paper's vector: (384,) fp32 of length 1, or zeros when it has no running text."""
    passages = spoken_passages(index)
    return _mean(index.vectors("passages")[passages]) if passages else np.zeros(index.vectors("passages").shape[1])


def similar_papers(index: Index, others: Iterable[Index], count: int = 10) -> list[SimilarPaper]:
    """The ``count`` papers most like the one of ``index``, best first; itself is left out where it is among them."""
    own = paper_vector(index)
    found = [
        SimilarPaper(other.paper.id, other.paper.title, round(float(own @ paper_vector(other)), 4))
        for other in others
        if other.paper.id != index.paper.id
    ]
    return sorted(found, key=lambda item: (-item.score, item.paper))[:count]


def tree_of(index: Index, others: Sequence[Index] = ()) -> Tree:
    """The tree of the paper and the others most like it; with no other paper, the tree of its sections."""
    by_id = {other.paper.id: other for other in others if other.paper.id != index.paper.id}
    if not by_id:
        return section_tree(index)
    near = similar_papers(index, by_id.values(), MOST_LEAVES - 1)
    shown = [index, *(by_id[item.paper] for item in near)]
    vectors = np.stack([paper_vector(item) for item in shown])
    ids, names = (tuple(values) for values in zip(*((item.paper.id, item.paper.title) for item in shown), strict=True))
    return Tree("papers", ids, names, average_linkage(vectors))


def section_tree(index: Index) -> Tree:
    """The tree of a paper's sections; subsections are taken together where there are too many."""
    vectors = index.vectors("passages")
    passages = [number for number in spoken_passages(index) if _is_section(index.chunks[number].section)]
    fine = _grouped((index.chunks[number].section.partition(": ")[0], number) for number in passages)
    groups = fine
    if len(fine) > MOST_LEAVES:
        coarse = _grouped((top_section(index.chunks[number]), number) for number in passages)
        groups = {_name_of_all(index.chunks[numbers[0]].section): numbers for numbers in coarse.values()}
    names = tuple(groups)[:MOST_LEAVES]
    means = [_mean(vectors[groups[name]]) for name in names]
    return Tree("sections", (), names, average_linkage(np.stack(means)) if means else ())


def average_linkage(vectors: np.ndarray) -> tuple[Merge, ...]:
    """Hierarchical clustering (UPGMA): the two branches whose leaves are most alike on average meet first.

    Args:
        vectors: (leaves, dimension), each of length 1.

    Returns:
        leaves − 1 merges; of two branches, ``left`` is the one with the earlier leaf.
    """
    likeness = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(likeness, -np.inf)
    sizes = {number: 1 for number in range(len(vectors))}
    node = list(range(len(vectors)))  # row -> number of the branch that it stands for
    merges: list[Merge] = []
    while len(sizes) > 1:
        left, right = sorted(divmod(int(likeness.argmax()), len(likeness)))
        merges.append(Merge(node[left], node[right], round(float(likeness[left, right]), 4)))
        joined = (sizes[left] * likeness[left] + sizes[right] * likeness[right]) / (sizes[left] + sizes[right])
        joined[[left, right]] = -np.inf
        likeness[left], likeness[:, left] = joined, joined
        likeness[right], likeness[:, right] = -np.inf, -np.inf
        sizes[left] += sizes.pop(right)
        node[left] = len(vectors) + len(merges) - 1
    return tuple(merges)


def _mean(vectors: np.ndarray) -> np.ndarray:
    mean = vectors.mean(axis=0)
    return mean / (np.linalg.norm(mean) or 1.0)


def _name_of_all(section: str) -> str:
    """What to call a section by its first part's name: "Appendix A" for "A.1 Data" and for "Appendix A.1: …"."""
    name = section.partition(": ")[0]
    match = re.match(r"(?:(?:Section|Appendix) )?(\d+|[A-Z])(?:\.\d+)+(?=\s|$)", name)
    return f"{'Section' if match[1].isdigit() else 'Appendix'} {match[1]}" if match else name


def _is_section(name: str) -> bool:
    return bool(name) and name != FRONT_MATTER and not name.lower().startswith(_NO_SECTIONS)


def _grouped(pairs: Iterable[tuple[str, int]]) -> dict[str, list[int]]:
    groups: dict[str, list[int]] = {}
    for name, number in pairs:
        groups.setdefault(name, []).append(number)
    return groups
