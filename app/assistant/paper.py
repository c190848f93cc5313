"""One record a paper, whether it is named in the manifest or was added by the visitor."""

import textwrap
import tomllib
from dataclasses import asdict, dataclass
from pathlib import Path

from qlora.errors import InputError

PAPERS_FOLDER = Path(__file__).resolve().parents[2] / "papers"


@dataclass(frozen=True)
class Paper:
    """What is known of a paper; only ``id`` and ``title`` always are.

    A paper of the manifest has ``notes`` and a PDF that is looked for; ``sha256`` and ``pages`` describe the PDF that
    the notes' page numbers refer to. One that the visitor added has ``files`` instead, which ``made_from`` names
    (``"pdf"``, ``"ocr"`` or ``"markdown"``), the time when it was ``added`` (ISO 8601, UTC), and ``first_page`` where
    the visitor said which page the files begin with.
    """

    id: str
    title: str
    authors: tuple[str, ...] = ()
    arxiv: str = ""
    version: int = 0
    year: int = 0
    licence: str = ""
    sha256: str = ""
    pages: int = 0
    notes: Path | None = None
    files: tuple[Path, ...] = ()
    made_from: str = "pdf"
    added: str = ""
    first_page: int | None = None

    @property
    def is_added(self) -> bool:
        return bool(self.added)

    @property
    def arxiv_name(self) -> str:
        """The arXiv number with its version, where one is known; empty for a paper that is not from there."""
        return f"{self.arxiv}v{self.version}" if self.version else self.arxiv

    @property
    def short_title(self) -> str:
        """What stands before the title's colon: "QLoRA" of "QLoRA: Efficient Finetuning of Quantized LLMs"."""
        return textwrap.shorten(self.title.split(":")[0].strip() or self.title, 60, placeholder="…")

    @property
    def file_name(self) -> str:
        return f"{self.arxiv_name or self.id}.pdf".replace("/", "_")

    @property
    def pdf_url(self) -> str:
        return f"https://arxiv.org/pdf/{self.arxiv_name}" if self.arxiv else ""

    @property
    def abstract_url(self) -> str:
        return f"https://arxiv.org/abs/{self.arxiv_name}" if self.arxiv else ""

    def record(self) -> dict:
        """An added paper as JSON values; its files by their names."""
        return {**asdict(self), "notes": None, "files": [path.name for path in self.files]}

    @classmethod
    def from_record(cls, record: dict, folder: Path) -> "Paper":
        """The added paper whose files are in ``folder``."""
        files = tuple(folder / Path(name).name for name in record["files"])
        return cls(**{**record, "authors": tuple(record["authors"]), "files": files})


def manifest_papers(folder: Path = PAPERS_FOLDER) -> list[Paper]:
    """The papers named in ``manifest.toml``.

    Raises:
        InputError: the manifest is missing, is not TOML, or lacks a field.
    """
    manifest = folder / "manifest.toml"
    try:
        entries = tomllib.loads(manifest.read_text(encoding="utf-8"))["paper"]
        return [
            Paper(
                **{
                    **entry,
                    "authors": tuple(entry.get("authors", ())),
                    "notes": folder / entry["notes"] if "notes" in entry else None,
                }
            )
            for entry in entries
        ]
    except (OSError, tomllib.TOMLDecodeError, KeyError, TypeError) as error:
        raise InputError(f"{manifest.name} cannot be used: {error}. Restore it from the project.") from error
