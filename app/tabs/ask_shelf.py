"""What the parts of the Ask tab around the questions keep for the whole server: an assistant a paper, and long work."""

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

from app.tabs.ask_session import Work, run, session

if TYPE_CHECKING:
    from app.assistant.asking import Asking
    from app.assistant.assistant import Assistant

_KEPT_JOBS = 24


@dataclass
class Job(Work):
    """Work with a sentence about it while it is under way, and what came of it."""

    label: str = ""
    result: object = None

    def progress(self, share: float) -> None:
        self.share = share


class Shelf:
    """Each piece of work has a name and is done once, however many visitors wait for it; it outlives their pages."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._assistants: dict[str, Assistant] = {}
        self._jobs: dict[str, Job] = {}

    def assistant(self, paper_id: str) -> "Assistant":
        """The paper's assistant, which shares the embedding model with the others. Nothing is opened yet.

        Raises:
            InputError: there is no such paper (any more).
        """
        from app.assistant import library
        from app.assistant.assistant import Assistant

        first = session().assistant
        if first.paper.id == paper_id:
            return first
        paper = library.paper_of(paper_id)
        with self._lock:
            if paper_id not in self._assistants:
                self._assistants[paper_id] = Assistant(paper, embedder=first.embedder)
            return self._assistants[paper_id]

    def asking(self, paper_ids: Sequence[str], comparing: bool = False) -> "Asking":
        """Who answers from these papers, from the first of all where none is given. Nothing is opened yet.

        Raises:
            InputError: one of them is not there (any more).
        """
        from app.assistant.selection import asking

        chosen = list(dict.fromkeys(paper_ids)) or [session().assistant.paper.id]
        return asking([self.assistant(paper_id) for paper_id in chosen], comparing)

    def start(self, name: str, label: str, task: Callable[[Job], object], again: bool = False) -> Job:
        """The work of this name, begun in a thread unless it is under way or done without a problem.

        Args:
            name: of the work, unique for what it makes.
            label: what is said while it is under way.
            task: called with the job; what it returns becomes the job's ``result``. It may change the ``label``.
            again: begin it although it is done.
        """
        with self._lock:
            job = self._jobs.get(name)
            if job is None or (job.done and (again or job.problem)):
                self._jobs.pop(name, None)
                self._jobs[name] = job = Job(label=label)
                self._drop_old()
                threading.Thread(target=self._run, args=(job, task), daemon=True).start()
            return job

    @staticmethod
    def _run(job: Job, task: Callable[[Job], object]) -> None:
        def work() -> None:
            job.result = task(job)

        run(job, work)

    def _drop_old(self) -> None:
        done = [name for name, job in self._jobs.items() if job.done]
        for name in done[: max(0, len(self._jobs) - _KEPT_JOBS)]:
            del self._jobs[name]

    def find(self, name: str) -> Job | None:
        with self._lock:
            return self._jobs.get(name)

    def under_way(self, prefix: str) -> list[Job]:
        """Work that is not done, whose names begin so."""
        with self._lock:
            return [job for name, job in self._jobs.items() if name.startswith(prefix) and not job.done]

    def forget(self, paper_id: str) -> None:
        """Let go of what was made from a paper's index: it is removed or built anew."""
        with self._lock:
            self._assistants.pop(paper_id, None)
            for name in [name for name, job in self._jobs.items() if name.endswith(f":{paper_id}") and job.done]:
                del self._jobs[name]
        first = session().assistant
        if first.paper.id == paper_id:
            session().assistant = type(first)(first.paper, first.folder, first.embedder, first.with_pdf)


def file_of(assistant):
    """The file that has the paper's pages, if there is one file."""
    files = assistant.paper.files
    return (files[0] if len(files) == 1 else None) if files else assistant.pdf


@cache
def shelf() -> Shelf:
    """The process' one shelf; the first call imports what the assistant needs."""
    return Shelf()
