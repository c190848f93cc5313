"""The embedding model: the official weights or none, and vectors that do not depend on company."""

import shutil

import numpy as np
import pytest

from app.assistant.embedding import MiniLM
from app.assistant.embedding_package import model_folder
from qlora.errors import InputError


def test_vectors_have_length_one_and_know_meaning(embedder):
    cat, kitten, tax = embedder.encode(["A cat sleeps.", "A kitten is resting.", "The tax form is due in May."])
    assert np.linalg.norm(cat) == pytest.approx(1, abs=1e-5)
    assert cat @ kitten > 0.5 > cat @ tax


def test_a_vector_does_not_depend_on_its_batch(embedder):
    texts = ["short", "a rather longer sentence about finetuning with adapters", "word " * 600]
    together = embedder.encode(texts)
    alone = np.concatenate([embedder.encode([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


def test_progress_counts_word_pieces_up_to_all_of_them(embedder):
    shares = []
    embedder.encode(["word " * length for length in (200, 1, 200, 3) * 6], shares.append)
    assert shares == sorted(shares) and shares[-1] == 1.0
    assert len(shares) > 1, "one batch, else this proves nothing"


def test_mean_pooling_agrees_with_transformers_own_pipeline(embedder):
    """Against AutoModel and AutoTokenizer, which our code does not use."""
    import torch
    from transformers import AutoModel, AutoTokenizer

    text = "Double quantization saves memory."
    tokenizer = AutoTokenizer.from_pretrained(model_folder(), local_files_only=True)
    model = AutoModel.from_pretrained(model_folder(), local_files_only=True).eval()
    with torch.inference_mode():
        hidden = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
    expected = torch.nn.functional.normalize(hidden.mean(0), dim=0).numpy()
    np.testing.assert_allclose(embedder.encode([text])[0], expected, atol=1e-5)


def test_other_weights_are_refused(tmp_path):
    folder = tmp_path / "model"
    shutil.copytree(model_folder(), folder)
    weights = folder / "model.safetensors"
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(InputError, match="not the official ones"):
        MiniLM(folder).encode(["x"])


def test_missing_weights_are_named(tmp_path):
    with pytest.raises(InputError, match=r"model\.safetensors"):
        MiniLM(tmp_path).encode(["x"])
