"""Papers in the Ask tab: the list, adding and removing, and which of them questions are put to."""

import time
import uuid
from collections.abc import Iterator
from pathlib import Path

import gradio as gr

from app.charts import markup
from app.tabs import ask_library_view as view
from app.tabs import ask_similar
from app.text import ask_library as text
from qlora.errors import InputError

TAB_ID = "ask-library"
TITLE = text.TITLE
_POLL_SECONDS = 0.3
_ADDING, _REINDEXING = "add:", "reindex:"

# A click on a paper's button reaches Python as the event's data, and so does a tick, with all papers that are ticked.
# A list that asks something has its answer focused.
_SEND_ACTION = """
element.addEventListener('click', (event) => {
  const button = event.target.closest('[data-action]');
  if (button) trigger('select', {action: button.dataset.action, paper: button.dataset.of});
});
element.addEventListener('change', (event) => {
  if (!event.target.matches('[data-tick]')) return;
  const ticked = [...element.querySelectorAll('[data-tick]:checked')].map((box) => box.dataset.tick);
  trigger('input', {papers: ticked, last: event.target.dataset.tick});
});
watch('value', () => requestAnimationFrame(() => element.querySelector('[data-focus]')?.focus()));
"""


def build(blocks: gr.Blocks, tab: gr.Tab, selected: gr.State) -> None:
    """Lay the part out inside ``tab``; the list is read when the tab is first opened.

    Args:
        selected: identifiers of the papers that questions are put to.
    """
    gr.HTML(f'<p class="lead">{text.LEAD}</p>')
    listing = gr.HTML(
        markup.note(text.LOADING), elem_id="library-list", js_on_load=_SEND_ACTION, apply_default_css=False
    )
    done = gr.HTML(elem_id="library-done", elem_classes="ask-place")
    gr.HTML(f'<h3 class="panel-title">{text.ADD_TITLE}</h3>{view.limits()}')
    with gr.Row(elem_id="library-add"):
        upload = gr.UploadButton(
            text.UPLOAD,
            file_count="multiple",
            file_types=[".pdf", ".jsonl", ".json", ".md", ".markdown", ".txt"],
            scale=0,
            min_width=160,
            elem_id="library-upload",
        )
        arxiv = gr.Textbox(
            label=text.ARXIV,
            placeholder=text.ARXIV_PLACEHOLDER,
            max_lines=1,
            scale=1,
            min_width=200,
            elem_id="library-arxiv",
        )
        get = gr.Button(text.ARXIV_GET, scale=0, min_width=160, elem_id="library-get")
    gr.HTML(markup.note(text.ARXIV_NOTE))
    added = gr.HTML(elem_id="library-added", elem_classes="ask-place")
    similar_of = ask_similar.build(blocks)

    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    seen = [listing, selected, similar_of]
    tab.select(show, selected, [done, *seen], concurrency_limit=8, **hidden)
    upload.upload(add_files, [upload, selected], [added, *seen], concurrency_limit=4, **hidden)
    gr.on([get.click, arxiv.submit], add_arxiv, [arxiv, selected], [added, *seen], concurrency_limit=4, **hidden)
    listing.select(act, selected, [done, *seen], concurrency_limit=4, **hidden)
    # What was said of an earlier deed goes when the next one begins.
    gr.on([upload.upload, get.click, arxiv.submit], lambda: "", None, done, queue=False, **hidden)
    listing.select(lambda: "", None, added, queue=False, **hidden)
    # In the queue: without it gradio does not tell that a state has changed.
    listing.input(tick, selected, [done, *seen], concurrency_limit=8, **hidden)


def _shown(selected: list[str], removing: str = "", focused: str = "") -> tuple[str, list[str], dict]:
    """The list, what is ticked of the papers that there are, and the choice of one to compare."""
    from app.assistant import library

    entries = library.catalogue()
    known = [entry.paper.id for entry in entries]
    kept = [paper_id for paper_id in selected if paper_id in known] or known[:1]
    choices = [(entry.paper.title, entry.paper.id) for entry in entries]
    return view.papers(entries, kept, removing, focused), kept, gr.update(choices=choices)


def tick(selected: list[str], event: gr.EventData) -> tuple:
    """Questions go to the papers that are ticked; the last one's tick stays."""
    from app.assistant import library

    papers, last = [str(paper) for paper in event.papers], str(event.last)
    try:
        titles = {paper.id: paper.title for paper in library.papers()}
        ticked = [paper for paper in titles if paper in papers]
        if not ticked:
            return view.said(text.ONE_STAYS), *_shown([last], focused=last)
        said = text.ASKED_ONE.format(title=titles[ticked[0]]) if len(ticked) == 1 else text.ASKED_SEVERAL
        return view.said(said.format(count=len(ticked))), gr.skip(), ticked, gr.skip()
    except InputError as error:
        return markup.problem(str(error)), *_shown(selected)


def show(selected: list[str]) -> Iterator[tuple]:
    """The papers, and what is under way with them, also from before a reload."""
    from app.tabs.ask_shelf import shelf

    try:
        yield "", *_shown(selected)
    except InputError as error:
        yield markup.problem(str(error)), *[gr.skip()] * 3
        return
    jobs = [job for prefix in (_ADDING, _REINDEXING) for job in shelf().under_way(prefix)]
    while pending := [job for job in jobs if not job.done]:
        yield view.progress(pending[0].label, pending[0].share), *[gr.skip()] * 3
        time.sleep(_POLL_SECONDS)
    if jobs:
        yield "", *_shown(selected)


def add_files(paths: list[str] | None, selected: list[str]) -> Iterator[tuple]:
    """Read and keep the visitor's files as one paper, then index it."""
    from app.assistant import library

    files = [Path(path) for path in paths or []]
    if not files:
        return
    label = text.CHECKING.format(name=", ".join(path.name for path in files[:3]))
    yield from _add(label, lambda job: library.add(files if len(files) > 1 else files[0]), selected)


def add_arxiv(number: str, selected: list[str]) -> Iterator[tuple]:
    """Get a paper from arXiv, because the visitor asked for it, then index it."""
    from app.assistant import library
    from app.assistant.arxiv import parse_id

    try:
        name, _ = parse_id(number)
    except InputError as error:
        yield markup.problem(str(error)), *[gr.skip()] * 3
        return
    label = text.GETTING.format(name=name)
    yield from _add(label, lambda job: library.add_arxiv(number, job.progress), selected)


def _add(label: str, get, selected: list[str]) -> Iterator[tuple]:
    from app.tabs.ask_shelf import shelf

    current = shelf()

    def task(job):
        added = get(job)
        job.share, job.label = 0.0, text.INDEXING.format(title=added.paper.title)
        current.assistant(added.paper.id).open(job.progress)
        return added

    job = current.start(f"{_ADDING}{uuid.uuid4()}", label, task)
    yield from _followed(job)
    if job.problem:
        # A paper that was kept and could not be indexed is in the list.
        yield markup.problem(job.problem), *_shown(selected)
        return
    paper, is_new = job.result
    sentence = (text.ADDED if is_new else text.KNOWN).format(title=paper.title)
    yield view.said(sentence), *_shown([*selected, paper.id] if paper.id not in selected else selected)


def _followed(job) -> Iterator[tuple]:
    while not job.done:
        yield view.progress(job.label, job.share), *[gr.skip()] * 3
        time.sleep(_POLL_SECONDS)


def act(selected: list[str], event: gr.EventData) -> Iterator[tuple]:
    """What a paper's button asks for; removing asks back first."""
    from app.assistant import library
    from app.tabs.ask_shelf import shelf

    action, paper_id = str(event.action), str(event.paper)
    try:
        if action == "remove":
            yield "", *_shown(selected, removing=paper_id)
        elif action == "keep":
            yield "", *_shown(selected)
        elif action == "confirm":
            title = library.paper_of(paper_id).title
            library.remove(paper_id)
            shelf().forget(paper_id)
            yield view.said(text.REMOVED.format(title=title)), *_shown(selected)
        elif action == "reindex":
            yield from _reindexed(paper_id, selected)
    except InputError as error:
        yield markup.problem(str(error)), *_shown(selected)


def _reindexed(paper_id: str, selected: list[str]) -> Iterator[tuple]:
    from app.assistant import library
    from app.tabs.ask_shelf import shelf

    current = shelf()
    title = library.paper_of(paper_id).title
    embedder = current.assistant(paper_id).embedder

    def task(job):
        library.reindex(paper_id, embedder, job.progress)
        current.forget(paper_id)

    job = current.start(f"{_REINDEXING}{paper_id}", text.INDEXING.format(title=title), task, again=True)
    yield from _followed(job)
    sentence = markup.problem(job.problem) if job.problem else view.said(text.INDEXED_ANEW.format(title=title))
    yield sentence, *_shown(selected)
