"""A run's pages, event by event: what the page's player gets as JSON, and the state at any moment.

``app/scripts/paging.js`` computes the same states in the browser, so that scrubbing answers at once; a test holds the
two together.
"""

import dataclasses
import itertools
import json
from collections.abc import Iterator, Sequence

from app.tabs.finetune_view import moves_in_words
from qlora import events

# What a row of a replay says. The page's script has the same numbers.
OUT, IN, HIT, LATE, STEP, RESUMED = range(6)
# Where a page is.
UNUSED, RESIDENT, AWAY = range(3)

_CONSTANT = ("base_model", "adapters", "gradients")
_MOST_ROWS = 20_000
_LONGEST_PAUSE_MS = 60_000


@dataclasses.dataclass(frozen=True)
class Step:
    """One finished step.

    Attributes:
        row: number of its row in the replay.
        began_ms, ended_ms: since the run's first event.
        moving_ms: that copies of its pages took, waits not included.
        memory: bytes by component at its fullest moment.
    """

    row: int
    number: int
    began_ms: int
    ended_ms: int
    tokens: int
    loss: float
    seconds: float
    moving_ms: float
    pages_in: int
    pages_out: int
    memory: dict[str, int]


@dataclasses.dataclass(frozen=True)
class Replay:
    """What the player needs of a run.

    Attributes:
        pages, page_bytes: optimizer pages; last_page_bytes is what the last one takes.
        budget_bytes: what may be on the device, or None.
        constant: bytes by component that are on the device all the time.
        initial: where each page is before the first row.
        rows: (code, page, milliseconds since the first event); of a step its number stands in the page's place, and of
            a resumed run 0.
        away_after: row of a `RESUMED` -> pages that are away after it.
        steps: those that finished.
        sentences: (first row, last row, words) of moves that share a sentence.
    """

    pages: int
    page_bytes: int
    last_page_bytes: int
    budget_bytes: int | None
    constant: dict[str, int]
    initial: list[int]
    rows: list[tuple[int, int, int]]
    away_after: dict[int, list[int]]
    steps: list[Step]
    sentences: list[tuple[int, int, str]]

    @property
    def moves(self) -> int:
        """Rows in which a page changed place."""
        return sum(row[0] in (OUT, IN) for row in self.rows)


def replay(log: Sequence[events.Event]) -> Replay | None:
    """The replay of a run's log; None when the log does not say which pages there are, or there are none.

    Of a very long run the latest part is kept.
    """
    started = next((event for event in log if isinstance(event, events.RunStarted)), None)
    if started is None or started.pages < 1:
        return None
    rows, row_events = _rows(log, started.time)
    away_after = _away_after_resuming(rows)
    initial = [UNUSED] * started.pages
    cut = max(0, len(rows) - _MOST_ROWS)
    if cut:
        initial = _advance(initial, rows[:cut], 0, away_after)
        rows, row_events = rows[cut:], row_events[cut:]
        away_after = {row - cut: away for row, away in away_after.items() if row >= cut}
    state_bytes = started.memory_bytes.get("optimizer", started.pages * started.page_bytes)
    return Replay(
        pages=started.pages,
        page_bytes=started.page_bytes,
        last_page_bytes=state_bytes - (started.pages - 1) * started.page_bytes,
        budget_bytes=started.device_budget_bytes,
        constant={name: started.memory_bytes.get(name, 0) for name in _CONSTANT},
        initial=initial,
        rows=rows,
        away_after=away_after,
        steps=_steps(rows, row_events),
        sentences=_sentences(row_events),
    )


def state_at(run: Replay, row: int) -> list[int]:
    """Where each page is after the first `row` rows: `UNUSED`, `RESIDENT` or `AWAY`."""
    return _advance(run.initial, run.rows[:row], 0, run.away_after)


def moving_at(run: Replay, row: int) -> int | None:
    """The page that the last of the first `row` rows moves, or None."""
    return run.rows[row - 1][1] if row and run.rows[row - 1][0] in (OUT, IN) else None


def resident_bytes(run: Replay, state: Sequence[int]) -> int:
    """Of the pages on the device."""
    short = run.page_bytes - run.last_page_bytes
    return state.count(RESIDENT) * run.page_bytes - (short if state[-1] == RESIDENT else 0)


def most_away(run: Replay) -> tuple[int, int]:
    """(row, pages): the first moment with most pages away, and how many they are; (number of rows, 0) when none was."""
    row, away = max(enumerate(_away_after_rows(run), start=1), key=lambda item: len(item[1]), default=(0, set()))
    return (row, len(away)) if away else (len(run.rows), 0)


def most_away_by_step(run: Replay) -> list[set[int]]:
    """For each of `run.steps` the pages away at the first moment when most were, its beginning included."""
    found, most = [], {page for page, place in enumerate(run.initial) if place == AWAY}
    for row, away in zip(run.rows, _away_after_rows(run), strict=True):
        most = max(most, away, key=len)
        if row[0] == STEP:
            found.append(most)
            most = away
    return found


def _away_after_rows(run: Replay) -> Iterator[set[int]]:
    """The pages that are away after each row."""
    away = {page for page, place in enumerate(run.initial) if place == AWAY}
    for number, (code, page, _) in enumerate(run.rows):
        if code == OUT:
            away = away | {page}
        elif code == IN:
            away = away - {page}
        elif code == RESUMED:
            away = set(run.away_after[number])
        yield away


def absences(run: Replay) -> list[tuple[int, int, int]]:
    """(page, from, to) in milliseconds for each time that a page was away; to the end when it never came back."""
    since = {page: 0 for page, place in enumerate(run.initial) if place == AWAY}
    found = []
    for number, (code, page, when) in enumerate(run.rows):
        if code == OUT:
            since.setdefault(page, when)
        elif code == IN and page in since:
            found.append((page, since.pop(page), when))
        elif code == RESUMED:
            found += [(gone, begun, when) for gone, begun in since.items()]
            since = dict.fromkeys(run.away_after[number], when)
    end = run.rows[-1][2] if run.rows else 0
    return found + [(page, begun, end) for page, begun in since.items()]


def resident_over_time(run: Replay) -> list[tuple[int, int]]:
    """(milliseconds, bytes of pages on the device from then on), from 0, where they change."""
    state, held = list(run.initial), resident_bytes(run, run.initial)
    found = [(0, held)]
    for number, row in enumerate(run.rows):
        if row[0] in (HIT, LATE) or (row[0] == STEP and UNUSED not in state):
            continue
        state = _advance(state, [row], number, run.away_after)
        if (now := resident_bytes(run, state)) != held:
            held = now
            found.append((row[2], held))
    return found


def compact_json(run: Replay) -> str:
    """What the browser gets: short names, rows without names."""
    steps = [
        [
            step.row,
            step.number,
            step.began_ms,
            step.tokens,
            step.memory.get("optimizer", 0),
            step.memory.get("activations", 0),
        ]
        for step in run.steps
    ]
    return json.dumps(
        {
            "pages": run.pages,
            "pageBytes": run.page_bytes,
            "lastPageBytes": run.last_page_bytes,
            "budget": run.budget_bytes,
            "constant": run.constant,
            "initial": run.initial,
            "rows": run.rows,
            "awayAfter": run.away_after,
            "steps": steps,
            "sentences": run.sentences,
            "start": most_away(run)[0],
        },
        separators=(",", ":"),
    )


def _rows(log: Sequence[events.Event], began: float) -> tuple[list[tuple[int, int, int]], list[events.Event]]:
    rows, row_events = [], []
    now, last = 0.0, began
    for event in log:
        pause = max(0.0, event.time - last) * 1e3
        # A pause between a run's end and its resumption is not worth watching.
        now, last = now + (0.0 if isinstance(event, events.RunResumed) else min(pause, _LONGEST_PAUSE_MS)), event.time
        code, about = _code(event)
        if code is not None:
            rows.append((code, about, round(now)))
            row_events.append(event)
    return rows, row_events


def _code(event: events.Event) -> tuple[int | None, int]:
    if isinstance(event, events.PageMoved):
        return (OUT if event.direction == "out" else IN), event.page
    if isinstance(event, events.PageReached):
        return (HIT if event.hit else LATE), event.page
    if isinstance(event, events.StepFinished):
        return STEP, event.step
    if isinstance(event, events.RunResumed):
        return RESUMED, 0
    return None, 0


def _away_after_resuming(rows: Sequence[tuple[int, int, int]]) -> dict[int, list[int]]:
    """A run that goes on says nothing of where its pages are: those that come in first were away."""
    found = {}
    for number, row in enumerate(rows):
        if row[0] != RESUMED:
            continue
        first: dict[int, int] = {}
        for code, page, _ in rows[number + 1 :]:
            if code == RESUMED:
                break
            if code in (OUT, IN):
                first.setdefault(page, code)
        found[number] = sorted(page for page, code in first.items() if code == IN)
    return found


def _advance(
    initial: Sequence[int], rows: Sequence[tuple[int, int, int]], first: int, away_after: dict[int, list[int]]
) -> list[int]:
    state = list(initial)
    for number, (code, page, _) in enumerate(rows, start=first):
        if code in (OUT, IN) and page < len(state):
            state[page] = AWAY if code == OUT else RESIDENT
        elif code == STEP:  # the update has used every page by then
            state = [RESIDENT if place == UNUSED else place for place in state]
        elif code == RESUMED:
            state = [RESIDENT] * len(state)
            for away in away_after[number]:
                state[away] = AWAY
    return state


def _steps(rows: Sequence[tuple[int, int, int]], row_events: Sequence[events.Event]) -> list[Step]:
    found, moving = [], 0.0
    for number, (row, event) in enumerate(zip(rows, row_events, strict=True)):
        if isinstance(event, events.PageMoved):
            moving += event.milliseconds
        elif isinstance(event, events.StepFinished):
            found.append(
                Step(
                    row=number,
                    number=event.step,
                    began_ms=max(0, row[2] - round(event.step_seconds * 1e3)),
                    ended_ms=row[2],
                    tokens=event.tokens,
                    loss=event.loss,
                    seconds=event.step_seconds,
                    moving_ms=moving,
                    pages_in=event.pages_in,
                    pages_out=event.pages_out,
                    memory=event.memory_bytes,
                )
            )
            moving = 0.0
    return found


def _sentences(row_events: Sequence[events.Event]) -> list[tuple[int, int, str]]:
    moves = [(number, event) for number, event in enumerate(row_events) if isinstance(event, events.PageMoved)]
    told = []
    for _, group in itertools.groupby(moves, lambda item: (item[1].step, item[1].direction, item[1].reason)):
        numbered = list(group)
        (words,) = moves_in_words([event for _, event in numbered])
        told.append((numbered[0][0], numbered[-1][0], words))
    return told
