"""Who answers: the choice under the question box."""

import pytest

from app import runs
from app.tabs import ask_writers as writers
from app.text import ask as text
from qlora.errors import InputError


@pytest.fixture(autouse=True)
def no_runs(tmp_path, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS", str(tmp_path / "runs"))
    for name in ("OPENAI_BASE_URL", "OPENAI_API_KEY", "OPENAI_MODEL", "OLLAMA_HOST", "OLLAMA_MODEL"):
        monkeypatch.delenv(name, raising=False)


def test_the_papers_own_sentences_need_no_model():
    assert writers.backend(writers.QUOTES, "", "left over from another choice") is None


@pytest.mark.parametrize(
    ("who", "adapter", "model", "said"),
    [
        ("somebody", "", "", "no back-end"),
        (writers.LOCAL, "", "/no/such/folder", text.NO_SUCH_FOLDER),
        (writers.LOCAL, "", "owner/name-on-the-hub", text.NO_SUCH_FOLDER),
        (writers.LOCAL, "20200101-000000-000000", "", text.ADAPTER_GONE),
        (writers.LOCAL, "../../etc", "", text.ADAPTER_GONE),
        (writers.SERVER, "", "m", "OPENAI_BASE_URL"),
        (writers.OLLAMA, "", "m" * 5000, "up to"),
        (writers.OLLAMA, "", "a\nb", "up to"),
    ],
)
def test_what_cannot_answer_is_one_sentence_in_place(who, adapter, model, said):
    with pytest.raises(InputError, match=said):
        writers.backend(who, adapter, model)
    label, problem = writers.check(who, adapter, model)
    assert problem.count("<p") == 1 and said.split()[0] in problem and label["label"].startswith("Who answers")


def test_a_server_is_named_by_the_environment_and_its_key_is_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_BASE_URL", "http://user:secret-a@127.0.0.1:9/v1")
    monkeypatch.setenv("OPENAI_API_KEY", "secret-b")
    said = str(writers.choose(writers.SERVER))
    assert "127.0.0.1" in said and "secret" not in said
    assert writers.backend(writers.SERVER, "", "m").model == "m"


@pytest.mark.parametrize("who", text.WRITERS)
def test_the_label_says_the_choice(who):
    label, about, adapter, model, _ = writers.choose(who)
    assert text.WRITERS[who] in label["label"] and "<p" in about
    assert adapter["visible"] == (who == writers.LOCAL) and model["visible"] == (who != writers.QUOTES)


def test_a_finished_run_is_offered_and_answers(finished_run, monkeypatch):
    monkeypatch.setenv("QLORA_RUNS", str(finished_run.folder.parent))
    choices = writers.offered_adapters("")["choices"]
    assert [value for _, value in choices] == ["", finished_run.id]
    backend = writers.backend(writers.LOCAL, finished_run.id, "")
    assert finished_run.id in backend.model and runs.has_adapter(finished_run)
    label, problem = writers.check(writers.LOCAL, finished_run.id, "")
    assert "finetuned on" in label["label"] and problem == ""
    with pytest.raises(InputError, match=text.FOLDER_OR_ADAPTER):
        writers.backend(writers.LOCAL, finished_run.id, str(finished_run.folder))
