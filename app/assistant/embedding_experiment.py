"""How much worse does search get when the embedding model itself is stored in 4 bits?

The linear layers of the MiniLM embedder are quantized as QLoRA quantizes a language model's (section 3 of the paper:
blocks of 64, double quantization); its word table, norms and biases stay in fp32. Every passage and sentence of the
paper is embedded again into memory, and the gold questions are searched among these vectors: by the vectors alone, and
by the whole ranking, in which words count as well. Nothing of the real index is written.
"""

import platform
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from importlib.metadata import version

import numpy as np

import qlora
from app.assistant.alignment import Pieces
from app.assistant.assistant import Assistant
from app.assistant.chunking import Chunk
from app.assistant.embedding import MiniLM
from app.assistant.embedding_results import Experiment, Quality, Row, recorded
from app.assistant.grounding import Grounding
from app.assistant.index import Index
from app.assistant.known_questions import holds_answer
from app.assistant.retrieval import Search
from app.assistant.vectors import vectors_of
from qlora.errors import InputError

__all__ = ["DATA_TYPES", "FULL", "Experiment", "Progress", "Quality", "Row", "recorded", "run"]

FULL = "fp32"
DATA_TYPES = ("nf4", "fp4-e2m1", "int4")
BLOCK_SIZE = 64
COMMAND = "python -m app.assistant embedding-experiment --json"
_LOOKED_AT = 10
"""Places of a ranking in which the right passage is looked for, as in :mod:`app.assistant.evaluation`."""


@dataclass(frozen=True)
class Progress:
    """How far the experiment is: the data type under way, whether the paper is being read with it or ``searching`` has
    begun, and the share of everything that is done."""

    data_type: str
    searching: bool
    share: float


def run(
    assistant: Assistant,
    questions: Sequence[dict],
    data_types: Sequence[str] = DATA_TYPES,
    stop: threading.Event | None = None,
    command: str = COMMAND,
) -> Iterator[Progress | Experiment]:
    """The experiment, as it goes on; the last event is an :class:`Experiment` unless ``stop`` was set.

    Args:
        assistant: of the paper; it is opened first, and its index gives passages, sentences and the fp32 vectors.
        questions: gold questions (:func:`app.assistant.known_questions.read_questions`); those without an answer are
            left out.
        data_types: of :data:`qlora.quantization.codebook.CODEBOOKS`.
        stop: ends it at the next batch or question.
        command: that was typed, for the record.

    Raises:
        InputError: a data type is unknown, no question has an answer, or the paper cannot be opened.
    """
    from qlora.quantization.codebook import CODEBOOKS

    unknown = [name for name in data_types if name not in CODEBOOKS]
    if unknown or not data_types:
        raise InputError(f"The data type must be one of {', '.join(CODEBOOKS)}, not {', '.join(unknown) or 'none'}.")
    gold = [question for question in questions if question.get("answerable", True)]
    if not gold or not all(question.get("pdf_page") and question.get("keywords") for question in gold):
        raise InputError('Each answerable question needs "pdf_page" and "keywords", and there must be one.')
    yield from _followed(lambda told: _run(assistant, gold, tuple(dict.fromkeys(data_types)), command, told), stop)


class _StoppedError(Exception):
    pass


def _followed(work: Callable, stop: threading.Event | None) -> Iterator[Progress | Experiment]:
    """What ``work`` tells of itself, from a thread of its own; its error is raised here."""
    events: queue.Queue = queue.Queue()
    left = threading.Event()

    def tell(event: Progress) -> None:
        if left.is_set() or (stop is not None and stop.is_set()):
            raise _StoppedError
        events.put(event)

    def task() -> None:
        try:
            events.put(work(tell))
        except _StoppedError:
            events.put(None)
        except Exception as error:
            events.put(error)

    threading.Thread(target=task, daemon=True).start()
    try:
        while not isinstance(event := events.get(), Experiment | Exception | None):
            yield event
    finally:
        left.set()  # a page that is closed, or a reader who has had enough
    if isinstance(event, Exception):
        raise event
    if event is not None:
        yield event


def _run(
    assistant: Assistant,
    gold: Sequence[dict],
    data_types: Sequence[str],
    command: str,
    tell: Callable[[Progress], None],
) -> Experiment:
    import torch

    index = assistant.open().search.index
    full = _InMemory.of(index, index.vectors("passages"), index.vectors("sentences"), index.pieces)
    steps, done = 1 + 2 * len(data_types), 0

    def report(data_type: str, searching: bool) -> Callable[[float], None]:
        return lambda share: tell(Progress(data_type, searching, (done + share) / steps))

    linear, whole = bytes_of(assistant.embedder.model)
    found = _searched(full, assistant.embedder, gold, report(FULL, True))
    rows = [Row(FULL, linear, whole, 1.0, 1.0, *found)]
    done = 1
    for data_type in data_types:
        report(data_type, False)(0.0)
        embedder = quantized(data_type, assistant.embedder.sha256)
        passages, sentences, pieces = vectors_of(
            index.chunks, index.sentence_of, embedder, report(data_type, False), {}
        )
        other = _InMemory.of(index, passages, sentences, pieces)
        done += 1
        pairs = [(other.vectors(name) * full.vectors(name)).sum(1) for name in ("passages", "sentences")]
        cosines = np.concatenate(pairs)
        linear, whole = bytes_of(embedder.model)
        dense, ranking = _searched(other, embedder, gold, report(data_type, True))
        rows.append(Row(data_type, linear, whole, float(cosines.mean()), float(cosines.min()), dense, ranking))
        done += 1
    return Experiment(
        tuple(rows),
        paper=index.paper.id,
        questions=len(gold),
        passages=len(index.chunks),
        sentences=len(index.sentence_of),
        block_size=BLOCK_SIZE,
        double_quantization=True,
        has_paper=index.has_paper,
        device=f"CPU, {platform.machine()}",
        threads=torch.get_num_threads(),
        versions={
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "transformers", "tokenizers")},
            "qlora": qlora.__version__,
        },
        date=datetime.now(UTC).date().isoformat(),
        command=command,
    )


def quantized(data_type: str, sha256: str) -> MiniLM:
    """The embedding model with its linear layers in this data type; a model of its own, not the assistant's."""
    from torch import nn

    from qlora import QuantizedLinear

    embedder = MiniLM(sha256=sha256)
    layers = [(name, module) for name, module in embedder.model.named_modules() if isinstance(module, nn.Linear)]
    for name, module in layers:
        parent, _, last = name.rpartition(".")
        layer = QuantizedLinear.from_linear(
            module, data_type, block_size=BLOCK_SIZE, double_quantization=True, name=name
        )
        setattr(embedder.model.get_submodule(parent), last, layer)
    return embedder


def bytes_of(model) -> tuple[int, int]:
    """(bytes of the linear layers' weights, of the whole model): what has to be stored; a data type's levels, which all
    layers share, are not counted."""
    from torch import nn

    from qlora import QuantizedLinear

    linear = other = 0
    for module in model.modules():
        if isinstance(module, QuantizedLinear):
            linear += module.quantized_weight.nbytes
            own = [module.bias]
        elif isinstance(module, nn.Linear):
            linear += module.weight.nbytes
            own = [module.bias]
        else:
            own = module.parameters(recurse=False)
        other += sum(parameter.nbytes for parameter in own if parameter is not None)
    return linear, linear + other


@dataclass
class _InMemory(Index):
    """The paper's passages with other vectors. Which notes reword which passage is as in the real index: it is about
    the texts, and two data types must be asked about the same passages."""

    stored: dict[str, np.ndarray]

    @classmethod
    def of(cls, index: Index, passages: np.ndarray, sentences: np.ndarray, pieces: Pieces) -> "_InMemory":
        kept = {field.name: getattr(index, field.name) for field in fields(Index)}
        return cls(**{**kept, "pieces": pieces}, stored={"passages": passages, "sentences": sentences})

    def vectors(self, collection: str) -> np.ndarray:
        return self.stored[collection]

    def nearest(self, collection: str, vector: np.ndarray, count: int) -> list[tuple[int, float]]:
        cosines = self.vectors(collection) @ vector
        best = np.argsort(-cosines, kind="stable")[:count]
        return [(int(number), float(cosines[number])) for number in best]


def _searched(
    index: _InMemory, embedder: MiniLM, gold: Sequence[dict], report: Callable[[float], None]
) -> tuple[Quality, Quality]:
    """(by vectors alone, the whole ranking)."""
    search = Search(index, embedder)
    grounding = Grounding(search)
    by_page = not index.has_paper
    dense, whole = [], []
    for number, question in enumerate(gold):
        report(number / len(gold))
        near = by_vectors(search, question["question"])[:_LOOKED_AT]
        dense.append(_place([index.chunks[n] for n in near], question, by_page))
        hits = grounding.find(question["question"], _LOOKED_AT)
        whole.append(_place([hit.chunk for hit in hits], question, by_page))
    return _quality(dense), _quality(whole)


def by_vectors(search: Search, question: str) -> list[int]:
    """Numbers of all passages that are searched, the nearest first. A passage is as near as the nearest vector that
    speaks for it: its own, its sentences', or those of the notes that say it in other words."""
    index = search.index
    vector = search.read(question).vector
    nearest = np.full(len(index.chunks), -np.inf)
    target = {note: chunk for chunk, notes in index.rewordings.items() for note in notes}
    of_passage = [target.get(number, number) for number in range(len(index.chunks))]
    np.maximum.at(nearest, of_passage, index.vectors("passages") @ vector)
    np.maximum.at(nearest, index.sentence_chunk, index.vectors("sentences") @ vector)
    return sorted((n for n in search.candidates if not _is_reference(index.chunks[n])), key=lambda n: -nearest[n])


def _is_reference(chunk: Chunk) -> bool:
    """The list of references is searched only by questions about references; none of the gold questions is one."""
    return chunk.kind == "reference" or chunk.section.lower().startswith("references")


def _place(chunks: Sequence[Chunk], question: dict, by_page: bool) -> int:
    """The place of the first passage that holds the answer, from 1; 0 for none."""
    return next((n for n, chunk in enumerate(chunks, start=1) if holds_answer(chunk, question, by_page)), 0)


def _quality(places: Sequence[int]) -> Quality:
    count = len(places)
    return Quality(
        sum(place == 1 for place in places) / count,
        sum(0 < place <= 5 for place in places) / count,
        sum(1 / place for place in places if place) / count,
    )
