"""What all tests share: no network, no GPU unless marked, and the real demo model."""

import ipaddress
import os
import shutil
import socket
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line and the app set it

REPOSITORY = Path(__file__).resolve().parents[1]


class NetworkForbiddenError(OSError):
    """A test tried to leave this machine."""


def _is_local(address) -> bool:
    if not isinstance(address, tuple):  # a Unix socket
        return True
    host = address[0]
    if host in ("", "localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@pytest.fixture(autouse=True, scope="session")
def no_network():
    """Connections from this process may only stay on this machine; all others fail and say so."""
    connect, connect_ex, getaddrinfo = socket.socket.connect, socket.socket.connect_ex, socket.getaddrinfo

    def refuse(address):
        if not _is_local(address):
            raise NetworkForbiddenError(f"a test tried to reach {address!r}")

    def guarded_connect(self, address):
        refuse(address)
        return connect(self, address)

    def guarded_connect_ex(self, address):
        refuse(address)
        return connect_ex(self, address)

    def guarded_getaddrinfo(host, port, *args, **kwargs):
        refuse((host if isinstance(host, str) else (host or b"").decode(), port))
        return getaddrinfo(host, port, *args, **kwargs)

    patch = pytest.MonkeyPatch()
    patch.setattr(socket.socket, "connect", guarded_connect)
    patch.setattr(socket.socket, "connect_ex", guarded_connect_ex)
    patch.setattr(socket, "getaddrinfo", guarded_getaddrinfo)
    yield
    patch.undo()


def pytest_collection_modifyitems(items):
    """Tests marked `gpu` are skipped, in words, where torch finds no CUDA device."""
    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="needs a CUDA device"))


@pytest.fixture(scope="session")
def demo_model() -> Path:
    """Folder of the demo language model, which `make test` has converted."""
    from qlora.models.demo import demo_model_dir

    return demo_model_dir()


@pytest.fixture(scope="session")
def tiny_model(demo_model, tmp_path_factory) -> Path:
    """Folder of a random LLaMA of two thin layers with the demo model's tokenizer: a run of it takes seconds."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    folder = tmp_path_factory.mktemp("tiny-model")
    for file in demo_model.iterdir():
        if file.name.startswith(("tokenizer", "special_tokens", "chat_template", "vocab", "merges")):
            shutil.copy(file, folder)
    demo = LlamaConfig.from_pretrained(demo_model)
    shape = LlamaConfig(
        vocab_size=demo.vocab_size,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=256,
        bos_token_id=demo.bos_token_id,
        eos_token_id=demo.eos_token_id,
        pad_token_id=demo.pad_token_id,
        tie_word_embeddings=True,
    )
    torch.manual_seed(0)
    LlamaForCausalLM(shape).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def paper_pdf() -> Path:
    """The paper's PDF, from ``$QLORA_PAPERS`` or ``papers/``; tests that read it skip without it."""
    folders = [REPOSITORY / "papers", *([Path(os.environ["QLORA_PAPERS"])] if os.environ.get("QLORA_PAPERS") else [])]
    found = [file for folder in folders for file in sorted(folder.glob("*.pdf"))]
    if not found:
        pytest.skip("the paper's PDF is neither in papers/ nor in $QLORA_PAPERS")
    return found[0]
