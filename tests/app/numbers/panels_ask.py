"""Panels of the Ask tab with numbers of our own: the recorded search with the embedding model in 4 bits."""

import json
import math
from pathlib import Path

from app import recordings
from app.assistant.readers import pdf, reading
from app.tabs import ask_experiment, ask_library_view
from app.text import ask_experiment as text
from tests.app.numbers.rendered import Panel

MIB = 2**20
RECORDING = Path(recordings.__file__).parent / "embedding_4bit.json"


def search_in_4_bits() -> Panel:
    found = json.loads(RECORDING.read_text(encoding="utf-8"))
    full, *others = rows = found["rows"]
    names = [text.NAMES[row["data_type"]] for row in rows]
    values = {(group, metric): [row[group][metric] for row in rows] for group in text.GROUPS for metric in text.METRICS}
    questions = found["questions"]
    lost = {
        group: max(round(questions * (five[0] - value)) for value in five[1:])
        for group in text.GROUPS
        if (five := values[group, "recall_at_5"])
    }
    least = min(value for several in values.values() for value in several)
    said = [number for group in text.GROUPS for metric in text.METRICS for number in values[group, metric]]
    return Panel(
        "Search with the embedding model in 4 bits",
        lambda: ask_experiment.show(False)[0],
        {
            "ask_experiment.CONCLUSION": {
                "share": 100 * max(row["linear_bytes"] for row in others) / full["linear_bytes"],
                **{group: [lost[group], questions] if lost[group] > 0 else [questions] for group in text.GROUPS},
            },
            "ask_experiment.DESCRIPTION": {"low": math.floor(10 * least - 0.2) / 10, "groups": said},
            "ask_experiment.PART": [
                {"name": name, "group": text.GROUPS[group], "metric": text.METRICS[metric].lower(), "value": value}
                for (group, metric), several in values.items()
                for name, value in zip(names, several, strict=True)
            ],
            "ask_experiment.NOTE": {
                "points": 100 / questions,
                "full": full["model_bytes"] / MIB,
                "small": max(row["model_bytes"] for row in others) / MIB,
                "block_size": found["block_size"],
                "double": text.WITH_DOUBLE,
            },
            "ask_experiment.CAPTION": {
                "questions": questions, "passages": found["passages"], "sentences": found["sentences"],
                "origin": "recorded",
            },
            "ask_experiment.RECORDED_ON": {
                "date": found["date"], "device": found["device"], "threads": [], "torch": found["versions"]["torch"],
                "command": found["command"],
            },
        },
        {
            f"{questions} answerable questions": [
                [
                    name, row["model_bytes"] / MIB, row["linear_bytes"] / MIB, row["mean_cosine"], row["least_cosine"],
                    *(row[group][metric] for group in text.GROUPS for metric in text.METRICS),
                ]
                for name, row in zip(names, rows, strict=True)
            ]
        },
    )  # fmt: skip


def limits_of_a_paper() -> Panel:
    return Panel(
        "What may be added",
        ask_library_view.limits,
        {
            "ask_library.LIMITS": {
                "pdf_mib": pdf.MAX_BYTES / MIB, "pages": pdf.MAX_PAGES, "text_mib": reading.MAX_TEXT_BYTES / MIB,
            }
        },
    )  # fmt: skip


PANELS = (search_in_4_bits, limits_of_a_paper)
