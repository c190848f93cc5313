import json
import math

import pytest
import torch
import transformers

from qlora.data.encoding import IGNORED, Encoded
from qlora.errors import InputError
from qlora.evaluation.perplexity import Perplexity, perplexity, read_documents, windows_of

TEXT = "Pages leave the device under pressure. " * 12 + "They come back by look-ahead, before the optimizer needs them."


@pytest.fixture
def text_file(tmp_path):
    file = tmp_path / "text.txt"
    file.write_text(TEXT)
    return file


def test_one_window_is_transformers_own_loss(guesser, text_file):
    model, tokenizer = guesser
    documents = read_documents(text_file, tokenizer)
    ids = torch.tensor([tokenizer(TEXT).input_ids])
    assert 50 < ids.shape[1] <= 256
    with torch.no_grad():
        own = model(input_ids=ids, labels=ids).loss.item()
    measured = perplexity(model, documents, window=256)
    assert own > 5, "else every model would do"
    assert measured.loss == pytest.approx(own, abs=1e-5)
    assert measured.perplexity == pytest.approx(math.exp(own), rel=1e-5)
    assert (measured.tokens, measured.documents, measured.windows) == (ids.shape[1] - 1, 1, 1)


@pytest.mark.parametrize(("window", "stride", "batch_size"), [(32, 8, 1), (32, 31, 3), (17, 1, 4), (40, None, 2)])
def test_windows_equal_a_token_by_token_computation(guesser, text_file, brute_force, window, stride, batch_size):
    model, tokenizer = guesser
    documents = read_documents(text_file, tokenizer)
    ids = tokenizer(TEXT).input_ids[:70]
    documents = [Encoded(documents[0].input_ids[:70], documents[0].labels[:70])]
    step, end, total = stride or window // 2, window, 0.0
    for place in range(1, len(ids)):
        while place >= end:
            end += step
        begin = max(0, min(end, len(ids)) - window)
        total += brute_force(model, ids[begin:place], ids[place : place + 1])
    measured = perplexity(model, documents, window=window, stride=stride, batch_size=batch_size)
    assert measured.windows > 2
    assert measured.tokens == len(ids) - 1
    assert measured.loss == pytest.approx(-total / (len(ids) - 1), rel=1e-5)


def test_every_token_is_scored_once_with_context():
    document = Encoded(list(range(101)), [IGNORED, *range(1, 101)])
    windows = list(windows_of(document, 20, 6))
    scored = [label for part in windows for label in part.labels if label != IGNORED]
    assert scored == list(range(1, 101))
    for part in windows[1:]:
        assert len(part.input_ids) == 20
        assert sum(label == IGNORED for label in part.labels) >= 20 - 6


def test_conversations_are_scored_on_their_answers_and_weighted_by_tokens(guesser, tmp_path, brute_force):
    model, tokenizer = guesser
    rows = [{"prompt": "Say", "completion": "yes"}, {"prompt": "And now?", "completion": "a much longer answer " * 8}]
    file = tmp_path / "rows.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)))
    documents = read_documents(file, tokenizer)
    total = count = 0
    for document in documents:
        first = next(i for i, label in enumerate(document.labels) if label != IGNORED)
        total -= brute_force(model, document.input_ids[:first], document.input_ids[first:])
        count += len(document.input_ids) - first
    measured = perplexity(model, documents, batch_size=2)
    assert (measured.tokens, measured.documents) == (count, 2)
    assert measured.loss == pytest.approx(total / count, rel=1e-5)


def test_a_model_that_caps_its_logits_is_measured_too():
    torch.manual_seed(0)
    shape = {"vocab_size": 96, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "head_dim": 16}
    config = transformers.Gemma2Config(**shape, intermediate_size=96, num_key_value_heads=2)
    model = transformers.AutoModelForCausalLM.from_config(config).eval()
    ids = torch.randint(3, 96, (30,)).tolist()
    with torch.no_grad():
        own = model(input_ids=torch.tensor([ids]), labels=torch.tensor([ids])).loss.item()
    assert perplexity(model, [Encoded(ids, [IGNORED, *ids[1:]])]).loss == pytest.approx(own, abs=1e-6)


def test_a_hopeless_loss_is_an_infinite_perplexity():
    assert Perplexity(loss=1000.0, tokens=1, documents=1, windows=1).perplexity == math.inf


@pytest.mark.parametrize(
    ("options", "message"),
    [({"window": 300}, "at most 256"), ({"window": 32, "stride": 32}, "stride"), ({"stride": -1}, "stride")],
)
def test_windows_that_cannot_be_are_refused(guesser, text_file, options, message):
    model, tokenizer = guesser
    with pytest.raises(InputError, match=message):
        perplexity(model, read_documents(text_file, tokenizer), **options)


def test_bad_text_files_are_named(guesser, tmp_path):
    _, tokenizer = guesser
    (tmp_path / "empty.txt").write_text(" \n")
    (tmp_path / "bytes.txt").write_bytes(b"\xff\xfe\xff")
    for name, message in (("missing.txt", "no text file"), ("empty.txt", "is empty"), ("bytes.txt", "cannot be read")):
        with pytest.raises(InputError, match=message):
            read_documents(tmp_path / name, tokenizer)
