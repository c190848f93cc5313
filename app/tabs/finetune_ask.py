"""Both models' answers to one question, as they grow."""

import time

import gradio as gr

from app import runs
from app.charts.markup import problem
from app.tabs import finetune_answers as answers
from app.tabs import finetune_view as view
from app.text import finetune as text
from qlora.errors import InputError


def ask(run_id: str | None, prompt: str, max_new_tokens: float):
    """Both answers as they grow, and the buttons beside them."""
    run = runs.find(run_id) if run_id else None
    asking = gr.Button(interactive=False), gr.Button(visible=True)
    idle = gr.Button(interactive=True), gr.Button(visible=False)
    if run is None:
        yield problem(text.RUN_GONE if run_id else text.ASK_WAIT_FOR_RUN), *idle
        return
    begun, shown = time.monotonic(), ""
    try:
        for both in answers.ask_both(run, prompt, max_new_tokens=int(max_new_tokens)):
            shown = answers_html(both, time.monotonic() - begun)
            yield shown, *asking
    except InputError as error:
        yield shown + problem(str(error)), *idle
        return
    yield shown, *idle


def answers_html(both: dict[str, answers.Answer], seconds: float) -> str:
    """Both answers side by side, with what each side is doing."""
    silent = not any(answer.text for answer in both.values())
    boxes, turn = "", True
    for side, title in (("base", text.ASK_BASE), ("finetuned", text.ASK_FINETUNED)):
        answer = both[side]
        words = answer.text
        if answer.done:
            footer = text.ASK_DONE.format(tokens=answer.new_tokens, seconds=answer.seconds)
            words = words.strip() or text.SAMPLE_EMPTY
        elif silent and turn:
            footer = text.ASK_LOADING.format(seconds=seconds)
        else:
            footer = text.ASK_ANSWERING if turn else text.ASK_WAITING
        turn = turn and answer.done
        boxes += view.answer_html(title, words, footer, side=side)
    return f'<div class="answers">{boxes}</div>'
