import huggingface_hub
import pytest
from huggingface_hub import errors

from qlora.data import hub
from qlora.data.formats import read_samples
from qlora.errors import InputError


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("someone/questions", True),
        ("someone/questions:data/train.jsonl", True),
        ("questions", False),
        ("folder/questions.jsonl", False),
        ("./questions", False),
        ("/somewhere/questions", False),
        ("a/b/c", False),
    ],
)
def test_a_hub_name_is_told_from_a_path(path, expected):
    assert hub.is_hub_name(path) is expected


@pytest.mark.parametrize("name", ["someone/questions", "someone/questions:train.jsonl"])
def test_without_a_network_a_hub_name_says_so_in_a_sentence(name):
    with pytest.raises(InputError) as caught:
        read_samples(name)
    assert "someone/questions is no file on this machine" in str(caught.value)
    assert "check the network" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("files", "pattern", "chosen"),
    [
        (["README.md", "a.jsonl", "dataset_infos.json"], None, ["a.jsonl"]),
        (["data/test.csv", "data/train.csv"], None, ["data/train.csv"]),
        (
            ["d/train-00001-of-00002.parquet", "d/train-00000-of-00002.parquet", "d/test-00000-of-00001.parquet"],
            None,
            ["d/train-00000-of-00002.parquet", "d/train-00001-of-00002.parquet"],
        ),
        (["en/train.json", "de/train.json"], "de/*", ["de/train.json"]),
    ],
)
def test_the_files_of_the_training_split_are_chosen(files, pattern, chosen):
    assert hub.choose_files("o/d", files, pattern) == chosen


@pytest.mark.parametrize(
    ("files", "pattern", "message"),
    [
        (["README.md", "weights.bin"], None, "has no JSONL, JSON, CSV or Parquet file"),
        (["en/train.json", "de/train.json"], None, r"several data files .*name one, as in o/d:de/train.json"),
        (["train.json", "train.jsonl"], None, "several data files"),
        (["constrained.json", "x.json"], None, "several data files"),
        (["a.json"], "b*", "matches b.*: it has a.json"),
    ],
)
def test_an_ambiguous_dataset_is_not_guessed(files, pattern, message):
    with pytest.raises(InputError, match=message):
        hub.choose_files("o/d", files, pattern)


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr("qlora.hub.reachable", lambda: True)


def test_a_dataset_is_fetched_and_read(tmp_path, monkeypatch, online):
    for part in ("00000", "00001"):
        (tmp_path / f"train-{part}-of-00002.jsonl").write_text(f'{{"prompt": "{part}?", "completion": "yes"}}')
    monkeypatch.setattr(
        huggingface_hub.HfApi, "list_repo_files",
        lambda self, dataset, repo_type: [f.name for f in tmp_path.iterdir()] if repo_type == "dataset" else [],
    )  # fmt: skip
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", lambda dataset, file, **_: str(tmp_path / file))
    assert [s.messages[0].content for s in read_samples("o/d")] == ["00000?", "00001?"]


def raising(error):
    def call(*_, **__):
        raise error

    return call


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedRepoError", "asks for consent on its page"),
        ("RepositoryNotFoundError", "There is no dataset o/d on the hub"),
        ("RemoteEntryNotFoundError", "The dataset o/d has no file a.json"),
        ("LocalEntryNotFoundError", "check the network"),
        ("HfHubHTTPError", r"check the network.*HfHubHTTPError"),
    ],
)
def test_what_the_hub_refuses_is_said_in_a_sentence(monkeypatch, online, name, message):
    kind = getattr(errors, name)
    error = kind.__new__(kind)  # its arguments differ by version
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising(error))
    with pytest.raises(InputError, match=message):
        read_samples("o/d:a.json")


def test_a_defect_of_ours_keeps_its_traceback(monkeypatch, online):
    monkeypatch.setattr(huggingface_hub, "hf_hub_download", raising(TypeError("ours")))
    with pytest.raises(TypeError):
        read_samples("o/d:a.json")
