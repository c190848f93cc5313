"""``python -m tests.end_to_end.bars``: how fast the page is, from the real command and in Chromium.

    python -m tests.end_to_end.bars                       # everything, about half an hour
    python -m tests.end_to_end.bars answer usable         # some of it
    python -m tests.end_to_end.bars controls --tab memory --turns 20 --json
    python -m tests.end_to_end.bars --keep                # rows into tests/end_to_end/results/bars.jsonl

Every row carries the cores, the load of the machine before and after, the versions and the date: a figure without them
says nothing, and a machine that does something else at the same time is no measure of the page.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from app.tabs import quantize
from tests.end_to_end.bars_controls import CONTROLS, measured_controls
from tests.end_to_end.bars_visitors import click_of, redraws, visitors
from tests.end_to_end.serving import served

RESULTS = Path(__file__).parent / "results" / "bars.jsonl"
# What the figures are held against: seconds, except where the name says otherwise.
BARS = {"answer": 9.0, "usable": 3.0, "controls_ms": 300.0, "visitors": 2.0}
_WINDOW = {"width": 1280, "height": 900}
_OPTIONS = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update")
_STORY_ANSWERS = """() => {
  const look = () => {
    const button = document.querySelector('[data-story-play]');
    if (!button || !button.offsetParent) return requestAnimationFrame(look);
    const before = button.textContent;
    button.click();
    if (button.textContent === before) return requestAnimationFrame(look);
    window.storyAnswered = performance.now();
  };
  look();
}"""


def quantile(values: list[float], share: float) -> float:
    """The smallest of the values that at least this share of them does not exceed (nearest rank)."""
    ordered = sorted(values)
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


@contextmanager
def visitor(browser: Browser) -> Iterator[Page]:
    """A window of somebody who has never been here."""
    context = browser.new_context(viewport=_WINDOW)
    page = context.new_page()
    page.set_default_timeout(120_000)
    yield page
    context.close()


def answer(options: argparse.Namespace, browser: Browser) -> Iterator[dict]:
    """Seconds from the start of the process to its first answer; beside them what importing gradio takes."""
    imports = []
    for _ in range(options.starts):
        began = time.monotonic()
        subprocess.run([sys.executable, "-c", "import gradio"], check=True)
        imports.append(time.monotonic() - began)
    taken = []
    for _ in range(options.starts):
        with served() as (_, _, seconds):
            taken.append(seconds)
    yield {"bar": "answer", "seconds": taken, "median": statistics.median(taken), "gradio_import_seconds": imports}


def usable(options: argparse.Namespace, browser: Browser) -> Iterator[dict]:
    """Seconds from navigation until the first tab's button answers, and until another tab opens when it is chosen."""
    with served() as (url, _, _):
        story, other = [], []
        for _ in range(options.starts):
            with visitor(browser) as page:
                page.add_init_script(f"({_STORY_ANSWERS})()")
                page.goto(url, wait_until="commit")
                page.wait_for_function("window.storyAnswered")
                story.append(page.evaluate("window.storyAnswered / 1000"))
                page.get_by_role("tab", name=quantize.TITLE, exact=True).click()
                page.locator("#quantize-step").wait_for()
                other.append(page.evaluate("performance.now() / 1000"))
        yield {"bar": "usable", "seconds": story, "median": statistics.median(story), "second_tab_seconds": other}


def controls(options: argparse.Namespace, browser: Browser) -> Iterator[dict]:
    """Milliseconds from every control's input event to its new drawing in the page, none of them drawn before."""
    with served() as (url, _, _):
        for tab in options.tab:
            with visitor(browser) as page:
                for row in measured_controls(page, url, tab, options.turns):
                    yield {
                        "bar": "controls",
                        **row,
                        "p50_ms": quantile(row["ms"], 0.5),
                        "p95_ms": quantile(row["ms"], 0.95),
                    }


def at_once(options: argparse.Namespace, browser: Browser) -> Iterator[dict]:
    """Seconds that each of twenty visitors waits who click in the same moment, each at a setting of their own."""
    with served() as (url, _, _):
        with visitor(browser) as page:
            clicks = {tab: click_of(page, url, tab) for tab in CONTROLS}
        for tab, made in (*((tab, [click]) for tab, click in clicks.items()), ("all", list(clicks.values()))):
            taken, errors = visitors(url, made, options.visitors, options.rounds)
            yield {
                "bar": "visitors",
                "tab": tab,
                "visitors": options.visitors,
                "clicks": len(taken),
                "p50": quantile(taken, 0.5),
                "p95": quantile(taken, 0.95),
                "largest": max(taken),
                "errors": errors,
            }


def memory(options: argparse.Namespace, browser: Browser) -> Iterator[dict]:
    """The server's resident memory over many redraws, each of another setting."""
    with served() as (url, server, _):
        with visitor(browser) as page:
            clicks = [click_of(page, url, tab) for tab in CONTROLS]
        held, errors = redraws(url, clicks, server.pid, options.redraws)
        later = [(count, mib) for count, mib in held.items() if count >= options.redraws / 2]
        slope = statistics.linear_regression(*zip(*later, strict=True)).slope
        yield {"bar": "memory", "mib": held, "mib_a_hundred_redraws": 100 * slope, "errors": errors}


MEASURED: dict[str, Callable[[argparse.Namespace, Browser], Iterator[dict]]] = {
    "answer": answer,
    "usable": usable,
    "controls": controls,
    "visitors": at_once,
    "memory": memory,
}


def conditions(arguments: list[str], browser: Browser) -> dict:
    """What the figures depend on."""
    versions = {name: version(name) for name in ("gradio", "matplotlib", "torch", "playwright")}
    return {
        "date": date.today().isoformat(),
        "command": " ".join(["python -m tests.end_to_end.bars", *arguments]),
        "cores": len(os.sched_getaffinity(0)),
        "processor": _processor(),
        "versions": {"python": platform.python_version(), "chromium": browser.version, **versions},
    }


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.machine())


def told(row: dict) -> str:
    """A row as a line for people."""
    load = f"load {row['load_before']:.1f}–{row['load_after']:.1f}"
    if row["bar"] == "controls":
        figures = f"p50 {row['p50_ms']:6.0f} ms   p95 {row['p95_ms']:6.0f} ms   (bar {BARS['controls_ms']:.0f} ms)"
        return f"{row['tab']:9} {row['control'][:44]:44} {figures}   {load}"
    if row["bar"] == "visitors":
        figures = f"p50 {row['p50']:.2f} s   p95 {row['p95']:.2f} s   (bar {BARS['visitors']:.0f} s)"
        return f"{row['visitors']} visitors, {row['tab']:9} {figures}   {row['errors']} errors   {load}"
    if row["bar"] == "memory":
        marks = {count: mib for count, mib in row["mib"].items() if count in (0, 100, 500, 1000)}
        held = ", ".join(f"{count}: {mib:.0f} MiB" for count, mib in marks.items())
        return (
            f"memory    {held}   {row['mib_a_hundred_redraws']:+.2f} MiB a hundred redraws   "
            f"{row['errors']} errors   {load}"
        )
    seconds = ", ".join(f"{value:.2f}" for value in row["seconds"])
    return f"{row['bar']:9} median {row['median']:.2f} s of {seconds}   (bar {BARS[row['bar']]:.0f} s)   {load}"


def keep(rows: list[dict], known: dict) -> None:
    """Put the rows into the file in place of those of the same bar and tab."""
    old = [json.loads(line) for line in RESULTS.read_text().splitlines()] if RESULTS.is_file() else []
    new = {(row["bar"], row.get("tab")) for row in rows}
    kept = [row for row in old if (row["bar"], row.get("tab")) not in new]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text("".join(json.dumps(row) + "\n" for row in [*kept, *({**row, **known} for row in rows)]))


def main(arguments: list[str]) -> int:
    """Measure, print, and keep what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.end_to_end.bars", description=__doc__.splitlines()[0])
    parser.add_argument("bars", nargs="*", choices=[*MEASURED, []], metavar="bar", help=", ".join(MEASURED))
    parser.add_argument("--tab", action="append", choices=CONTROLS, help="for controls: this tab alone")
    parser.add_argument("--turns", type=int, default=10, help="of each control (default: %(default)s)")
    parser.add_argument("--starts", type=int, default=3, help="of the process and of the page (default: %(default)s)")
    parser.add_argument("--visitors", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5, help="of clicks of all visitors (default: %(default)s)")
    parser.add_argument("--redraws", type=int, default=1000)
    parser.add_argument("--json", action="store_true", help="a line of JSON a row")
    parser.add_argument("--keep", action="store_true", help=f"put the rows into {RESULTS.name}")
    options = parser.parse_args(arguments)
    options.tab = options.tab or list(CONTROLS)
    rows = []
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=list(_OPTIONS))
        known = conditions(arguments, browser)
        for name in options.bars or MEASURED:
            before = os.getloadavg()[0]
            for row in MEASURED[name](options, browser):
                row |= {"load_before": before, "load_after": os.getloadavg()[0]}
                rows.append(row)
                print(json.dumps(row | known) if options.json else told(row), flush=True)
                before = row["load_after"]
        browser.close()
    if options.keep:
        keep(rows, known)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
