"""Sentence vectors from all-MiniLM-L6-v2: mean pooling over the word vectors of transformers' BERT, normalised."""

import hashlib
import math
import threading
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path

import numpy as np
from langchain_core.embeddings import Embeddings

from app.assistant.embedding_package import MODEL_SHA256, model_folder
from qlora.errors import InputError

MAX_TOKENS = 256
_BATCH_TOKENS = 2048
"""Word pieces in one pass through the model, padding included: more is no faster on two cores and takes more memory."""


class MiniLM(Embeddings):
    """The embedding model, loaded and checked when the first text comes.

    Args:
        folder: holds ``model.safetensors``, ``config.json`` and ``tokenizer.json``; the installed package if left out.
        sha256: what the weights' bytes must hash to.
    """

    dimension = 384

    def __init__(self, folder: Path | None = None, sha256: str = MODEL_SHA256):
        self._folder, self.sha256 = folder, sha256
        self._lock = threading.Lock()

    @cached_property
    def _loaded(self):
        from safetensors.torch import load_file
        from tokenizers import Tokenizer
        from transformers import BertConfig, BertModel

        folder = self._folder or model_folder()
        weights = folder / "model.safetensors"
        if not weights.is_file():
            raise InputError(f"The embedding model's weights {weights.name} are missing. Install the package again.")
        if (found := hashlib.sha256(weights.read_bytes()).hexdigest()) != self.sha256:
            raise InputError(
                f"The embedding model's weights are not the official ones (sha256 {found[:12]}…, expected "
                f"{self.sha256[:12]}…). Install the package again."
            )
        tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.no_padding()
        model = BertModel(BertConfig.from_json_file(str(folder / "config.json")), add_pooling_layer=False)
        # The file also holds the pooler, which mean pooling does not use, and the position numbers.
        unused = ("pooler.", "embeddings.position_ids")
        model.load_state_dict({name: t for name, t in load_file(weights).items() if not name.startswith(unused)})
        return tokenizer, model.eval()

    @property
    def model(self):
        """transformers' ``BertModel``, loaded now if it is not."""
        self.load()
        return self._loaded[1]

    def load(self) -> None:
        """Load the model now rather than with the first text.

        Raises:
            InputError: as :meth:`encode`.
        """
        with self._lock:
            _ = self._loaded

    def encode(self, texts: list[str], progress: Callable[[float], None] = lambda fraction: None) -> np.ndarray:
        """Vectors of the texts: (len(texts), 384) fp32, each of length 1. Text past 256 word pieces is not read.

        ``progress`` is called with the share of the word pieces that are done.

        Raises:
            InputError: the model is missing or its weights are not the official ones.
        """
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for index, hidden in self._hidden(texts, progress):
            vectors[index] = _mean(hidden)
        return vectors

    def encode_pieces(
        self, texts: list[str], progress: Callable[[float], None] = lambda fraction: None
    ) -> tuple[np.ndarray, list[np.ndarray]]:
        """:meth:`encode`, and for every text the vectors of its word pieces, (pieces, 384) fp32, each of length 1,
        without the marks that the model puts before and after a text."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        pieces: list[np.ndarray] = [vectors[:0]] * len(texts)
        for index, hidden in self._hidden(texts, progress):
            vectors[index] = _mean(hidden)
            pieces[index] = hidden[1:-1] / np.linalg.norm(hidden[1:-1], axis=1, keepdims=True)
        return vectors, pieces

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Where in the text each of its word pieces stands, as :meth:`encode_pieces` has them."""
        return self._loaded[0].encode(text).offsets[1:-1]

    @cached_property
    def dictionary(self) -> dict[str, float]:
        """The words that the model has as one piece, some 20,000 of the commonest English ones, and how uncommon each
        is, 0 to 1: its vocabulary is in the order of frequency, so that is the logarithm of its place."""
        places = {word: place for word, place in self._loaded[0].get_vocab().items() if word.isalpha()}
        first, last = places["the"], max(places.values())
        return {
            word: math.log(max(1.0, place / first)) / math.log(last / first) for word, place in places.items()
        }  # fmt: skip

    def _hidden(self, texts: list[str], progress: Callable[[float], None]) -> Iterator[tuple[int, np.ndarray]]:
        """(number, (pieces, 384) fp32) of every text. Texts of like length in word pieces share a batch, so that
        hardly any padding is computed."""
        import torch

        with self._lock:
            tokenizer, model = self._loaded
        pieces = [item.ids for item in tokenizer.encode_batch(texts)]
        total, done = sum(map(len, pieces)), 0
        for batch in _batches([len(ids) for ids in pieces]):
            lengths = torch.tensor([len(pieces[index]) for index in batch])
            longest = int(lengths[-1])
            ids = torch.tensor([pieces[index] + [0] * (longest - len(pieces[index])) for index in batch])
            mask = (torch.arange(longest) < lengths[:, None]).long()  # (batch, longest)
            with torch.inference_mode():
                hidden = model(input_ids=ids, attention_mask=mask).last_hidden_state.numpy()  # (batch, longest, 384)
            for row, index in enumerate(batch):
                yield index, hidden[row, : len(pieces[index])]
            done += int(lengths.sum())
            progress(done / total)

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.encode(texts).tolist()

    def embed_query(self, text: str) -> list[float]:
        return self.encode([text])[0].tolist()


def _batches(lengths: list[int]) -> Iterator[list[int]]:
    """Positions from the shortest text to the longest, in runs that take at most :data:`_BATCH_TOKENS` when padded."""
    run: list[int] = []
    for position in sorted(range(len(lengths)), key=lengths.__getitem__):
        if run and (len(run) + 1) * lengths[position] > _BATCH_TOKENS:
            yield run
            run = []
        run.append(position)
    if run:
        yield run


def _mean(hidden: np.ndarray) -> np.ndarray:
    """Mean pooling, then length 1: (pieces, 384) -> (384,)."""
    mean = hidden.mean(0)
    return mean / np.linalg.norm(mean)
