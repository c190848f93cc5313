"""The real page, served as a visitor's machine serves it, in a real browser. Neither may leave this machine."""

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.app.assistant.chat_server import Handler, ollama_line, openai_says, serving
from tests.end_to_end.serving import REPOSITORY, served

MODEL_SAYS = (
    "Paged optimizers use NVIDIA unified memory ",
    "to transfer pages between the CPU and the GPU [1]. ",
    "They divide the model's weights into 17 memory pages of 3 kB each [1]. ",
    "<img src=x onerror='window.hostile=1'> **This is bold**, [a link](http://192.0.2.1/).",
)

# Python runs this at the start of the server and of every process that it starts: a connection to another host is
# written down and refused.
_GUARD = """
import ipaddress, os, socket
def _local(address):
    if not isinstance(address, tuple) or address[0] in ("", "localhost", "0.0.0.0"):
        return True
    try:
        return ipaddress.ip_address(address[0]).is_loopback
    except ValueError:
        return False
def _guarded(original):
    def call(self, address, *rest):
        if not _local(address):
            with open(os.environ["REFUSED_CONNECTIONS"], "a") as log:
                log.write(f"{address}\\n")
            raise OSError(f"refused: {address}")
        return original(self, address, *rest)
    return call
socket.socket.connect = _guarded(socket.socket.connect)
socket.socket.connect_ex = _guarded(socket.socket.connect_ex)
_lookup = socket.getaddrinfo
def _guarded_lookup(host, *rest, **options):
    name = host.decode() if isinstance(host, bytes) else host
    if name is not None and not _local((name,)):
        with open(os.environ["REFUSED_CONNECTIONS"], "a") as log:
            log.write(f"look-up of {name}\\n")
        raise socket.gaierror(f"refused: {name}")
    return _lookup(host, *rest, **options)
socket.getaddrinfo = _guarded_lookup
"""


@dataclass
class Server:
    """The page's address, and the connections that its processes tried to make to other hosts."""

    url: str
    process: subprocess.Popen
    refused_log: Path
    runs: Path
    foreign_requests: list[str] = field(default_factory=list)

    @property
    def refused(self) -> list[str]:
        return self.refused_log.read_text().splitlines() if self.refused_log.exists() else []


def model_says(handler: Handler, body: dict) -> None:
    """What the language model behind the page's servers says: true, invented, and hostile sentences, one a second when
    it is asked about double quantization. Over Ollama's protocol it searches first."""
    if handler.path.endswith("/api/chat"):
        searched = any(message["role"] == "tool" for message in body["messages"])
        handler.start(kind="application/x-ndjson")
        for sentence in MODEL_SAYS if searched else ():
            handler.put(ollama_line(sentence))
        handler.put(ollama_line(done=True) if searched else ollama_line(query="unified memory", done=True))
        return
    slowly = "double quantization" in body["messages"][-1]["content"].rpartition("Question:")[2]
    openai_says(*MODEL_SAYS, pause=1.0 if slowly else 0.05)(handler, body)


@pytest.fixture(scope="session")
def model_server() -> Iterator[str]:
    """Address of a server on this machine that speaks OpenAI's and Ollama's protocols."""
    with serving(model_says) as running:
        yield f"http://127.0.0.1:{running.server_port}"


@pytest.fixture(scope="session")
def server(demo_model, model_server, index_cache, tmp_path_factory) -> Iterator[Server]:
    """The app, started with its command, with an empty folder for runs, the demo model and the tests' index."""
    folder = tmp_path_factory.mktemp("server")
    (folder / "guard").mkdir()
    (folder / "guard" / "sitecustomize.py").write_text(_GUARD)
    (folder / "cache" / "models").mkdir(parents=True)
    (folder / "cache" / "models" / demo_model.name).symlink_to(demo_model)
    (index_cache / "index").mkdir(exist_ok=True)
    (folder / "cache" / "index").symlink_to(index_cache / "index")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder / "guard"), str(REPOSITORY)]),
        "REFUSED_CONNECTIONS": str(folder / "refused.log"),
        "QLORA_CACHE": str(folder / "cache"),
        "OPENAI_BASE_URL": f"{model_server}/v1",
        "OPENAI_MODEL": "test-model",
        "OLLAMA_HOST": model_server,
    }
    with served(environment, folder / "runs", folder / "server.log") as (url, process, _):
        yield Server(url, process, folder / "refused.log", folder / "runs")
        # Runs outlive the page by design; none may outlive the tests.
        for run in (folder / "runs").glob("*/events.jsonl"):
            (run.parent / "stop").touch()


@pytest.fixture
def page(browser, server):
    """A fresh visitor on the page, whose requests to any other host are written down and stopped."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})

    def route(request_route):
        address = request_route.request.url
        if address.startswith((server.url, "data:", "blob:")):
            request_route.continue_()
        else:
            server.foreign_requests.append(address)
            request_route.abort()

    context.route("**/*", route)
    page = context.new_page()
    page.set_default_timeout(90_000)
    page.goto(server.url)
    page.get_by_role("tab", name="Quantize").wait_for()
    yield page
    context.close()
