"""What all tests share: no network, no GPU unless marked, and the real demo model."""

import ipaddress
import os
import shutil
import socket
from pathlib import Path

import hypothesis
import pytest

# The same examples in every run, so that a change is what makes a test fail. Others: HYPOTHESIS_PROFILE=default.
hypothesis.settings.register_profile("repeatable", derandomize=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "repeatable"))

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
os.environ.setdefault("ANONYMIZED_TELEMETRY", "False")
os.environ.setdefault("GOMP_SPINCOUNT", "20000")  # as the command line and the app set it
# With `pytest -n` the workers share out the cores: two that put torch threads on every core stand in each other's way.
if WORKERS := int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "0")):
    os.environ.setdefault("OMP_NUM_THREADS", str(max(1, (os.cpu_count() or 1) // WORKERS)))

REPOSITORY = Path(__file__).resolve().parents[1]
# Workers take whole files in the order of collection; what takes minutes must not begin last.
LONGEST_FILES = (
    "qlora/training/test_loop.py",
    "end_to_end/test_page.py",
    "app/assistant/test_answers.py",
    "qlora/adapters/test_a_fact.py",
    "notebooks/test_notebooks.py",
    "end_to_end/test_story.py",
)


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
    """The longest files first for several workers. Tests marked `gpu` are skipped, in words, where torch finds no CUDA
    device."""
    if WORKERS:
        last = len(LONGEST_FILES)
        rank = {REPOSITORY / "tests" / name: place for place, name in enumerate(LONGEST_FILES)}
        items.sort(key=lambda item: rank.get(item.path, last))
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
def index_cache(tmp_path_factory) -> Path:
    """A cache folder for the indexes of the real paper, which all workers and the served page use: each index is built
    once. The one that set-up has made is taken over unless something it is made from has changed since."""
    from filelock import FileLock

    from qlora.folders import cache_dir

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if WORKERS else base) / "index-cache"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            folder.mkdir()
            sources = [*(REPOSITORY / "app" / "assistant").rglob("*.py"), *(REPOSITORY / "papers").rglob("*.*")]
            changed = max(file.stat().st_mtime for file in sources)
            # A file of each index and of the known questions' vectors.
            for made in (*cache_dir().glob("index/*/manifest.json"), *cache_dir().glob("index/*/vectors.npy")):
                if made.stat().st_mtime > changed:
                    shutil.copytree(made.parent, folder / "index" / made.parent.name)
    return folder


@pytest.fixture(scope="session")
def paper_pdf() -> Path:
    """The paper's PDF, from ``$QLORA_PAPERS`` or ``papers/``; tests that read it skip without it."""
    folders = [REPOSITORY / "papers", *([Path(os.environ["QLORA_PAPERS"])] if os.environ.get("QLORA_PAPERS") else [])]
    found = [file for folder in folders for file in sorted(folder.glob("*.pdf"))]
    if not found:
        pytest.skip("the paper's PDF is neither in papers/ nor in $QLORA_PAPERS")
    return found[0]


@pytest.fixture(scope="session")
def browser():
    """Chromium: the system's, or Playwright's own; without either the tests say so and skip."""
    playwright = pytest.importorskip("playwright.sync_api")
    # Five seconds, the default, are too few on a busy machine; how fast the page is, a benchmark tells.
    playwright.expect.set_options(timeout=60_000)
    with playwright.sync_playwright() as driver:
        names = ("chromium", "chromium-browser", "google-chrome")
        found = next((path for name in names if (path := shutil.which(name))), None)
        if found is None and not Path(driver.chromium.executable_path).exists():
            pytest.skip("no Chromium on this machine: install it, or run `playwright install chromium`")
        options = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
        browser = driver.chromium.launch(executable_path=found, args=options)
        yield browser
        browser.close()
