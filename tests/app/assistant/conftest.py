"""Small papers of our own, the real one where it is at hand, and one embedding model for all tests."""

import hashlib
import http.server
import os
import threading
from pathlib import Path

import pytest

from app.assistant import library
from app.assistant.assistant import Assistant
from app.assistant.chunking import Chunk
from app.assistant.embedding import MiniLM
from app.assistant.library import Paper
from app.assistant.shelf import library_folder


def pdf_bytes(pages: list[list[tuple]]) -> bytes:
    """A PDF written by hand: each item is (font, size, x, y, text) from the lower left corner, or ("rule", x0, x1,
    y)."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", ""]
    kids = []
    fonts = "<< /F1 3 0 R /F2 4 0 R >>"
    objects += [
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /Encoding /WinAnsiEncoding >>",
        "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica-Bold /Encoding /WinAnsiEncoding >>",
    ]
    for page in pages:
        stream = ""
        for item in page:
            if item[0] == "rule":
                stream += f"{item[1]} {item[3]} {item[2] - item[1]} 0.6 re f\n"
            else:
                font, size, x, y, text = item
                escaped = text.replace("\\", r"\\").replace("(", r"\(").replace(")", r"\)")
                stream += f"BT /{font} {size} Tf {x} {y} Td ({escaped}) Tj ET\n"
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}endstream")
        contents = len(objects)
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {contents} 0 R "
            f"/Resources << /Font {fonts} >> >>"
        )
        kids.append(len(objects))
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(f'{kid} 0 R' for kid in kids)}] /Count {len(kids)} >>"
    data, offsets = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, start=1):
        offsets.append(len(data))
        data += f"{number} 0 obj\n{body}\nendobj\n".encode("latin-1")
    table = "".join(f"{offset:010d} 00000 n \n" for offset in offsets)
    start = len(data)
    data += f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}".encode()
    return data + f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{start}\n%%EOF\n".encode()


def lines(x: float, top: float, texts: list[str], font: str = "F1", size: float = 10) -> list[tuple]:
    return [(font, size, x, top - 12 * number, text) for number, text in enumerate(texts)]


@pytest.fixture(scope="session")
def small_pdf_bytes() -> bytes:
    """Two pages about bread: headings, a hyphenated word, a ruled table with a caption, text beside it."""
    first = [
        ("F2", 16, 180, 740, "Bread for Small Ovens"),
        ("F1", 10, 220, 720, "Ada Example"),
        ("F2", 12, 72, 690, "1 Introduction"),
        *lines(72, 670, [
            "Wheat bread rises because yeast turns sugar into carbon dioxide. The dough of our loaf con-",
            "tains 68 percent water. We bake it at 240 degrees for 35 minutes in a covered pot.",
        ]),
        ("F2", 12, 72, 620, "2 Method"),
        *lines(72, 600, [
            "We knead the dough for 12 minutes and let it rest overnight in the refrigerator. A cold",
            "rest makes the crumb sour and the crust dark.",
        ]),
        ("F1", 10, 300, 40, "1"),
    ]  # fmt: skip
    second = [
        *lines(72, 720, ["Table 1: Rise of three flours after one hour in a warm room."], size=9),
        ("rule", 72, 300, 705),
        *[("F1", 9, x, 694, text) for x, text in ((75, "Flour"), (170, "Water"), (240, "Rise"))],
        ("rule", 72, 300, 689),
        *[("F1", 9, x, 678, text) for x, text in ((75, "Wheat 550"), (170, "68 g"), (240, "2.4"))],
        *[("F1", 9, x, 666, text) for x, text in ((75, "Spelt 630"), (170, "64 g"), (240, "1.9"))],
        *[("F1", 9, x, 654, text) for x, text in ((75, "Rye 1150"), (170, "80 g"), (240, "1.2"))],
        ("rule", 72, 300, 648),
        ("F2", 12, 72, 610, "3 Results"),
        *lines(72, 590, ["Spelt dough tears when it is kneaded for longer than 8 minutes. Rye needs sourdough."]),
        ("F1", 10, 300, 40, "2"),
    ]
    return pdf_bytes([first, second])


NOTES = """# Notes

## Why bread rises
> Section 1 · page 1

Yeast eats sugar and breathes out gas, and that gas lifts the loaf.

## Three flours
> Table 1 · page 2

Wheat rises most.

Numbers: table_01_flours.csv
"""


@pytest.fixture
def bread(tmp_path, monkeypatch, small_pdf_bytes):
    """A folder with a manifest, notes and the PDF of the small paper, and a cache of its own."""
    folder = tmp_path / "papers"
    notes = folder / "bread"
    notes.mkdir(parents=True)
    (notes / "01_bread.md").write_text(NOTES, encoding="utf-8")
    (notes / "table_01_flours.csv").write_text(
        "flour,water_gb,rise\nWheat 550,68,2.4\nRye 1150,80,1.2\n", encoding="utf-8"
    )
    (folder / "manifest.toml").write_text(
        '[[paper]]\nid = "bread"\ntitle = "Bread for Small Ovens"\nauthors = ["Ada Example"]\narxiv = "0000.00001"\n'
        'version = 1\nyear = 2020\nlicence = "CC0"\npages = 2\nnotes = "bread"\n'
        f'sha256 = "{hashlib.sha256(small_pdf_bytes).hexdigest()}"\n',
        encoding="utf-8",
    )
    (folder / "bread.pdf").write_bytes(small_pdf_bytes)
    monkeypatch.setenv("QLORA_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("QLORA_PAPERS", raising=False)
    return folder


SALT = """# Salt in Dough

## 1 Amount

We use two grams of salt for every hundred grams of flour. More salt slows the yeast down.

## 2 Taste

Without salt the bread tastes of paper.
"""


@pytest.fixture
def salt(tmp_path) -> Path:
    """A paper of one page in Markdown."""
    path = tmp_path / "my salt.md"
    path.write_text(SALT, encoding="utf-8")
    return path


@pytest.fixture
def cake(tmp_path, small_pdf_bytes) -> Path:
    """A PDF of another paper than the one in the manifest."""
    path = tmp_path / "upload.pdf"
    path.write_bytes(small_pdf_bytes.replace(b"Bread for Small Ovens", b"Cakes for Large Ovens"))
    return path


HERE = Path(__file__).parent
EXAMS = tuple(HERE / f"{name}_questions.jsonl" for name in ("exam", "further_exam", "last_exam"))
"""Questions that nothing was fitted on, by writers who knew no other questions."""
HELD_OUT = HERE / "held_out_questions.jsonl"


def seeds(*patterns: str) -> list[Path]:
    """The papers in other forms, beside the folder in ``$QLORA_PAPERS``, whose names match one of the patterns; they
    are not part of the repository."""
    place = os.environ.get("QLORA_PAPERS")
    folder = Path(place).expanduser().resolve().parent / "seeds" if place else None
    return [path for pattern in patterns for path in sorted(folder.glob(pattern))] if folder else []


def left_behind() -> list[str]:
    """Folders of the library that are none of its papers: what is being added or removed."""
    return [path.name for path in library_folder().glob(".*") if path.is_dir()]


def find(paper: Paper, folder: Path, embedder: MiniLM, question: str) -> Chunk:
    """The passage of a paper that comes first for the question."""
    return Assistant(paper, folder, embedder).retrieve(question, 1)[0].chunk


class Server:
    """arXiv on this machine: serves `body`, or `status`, or less than it announces."""

    def __init__(self, body: bytes, status: int = 200, announced: int | None = None):
        outer = self
        self.requests = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                outer.requests += 1
                self.send_response(status)
                self.send_header("Content-Length", str(announced or len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/pdf"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture
def serve(monkeypatch):
    started = []

    def start(*arguments, **named) -> Server:
        server = Server(*arguments, **named)
        started.append(server)
        monkeypatch.setattr(library.Paper, "pdf_url", property(lambda self: server.url))
        return server

    yield start
    for server in started:
        server.server.shutdown()
        server.server.server_close()


@pytest.fixture(scope="session")
def embedder() -> MiniLM:
    return MiniLM()


@pytest.fixture(scope="session")
def real_pdf() -> Path:
    """The paper's PDF; tests that need it are skipped where it is not (it is not part of the repository)."""
    found = library.find_pdf(library.papers()[0])
    if found.path is None:
        pytest.skip("needs the paper's PDF: set QLORA_PAPERS to its folder")
    return found.path


@pytest.fixture(scope="session", autouse=True)
def same_cache_afterwards():
    before = os.environ.get("QLORA_CACHE")
    yield
    assert os.environ.get("QLORA_CACHE") == before, "a test changed the environment for all"


def _opened(index_cache: Path, embedder: MiniLM, with_pdf: bool) -> Assistant:
    with pytest.MonkeyPatch.context() as patch:
        assistant = Assistant(embedder=embedder, with_pdf=with_pdf)
        found = assistant.find_pdf()  # looked up before the cache is another one
        patch.setenv("QLORA_CACHE", str(index_cache))
        patch.setattr(library, "find_pdf", lambda *_: found)
        assistant.open()
    return assistant


@pytest.fixture(scope="session")
def notes_assistant(index_cache, embedder) -> Assistant:
    """The assistant without a PDF."""
    return _opened(index_cache, embedder, with_pdf=False)


@pytest.fixture(scope="session")
def paper_assistant(index_cache, embedder, real_pdf) -> Assistant:
    """The assistant with the paper's PDF."""
    return _opened(index_cache, embedder, with_pdf=True)


@pytest.fixture(scope="session")
def small_papers(tmp_path_factory, embedder) -> dict[str, Assistant]:
    """Twelve small papers of four fields, added to a library of their own: name of the file -> assistant."""
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "small-papers"
    with FileLock(f"{folder}.lock"), pytest.MonkeyPatch.context() as patch:
        patch.setenv("QLORA_CACHE", str(folder))
        files = sorted((Path(__file__).parent / "small_papers").glob("*.md"))
        opened = {file.stem: Assistant(library.add(file).paper, embedder=embedder) for file in files}
        for assistant in opened.values():
            assistant.open()
    return opened
