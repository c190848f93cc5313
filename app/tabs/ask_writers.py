"""Who writes the answers: the choice under the question box, and the back-end that it stands for."""

import os
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import gradio as gr

from app import runs
from app.charts import markup
from app.text import ask as text
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.backends import Backend

QUOTES, LOCAL, OLLAMA, SERVER = "extractive", "local", "ollama", "openai"
_AS_IT_IS = ""
_LONGEST_NAME = 200


def build() -> tuple[gr.Accordion, list]:
    """The accordion, and its fields in the order of :func:`backend`'s arguments."""
    with gr.Accordion(_label(QUOTES, "", ""), open=False, elem_id="ask-writers") as accordion:
        who = gr.Radio(
            [(label, name) for name, label in text.WRITERS.items()],
            value=QUOTES,
            label=text.WRITER,
            show_label=False,
            container=False,
            elem_id="ask-writer",
        )
        about = gr.HTML(markup.note(text.ABOUT_WRITERS[QUOTES]), elem_id="ask-writer-about")
        with gr.Row():
            adapter = gr.Dropdown(
                [(text.NO_ADAPTER, _AS_IT_IS)],
                value=_AS_IT_IS,
                label=text.ADAPTER,
                visible=False,
                min_width=200,
                elem_id="ask-adapter",
            )
            model = gr.Textbox(
                label=text.MODEL_LABELS[LOCAL], visible=False, max_lines=1, min_width=200, elem_id="ask-model"
            )
        problem = gr.HTML(elem_id="ask-writer-problem", elem_classes="ask-slot")
    hidden = {"show_progress": "hidden", "api_visibility": "private", "queue": False}
    fields = [who, adapter, model]
    # What a writer needs is looked at after the fields are there: the first look imports for seconds.
    who.change(choose, who, [accordion, about, adapter, model, problem], **hidden).then(
        check, fields, [accordion, problem], **hidden
    )
    accordion.expand(offered_adapters, adapter, adapter, **hidden)
    for changed in (adapter.input, model.blur, model.submit):
        changed(check, fields, [accordion, problem], **hidden)
    return accordion, fields


def choose(who: str) -> tuple:
    """The fields that this writer has, emptied."""
    return (
        gr.update(label=_label(who, _AS_IT_IS, "")),
        markup.note(_about(who)),
        gr.update(visible=who == LOCAL, choices=_adapters(), value=_AS_IT_IS),
        gr.update(
            visible=who != QUOTES,
            value="",
            label=text.MODEL_LABELS.get(who, ""),
            placeholder=_usual_model(who),
        ),
        "",
    )


def check(who: str, adapter: str, model: str) -> tuple[dict, str]:
    """The accordion's label, and a sentence when the choice cannot answer."""
    try:
        backend(who, adapter, model)
    except InputError as error:
        return gr.update(label=_label(who, adapter, model)), markup.problem(str(error))
    return gr.update(label=_label(who, adapter, model)), ""


def offered_adapters(adapter: str) -> dict:
    """The runs whose adapter can answer, as they are now."""
    choices = _adapters()
    known = {value for _, value in choices}
    return gr.update(choices=choices, value=adapter if adapter in known else _AS_IT_IS)


def backend(who: str, adapter: str, model: str) -> "Backend | None":
    """Who answers; None when the paper's own sentences do. Nothing is loaded or called yet.

    Args:
        who: one of :data:`app.assistant.backends.NAMES`.
        adapter: the id of a finished run, or "" (for the local model alone).
        model: a folder (local) or the server's name for a model; the usual one if empty.

    Raises:
        InputError: there is no such writer, run or folder, or a setting is missing.
    """
    if who == QUOTES:
        return None
    from app.assistant.backends import make

    model = (model or "").strip()
    if len(model) > _LONGEST_NAME or not model.isprintable():
        raise InputError(text.MODEL_NAME_WRONG.format(most=_LONGEST_NAME))
    folder = ""
    if who == LOCAL:
        # A name would be looked for on the hub; from this page no question leaves the machine unless it says so.
        if model and not Path(model).expanduser().is_dir():
            raise InputError(text.NO_SUCH_FOLDER)
        if adapter:
            run = runs.find(adapter)
            if run is None or not runs.has_adapter(run):
                raise InputError(text.ADAPTER_GONE)
            if model:
                raise InputError(text.FOLDER_OR_ADAPTER)
            folder = str(run.folder)
    return make(who, model, folder)


def _adapters() -> list[tuple[str, str]]:
    finished = [run for run in runs.list_runs() if runs.has_adapter(run) and not runs.status(run).live]
    return [(text.NO_ADAPTER, _AS_IT_IS), *((text.ADAPTER_OF.format(run=_when(run)), run.id) for run in finished)]


def _when(run: runs.Run) -> str:
    day, clock = run.id.split("-")[:2]
    return f"{day[:4]}-{day[4:6]}-{day[6:]} {clock[:2]}:{clock[2:4]} UTC"


def _label(who: str, adapter: str, model: str) -> str:
    name = text.WRITERS.get(who, "")
    if adapter and (run := runs.find(adapter)):
        name = text.WRITER_WITH_ADAPTER.format(writer=name, run=_when(run))
    elif named := (model or "").strip() or (_usual_model(who) if who != LOCAL else ""):
        name = text.WRITER_WITH_MODEL.format(writer=name, model=named[:60])
    return text.WHO_ANSWERS.format(writer=name)


def _usual_model(who: str) -> str:
    if who == OLLAMA:
        from app.assistant.backends.ollama import DEFAULT_MODEL

        return os.environ.get("OLLAMA_MODEL", "") or DEFAULT_MODEL
    return os.environ.get("OPENAI_MODEL", "") if who == SERVER else ""


def _about(who: str) -> str:
    """What the writer is, and where its requests go."""
    names = {OLLAMA: "OLLAMA_HOST", SERVER: "OPENAI_BASE_URL"}
    address = os.environ.get(names[who], "") if who in names else ""
    try:
        host = urlsplit(address if "://" in address else f"//{address}").hostname or ""
    except ValueError:
        host = ""
    return text.ABOUT_WRITERS[who].format(host=host or text.NO_HOST[who] if who in names else "")
