"""What is kept of a visitor: an identifier in the browser, and under it votes and questions on this machine."""

import hashlib
from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING

import gradio as gr

from app.charts import markup
from app.tabs import ask_scripts as scripts
from app.tabs import ask_view as view
from app.text import ask as text
from qlora.errors import InputError

if TYPE_CHECKING:
    from app.assistant.answering import Answer
    from app.assistant.feedback import Feedback, Item

_SHOWN_QUESTIONS = 12


@cache
def feedback() -> "Feedback":
    """The process' one store of votes and questions."""
    from app.assistant.feedback import Feedback

    return Feedback()


def build(blocks: gr.Blocks) -> gr.Textbox:
    """The visitor's identifier, for every part of the tab that keeps something; a new one at the first visit."""
    visitor = gr.Textbox(visible="hidden", elem_id="ask-visitor")
    blocks.load(None, None, visitor, js=scripts.RECOGNISE, api_visibility="private")
    return visitor


def earlier(visitor: str) -> str:
    """The visitor's earlier questions, the latest first, each once."""
    try:
        asked = [entry.question for entry in feedback().history(visitor)] if visitor else []
    except InputError as error:
        return markup.problem(str(error))
    latest_first = list(dict.fromkeys(reversed(asked)))
    return view.earlier(latest_first[:_SHOWN_QUESTIONS])


def remember(visitor: str, answer: "Answer") -> str:
    """Keep the question with its answer; returns what hinders it, as HTML."""
    if not visitor:
        return ""
    try:
        feedback().remember(visitor, answer.question, answer.text, answer.record())
    except InputError as error:
        return markup.problem(str(error))
    return markup.problem(feedback().problem) if feedback().problem else ""


def votes(visitor: str, answers: Sequence["Answer"]) -> dict[int, int]:
    """The visitor's vote on each answer, by its place; none where the votes cannot be read."""
    items = [_item(answer).id for answer in answers]
    try:
        scores = feedback().scores(items, visitor)
    except InputError:  # said where something is to be kept
        return {}
    return {place: scores[item].own for place, item in enumerate(items)}


def vote(visitor: str, answers: Sequence["Answer"], entry: str, value: str) -> str:
    """Set the visitor's vote on an answer, or take it back when it is the same again; returns a problem as HTML."""
    if not (entry.isdecimal() and int(entry) < len(answers)):
        return markup.problem(text.ANSWER_GONE)
    item = _item(answers[int(entry)])
    try:
        wanted = {"1": 1, "-1": -1}.get(value, 0)
        own = feedback().scores([item.id], visitor)[item.id].own
        feedback().vote(visitor, item, 0 if own == wanted else wanted)
    except InputError as error:
        return markup.problem(str(error))
    return ""


def _item(answer: "Answer") -> "Item":
    """The same answer to the same question is one thing to vote on, whoever asks and whenever."""
    from app.assistant.feedback import ANSWER, Item

    paper = answer.citations[0].paper if answer.citations else "none"
    question = (answer.understood or answer.question).casefold()
    said = "\n".join((paper, question, answer.backend, answer.model, answer.text))
    return Item(ANSWER, paper, f"answer-{hashlib.sha256(said.encode('utf-8', 'replace')).hexdigest()[:32]}")
