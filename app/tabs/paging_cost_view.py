"""The panel of what paging costs: by formula, with what the paper says and what was recorded beside it."""

import functools
from html import escape

from app import recordings
from app.charts import paging_cost as charts
from app.charts.frame import Data
from app.charts.markup import conclusion, note, origin, panel_title, problem
from app.charts.svg import chart
from app.tabs import paging_cost
from app.tabs.paging_replay import Replay, replay
from app.tabs.paging_sources import run_recordings
from app.tabs.paging_view import moving_share, per_cent
from app.text import common
from app.text import paging as text
from qlora import events
from qlora.errors import InputError

_TOKENS = tuple(64 * 2**power for power in range(12))


# Typed: True would be taken for 1.
@functools.lru_cache(maxsize=256, typed=True)
def cost_html(
    model: str, batch: float, sequence: float, evicted: float, hidden: float, teraflops: float, narrow: bool
) -> str:
    """The panel for one setting; a value out of range stands in its place as a sentence.

    Args:
        model: as in `paging_cost.cost`.
        batch, sequence: sequences and tokens of each.
        evicted, hidden: per cent.
        teraflops: of the GPU.
        narrow: whether the page is.
    """
    try:
        made = paging_cost.cost(model, batch, sequence, evicted / 100, hidden / 100, teraflops)
    except (InputError, TypeError) as error:
        return problem(str(error))
    at = {tokens: paging_cost.cost(model, 1, tokens, evicted / 100, hidden / 100, teraflops) for tokens in _TOKENS}
    gen4, gen5 = made.moving_seconds
    shares = {bus: made.per_cent(bus) for bus in made.moving_seconds}
    drawn = chart(
        functools.partial(
            charts.cost_chart,
            lines={bus: [(tokens, each.per_cent(bus)) for tokens, each in at.items()] for bus in shares},
            chosen={bus: (min(made.tokens, _TOKENS[-1]), share) for bus, share in shares.items()},
            paper_tokens=paging_cost.PAPER_BATCH * paging_cost.PAPER_SEQUENCE,
        ),
        narrow=narrow,
        title=text.COST_CHART_TITLE,
        description=text.COST_DESCRIPTION.format(
            model=model,
            lines="; ".join(
                text.COST_DESCRIPTION_LINE.format(bus=bus, share=per_cent(share), tokens=made.tokens)
                for bus, share in shares.items()
            ),
        ),
        data=_data(model, made, at),
    )
    return (
        panel_title(text.COST_TITLE, kind=common.COMPUTED, ask=text.ASK_COST)
        + conclusion(
            text.COST_CONCLUSION.format(
                model=model,
                batch=int(batch),
                sequence=int(sequence),
                moved=gib(made.moved_bytes / 2),
                gen4=seconds(made.moving_seconds[gen4]),
                bus4=gen4,
                bus5=gen5,
                compute=seconds(made.compute_seconds),
                share4=per_cent(shares[gen4]),
                share5=per_cent(shares[gen5]),
                judgement=next(words for most, words in text.COST_JUDGEMENTS if shares[gen4] <= most),
            )
        )
        + drawn
        + note(text.COST_NOTE.format(state=gib(made.state_bytes)))
    )


def evidence_html() -> str:
    """What the paper says and does not say, and the recorded run's own times."""
    paper = paging_cost.cost(
        paging_cost.PAPER_MODEL, paging_cost.PAPER_BATCH, paging_cost.PAPER_SEQUENCE, 1.0, 0.0, ASSUMED_TERAFLOPS
    )
    bus = next(iter(paper.moving_seconds))
    computed = text.COST_PAPER_COMPUTED.format(
        sequence=paging_cost.PAPER_SEQUENCE, share=per_cent(paper.per_cent(bus)), bus=bus, speed=ASSUMED_TERAFLOPS
    )
    return _evidence(common.FROM_THE_PAPER, text.COST_PAPER) + _evidence(common.COMPUTED, computed) + _recorded_html()


#: Of a card with 48 GB, as in the paper's statement; the slider's first value.
ASSUMED_TERAFLOPS = 60


def seconds(value: float) -> str:
    """A time with two digits that count."""
    if value < 0.1:
        return f"{value * 1e3:.2g} ms"
    return f"{value:.2g} s" if value < 10 else f"{value:,.0f} s"


def gib(count: float) -> str:
    """Bytes with two digits that count."""
    return f"{count / 2**30:.1f} GiB" if count >= 2**30 else f"{count / 2**20:,.0f} MiB"


def _evidence(kind: str, words: str) -> str:
    return f'<p class="paging-evidence">{origin(kind)} {escape(words)}</p>'


def _data(model: str, made: paging_cost.Cost, at: dict[int, paging_cost.Cost]) -> Data:
    columns = [*text.COST_TABLE]
    for bus in made.moving_seconds:
        columns += [words.format(bus=bus) for words in text.COST_TABLE_BUS]
    rows = []
    for tokens, each in sorted({**at, made.tokens: made}.items()):
        row: list[float] = [tokens, each.compute_seconds]
        for bus in made.moving_seconds:
            row += [each.moving_seconds[bus], each.per_cent(bus)]
        rows.append(row)
    caption = text.COST_TABLE_CAPTION.format(model=model, moved=gib(made.moved_bytes / 2))
    return Data(columns, rows, ("{:,}", "{:,.3g}", *(("{:,.3g}", "{:,.2g}") * 2)), caption, chosen=f"{made.tokens:,}")


def _recorded_html() -> str:
    for name in run_recordings():
        try:
            recording = recordings.read(name)
        except InputError:
            continue  # its own panel says what is wrong with it
        run = replay(recording.log)
        if run is not None and run.moves and run.steps:
            return _evidence(common.RECORDED, _recorded_words(recording, run))
    return ""


def _recorded_words(recording: recordings.Recording, run: Replay) -> str:
    moves = [event for event in recording.log if isinstance(event, events.PageMoved)]
    waits = sum(event.milliseconds for event in recording.log if isinstance(event, events.PageReached))
    copying = sum(event.milliseconds for event in moves)
    waited = text.COST_EMULATED
    if not recording.header.emulated_device:
        waited = text.COST_WAITED.format(ms=seconds(waits / 1e3))
    return text.COST_RECORDED.format(
        device=recording.header.device,
        moved=gib(sum(event.bytes for event in moves)),
        moves=len(moves),
        ms=seconds(copying / 1e3),
        share=per_cent(moving_share(run)),
        steps=sum(bool(step.pages_in or step.pages_out) for step in run.steps),
        all_share=per_cent(100 * copying / 1e3 / sum(step.seconds for step in run.steps)),
        waited=waited,
    )
