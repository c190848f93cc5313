"""A run's events as what a page shows of it: sentences, cards, charts and tables in HTML."""

import dataclasses
import datetime
import itertools
import statistics
from collections.abc import Sequence
from html import escape

from app import runs
from app.charts import training as charts
from app.charts.markup import note, origin, panel_title, problem
from app.charts.table import table
from app.text import common
from app.text import finetune as text
from qlora import events

MIB = 2**20
_MEAN_OF_STEPS = 5
_SENTENCES_SHOWN = 4
_TABLE_ROWS = 40


@dataclasses.dataclass(frozen=True)
class Story:
    """The events of one run by kind.

    Attributes:
        started: first event, or None while there is none.
        steps, moves, samples, notices: in order.
        last_time: of the latest event, seconds since the epoch.
    """

    started: events.RunStarted | None
    steps: list[events.StepFinished]
    moves: list[events.PageMoved]
    samples: list[events.SampleGenerated]
    notices: list[str]
    last_time: float

    @property
    def budget_mib(self) -> float | None:
        """What may be on the device, or None for no limit."""
        budget = self.started.device_budget_bytes if self.started else None
        return None if budget is None else budget / MIB


def story(log: Sequence[events.Event]) -> Story:
    """Sort a log by kind."""

    def of(kind: type) -> list:
        return [event for event in log if isinstance(event, kind)]

    skipped = [f"Step {event.step} was passed over: {event.reason}." for event in of(events.StepSkipped)]
    return Story(
        started=next(iter(of(events.RunStarted)), None),
        steps=of(events.StepFinished),
        moves=of(events.PageMoved),
        samples=of(events.SampleGenerated),
        notices=[event.message for event in of(events.Notice)] + skipped,
        last_time=log[-1].time if log else 0.0,
    )


def status_html(run: runs.Run, status: runs.Status, told: Story, unreadable: int = 0) -> str:
    """Where the run stands, what it runs on, and what a person should know about it."""
    state = "stopping" if status.stopping_seconds is not None else status.state
    sentence = text.STATES[state].format(device=told.started.device if told.started else "")
    name = f'<span class="run-name">{escape(text.STARTED_AT.format(id=run.id))}</span>'
    head = f'<p class="run-state run-{state}"><span class="run-dot"></span><span>{escape(sentence)}</span> {name}</p>'
    if status.state in ("failed", "lost"):
        head += problem(status.message)
    elif status.message:
        head += note(status.message)
    extra = list(dict.fromkeys(told.notices))
    if unreadable:
        extra.append(text.UNREADABLE.format(count=unreadable))
    if told.started and told.started.emulated_device:
        extra.append(text.EMULATED_DEVICE)
    return head + "".join(map(note, extra))


def cards_html(run: runs.Run, status: runs.Status, told: Story) -> str:
    """The run's numbers of this moment; nothing before its first event."""
    start = told.started
    if start is None:
        return ""
    last = told.steps[-1] if told.steps else None
    begun = datetime.datetime.strptime(run.id, runs.ID_FORMAT).replace(tzinfo=datetime.UTC).timestamp()
    taken = duration(told.last_time - begun)
    epoch = text.CARD_STEP_OF.format(steps=start.steps, epoch=last.epoch if last else 0.0, samples=start.samples)
    cards = [(text.CARD_STEP, f"{last.step:,}" if last else "0", epoch)]
    if last is not None:
        speed = statistics.median(step.tokens_per_second for step in told.steps)
        pace = statistics.median(step.step_seconds for step in told.steps)
        cards.append(_loss_card([step.loss for step in told.steps]))
        speed_note = text.CARD_SPEED_NOTE.format(count=len(told.steps), seconds=pace)
        cards.append((text.CARD_SPEED, f"{speed:,.0f}", speed_note))
        if status.live:
            left = text.CARD_TIME_NOTE.format(taken=taken)
            cards.append((text.CARD_TIME_LEFT, duration(last.seconds_left), left))
        else:
            cards.append((text.CARD_TIME_TAKEN, taken, text.CARD_TIME_STEPS.format(steps=len(told.steps))))
        budget = told.budget_mib
        allowed = text.CARD_MEMORY_FREE if budget is None else text.CARD_MEMORY_BUDGET.format(budget=budget)
        cards.append((text.CARD_MEMORY, f"{_total_mib(last):,.0f} MiB", allowed))
        pages = text.CARD_PAGES_NOTE.format(pages=start.pages, page=start.page_bytes / MIB)
        cards.append((text.CARD_PAGES, f"{last.pages_on_device:,}", pages))
    body = "".join(
        f'<div class="card"><dt>{escape(name)}</dt><dd><strong>{escape(value)}</strong>'
        f"<span>{escape(words)}</span></dd></div>"
        for name, value, words in cards
    )
    return panel_title(text.LIVE_TITLE, kind=common.MEASURED, ask=text.LIVE_QUESTION) + f'<dl class="cards">{body}</dl>'


def pages_html(told: Story) -> str:
    """What the optimizer's pages did, in words."""
    start = told.started
    if not told.moves or start is None:
        pages = start.pages if start else 0
        all_there = bool(told.steps) and told.steps[-1].pages_on_device == pages
        words = text.PAGES_STAYED.format(pages=pages) if all_there else text.PAGES_NOT_YET
        body = note(words)
    else:
        out = sum(move.direction == "out" for move in told.moves)
        body = note(
            text.PAGES_SUMMARY.format(
                left=out,
                arrived=len(told.moves) - out,
                page=start.page_bytes / MIB,
                ms=statistics.median(move.milliseconds for move in told.moves),
            )
        )
        # From the end, so that a long run costs no more than a short one.
        latest = itertools.islice(itertools.groupby(reversed(told.moves), _occasion), _SENTENCES_SHOWN)
        sentences = [_move_in_words(*occasion, [*group][::-1]) for occasion, group in latest]
        items = "".join(f"<li>{escape(sentence)}</li>" for sentence in sentences)
        body += f'<p class="page-log-title">{escape(text.PAGES_LATEST)}</p><ul class="page-log">{items}</ul>'
    return f'<section class="pages"><h4>{escape(text.PAGES_TITLE)} {origin(common.MEASURED)}</h4>{body}</section>'


def moves_in_words(moves: Sequence[events.PageMoved]) -> list[str]:
    """Moves as sentences; pages that moved for one reason, one after the other, share one."""
    return [_move_in_words(*occasion, [*group]) for occasion, group in itertools.groupby(moves, _occasion)]


def _occasion(move: events.PageMoved) -> tuple[int, str, str]:
    return move.step, move.direction, move.reason


def _move_in_words(step: int, direction: str, reason: str, moves: Sequence[events.PageMoved]) -> str:
    numbers = _runs([move.page for move in moves])
    what = text.PAGE_REASONS.get((direction, reason))
    if what is None:
        what = text.PAGE_OTHER_REASON[direction].format(reason=reason)
    one, in_a_row, many = text.PAGE_NUMBERS
    pages = (one if numbers[0].isdigit() else in_a_row).format(page=numbers[0])
    if len(numbers) > 1:
        pages = many.format(pages=", ".join(numbers[:-1]), last=numbers[-1])
    when = text.PAGE_STEP.format(step=step) if step else text.PAGE_BEFORE_FIRST
    return text.PAGE_MOVE.format(when=when, pages=pages, what=what)


def _runs(numbers: Sequence[int]) -> list[str]:
    """Numbers as text; three or more that follow each other, up or down, as "7 to 3"."""
    told, rest = [], list(numbers)
    while rest:
        direction = rest[1] - rest[0] if len(rest) > 1 else 0
        length = 1
        while abs(direction) == 1 and length < len(rest) and rest[length] == rest[0] + direction * length:
            length += 1
        if length >= 3:
            told.append(text.PAGE_RUN.format(first=rest[0], last=rest[length - 1]))
        else:
            length = 1
            told.append(str(rest[0]))
        rest = rest[length:]
    return told


def samples_html(told: Story) -> str:
    """The configured prompts with their answers before and after training, as far as they are there."""
    if not told.samples:
        return ""
    rows = []
    for prompt in dict.fromkeys(sample.prompt for sample in told.samples):
        answers = [sample for sample in told.samples if sample.prompt == prompt]
        before = next((sample for sample in answers if sample.step == 0), None)
        after = next((sample for sample in reversed(answers) if sample.step > 0), None)
        title = text.SAMPLE_AFTER.format(step=f"{after.step:,}" if after else "…")
        columns = _sample_html(text.SAMPLE_BEFORE, before) + _sample_html(title, after)
        rows.append(f'<p class="prompt">{escape(prompt)}</p><div class="answers">{columns}</div>')
    return panel_title(text.SAMPLES_TITLE, kind=common.MEASURED) + "".join(rows)


def answer_html(title: str, words: str, footer: str, *, side: str) -> str:
    """One answer in its box; what a model writes is text, never markup."""
    return (
        f'<article class="answer answer-{side}"><h4>{escape(title)}</h4>'
        f'<p class="answer-text">{escape(words)}</p><p class="answer-note">{escape(footer)}</p></article>'
    )


def table_html(told: Story) -> str:
    """The charts' numbers, thinned to what can be read; nothing before the first step."""
    if not told.steps:
        return ""
    every = -(-len(told.steps) // _TABLE_ROWS)
    shown = [*told.steps[:-1:every], told.steps[-1]]
    components = list(charts.COMPONENT_COLOURS)
    rows = [
        (
            f"{step.step:,}",
            f"{step.loss:.3f}",
            charts.short_power(step.learning_rate),
            f"{step.tokens_per_second:,.0f}",
            *(f"{step.memory_bytes.get(key, 0) / MIB:,.1f}" for key in components),
            f"{step.pages_in:,}",
            f"{step.pages_out:,}",
        )
        for step in shown
    ]
    columns = (*text.TABLE_COLUMNS, *(text.COMPONENTS[key] for key in components), *text.TABLE_PAGE_COLUMNS)
    caption = text.TABLE_CAPTION if every == 1 else text.TABLE_CAPTION_THINNED.format(every=every)
    return table(columns, rows, caption=caption)


def duration(seconds: float) -> str:
    """Seconds in words: 42 s, 3 min 05 s, 2 h 10 min."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def _loss_card(losses: Sequence[float]) -> tuple[str, str, str]:
    """Means of the first and of the last steps, because the loss of one small batch says little."""
    if len(losses) == 1:
        return text.CARD_LOSS, f"{losses[0]:.2f}", text.CARD_LOSS_FIRST
    count = min(_MEAN_OF_STEPS, len(losses) // 2)
    first, now = statistics.fmean(losses[:count]), statistics.fmean(losses[-count:])
    change = f"{100 * (now / first - 1):+.0f} %".replace("-", "−")
    words = text.CARD_LOSS_FROM_FIRST if count == 1 else text.CARD_LOSS_FROM
    return text.CARD_LOSS, f"{now:.2f}", words.format(change=change, first=first, count=count)


def _total_mib(step: events.StepFinished) -> float:
    return sum(step.memory_bytes.get(key, 0) for key in charts.COMPONENT_COLOURS) / MIB


def _sample_html(title: str, sample: events.SampleGenerated | None) -> str:
    side = "base" if title == text.SAMPLE_BEFORE else "finetuned"
    if sample is None:
        return answer_html(title, "", text.SAMPLE_PENDING, side=side)
    footer = text.SAMPLE_NOTE.format(tokens=sample.new_tokens, seconds=sample.seconds)
    return answer_html(title, sample.text.strip() or text.SAMPLE_EMPTY, footer, side=side)
