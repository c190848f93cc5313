"""What the Ask tab keeps for the whole server: one assistant, and how far its index and a download are."""

import threading
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from qlora.errors import InputError


@dataclass
class Work:
    """Something under way in a thread: the share that is done, and what went wrong."""

    share: float = 0.0
    problem: str = ""
    done: bool = False


class Session:
    """The assistant with its index opened in the background, so that no click waits for it unseen."""

    def __init__(self) -> None:
        from app.assistant.assistant import Assistant

        self.assistant = Assistant()
        self._lock = threading.Lock()
        self._opening: Work | None = None
        self._download: Work | None = None

    def opening(self) -> Work:
        """The opening of the index, started unless it is under way or done."""
        with self._lock:
            current = self._opening
            if current is None or (current.done and (current.problem or not self._is_current())):
                self._opening = current = Work()
                threading.Thread(target=self._open, args=(current,), daemon=True).start()
            return current

    @property
    def state(self) -> Work | None:
        return self._opening

    def _is_current(self) -> bool:
        return self.assistant.is_open and self.assistant.pdf == self.assistant.find_pdf().path

    def _open(self, work: Work) -> None:
        def progress(share: float) -> None:
            work.share = share

        run(work, lambda: self.assistant.open(progress))

    def download(self) -> Work:
        """The download of the PDF, started unless it is under way."""
        from app.assistant.library import download_pdf

        with self._lock:
            if self._download is None or self._download.done:
                self._download = work = Work()

                def progress(share: float) -> None:
                    work.share = share

                def get() -> None:
                    download_pdf(self.assistant.paper, progress)

                threading.Thread(target=run, args=(work, get), daemon=True).start()
            return self._download

    def add(self, upload: Path) -> None:
        """Keep the visitor's copy of the paper.

        Raises:
            InputError: it is not the paper's PDF.
        """
        from app.assistant.library import add_pdf

        add_pdf(self.assistant.paper, upload)


def run(work: Work, task) -> None:
    """Do the work and note how it ended."""
    try:
        task()
    except InputError as error:
        work.problem = str(error)
    except Exception as error:
        work.problem = f"{type(error).__name__}: {error}"
        raise
    finally:
        work.done = True


@cache
def session() -> Session:
    """The process' one session; the first call imports what the assistant needs."""
    return Session()
