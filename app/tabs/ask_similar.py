"""Likeness in the Ask tab's Papers: the papers nearest to one, the tree of papers and the tree of its sections."""

import functools
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import gradio as gr

from app.charts import markup
from app.charts.frame import Data
from app.charts.svg import chart
from app.charts.table import table
from app.tabs import viewport
from app.tabs.ask_library_view import progress
from app.text import ask_library as text
from app.text import common
from app.text import papers as tree_text
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.similar import SimilarPaper, Tree

_POLL_SECONDS = 0.3


@dataclass(frozen=True)
class Likeness:
    """What is known of one paper among the others; ``problems`` say which could not be compared."""

    title: str
    similar: tuple["SimilarPaper", ...]
    papers: "Tree | None"
    sections: "Tree"
    problems: tuple[str, ...]


def build(blocks: gr.Blocks) -> gr.Dropdown:
    """Lay the section out; nothing is opened before its button is pressed.

    Returns:
        The choice of the paper, which whoever lists the papers fills.
    """
    from app.assistant.paper import manifest_papers

    first = manifest_papers()[0]
    gr.HTML(f'<h3 class="panel-title">{text.SIMILAR_TITLE}</h3><p class="lead">{text.SIMILAR_LEAD}</p>')
    with gr.Row(elem_id="library-compare"):
        paper = gr.Dropdown(
            [(first.title, first.id)],
            value=first.id,
            label=text.SIMILAR_OF,
            filterable=False,
            scale=1,
            min_width=260,
            elem_id="library-similar-of",
        )
        compare = gr.Button(text.COMPARE, scale=0, min_width=120, elem_id="library-compare-button")
    panel = gr.HTML(elem_id="library-similar", elem_classes="ask-place")
    narrow, crossed = viewport.watch(blocks, "library")
    hidden = {"show_progress": "hidden", "api_visibility": "private"}
    shown = gr.State("")
    compare.click(show, [paper, narrow], [panel, shown], js=viewport.FILL_IN, concurrency_limit=4, **hidden)
    crossed.click(redraw, [shown, narrow], panel, js=viewport.FILL_IN, queue=False, **hidden)
    return paper


def show(paper_id: str, narrow: bool) -> Iterator[tuple[str, str]]:
    """Compare the paper with the others, opening or building their indexes first."""
    from app.assistant import library
    from app.tabs.ask_shelf import shelf

    try:
        title = library.paper_of(paper_id).title
    except InputError as error:
        yield markup.problem(str(error)), ""
        return
    label = text.COMPARING.format(title=title)
    job = shelf().start(f"similar:{paper_id}", label, lambda job: _compare(paper_id, job.progress), again=True)
    while not job.done:
        yield progress(job.label, job.share), ""
        time.sleep(_POLL_SECONDS)
    if job.problem:
        yield markup.problem(job.problem), ""
    else:
        yield panel(job.result, bool(narrow)), paper_id


def redraw(paper_id: str, narrow: bool) -> str | dict:
    """The same for another width of the window."""
    from app.tabs.ask_shelf import shelf

    job = shelf().find(f"similar:{paper_id}")
    return panel(job.result, bool(narrow)) if job and job.done and job.result else gr.skip()


def _compare(paper_id: str, report) -> Likeness:
    from app.assistant import library, similar
    from app.assistant.index import open_index
    from app.tabs.ask_shelf import shelf

    embedder = shelf().assistant(paper_id).embedder
    papers = library.papers()
    opened, problems = {}, []
    for number, paper in enumerate(papers):
        try:
            pdf = library.find_pdf(paper).path
            opened[paper.id] = open_index(
                paper, pdf, embedder, lambda share, done=number: report((done + share) / len(papers))
            )
        except InputError as error:
            if paper.id == paper_id:
                raise
            problems.append(text.NOT_COMPARED.format(title=paper.title, problem=error))
        report((number + 1) / len(papers))
    own = opened.pop(paper_id)
    others = list(opened.values())
    return Likeness(
        own.paper.title,
        tuple(similar.similar_papers(own, others)),
        similar.tree_of(own, others) if others else None,
        similar.section_tree(own),
        tuple(problems),
    )


def panel(found: Likeness, narrow: bool) -> str:
    """The list with scores and both trees, each with its table."""
    html = markup.panel_title(text.SIMILAR_LIST.format(title=found.title), kind=common.MEASURED)
    if found.similar:
        nearest = found.similar[0]
        template = text.SIMILAR_CONCLUSION if len(found.similar) > 1 else text.SIMILAR_CONCLUSION_ONE
        html += markup.conclusion(template.format(count=len(found.similar), title=nearest.title, score=nearest.score))
        rows = [(item.title, f"{item.score:.2f}") for item in found.similar]
        html += table(text.SIMILAR_COLUMNS, rows, caption=text.SIMILAR_CAPTION, left_aligned=True)
    else:
        html += markup.note(text.SIMILAR_ALONE)
    html += "".join(markup.note(problem) for problem in found.problems)
    if found.papers:
        html += markup.panel_title(tree_text.PAPER_TREE_TITLE, kind=common.MEASURED)
        html += _tree(found.papers, tree_text.PAPER_TREE_TITLE, narrow, chosen=found.title)
    title = text.SECTIONS_TITLE.format(title=found.title)
    html += markup.panel_title(title, kind=common.MEASURED)
    if len(found.sections.names) < 2:
        return html + markup.note(text.NO_SECTIONS.format(title=found.title))
    return html + _tree(found.sections, title, narrow)


def _tree(tree: "Tree", title: str, narrow: bool, chosen: str = "") -> str:
    from app.charts.papers import tree_description, tree_figure, tree_rows

    names: Sequence[str] = tree.names
    merges = [(merge.left, merge.right, merge.likeness) for merge in tree.merges]
    return chart(
        functools.partial(tree_figure, names=names, merges=merges, chosen=chosen),
        narrow=narrow,
        title=title,
        description=tree_description(names, merges, kind=tree.kind),
        data=Data(
            tree_text.COLUMNS,
            tree_rows(names, merges),
            ("{}",) * len(tree_text.COLUMNS),
            tree_text.TABLE_CAPTION,
            left_aligned=True,
        ),
    )
