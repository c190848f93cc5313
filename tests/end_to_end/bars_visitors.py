"""What many visitors at once wait for, and what a server holds after many redraws: the requests that a page sends when
a control is moved, written down once in Chromium and sent again without it."""

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from uuid import uuid4

import httpx
from playwright.sync_api import Page, Request

from tests.end_to_end.bars_controls import CONTROLS, Control, act, open_tab, still

# Position of a control in what the tab's listeners take -> the values that it goes through, so that a setting is new.
_VARIED = {
    "quantize": {1: range(1, 31), 7: (32, 64, 128, 256, 512, 1024, 2048, 4096)},
    "memory": {9: range(1, 257), 10: range(1, 65)},
    "paging": {1: range(1, 65), 2: range(64, 8193, 64)},
}
_CLICKED = {"quantize": 4, "memory": 1, "paging": 1}
# Panels out of view are asked for a second later, and nobody waits for them.
_IN_VIEW_SECONDS = 0.7
_TIMEOUT_SECONDS = 120
# Whose redraws are counted: gradio keeps something for every visitor, which is not what a redraw costs.
_VISITORS = 20


@dataclass(frozen=True)
class Click:
    """What a page sends when a visitor moves a control.

    Attributes:
        tab: that it stands in.
        seen: bodies of the requests for panels in view.
        later: of those for the others.
    """

    tab: str
    seen: tuple[dict, ...]
    later: tuple[dict, ...]

    def bodies(self, session: str, number: int) -> tuple[list[dict], list[dict]]:
        """Both, of the visitor with this session and at the setting of this number."""
        changes, rest = {}, number
        for position, values in _VARIED[self.tab].items():
            rest, place = divmod(rest, len(values))
            changes[position] = values[place]

        def own(body: dict) -> dict:
            data = [changes.get(position, value) for position, value in enumerate(body["data"])]
            return {**body, "data": data, "session_hash": session}

        return [own(body) for body in self.seen], [own(body) for body in self.later]


def click_of(page: Page, url: str, tab: str) -> Click:
    """Move a control of the tab in the page, and write down what is sent for it."""
    control: Control = CONTROLS[tab][_CLICKED[tab]]
    open_tab(page, url, tab)
    page.locator(f"{control.panel} svg").first.scroll_into_view_if_needed()
    still(page, control.panel)
    sent: list[tuple[float, dict]] = []

    def note(request: Request) -> None:
        if request.method == "POST" and "/run/predict" in request.url:
            sent.append((time.monotonic(), request.post_data_json))

    page.on("request", note)
    act(page, control, control.values[0])
    still(page, control.panel)
    page.remove_listener("request", note)
    first = min(at for at, _ in sent)
    seen = tuple(body for at, body in sent if at - first < _IN_VIEW_SECONDS)
    return Click(tab, seen, tuple(body for at, body in sent if at - first >= _IN_VIEW_SECONDS))


def visitors(url: str, clicks: Sequence[Click], number: int, rounds: int) -> tuple[list[float], int]:
    """Seconds that each click's panels in view took, with ``number`` visitors who click at once, and how many failed.

    Between rounds everything is drawn, the panels out of view too.
    """
    # Playwright's loop runs in this thread.
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, _visitors(url, clicks, number, rounds)).result()


async def _visitors(url: str, clicks: Sequence[Click], number: int, rounds: int) -> tuple[list[float], int]:
    taken, errors, settings, sessions = [], 0, count(1), [uuid4().hex for _ in range(number)]
    # A connection that is kept may be closed by the server in the moment when it is used again.
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_SECONDS, limits=limits) as client:
        # Who clicks has opened the page: the server knows the session.
        for session in sessions:
            errors += await _failed(client, {**clicks[0].seen[0], "session_hash": session})
        for _ in range(rounds):
            made = [clicks[one % len(clicks)].bodies(session, next(settings)) for one, session in enumerate(sessions)]
            done = await asyncio.gather(*(_click(client, *bodies) for bodies in made))
            taken += [seconds for seconds, _ in done]
            errors += sum(failed for _, failed in done)
    return taken, errors


async def _click(client: httpx.AsyncClient, seen: list[dict], later: list[dict]) -> tuple[float, int]:
    began = time.monotonic()
    failed = sum(await asyncio.gather(*(_failed(client, body) for body in seen)))
    seconds = time.monotonic() - began
    await asyncio.sleep(max(0, 1 - seconds))
    return seconds, failed + sum(await asyncio.gather(*(_failed(client, body) for body in later)))


async def _failed(client: httpx.AsyncClient, body: dict) -> bool:
    try:
        answer = await client.post("/gradio_api/run/predict", json=body)
    except httpx.TransportError:
        return True
    return answer.status_code != 200 or "data" not in answer.json()


def redraws(url: str, clicks: Sequence[Click], pid: int, number: int) -> tuple[dict[int, float], int]:
    """Redraws -> MiB that the process held after them, every fifty; and how many failed."""
    held, errors, sessions = {0: resident_mib(pid)}, 0, [uuid4().hex for _ in range(_VISITORS)]
    with httpx.Client(base_url=url, timeout=_TIMEOUT_SECONDS) as client:
        for done in range(1, number + 1):
            seen, later = clicks[done % len(clicks)].bodies(sessions[done % _VISITORS], done)
            for body in (*seen, *later):
                answer = client.post("/gradio_api/run/predict", json=body)
                errors += answer.status_code != 200 or "data" not in answer.json()
            if done % 50 == 0:
                held[done] = resident_mib(pid)
    return held, errors


def resident_mib(pid: int) -> float:
    """Memory of a process that is not shared out or swapped, from the kernel's own count."""
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.partition("VmRSS:")[2].split()[0]) / 1024
