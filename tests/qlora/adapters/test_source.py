"""Adapters by the name of a repository on the hub, from the cache that its client keeps."""

import shutil

import huggingface_hub
import pytest
import torch
from huggingface_hub import constants, errors

import qlora
from qlora.adapters.attach import adapter_names, attach, factors_of
from qlora.adapters.checkpoint import load_adapter, save_adapter
from qlora.adapters.source import locate
from qlora.config import AdapterConfig
from qlora.errors import InputError

COMMIT = "0" * 40


@pytest.fixture
def base(small_model):
    def make():
        auto, folder = small_model("llama")
        return auto.from_pretrained(folder, quantization_config=qlora.QuantizationConfig(), dtype=torch.float32)

    return make


@pytest.fixture
def saved(base, tmp_path):
    """A model with an adapter, and the adapter's folder."""
    model = base()
    attach(model, AdapterConfig(r=4, target_modules=("q_proj",)), dtype=torch.float32)
    for factors in factors_of(model, "default").values():
        torch.nn.init.normal_(factors.lora_B)
    save_adapter(model, tmp_path / "saved", base_model="m")
    return model, tmp_path / "saved"


@pytest.fixture
def cached(tmp_path, monkeypatch):
    """Put a folder into the hub's cache as the repository owner/adapter."""
    cache = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))

    def put(folder):
        repository = cache / "models--owner--adapter"
        (repository / "refs").mkdir(parents=True)
        (repository / "refs" / "main").write_text(COMMIT)
        shutil.copytree(folder, repository / "snapshots" / COMMIT)

    return put


def test_a_name_is_loaded_from_the_hub(base, saved, cached):
    cached(saved[1])
    model = base()
    load_adapter(model, "owner/adapter", name="fetched")
    theirs = factors_of(saved[0], "default")
    for layer, factors in factors_of(model, "fetched").items():
        assert torch.equal(factors.lora_A, theirs[layer].lora_A) and torch.equal(factors.lora_B, theirs[layer].lora_B)


def test_the_two_files_alone_are_asked_for(saved, monkeypatch):
    asked = []

    def download(repository, **options):
        asked.append((repository, options))
        return str(saved[1])

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr("qlora.hub.reachable", lambda: True)
    assert locate("owner/adapter") == saved[1]
    files = ["adapter_config.json", "adapter_model.safetensors"]
    assert asked == [("owner/adapter", {"allow_patterns": files, "local_files_only": False})]


def test_a_pickle_on_the_hub_is_refused(base, saved, cached):
    shutil.move(saved[1] / "adapter_model.safetensors", saved[1] / "adapter_model.bin")
    cached(saved[1])
    model = base()
    with pytest.raises(
        InputError, match=r"owner/adapter on the hub .* has no adapter_model.safetensors .*never fetched"
    ):
        load_adapter(model, "owner/adapter")
    assert adapter_names(model) == []


def test_without_a_network_one_sentence_says_so(cached):
    with pytest.raises(InputError) as caught:
        locate("owner/nothing")
    assert str(caught.value).startswith(
        "owner/nothing is no folder on this machine, and the adapter of that name could"
    )
    assert "check the network" in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("GatedRepoError", "The adapter owner/adapter asks for consent"),
        ("RepositoryNotFoundError", "There is no adapter owner/adapter on the hub, and no folder of this name here"),
    ],
)
def test_what_the_hub_refuses_is_said(monkeypatch, name, message):
    kind = getattr(errors, name)

    def download(*_, **__):
        raise kind.__new__(kind)  # its arguments differ by version

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    with pytest.raises(InputError, match=message):
        locate("owner/adapter")


def test_a_folder_goes_before_the_hub_and_a_path_is_never_looked_for_there(saved, monkeypatch, tmp_path):
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *_, **__: pytest.fail("the hub was asked"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "runs").mkdir()
    shutil.move(saved[1], tmp_path / "runs" / "adapter")
    assert locate("runs/adapter") == locate(tmp_path.joinpath("runs/adapter").relative_to(tmp_path))
    # A run that has saved none yet: "other/adapter" may be somebody's repository.
    assert locate(tmp_path.joinpath("other/adapter").relative_to(tmp_path)).exists() is False
    assert str(locate("no-folder")) == "no-folder"
